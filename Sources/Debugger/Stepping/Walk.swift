public import DebugTarget
public import Disassembler
import Expressions
import X86

extension InstructionKind {
    /// An instruction that has one of these is of this kind.
    var traits: InstructionTraits {
        switch self {
        case .iret: .interruptReturn
        case .ret: .return
        case .int: .interrupt
        case .call: .call
        case .branch:
            [
                .jump, .conditional, .loop, .call, .return, .interruptReturn, .interrupt, .systemCall,
                .systemReturn,
            ]
        }
    }

    public func includes(_ instruction: Instruction) -> Bool {
        !instruction.traits.isDisjoint(with: traits)
    }
}

/// An order that steps until it finds what it looks for.
struct Walk: Sendable {
    enum Goal: Sendable {
        case instruction(InstructionKind)
        case condition(Expression, text: String)
        /// Out of the code at hand, by a RET or IRET of its own.
        case out
        /// After where it began, or out.
        case beyond(UInt64)
        /// Outside of these linear addresses.
        case outside(Range<UInt64>)
    }

    let goal: Goal
    /// Where the stack was.
    let frame: Destination.Frame
    /// The code segment and the mode it began in.
    let codeBase: UInt64
    let mode: CPUMode

    init(_ goal: Goal, from snapshot: VCPUSnapshot) {
        self.goal = goal
        frame = Destination.Frame(pointer: snapshot.registers.rsp, base: snapshot.special.ss.base)
        codeBase = snapshot.special.cs.base
        mode = snapshot.mode
    }

    /// Whether calls and interrupts are run over.
    var stepsOver: Bool {
        switch goal {
        case .out, .beyond: true
        case .instruction, .condition, .outside: false
        }
    }
}

/// How far a walk has come.
struct WalkProgress: Sendable {
    /// The instruction that is being stepped; nil where none can be decoded, or it does not matter.
    var instruction: Instruction?
    /// The base of SS before it.
    var stackBase: UInt64 = 0
    /// A CALL, INT or REP on the way is run over: this is where the stepping goes on.
    var detour: Destination?
}
