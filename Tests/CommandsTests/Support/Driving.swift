import Commands
import Debugger
import TargetConformance
import Testing
import X86

/// A session over a made-up guest, driven as a batch drives it.
struct Driver {
    let guest: FakeGuest
    let session: Session

    /// By default: `mov al, 0x48; out 0xe9, al; nop; hlt`.
    init(_ code: [UInt8] = [0xB0, 0x48, 0xE6, 0xE9, 0x90, 0xF4], vcpus: Int = 1) throws {
        guest = FakeGuest(code, vcpus: vcpus)
        session = Session(debugger: try Debugger(target: guest))
    }

    init(_ guest: FakeGuest, _ debugger: Debugger) {
        self.guest = guest
        session = Session(debugger: debugger)
    }

    /// On a guest that knows more instructions than the one made up for commands.
    init(stepping code: [UInt8], vcpus: Int = 1) throws {
        guest = FakeGuest([], vcpus: 1)
        let debugger = try Debugger(target: FakeTarget(vcpus: vcpus))
        try debugger.writeMemory(.physical(0x7C00), code)
        session = Session(debugger: debugger)
    }

    /// The output of a line; a guest that was resumed is waited for.
    @discardableResult
    func output(
        _ line: String, origin: Session.Origin = .script
    ) throws(CommandError) -> any CommandOutput {
        switch try session.execute(line, origin: origin) {
        case .done(let output): return output
        case .running(let running): return try session.collectStop(timeout: nil) ?? running
        case .quit: return Message("quit")
        }
    }

    /// The output's lines as text.
    func text(_ line: String, width: Int = 80) throws -> [String] {
        try output(line).lines(width: width).map(\.text)
    }

    func json(_ line: String) throws -> String {
        JSONRecord.line(command: line, result: try output(line))
    }

    /// The error of a line that has to fail.
    func failure(_ line: String) throws -> CommandError {
        do throws(CommandError) {
            let result = try output(line)
            Issue.record("`\(line)` did not fail: \(result)")
            return CommandError("did not fail")
        } catch {
            return error
        }
    }
}
