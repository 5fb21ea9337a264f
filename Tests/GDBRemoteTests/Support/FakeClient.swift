import Commands
import DebugTarget
import Debugger
import TargetConformance
import Testing
import X86

@testable import GDBRemote

/// A client that speaks to a session's service without a socket: packets as text in, replies as text out.
final class FakeClient {
    /// The conversation, as the session's service, so that stops come to it as they come to a server.
    private final class Service: SessionService {
        weak var client: FakeClient?
        var summary: String { "a test" }
        var descriptor: Int32 { -1 }
        func serve() {}
        func guestStopped(_ stop: Stop) { client?.remote.guestStopped(stop) }
        func stopFailed(_ error: DebuggerError) { client?.remote.stopFailed(error) }
        func close() { client?.remote.leave() }
    }

    private final class Sent {
        var bytes: [UInt8] = []
    }

    let target: FakeTarget
    let session: Session
    var debugger: Debugger { session.debugger }
    let remote: RemoteSession
    private let sent = Sent()
    private let service = Service()

    /// - Parameter code: at 0000:7C00.
    init(
        _ code: [UInt8] = [0x90, 0x90, 0xEB, 0xFC], vcpus: Int = 1, options: RemoteOptions = RemoteOptions(),
        quirks: FakeQuirks = [.lateHalt, .emptyREP], running: Bool = false
    ) throws {
        target = FakeTarget(vcpus: vcpus, quirks: quirks)
        let debugger = try Debugger(target: target)
        try debugger.writeMemory(.physical(0x7C00), code)
        session = Session(debugger: debugger)
        if running { try debugger.startContinue() }
        let sent = sent
        remote = RemoteSession(session: session, options: options) { sent.bytes += $0 }
        service.client = self
        session.use(service)
    }

    /// What was sent since, as text; bytes that are none are dots.
    func replies() -> [String] {
        var decoder = PacketDecoder(limit: 1 << 20, expandsRuns: true)
        defer { sent.bytes = [] }
        return decoder.feed(sent.bytes).compactMap { event in
            if case .packet(let data) = event { String(decoding: data, as: UTF8.self) } else { nil }
        }
    }

    func bytes() -> [[UInt8]] {
        var decoder = PacketDecoder(limit: 1 << 20, expandsRuns: true)
        defer { sent.bytes = [] }
        return decoder.feed(sent.bytes).compactMap { if case .packet(let data) = $0 { data } else { nil } }
    }

    /// What was sent, as it is sent.
    func raw() -> [UInt8] {
        defer { sent.bytes = [] }
        return sent.bytes
    }

    func send(_ data: [UInt8]) { remote.take(.packet(data)) }

    /// The reply to one request that is answered at once.
    @discardableResult
    func ask(_ text: String) -> String {
        send(Array(text.utf8))
        return replies().last ?? "(no reply)"
    }

    /// The replies to a resume, whose stop is waited for.
    func run(_ text: String) throws -> [String] {
        send(Array(text.utf8))
        let end = ContinuousClock.now + .seconds(60)
        while session.isRunning {
            _ = try session.passStop(timeout: .seconds(1))
            guard ContinuousClock.now > end else { continue }
            Issue.record("the guest does not stop after \(text)")
            session.interrupt()
        }
        return replies()
    }

    /// A `monitor` command's output.
    func monitor(_ line: String) throws -> String {
        let all = try run("qRcmd," + hex(line))
        #expect(all.last == "OK")
        return all.dropLast().map { text($0.dropFirst()) }.joined()
    }

    func hex(_ text: String) -> String { String(decoding: hexText(Array(text.utf8)), as: UTF8.self) }
    func text(_ hex: some StringProtocol) -> String {
        String(decoding: hexBytes(Array(hex.utf8)) ?? [], as: UTF8.self)
    }
}
