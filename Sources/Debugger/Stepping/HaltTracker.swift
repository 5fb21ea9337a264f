/// What is known of a vCPU's HLT. A HLT that is single-stepped gives a debug exit like any other instruction, and its own
/// exit only at a later KVM_RUN, after one more instruction.
struct HaltTracker: Sendable {
    /// A HLT was stepped over, and KVM has its exit still to deliver.
    private(set) var isDue = false
    /// The instruction that a free run began at is a HLT: its exit would not be the one that is due.
    var beganAtHalt = false
    /// The last step went over a HLT.
    private(set) var wasPassed = false
    /// The vCPU sleeps in a HLT that nothing here will end: it does not go on with the others.
    var isParked = false

    mutating func begin() {
        wasPassed = false
        isParked = false
    }

    /// An instruction was stepped.
    ///
    /// - Parameters:
    ///   - isDelivered: the exit of this HLT has come already.
    ///   - sleepsInKernel: with the irqchip in the kernel the vCPU sleeps there, and no exit is due.
    mutating func stepped(isHalt: Bool, isDelivered: Bool = false, sleepsInKernel: Bool = false) {
        wasPassed = isHalt
        if isHalt { isDue = !isDelivered && !sleepsInKernel }
    }

    /// KVM_EXIT_HLT came. Whether it is the one that was due.
    mutating func takeDue() -> Bool {
        defer { isDue = false }
        return isDue
    }
}
