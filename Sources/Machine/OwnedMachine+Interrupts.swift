public import DebugTarget
public import KVMCore
import Locking
import SystemPackage

extension OwnedMachine: InterruptControllerEditing {
    public var hasInterruptControllers: Bool { configuration.interruptController != .none }
    public var areInterruptControllersInKernel: Bool { configuration.interruptController == .kernel }

    public func picState(_ chip: PIC) throws(KVMError) -> PICState {
        if let chips = parts.chips { return chips.controllers.picState(chip) }
        return try vm.vm.picState(chip)
    }

    public func ioapicState() throws(KVMError) -> IOAPICState {
        if parts.chips != nil { throw Self.noIOAPIC }
        return try vm.vm.ioapicState()
    }

    public func pitState() throws(KVMError) -> PITState {
        if let chips = parts.chips { return chips.timer.pitState }
        return try vm.vm.pitState()
    }

    public func setPICState(_ chip: PIC, _ state: PICState) throws(KVMError) {
        guard let chips = parts.chips else { return try vm.vm.setPICState(chip, state) }
        chips.controllers.setPICState(chip, state)
        kickBootProcessor()
    }

    public func setIOAPICState(_ state: IOAPICState) throws(KVMError) {
        if parts.chips != nil { throw Self.noIOAPIC }
        try vm.vm.setIOAPICState(state)
    }

    public func setPITState(_ state: PITState) throws(KVMError) {
        guard let chips = parts.chips else { return try vm.vm.setPITState(state) }
        chips.timer.setPITState(state)
        kickBootProcessor()
    }

    private static let noIOAPIC = KVMError(
        "look at the I/O APIC", .noSuchAddressOrDevice,
        advice:
            "this machine has the two i8259 alone; an I/O APIC is there with the controllers in the kernel")

    /// What an interrupt may come of has changed.
    func kickBootProcessor() {
        members.withLock { $0.first?.thread }?.kick()
    }
}

extension OwnedMachine: MSRListing {
    public var msrIndexes: [UInt32] { supportedMSRs }
}

extension OwnedMachine: HaltWaiting {
    public var waitsAtHalt: Bool { parts.chips != nil }
}

extension OwnedMachine: GuestTimekeeping {
    public var hasGuestTime: Bool { parts.chips != nil }
    public var guestTime: Duration { .nanoseconds(Int64(clamping: parts.chips?.clock.now ?? 0)) }

    public var stepTime: Duration {
        get { .nanoseconds(Int64(clamping: parts.chips?.clock.stepTime ?? 0)) }
        set { parts.chips?.clock.stepTime = newValue.wholeNanoseconds }
    }
}

extension OwnedMachine: RealTimeClockProviding {
    public var realTimeClock: RealTimeClockState? { parts.devices?.realTimeClock.clockState }
}

extension OwnedMachine: DeviceListing {
    public var deviceState: DeviceState {
        var state = DeviceState()
        state.ports = parts.board.ports.devices
        state.memory = parts.board.memory.devices
        state.unclaimedPorts = parts.board.ports.unclaimedByAddress
        state.unclaimedMemory = parts.board.memory.unclaimedByAddress
        state.inputs = parts.inputs.counts
        state.rom = parts.memory.rom?.state
        if let devices = parts.devices {
            state.postCodes = devices.postCodes.last
            state.isA20On = devices.a20.isOn
        }
        guard let chips = parts.chips else { return state }
        state.interrupts = chips.controllers.delivered.map {
            DeliveredInterrupt(vector: $0.vector, count: $0.count)
        }
        return state
    }
}
