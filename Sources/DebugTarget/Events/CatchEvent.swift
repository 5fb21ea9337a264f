public import KVMCore
public import X86

/// Something that happens in a guest and that a catchpoint stops at.
public enum CatchEvent: Sendable, Hashable {
    /// Port I/O; nil stands for all ports, and for both directions.
    case io(ports: ClosedRange<UInt16>?, direction: PortIO.Direction?)
    /// An access to guest-physical addresses where no memory is.
    case mmio(ClosedRange<UInt64>)
    /// KVM_RUN comes back for this reason.
    case exit(ExitReason)
    /// The processor goes to a vector's handler: INT n, an interrupt or an exception.
    case interrupt(UInt8)
    /// As ``interrupt(_:)``, but not by INT n (INT3 and INTO count); nil stands for vectors 0 to 31.
    case exception(UInt8?)
    /// Real, virtual-8086, protected, compatibility or 64-bit mode becomes another of them.
    case modeSwitch
    /// WRMSR; nil stands for all MSRs.
    case msr(UInt32?)
    /// A write to a control register; nil stands for all of them.
    case control(ControlRegister?)
    case hlt
    case tripleFault
    /// A call of the machine's BIOS, done; nil stands for all vectors, and for all functions (AH).
    case firmware(vector: UInt8?, function: UInt8?)

    public enum ControlRegister: String, Sendable, Hashable, CaseIterable {
        case cr0, cr3, cr4, cr8
    }

    /// Whether an access is among those that ``io(ports:direction:)`` means.
    package static func matches(
        _ io: PortIO, _ ports: ClosedRange<UInt16>?, _ direction: PortIO.Direction?
    ) -> Bool {
        if let direction, direction != io.direction { return false }
        guard let ports else { return true }
        // A wide access touches the ports above it, too.
        let last = UInt32(io.port) + UInt32(max(io.size, 1)) - 1
        return UInt32(io.port) <= UInt32(ports.upperBound) && last >= UInt32(ports.lowerBound)
    }
}

/// What happened when a catchpoint stopped the guest, or would have.
public struct CaughtEvent: Sendable, Hashable {
    public enum What: Sendable, Hashable {
        case io(PortIO)
        case mmio(MMIO)
        case exit(VCPUExit)
        /// - Parameters:
        ///   - vectors: more than one where they share the handler, so that they cannot be told apart.
        ///   - isSoftware: by INT n, INT3, INTO or INT1.
        ///   - isInside: the handler's first instruction was executed already.
        case interrupt(vectors: [UInt8], isSoftware: Bool, isInside: Bool)
        case modeSwitch(from: ProcessorMode, to: ProcessorMode)
        case msr(index: UInt32, value: UInt64)
        case control(CatchEvent.ControlRegister, old: UInt64, new: UInt64)
        case hlt
        case tripleFault
        case firmware(FirmwareCall)
    }

    /// The catchpoint's number.
    public var number: Int
    public var what: What

    public init(number: Int, what: What) {
        self.number = number
        self.what = what
    }
}

/// The modes that Bochs' `modebp` tells apart.
public enum ProcessorMode: String, Sendable, Hashable, CaseIterable {
    case real = "real mode"
    case virtual8086 = "v8086 mode"
    case protected = "protected mode"
    case compatibility = "compatibility mode"
    case long = "long mode"

    public init(_ mode: CPUMode) {
        switch mode {
        case .real: self = .real
        case .virtual8086: self = .virtual8086
        case .protected16, .protected32: self = .protected
        case .compatibility16, .compatibility32: self = .compatibility
        case .long64: self = .long
        }
    }
}

/// How a target lets events of its guest be caught.
public enum EventDelivery: Sendable, Hashable {
    /// The exits that it makes come to ``RunController/exited(_:)``, or to ``RunEvent/fatal(_:)``.
    case exit
    /// WRMSR exits where ``MSRTrapping`` is asked for it.
    case msrFilter
    /// It leaves no trace outside of the guest, but an instruction does it: it is seen by stepping.
    case stepping
}

/// Why a target never sees an event.
public enum EventRefusal: Error, Sendable, Hashable {
    /// Accesses to this chip are served in the kernel, and do not leave it.
    case servedInKernel(chip: String)
    /// HLT sleeps in the kernel, where the interrupt controllers are.
    case haltsInKernel
}

/// A target that says which events of its guest it sees.
public protocol EventDelivering: Target {
    /// How `event` comes to controllers; an error says why it never does.
    func delivery(of event: CatchEvent) throws(EventRefusal) -> EventDelivery
}

/// A target whose VM can be made to exit at WRMSR: KVM_CAP_X86_USER_SPACE_MSR and KVM_X86_SET_MSR_FILTER.
public protocol MSRTrapping: VCPUHolding {
    /// Whether the host's KVM has it, found by trying.
    var canTrapMSRWrites: Bool { get }
    /// Makes WRMSR to these exit, and to no others. ``RunController/claims(_:_:)`` is asked of such exits; a claimed
    /// one is completed with nothing written.
    func trapMSRWrites(_ which: TrappedMSRs) throws(KVMError)
}

/// Of which MSRs writes exit.
public enum TrappedMSRs: Sendable, Hashable {
    case none
    case these(Set<UInt32>)
    /// All but those of the local APIC (0x800 to 0x8FF), which no filter stops.
    case all

    /// How many apart from each other the kernel takes (KVM_MSR_FILTER_MAX_RANGES).
    public static let most = 16
}
