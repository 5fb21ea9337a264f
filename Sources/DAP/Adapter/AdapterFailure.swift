import Commands
import Debugger

/// Why a request is not done: a sentence for the client's user.
package struct AdapterFailure: Error, Sendable, Hashable {
    package var message: String
    package init(_ message: String) { self.message = message }
    init(_ error: DebuggerError) { message = explained(error) }
}
