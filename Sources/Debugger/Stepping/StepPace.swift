import X86

/// Whether steps get on, by looks at the vCPU while one takes long.
struct StepPace: Sendable {
    /// What a step that takes long does.
    enum LongStep: Sendable, Hashable {
        /// It is on its way: RCX, if within a repeated instruction.
        case goesOn(UInt64?)
        case lost
    }

    /// So many looks in a row find the registers as they were before the step, until that is how the guest runs: at
    /// `jmp $`.
    private static let mostInVain = 3

    /// The instructions at the last look.
    private var stepsSeen = 0
    private var looksInVain = 0
    /// The host does not single-step the code at hand.
    private(set) var isLost = false

    mutating func begin() {
        isLost = false
        looksInVain = 0
    }

    /// A look between two KVM_RUNs.
    ///
    /// - Parameters:
    ///   - steps: so many instructions were stepped so far.
    ///   - counter: RCX at the last look, if that was within a repeated instruction.
    mutating func look(
        steps: Int, _ registers: GeneralRegisters, before: GeneralRegisters, counter: UInt64?
    ) -> LongStep {
        // Not every target counts all of its exits.
        guard steps == stepsSeen else {
            stepsSeen = steps
            looksInVain = 0
            return .goesOn(nil)
        }
        // It need not have begun, on a host with much else to do.
        looksInVain = registers == before ? looksInVain + 1 : Self.mostInVain
        guard looksInVain >= Self.mostInVain else { return .goesOn(nil) }
        // A repeated instruction may move much memory.
        if registers.rip == before.rip, registers.rcx != before.rcx, registers.rcx != counter {
            return .goesOn(registers.rcx)
        }
        isLost = true
        return .lost
    }
}
