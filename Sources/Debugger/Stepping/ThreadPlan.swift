import DebugTarget
import Disassembler
import X86

/// What one vCPU goes on for, until something else stops it.
enum ThreadPlan: Sendable {
    /// So many instructions, one by one.
    case step(count: Int)
    /// Freely.
    case run
    /// Freely, but no further than a place that only this order knows.
    indirect case until(Destination)
    /// Instruction by instruction, to what is looked for after each.
    indirect case walk(Walk)

    /// Single steps are, or may be, all of it.
    var steps: Bool {
        switch self {
        case .step, .walk: true
        case .run: false
        case .until(let destination): destination.bySteps
        }
    }
}

/// The place where an order ends: the instruction after a CALL, or where the user wants to be.
struct Destination: Sendable {
    var linear: UInt64
    /// The return address is reached in deeper calls of the same code too: the order ends only where the stack
    /// is not below `pointer` again. Nil: the first time counts.
    var frame: Frame?
    /// Single steps all the way, because no debug register is free.
    var bySteps: Bool
    /// What the stop says.
    var reason: StopReason

    /// Whether the order ends where a vCPU stands.
    func isReached(_ pc: UInt64, _ registers: GeneralRegisters, _ special: SpecialRegisters) -> Bool {
        guard pc == linear else { return false }
        return !(frame?.isDeeper(pointer: registers.rsp, base: special.ss.base) ?? false)
    }

    struct Frame: Sendable {
        /// RSP before the CALL.
        var pointer: UInt64
        /// The base of SS before the CALL: on another stack the pointers cannot be compared.
        var base: UInt64
        /// A stack pointer lower by more than this is taken for another stack.
        static let reach: UInt64 = 0x1_0000

        /// Whether a stack pointer can be compared with this one.
        func isSameStack(pointer now: UInt64, base nowBase: UInt64) -> Bool {
            nowBase == base && max(now, pointer) - min(now, pointer) < Self.reach
        }

        func isDeeper(pointer now: UInt64, base nowBase: UInt64) -> Bool {
            nowBase == base && now < pointer && pointer - now < Self.reach
        }
    }
}
