public import DebugTarget
import Expressions
import KVMCore

/// What the debugger could not do, for people: what was attempted, what was wrong, what to do.
public struct DebuggerError: AdvisedError, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        /// Not while the guest runs.
        case running
        case noVCPU
        case badAddress
        /// Guest memory that nothing backs, or that is not mapped.
        case unreadable
        case syntax
        case unknownName
        case outOfRange
        /// A value that the processor or KVM does not take; nothing was changed.
        case refused
        /// No more of something.
        case limit
        case noBreakpoint
        /// The target failed.
        case target
        /// The user ended it before it was done.
        case interrupted
    }

    public var code: Code
    public var message: String
    /// Where in the text given, in Characters from its start; for a caret.
    public var column: Int?
    /// What to do, where that is the same in every front end.
    public var remedy: String?
    /// What to do by a front end's commands.
    public var advice: Advice?

    public init(
        _ code: Code, _ message: String, column: Int? = nil, remedy: String? = nil, advice: Advice? = nil
    ) {
        self.code = code
        self.message = message
        self.column = column
        self.remedy = remedy
        self.advice = advice
    }

    public var description: String {
        guard let remedy else { return message }
        return "\(message); \(remedy)"
    }

    /// Why an event cannot be caught.
    init(_ refusal: EventRefusal) {
        switch refusal {
        case .servedInKernel(let chip):
            self.init(
                .refused, "the \(chip) is in the kernel, and accesses to it do not leave it",
                advice: .withoutKernelChips)
        case .haltsInKernel:
            self.init(
                .refused, "with the interrupt controllers in the kernel HLT does not leave it",
                advice: .catchHalt)
        }
    }

    /// What an expression came to.
    init(_ error: ExpressionError) {
        if var own = error.cause as? DebuggerError {
            own.column = error.column
            self = own
            return
        }
        let code: Code =
            switch error.code {
            case .syntax: .syntax
            case .unknownName: .unknownName
            case .outOfRange: .outOfRange
            case .refused: .refused
            case .limit: .limit
            case .unreadable: .unreadable
            case .context: .target
            }
        self.init(code, error.message, column: error.column, remedy: error.remedy)
    }

    /// An error of the target's, told as what was attempted.
    init(_ attempt: String, _ error: any Error) {
        if let own = error as? DebuggerError {
            self = own
        } else if let error = error as? KVMError {
            self.init(.target, "\(attempt): \(error.operation): \(error.errno)", remedy: error.advice)
        } else if let error = error as? any AdvisedError {
            self.init(
                .target, "\(attempt): \(error.message)", remedy: error.remedy, advice: error.advice)
        } else {
            self.init(.target, "\(attempt): \(error)")
        }
    }
}
