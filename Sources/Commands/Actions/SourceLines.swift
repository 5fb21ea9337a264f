import DebugTarget
import Debugger
import Symbols
import X86

/// `list`, `info line` and `directory`.
extension SymbolActions {
    /// Lines that `list` shows at once, as GDB's does.
    private static let listed = 10

    static func line(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let table = session.debugger.symbols
        let lines: [SourceLine]
        let text = call.rest.text
        if let code = try call.perform(
            at: call.rest, { () throws(DebuggerError) in try session.debugger.code(ofSource: text) })
        {
            lines = code
        } else {
            let linear =
                text.isEmpty
                ? session.debugger.selected.pc : try session.linear(session.location(call.rest, call), call)
            guard let line = table.line(at: linear) else {
                throw call.error(
                    "no source line is known for \(Hex(linear))", at: call.rest, remedy: session.lineRemedy)
            }
            lines = [line]
        }
        return .done(
            LineInfo(
                lines: lines.map {
                    SourceRow($0, text: session.debugger.sources.line($0.line, of: $0.path), table)
                }))
    }

    static func source(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (path, first) = try start(session, call)
        guard let lines = session.debugger.sources.lines(of: path) else {
            throw call.error(
                "the source file \(path) was not found", at: call.rest,
                remedy: "`directory PATH` says where it is")
        }
        guard first <= lines.count else {
            throw call.error(
                "line \(first) is beyond the end: \(path) has \(counted(lines.count, "line"))", at: call.rest)
        }
        let last = min(first + listed - 1, lines.count)
        session.listing = (path, last + 1)
        let here = session.isRunning ? nil : session.debugger.sourceLine()
        return .done(
            SourceListing(
                path: path, first: first, current: here?.path == path ? here?.line : nil,
                lines: lines[(first - 1)..<last].map(String.init)))
    }

    /// The file to list, and the first line.
    private static func start(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> (path: String, first: Int) {
        func around(_ line: SourceLine) -> (String, Int) { (line.path, max(1, line.line - listed / 2)) }
        let text = call.rest.text
        if text.isEmpty || call.isRepeat {
            if let listing = session.listing { return (listing.path, listing.next) }
            guard let line = session.debugger.sourceLine() else {
                throw call.error(
                    "no source line is known where the guest stands", at: call.rest,
                    remedy: session.lineRemedy)
            }
            return around(line)
        }
        if let number = Int(text), let path = session.listing?.path ?? session.debugger.sourceLine()?.path {
            return (path, max(1, number - listed / 2))
        }
        // A line that became no code can be listed too: it needs the file alone.
        if let colon = text.lastIndex(of: ":"), let number = Int(text[text.index(after: colon)...]) {
            let paths = session.debugger.symbols.paths(named: String(text[..<colon]))
            if paths.count == 1 { return (paths[0], max(1, number - listed / 2)) }
        }
        let linear = try session.linear(session.location(call.rest, call), call)
        guard let line = session.debugger.symbols.line(at: linear) else {
            throw call.error(
                "no source line is known for \(Hex(linear))", at: call.rest, remedy: session.lineRemedy)
        }
        return around(line)
    }

    static func directory(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let paths = call.arguments.map { expandingHome($0.text) }
        if !paths.isEmpty { session.debugger.sources.add(paths) }
        return .done(SourceDirectories(directories: session.debugger.sources.directories))
    }

    static func forgetDirectories(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        session.debugger.sources.clear()
        return .done(SourceDirectories(directories: []))
    }
}

extension Session {
    fileprivate func linear(_ address: Address, _ call: Invocation) throws(CommandError) -> UInt64 {
        try call.perform(at: call.rest) { () throws(DebuggerError) in try debugger.linear(address) }
    }

    var lineRemedy: String? {
        debugger.symbols.hasLines
            ? nil : symbolRemedy ?? "what is loaded has no source lines: build with debug information (-g)"
    }
}
