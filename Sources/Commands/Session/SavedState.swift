import DebugTarget
import Debugger
import Expressions
import Symbols
import X86

/// What a session has set up, as the lines of a script that sets it up again.
struct SavedState {
    let session: Session
    /// What cannot be said in a line, as sentences.
    private(set) var omitted: [String] = []

    init(_ session: Session) { self.session = session }

    /// The user's breakpoints, watchpoints and catchpoints, in the order in which they were set.
    func breakpoints() -> [String] {
        session.debugger.breakpoints.filter { $0.origin == nil }.flatMap(Self.lines)
    }

    static func lines(of breakpoint: Breakpoint) -> [String] {
        var lines = [setting(breakpoint) + (breakpoint.condition.map { " if \($0)" } ?? "")]
        if breakpoint.ignore > 0 { lines.append("ignore $bpnum \(breakpoint.ignore)") }
        if !breakpoint.commands.isEmpty {
            lines += ["commands $bpnum"] + breakpoint.commands.map { "  " + $0 } + ["end"]
        }
        if !breakpoint.isEnabled { lines.append("disable $bpnum") }
        return lines
    }

    private static func setting(_ breakpoint: Breakpoint) -> String {
        if let event = breakpoint.event {
            return "\(breakpoint.isTemporary ? "tcatch" : "catch") \(event.text)"
        }
        let place = breakpoint.address.description
        switch breakpoint.kind {
        case .watch: return "watch \(breakpoint.access?.rawValue ?? "w") \(place) \(breakpoint.length)"
        case .virtual: return "vb \(place)"
        case .linear, .physical, .event:
            let word = breakpoint.isHardware ? "hbreak" : "break"
            return "\(breakpoint.isTemporary ? word == "break" ? "tbreak" : "thbreak" : word) \(place)"
        }
    }

    /// All that a session has set up: symbols first, which the others may name.
    mutating func everything() -> [String] {
        let debugger = session.debugger
        var lines: [String] = []
        for file in debugger.symbols.files {
            guard let path = quoted(absolute(file.path)) else { continue }
            lines.append("symbols \(path)" + (file.shift == 0 ? "" : " by \(file.shift)"))
        }
        // Each goes in front of those before it.
        for folder in debugger.sources.directories.reversed() {
            if let path = quoted(absolute(folder)) { lines.append("directory \(path)") }
        }
        for (name, value) in debugger.convenienceVariables where !name.hasPrefix("_") && name != "bpnum" {
            lines.append("set $\(name) = \(hex(value.bits))")
        }
        for name in session.userCommands.names {
            guard let command = session.userCommands[name] else { continue }
            lines += ["define \(name)"] + command.lines + ["end"]
            guard !command.documentation.isEmpty else { continue }
            lines += ["document \(name)"] + command.documentation + ["end"]
        }
        lines += breakpoints()
        lines += session.shownDisplays.map { "display\($0.format) \($0.expression)" }
        lines += session.frontEndLines()
        return lines
    }

    private mutating func quoted(_ path: String) -> String? {
        guard !path.contains("\""), !path.contains("\n") else {
            omitted.append("\(path.printable) has a quote in its name and is left out.")
            return nil
        }
        return "\"\(path)\""
    }

    private func absolute(_ path: String) -> String { absolutePath(expandingHome(path)) }
}
