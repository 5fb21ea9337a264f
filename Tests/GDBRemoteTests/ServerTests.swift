import CLinux
import Commands
import DebugTarget
import Debugger
import Foundation
import TargetConformance
import Testing
import X86

@testable import GDBRemote

/// Sockets, and who may connect.
@Suite struct ServerTests {
    /// A server for a guest without KVM, and its clients, all in one thread.
    private final class Fixture {
        let session: Session
        let server: RemoteServer
        let path: String

        init() throws {
            let debugger = try Debugger(target: FakeTarget())
            try debugger.writeMemory(.physical(0x7C00), [0x90, 0xEB, 0xFD])
            session = Session(debugger: debugger)
            path =
                FileManager.default.temporaryDirectory.appending(path: UUID().uuidString.prefix(8) + ".gdb")
                .path
            server = try RemoteServer(session, at: .unix(path: path), RemoteOptions())
            session.use(server)
        }

        deinit { session.stopService() }

        func connect() throws -> Int32 {
            let made = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(result == 0)
            var wait = timeval(tv_sec: 20, tv_usec: 0)
            setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
            return made
        }

        func send(_ text: String, to client: Int32) {
            _ = Glibc.send(client, text, text.utf8.count, Int32(MSG_NOSIGNAL))
        }

        func send(packet: String, to client: Int32) {
            send(String(decoding: PacketEncoder.packet(Array(packet.utf8)), as: UTF8.self), to: client)
        }

        /// What a client has got after the server has had its turns.
        func reply(_ client: Int32) -> String {
            for _ in 0..<4 { session.serve() }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = recv(client, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }

        /// The other side has closed it.
        func isClosed(_ client: Int32) -> Bool {
            var byte: UInt8 = 0
            return recv(client, &byte, 1, Int32(MSG_DONTWAIT)) == 0
        }
    }

    @Test func oneClientAtATime() throws {
        let fixture = try Fixture()
        #expect(fixture.server.summary.contains("Waiting"))
        let first = try fixture.connect()
        fixture.send("$qC#b4", to: first)
        #expect(fixture.reply(first) == "+$QC1#c5")
        #expect(fixture.server.summary.contains("debugs the guest"))
        let second = try fixture.connect()
        #expect(fixture.reply(second).contains("serves another debugger"))
        #expect(fixture.isClosed(second))
        // The first is served as before.
        fixture.send("+$qC#b4", to: first)
        #expect(fixture.reply(first) == "+$QC1#c5")
        let notices = fixture.session.takeNotices().flatMap { $0.lines(width: 100).map(\.text) }
        #expect(
            notices.contains { $0.contains("has connected") } && notices.contains { $0.contains("refused") })
        close(first)
        close(second)
        fixture.session.serve()
        // And then there is room for another.
        let third = try fixture.connect()
        fixture.send("$qC#b4", to: third)
        #expect(fixture.reply(third) == "+$QC1#c5")
        close(third)
    }

    @Test func aClientThatVanishesLeavesNoBreakpoint() throws {
        let fixture = try Fixture()
        let client = try fixture.connect()
        fixture.send(packet: "Z0,7c01,1", to: client)
        #expect(fixture.reply(client).hasSuffix("$OK#9a"))
        #expect(fixture.session.debugger.breakpoints.count == 1)
        fixture.send("$c#63", to: client)
        _ = fixture.reply(client)
        #expect(fixture.session.isRunning)
        close(client)
        for _ in 0..<4 { fixture.session.serve() }
        #expect(fixture.session.debugger.breakpoints.isEmpty)
        // It is stopped, as a guest of kvmscope's own is.
        while fixture.session.isRunning { _ = try fixture.session.passStop(timeout: .seconds(10)) }
        #expect(fixture.session.debugger.stop.reason == .interrupted)
    }

