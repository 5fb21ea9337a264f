/// Whether steps take interrupts.
public struct StepInterruptsOutput: CommandOutput, Hashable {
    /// Steps take them.
    public var isOn: Bool
    /// This KVM can hold them off.
    public var canHold: Bool

    private enum CodingKeys: String, CodingKey {
        case isOn = "stepInterrupts"
        case canHold = "canHoldOff"
    }

    public func lines(width: Int) -> [StyledLine] {
        if isOn { return [StyledLine("Steps take interrupts (step-interrupts is on).")] }
        guard canHold else {
            return [
                StyledLine(
                    "Interrupts should be held off while stepping (step-interrupts is off), but this KVM cannot do "
                        + "that (KVM_GUESTDBG_BLOCKIRQ is missing): a step may run a handler.", .warning)
            ]
        }
        return [StyledLine("Interrupts are held off while stepping (step-interrupts is off).")]
    }
}
