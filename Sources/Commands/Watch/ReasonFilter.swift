package import Monitor

/// A regular expression over the names of reasons, as kvm_stat's `f`: a reason counts where it is found anywhere in
/// `kvm_exit(HLT)`.
package struct ReasonFilter {
    package let pattern: String
    private let expression: Regex<AnyRegexOutput>

    /// - Throws: `MonitorError` where the pattern is none.
    package init(_ pattern: String) throws(MonitorError) {
        self.pattern = pattern
        do {
            expression = try Regex(pattern)
        } catch {
            throw MonitorError("\"\(pattern.printable)\" is no regular expression")
        }
    }

    package func accepts(_ name: String) -> Bool { (try? expression.firstMatch(in: name)) != nil }
}