    @Test(arguments: ["GET / HTTP/1.1\r\n\r\n", "POST /$D#44 HTTP/1.0\r\n\r\n$D#44"])
    func aWebPageCannotDriveIt(_ request: String) throws {
        let fixture = try Fixture()
        let client = try fixture.connect()
        fixture.send(request, to: client)
        #expect(fixture.reply(client) == "")
        #expect(fixture.isClosed(client))
        #expect(!fixture.session.isRunning)
        close(client)
    }

    @Test func theSocketIsItsOwnersAndGoesAway() throws {
        let fixture = try Fixture()
        var status = stat()
        #expect(stat(fixture.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        // Somebody listens there.
        #expect(throws: RemoteServerError.self) {
            try RemoteServer(fixture.session, at: .unix(path: fixture.path), RemoteOptions())
        }
        fixture.session.stopService()
        #expect(stat(fixture.path, &status) == -1)
        #expect(throws: RemoteServerError.self) {
            try RemoteServer(fixture.session, at: .unix(path: "/nowhere/at/all"), RemoteOptions())
        }
        #expect(throws: RemoteServerError.self) {
            try RemoteServer(
                fixture.session, at: .unix(path: String(repeating: "a", count: 200)), RemoteOptions())
        }
    }

    /// One that a killed program has left over is taken over; a file is not.
    @Test func whatIsLeftOver() throws {
        let path = FileManager.default.temporaryDirectory.appending(
            path: UUID().uuidString.prefix(8) + ".gdb"
        ).path
        let left = clinux_listen_unix(path)
        #expect(left >= 0)
        close(left)
        let session = Session(debugger: try Debugger(target: FakeTarget()))
        let server = try RemoteServer(session, at: .unix(path: path), RemoteOptions())
        server.close()
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        defer { unlink(path) }
        #expect(throws: RemoteServerError.self) {
            try RemoteServer(session, at: .unix(path: path), RemoteOptions())
        }
        #expect(FileManager.default.fileExists(atPath: path))
    }

    @Test func aPortOfThisHostAlone() throws {
        let session = Session(debugger: try Debugger(target: FakeTarget()))
        let server = try RemoteServer(session, at: try ServerAddress(":0"), RemoteOptions())
        defer { server.close() }
        #expect(server.summary.contains("at :") && !server.summary.contains(":0."))
        #expect(!server.summary.contains("Other hosts"))
        let open = try RemoteServer(session, at: try ServerAddress("0.0.0.0:0"), RemoteOptions())
        defer { open.close() }
        #expect(open.summary.contains("Other hosts"))
        #expect(throws: RemoteServerError.self) {
            try RemoteServer(session, at: try ServerAddress("203.0.113.1:0"), RemoteOptions())
        }
    }

    /// Requests wait until their client takes the answers: nothing grows.
    @Test func aFloodIsHeldBack() throws {
        let fixture = try Fixture()
        let client = try fixture.connect()
        let requests = [UInt8]((0..<500).flatMap { _ in PacketEncoder.packet(Array("x0,10000".utf8)) })
        #expect(Glibc.send(client, requests, requests.count, Int32(MSG_NOSIGNAL)) == requests.count)
        // All are read at once, and would make 32 MB.
        for _ in 0..<10 { fixture.session.serve() }
        #expect(fixture.server.waitingBytes < 2 << 20)
        // Every one is answered in the end.
        var decoder = PacketDecoder(limit: 1 << 20)
        var count = 0
        var part = [UInt8](repeating: 0, count: 1 << 20)
        let end = ContinuousClock.now + .seconds(600)
        while count < 500, ContinuousClock.now < end {
            let got = recv(client, &part, part.count, Int32(MSG_DONTWAIT))
            if got > 0 {
                for case .packet(let data) in decoder.feed(part[..<got]) where data.count == 65536 {
                    count += 1
                }
            }
            fixture.session.serve()
        }
        #expect(count == 500)
        close(client)
        let gone = ContinuousClock.now + .seconds(60)
        while !fixture.server.summary.contains("Waiting"), ContinuousClock.now < gone {
            fixture.session.serve()
        }
        #expect(fixture.server.summary.contains("Waiting"))
    }
}
