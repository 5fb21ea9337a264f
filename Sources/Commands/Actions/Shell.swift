import DebugTarget
import Debugger
import Expressions

enum ShellActions {
    static func shell(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else {
            throw call.usageError("`shell` needs a line: there is no terminal for a shell beside this one")
        }
        let ending = try ShellCommand(session: session).run(call.rest.text, input: nil, call)
        try session.note(ending, call)
        return .done(ShellOutput(ending))
    }

    static func pipe(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let (command, line) = try parts(call)
        let text = try session.captured(command, call)
        let ending = try ShellCommand(session: session).run(line, input: Array(text.utf8), call)
        try session.note(ending, call)
        return .done(ShellOutput(ending))
    }

    /// `[-d DELIMITER] COMMAND DELIMITER LINE`.
    private static func parts(_ call: Invocation) throws(CommandError) -> (command: String, line: String) {
        var text = call.rest.text
        var delimiter = "|"
        if text.hasPrefix("-d ") {
            let (word, rest) = ScriptLine.words(of: String(text.dropFirst(3)))
            guard !word.isEmpty else { throw call.usageError("`-d` needs a delimiter") }
            (delimiter, text) = (word, rest)
        }
        guard let place = text.firstRange(of: delimiter) else {
            throw call.usageError("`\(delimiter)` is expected between the command and the shell's line")
        }
        let command = String(text[..<place.lowerBound]).trimmingSpaces
        let line = String(text[place.upperBound...]).trimmingSpaces
        guard !command.isEmpty, !line.isEmpty else {
            throw call.usageError("`pipe` needs a command, and a line for the shell")
        }
        return (command, line)
    }
}

extension Session {
    /// `$bpnum`, after GDB: the breakpoint set last.
    func noteBreakpoint(_ number: Int) throws(CommandError) {
        do {
            try debugger.setVariable("bpnum", to: Value(bits: UInt64(number), width: 32, isSigned: true))
        } catch {
            throw CommandError(error)
        }
    }

    /// Keeps how a program ended where scripts look for it, after GDB.
    fileprivate func note(_ ending: ShellCommand.Ending, _ call: Invocation) throws(CommandError) {
        try call.perform { () throws(DebuggerError) in
            if let status = ending.status {
                try debugger.setVariable("_shell_exitcode", to: Value(bits: UInt64(status), width: 32))
            }
            if let signal = ending.signal {
                try debugger.setVariable("_shell_exitsignal", to: Value(bits: UInt64(signal), width: 32))
            }
        }
    }

    /// `$_exitcode`, after a stop that is the guest's end: 0 where it halted for good or switched itself off, 1 where it
    /// failed.
    func noteEnd(of stop: Stop) {
        let code: UInt64
        switch stop.reason {
        case .hlt, .poweredOff: code = 0
        case .tripleFault, .internalError, .failEntry, .ended, .killed: code = 1
        default: return
        }
        do {
            try debugger.setVariable("_exitcode", to: Value(bits: code, width: 32))
        } catch {
            announce(error.message)
        }
    }
}
