/// Why the host cannot be watched as asked.
package struct MonitorError: Error, Sendable, Hashable, CustomStringConvertible {
    package var message: String
    /// What to do about it.
    package var remedy: String?

    package init(_ message: String, remedy: String? = nil) {
        self.message = message
        self.remedy = remedy
    }

    package var description: String { remedy.map { "\(message); \($0)" } ?? message }
}
