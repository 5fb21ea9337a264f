import Commands
import DebugTarget
import Debugger

/// `monitor`: the command language of kvmscope, and what is the protocol's alone.
extension RemoteSession {
    /// How wide a command's output is: a terminal's width, which is not told.
    private static let width = 100

    func command(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard let bytes = hexBytes(reader.rest) else { throw .malformed("command") }
        let line = String(decoding: bytes, as: UTF8.self)
        let words = line.split(whereSeparator: \.isWhitespace)
        if words.first == "pc" {
            say(choosePlaceForm(words.dropFirst().map(String.init)) + "\n")
            return .ok
        }
        do throws(CommandError) {
            switch try session.execute(line, origin: .script) {
            case .done(let output):
                show(output)
                if goOnWithScript() { return .later }
            case .quit: say("The client leaves by `detach` or `kill`; `quit` is for the session itself.\n")
            case .running(let running):
                guard running.action != "stop", !running.isBackground else {
                    show(running)
                    return .ok
                }
                waiting = .command
                return .later
            }
        } catch {
            say(error.lines(width: Self.width).map { $0.text + "\n" }.joined())
        }
        return .ok
    }

    private func show(_ output: any CommandOutput) { say(output.plainText(width: Self.width)) }

    /// Does what a command has left to do: a block, or a command of the user's. One that never ends is ended.
    /// - Returns: the guest was resumed by it, and its stop is waited for.
    private func goOnWithScript() -> Bool {
        let end = ContinuousClock.now + Self.patience
        while let next = session.advance() {
            switch next.result {
            case .failure(let error): say(error.lines(width: Self.width).map { $0.text + "\n" }.joined())
            case .success(.done(let output)): show(output)
            case .success(.quit): session.cancelQueue()
            case .success(.running(let running)):
                guard running.action == "stop" || running.isBackground else {
                    waiting = .command
                    return true
                }
                show(running)
            }
            if ContinuousClock.now > end {
                session.cancelQueue()
                say("It was ended after \(Self.patience.components.seconds) s: a client waits for it.\n")
            }
        }
        return false
    }

    /// A client cannot be heard while its script is done.
    private static let patience = Duration.seconds(10)

    /// A command that let the guest go has come to its end.
    func finishCommand(_ stop: Stop) {
        show(session.stopOutput(for: stop))
        if goOnWithScript() { return }
        if client == .gdb {
            say("GDB has not seen the guest move: `maintenance flush register-cache` makes it look again.\n")
        }
        reply(.ok)
    }

    /// `monitor pc flat|offset`.
    private func choosePlaceForm(_ words: [String]) -> String {
        if let word = words.first {
            guard words.count == 1, let form = PlaceForm(rawValue: word) else {
                return "error: `pc` is flat or offset, not `\(words.joined(separator: " "))`"
            }
            bank.form = form
        }
        return switch bank.form {
        case .flat:
            "The program counter is linear: the base of CS and IP. `monitor pc offset` makes it IP alone."
        case .offset: "The program counter is IP alone, the offset in CS. `monitor pc flat` adds the base."
        }
    }

    // MARK: LLDB's questions about the host

    var hostInformation: String {
        let triple = String(decoding: hexText(Array("x86_64-unknown-unknown".utf8)), as: UTF8.self)
        return "triple:\(triple);endian:little;ptrsize:8;"
    }
}
