import Glibc
public import KVMCore

/// What stops a guest or shows what it does.
public enum DebugFacility: String, Sendable, Hashable, CaseIterable {
    /// KVM_GUESTDBG_SINGLESTEP exits after one instruction.
    case singleStep
    /// A single step whose instruction raises an exception ends before the handler's first instruction or after it: no
    /// more of a handler runs unseen. Not where hosts step with TF, which an exception clears (SDM volume 3A, 6.8).
    case handlerStep
    /// An execution breakpoint in DR0 to DR3 exits, with KVM_GUESTDBG_USE_HW_BP.
    case executionBreakpoint
    /// Data breakpoints in DR0 to DR3 exit, both for a write and for a read.
    case dataBreakpoint
    /// INT3 exits, with KVM_GUESTDBG_USE_SW_BP.
    case int3
    /// OUT to a port exits, where the guest may execute it: at CPL 3 its I/O bitmap allows it.
    case portPatch
    /// A write to a memslot with KVM_MEM_READONLY exits, with its bytes.
    case pageProtection
    /// WRMSR of an MSR that KVM_X86_SET_MSR_FILTER denies exits.
    case msrFilter

    /// For people: "debug registers (execution)".
    public var name: String {
        switch self {
        case .singleStep: "single-step"
        case .handlerStep: "step into a fault's handler"
        case .executionBreakpoint: "debug registers (execution)"
        case .dataBreakpoint: "debug registers (data)"
        case .int3: "int3"
        case .portPatch: "port-out patch"
        case .pageProtection: "page protection"
        case .msrFilter: "MSR filter"
        }
    }
}

/// What a host's KVM honours of what debuggers use: the capabilities say what a call takes, this says what then happens.
///
/// Each facility is tried in each context with a few instructions of a VM of its own; see ``ofHost``.
public struct DebugFacilities: Sendable, Hashable {
    /// What came of a try.
    public enum Finding: Sendable, Hashable {
        case works
        /// Something else happened.
        case fails(Failure)
        /// It was not tried.
        case untried
    }

    /// What happened instead.
    public enum Failure: Sendable, Hashable {
        /// The code ran on to its end.
        case ranOn
        /// The guest's own handler of this vector was entered.
        case vector(UInt8)
        /// KVM_RUN returned with another exit, or at another place.
        case exit(ExitReason)
        /// KVM refused a call, as by its errno.
        case refused(KVMError)
        /// KVM_RUN did not come back by itself.
        case timeout
    }

    private var findings: [DebugFacility: [CodeContext: Finding]] = [:]

    /// Why nothing could be tried: /dev/kvm is missing, or may not be used. Then every KVM's common facilities are taken
    /// to work, and no others.
    public var obstacle: KVMError?

    /// The vendor that CPUID names, as "AuthenticAMD"; nil where it was not asked.
    public var vendor: String?

    /// Nothing was tried.
    public init(obstacle: KVMError? = nil) { self.obstacle = obstacle }

    /// All of `facilities` work, in all contexts, and no others do. For guests that are made up.
    public init(working facilities: Set<DebugFacility>) {
        for facility in DebugFacility.allCases {
            for context in CodeContext.allCases {
                self[facility, context] = facilities.contains(facility) ? .works : .fails(.ranOn)
            }
        }
    }

    public subscript(facility: DebugFacility, context: CodeContext) -> Finding {
        get { findings[facility]?[context] ?? .untried }
        set { findings[facility, default: [:]][context] = newValue }
    }

    /// Whether to rely on it in this context. What was not tried works where every KVM has it, as far as is known.
    public func works(_ facility: DebugFacility, in context: CodeContext) -> Bool {
        switch self[facility, context] {
        case .works: true
        case .fails: false
        case .untried: Self.isAssumed(facility)
        }
    }

    /// Whether to rely on it in each of these.
    public func works(_ facility: DebugFacility, in contexts: some Sequence<CodeContext>) -> Bool {
        contexts.allSatisfy { works(facility, in: $0) }
    }

    /// Whether to rely on it wherever it was tried.
    public func worksEverywhere(_ facility: DebugFacility) -> Bool {
        let tried = CodeContext.allCases.filter { self[facility, $0] != .untried }
        return works(facility, in: tried.isEmpty ? CodeContext.allCases : tried)
    }

    private static func isAssumed(_ facility: DebugFacility) -> Bool {
        switch facility {
        case .singleStep, .executionBreakpoint, .portPatch, .pageProtection: true
        case .handlerStep, .dataBreakpoint, .int3, .msrFilter: false
        }
    }
}

extension DebugFacilities {
    /// What this host honours: tried once in the life of the process, when it is first asked for. It takes some
    /// milliseconds, and ends whatever the host does.
    public static let ofHost: DebugFacilities = HostProbe.run()

    /// Begins to find ``ofHost`` on a thread of its own: it takes some milliseconds, in which a guest can be made.
    public static func anticipate() {
        guard let thread = try? KickSignal.startThread({ _ = ofHost }) else { return }
        pthread_detach(thread)
    }
}
