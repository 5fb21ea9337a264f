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
            case .done(let output): show(output)
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

    private func show(_ output: any CommandOutput) {
        say(output.lines(width: Self.width).map { $0.text + "\n" }.joined())
    }

    /// A command that let the guest go has come to its end.
    func finishCommand(_ stop: Stop) {
        show(session.stopOutput(for: stop))
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
