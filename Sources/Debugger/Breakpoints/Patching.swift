import DebugTarget
import KVMCore
import Synchronization
import X86

/// What breakpoints in memory need of a target, and the table of them: one for the whole session, used by the
/// debugger's thread and those of the vCPUs.
final class Patching: Sendable {
    let table: PatchTable
    /// Another program is the machine: what happens at a HLT is its business.
    let forwardsExits: Bool
    /// The target waits at a HLT for its devices.
    let waitsAtHalt: Bool
    /// Guest memory without the patches.
    let memory: any PhysicalMemory
    private let base: any PhysicalMemory
    /// ``memory``, for a look at it now: as long as there is no patch nothing has to be asked.
    var inSight: any PhysicalMemory { table.isEmpty.load(ordering: .acquiring) ? base : memory }
    /// The target, which lives as long as its debugger does and holds on to the drivers, which hold this. Nil where no
    /// patch can be planted.
    weak let holder: (any VCPUHolding)?
    weak let protector: (any MemoryProtecting)?
    /// The kinds of patches that this guest may have, the best one first.
    let kinds: [PatchTable.Kind]
    /// What the host honours. The first who asks waits until it was tried, which a guest that is only looked at need not.
    private let tried = AtomicLazyReference<HostHonours>()
    private let find: @Sendable () -> DebugFacilities
    /// What each step asks, of ``tried``: 0 until it is there. A look into that costs a tenth of a step.
    private let habits = Atomic<StepHabits.RawValue>(0)
    private var stepHabits: StepHabits {
        let known = StepHabits(rawValue: habits.load(ordering: .relaxed))
        return known.contains(.known) ? known : findHabits()
    }

    @inline(never) private func findHabits() -> StepHabits {
        let found = StepHabits(facilities)
        habits.store(found.rawValue, ordering: .relaxed)
        return found
    }

    var facilities: DebugFacilities { (tried.load() ?? tried.storeIfNil(HostHonours(find()))).facilities }
    /// ``DebugFacility/handlerStep`` works wherever KVM delivers exceptions by itself.
    var endsStepsInHandlers: Bool { stepHabits.contains(.endsInHandlers) }
    /// The host was seen not to single-step code of some kind.
    var hasUnsteppable: Bool { stepHabits.contains(.hasUnsteppable) }
    func isUnsteppable(_ context: CodeContext) -> Bool { stepHabits.contains(.unsteppable(context)) }
    /// The host steps with the processor's own TF, and KVM's emulator takes that away: whatever it did for the guest, as
    /// an access to a device, a string of port I/O or a write to a page table that KVM watches, the next KVM_RUN would
    /// not step. No one tells when it did, so single-step is asked for anew before each (x86_emulate_instruction and
    /// __kvm_set_rflags in arch/x86/kvm).
    var losesTF: Bool { !endsStepsInHandlers }
    /// Handlers of interrupts may run unseen while the guest is stepped, as not all can be known before they come; see
    /// `StepEngine.prepareInterrupt`.
    func missesHandlers(_ canHoldInterrupts: Bool) -> Bool { losesTF && !(canHoldInterrupts && chips != nil) }
    /// The target, where it can make WRMSR exit.
    var msrTrap: (any MSRTrapping)? { trapping.flatMap { $0.canTrapMSRWrites ? $0 : nil } }
    private weak let trapping: (any MSRTrapping)?
    /// The target, where its PICs can be looked at.
    weak let chips: (any InterruptControllerProviding)?
    /// The guest's ports to its debugger, where it has them.
    let ioDebug: IODebugPort?
    /// Steps take interrupts, because the user wants that.
    let takesInterrupts = Atomic<Bool>(false)
    /// The guest stops at vectors that hold 0000:0000. Off at first for another program's guest: it has that program's
    /// firmware, and to look means to hold it.
    let stopsAtEmptyVectors: Atomic<Bool>
    /// Some page is protected.
    let hasProtection = Atomic<Bool>(false)

    init(_ target: any Target) {
        find = { [weak target] in target?.debugFacilities ?? DebugFacilities() }
        forwardsExits = target is any ExitForwarding
        waitsAtHalt = (target as? any HaltWaiting)?.waitsAtHalt ?? false
        stopsAtEmptyVectors = Atomic(!forwardsExits)
        table = PatchTable(base: target.memory, keeper: target as? any PatchKeeping)
        base = target.memory
        memory = PatchedMemory(base, table)
        holder = target as? any VCPUHolding
        protector = target as? any MemoryProtecting
        trapping = target as? any MSRTrapping
        chips = target as? any InterruptControllerProviding
        ioDebug = (target as? any IODebugProviding)?.ioDebug
        var kinds: [PatchTable.Kind] = []
        if let patched = target as? any CodePatching {
            if target.debugAbilities.contains(.softwareBreakpoints) { kinds.append(.int3) }
            if patched.passesPortWrites { kinds.append(.portOut) }
        }
        self.kinds = kinds
    }

    /// An execution breakpoint in a debug register stops code there.
    func fires(in context: CodeContext) -> Bool { facilities.works(.executionBreakpoint, in: context) }

    /// The kind of patch that stops code there; nil where none does.
    func patchKind(in context: CodeContext) -> PatchTable.Kind? {
        kinds.first { facilities.works($0.facility, in: context) }
    }
}

private final class HostHonours: Sendable {
    let facilities: DebugFacilities

    init(_ facilities: DebugFacilities) { self.facilities = facilities }
}

/// How the host steps, in one word.
private struct StepHabits: OptionSet {
    let rawValue: UInt32

    static let known = StepHabits(rawValue: 1)
    static let endsInHandlers = StepHabits(rawValue: 2)
    static let hasUnsteppable = StepHabits(rawValue: 4)
    /// Code of that kind is not single-stepped.
    static func unsteppable(_ context: CodeContext) -> StepHabits {
        StepHabits(rawValue: 1 << (8 + UInt32(context.number)))
    }

    init(rawValue: UInt32) { self.rawValue = rawValue }

    init(_ facilities: DebugFacilities) {
        self = .known
        if facilities.works(.handlerStep, in: [.real, .protectedKernel]) { insert(.endsInHandlers) }
        for context in CodeContext.allCases where !facilities.works(.singleStep, in: context) {
            formUnion([.hasUnsteppable, .unsteppable(context)])
        }
    }
}

extension PatchTable.Kind {
    var facility: DebugFacility { self == .int3 ? .int3 : .portPatch }
    var mechanism: Breakpoint.Mechanism { self == .int3 ? .int3 : .portOut }
}

/// What places of breakpoints depend on: the tables that a vCPU uses, and where it runs.
struct PlacedBy: Sendable, Hashable {
    var cr3: UInt64
    var gdt: DescriptorTable
    var isPaging: Bool
    var context: CodeContext

    init(_ snapshot: VCPUSnapshot) {
        cr3 = snapshot.special.cr3
        gdt = snapshot.special.gdt
        isPaging = snapshot.special.cr0.contains(.pg)
        context = CodeContext(snapshot.registers, snapshot.special)
    }
}
