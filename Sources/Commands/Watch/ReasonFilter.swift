package import Monitor

/// A regular expression over the names of reasons, as kvm_stat's `f`: a reason counts where it is found anywhere in
/// `kvm_exit(HLT)`.
package struct ReasonFilter: Equatable {
    package let pattern: String
    private let ignoresCase: Bool
    private let expression: Regex<AnyRegexOutput>

    /// - Throws: `MonitorError` where the pattern is none.
    package init(_ pattern: String, ignoresCase: Bool = false) throws(MonitorError) {
        self.pattern = pattern
        self.ignoresCase = ignoresCase
        do {
            expression = try Regex(pattern).ignoresCase(ignoresCase)
        } catch {
            throw MonitorError("\"\(pattern.printable)\" is no regular expression")
        }
    }

    package static func == (one: ReasonFilter, other: ReasonFilter) -> Bool {
        one.pattern == other.pattern && one.ignoresCase == other.ignoresCase
    }

    package func accepts(_ name: String) -> Bool { (try? expression.firstMatch(in: name)) != nil }
}
