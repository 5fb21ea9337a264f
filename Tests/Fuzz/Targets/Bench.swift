import Commands
import DAP
import DebugTarget
import Debugger
import Expressions
import Foundation
import GDBRemote
import Machine
import Symbols
import TargetConformance
import X86

/// A debugger on a guest without KVM, used for many inputs; what they leave in it does not grow for ever.
final class Bench {
    // SAFETY: libFuzzer calls from one thread, and so does the test.
    nonisolated(unsafe) private static var shared: (bench: Bench, uses: Int)?

    /// One that was used fewer than `most` times.
    static func current(uses most: Int) -> Bench {
        if let (bench, uses) = shared, uses < most {
            shared = (bench, uses + 1)
            return bench
        }
        let bench = Bench()
        shared = (bench, 0)
        return bench
    }

    private let debugger: Debugger
    private let session: Session
    /// A file without a name, in memory.
    private let file: Int32
    private var path: String { "/proc/self/fd/\(file)" }

    /// Whether what commands yield is read as text and as JSON.
    private var readsOutput = true
    /// How long a command may take.
    private var limit = Duration.milliseconds(40)

    /// When a command that takes long is ended, as Ctrl-C ends it.
    private var patience = ContinuousClock.now

    private init() {
        do {
            debugger = try Debugger(target: FakeTarget())
        } catch {
            fatalError("\(error)")
        }
        session = Session(debugger: debugger)
        // An input may be a script: it runs no program, and names no file.
        session.hostAccess = []
        var name = Array("/dev/shm/kvmscope-fuzz-XXXXXX".utf8CString)
        // SAFETY: the array is terminated, and mkstemp writes within it.
        file = mkstemp(&name)
        guard file >= 0 else { fatalError("no file in memory: errno \(errno)") }
        // It is reached by its descriptor, and gone with it.
        unlink(name)
        // Names are a file's, too: two of them would drive a terminal.
        let names = [
            "7c00 T start", "7c02 t red\u{1B}[31m", "7c03 t _\u{1B}]0;title\u{7}\u{9B}m", "7c40 t loop",
            "7e00 D ip", "200 a SECTOR",
        ]
        let map = Array(names.joined(separator: "\n").utf8)
        _ = try? debugger.loadSymbols(of: map, as: "map")
        // nop; inc ax; jnz 0x7c00; hlt
        _ = try? debugger.writeMemory(.physical(0x7C00), [0x90, 0x40, 0x75, 0xFC, 0xF4])
        session.cancelRequested = { [unowned self] in ContinuousClock.now > patience }
    }

    deinit { close(file) }

    // MARK: expressions

    func evaluate(_ text: String) {
        let snapshot = debugger.selected
        do {
            let expression = try debugger.expression(text)
            let value = try expression.evaluate(
                snapshot.registers, snapshot.special, memory: debugger.target.memory)
            // What a value says of itself is true: its bits are those of its width, extended.
            let again = Value(bits: value.bits, width: value.width, isSigned: value.isSigned)
            precondition(again.width == value.width && again.bits == value.bits, "\(value)")
            _ = debugger.remember(value)
            // These are read once more: as FILE:LINE, and as the value of an expression.
            if text.utf8.contains(UInt8(ascii: ":")) || text.utf8.first == UInt8(ascii: "*") {
                _ = try debugger.location(text)
            }
        } catch {
            precondition(!error.message.isEmpty)
            // An error stands within the text, or right after it.
            if let column = error.column {
                precondition(column >= 0 && column <= text.count, "column \(column) of \(text.count)")
            }
        }
    }

    // MARK: commands

    func command(_ line: String) {
        do {
            for argument in try session.arguments(of: line) { evaluate(argument) }
        } catch {
            check(error, line)
        }
        // Completion looks into directories where a path stands.
        guard !line.contains("/"), !line.contains("~") else { return }
        complete(line, cursor: line.utf8.count / 2)
        complete(line, cursor: line.utf8.count)
    }

    private func complete(_ line: String, cursor: Int) {
        let found = session.complete(line, cursor: cursor)
        let bytes = Array(line.utf8)
        precondition(found.start >= 0 && found.start <= bytes.count)
        guard let first = found.candidates.first else { return }
        // Candidates go on with what stands there, sorted, each once.
        let typed = bytes[found.start..<max(found.start, min(cursor, bytes.count))]
        precondition(Array(first.text.utf8).starts(with: typed) || !line.utf8.allSatisfy { $0 < 0x80 })
        for (a, b) in zip(found.candidates, found.candidates.dropFirst()) {
            precondition(a.text < b.text, "\(a.text), \(b.text)")
        }
    }

    private func check(_ error: CommandError, _ line: String) {
        precondition(!error.message.isEmpty)
        guard readsOutput else { return }
        if let column = error.column, !error.line.isEmpty {
            precondition(column >= 0 && column <= error.line.count, "\(column): \(error)")
        }
        check(error.lines(width: 80))
    }

    /// Nothing of a guest's or a file's drives the terminal.
    private func check(_ lines: [StyledLine]) {
        for span in lines.lazy.flatMap(\.spans) {
            let isSafe = span.text.unicodeScalars.allSatisfy {
                $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value)
            }
            precondition(isSafe, "a control character: \(span.text)")
        }
    }

    func session(
        _ text: String, readsOutput: Bool = true, limit: Duration = .milliseconds(40)
    ) {
        (self.readsOutput, self.limit) = (readsOutput, limit)
        defer { self.readsOutput = true }
        // A new line of the input is a new line of the user's.
        for line in text.split(separator: "\n").prefix(16) {
            let line = String(line)
            // Files are not for an input to name; and it would not end what waits for lines.
            if let command = session.command(of: line), command.completion.contains(.file) { continue }
            perform(line)
        }
        session.abandonBlock()
        session.cancelQueue()
    }

    /// What a line leaves to do: so many steps of it.
    private func drain() {
        for _ in 0..<64 {
            guard let next = session.advance() else { return }
            switch next.result {
            case .success(.done(let output)): check(output, next.line)
            case .success(.running): collect()
            case .success(.quit): return
            case .failure(let error):
                check(error, next.line)
                precondition(error.place != nil, "\(error)")
            }
        }
    }

    private func perform(_ line: String) {
        patience = .now + limit
        do {
            switch try session.execute(line, origin: .interactive) {
            case .done(let output):
                check(output, line)
                drain()
            case .running(let running):
                check(running, line)
                session.interrupt()
                while session.isRunning {
                    if let stop = try session.collectStop(timeout: .milliseconds(1)) { check(stop, line) }
                }
            case .quit: break
            }
        } catch {
            check(error, line)
            if readsOutput { checkJSON(JSONRecord.line(command: line, error: error)) }
        }
    }

    private func check(_ output: any CommandOutput, _ line: String) {
        guard readsOutput else { return }
        check(output.lines(width: 80))
        checkJSON(JSONRecord.line(command: line, result: output))
    }

    private func checkJSON(_ record: String) {
        precondition(!record.contains("could not be encoded"), record)
        precondition(!record.utf8.contains { $0 < 0x20 }, record)
        let parsed = try? JSONSerialization.jsonObject(with: Data(record.utf8)) as? [String: Any]
        precondition(parsed?["command"] is String && parsed?["ok"] is Bool, record)
    }

    // MARK: other programs

    /// A connection's bytes. The first says how the conversation begins.
    func remote(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        patience = .now + .milliseconds(40)
        let layouts = LayoutChoice.allCases
        let options = RemoteOptions(
            layout: layouts[Int(first) % layouts.count], ownsGuest: first & 0x80 == 0)
        let service = FuzzedService(session, options)
        session.use(service)
        // A sum that is right is hard to find, and worth nothing.
        var decoder = PacketDecoder(limit: RemoteSession.packetSize)
        decoder.checks = false
        for event in decoder.feed(bytes.dropFirst()) {
            if case .packet(let data) = event, !mayGive(data) { continue }
            service.remote.take(event)
            if event == .stranger || service.remote.isOver { break }
            if session.isRunning { collect() }
        }
        collect()
        session.disconnectPolicy = .stop
        session.stopService()
        session.cancelQueue()
        session.abandonBlock()
        collect()
        precondition(!debugger.breakpoints.contains { $0.origin != nil }, "a breakpoint of nobody's")
        service.check()
        session.disconnectPolicy = .automatic
    }

    /// Files are not for an input to name.
    private func mayGive(_ data: [UInt8]) -> Bool {
        let prefix = Array("qRcmd,".utf8)
        guard data.starts(with: prefix), let line = hexBytes(data.dropFirst(prefix.count)) else {
            return true
        }
        guard let command = session.command(of: String(decoding: line, as: UTF8.self)) else { return true }
        return !command.completion.contains(.file)
    }

    func adapter(_ bytes: [UInt8]) {
        patience = .now + .milliseconds(40)
        var sent: [UInt8] = []
        let adapter = DebugAdapter(
            starter: { [session] _, _ in DebugAdapter.StartedSession(session, ownsGuest: bytes.count % 2 == 0)
            },
            send: { sent += $0 })
        for message in Self.messages(bytes) where mayGive(message) {
            adapter.take(MessageDecoder.packet(message))
            adapter.collect()
            if adapter.isOver { break }
        }
        collect()
        adapter.leave(ends: false)
        collect()
        session.cancelQueue()
        session.abandonBlock()
        precondition(!debugger.breakpoints.contains { $0.origin != nil }, "a breakpoint of nobody's")
        var decoder = MessageDecoder()
        for event in decoder.feed(sent) {
            guard case .message(let message) = event, message["seq"] != nil else { fatalError("\(event)") }
        }
    }

    private static func messages(_ bytes: [UInt8]) -> [JSONValue] {
        guard bytes.first == 0 else {
            var decoder = MessageDecoder()
            return decoder.feed(bytes).compactMap { if case .message(let value) = $0 { value } else { nil } }
        }
        return bytes.dropFirst().split(separator: 10).prefix(16).compactMap { JSONValue($0) }
    }

    private func mayGive(_ message: JSONValue) -> Bool {
        guard let line = message["arguments"]?["expression"]?.text, let command = session.command(of: line)
        else {
            return true
        }
        return !command.completion.contains(.file)
    }

    private func collect() {
        var turns = 0
        while session.isRunning {
            if turns == 1 { session.interrupt() }
            _ = try? session.passStop(timeout: .milliseconds(1))
            turns += 1
        }
    }

    // MARK: files

    func symbols(_ bytes: [UInt8], magic: [UInt8]) {
        var image = bytes
        for (place, byte) in magic.enumerated() where place < image.count { image[place] = byte }
        debugger.clearSymbols()
        do {
            let source = try debugger.loadSymbols(of: image, as: "file", .moved(by: 0x1000))
            for address in [0, source.start, source.end &- 1, UInt64.max] {
                if let place = debugger.symbols.place(at: address) {
                    precondition(place.symbol.address &+ place.offset == address)
                }
                if let line = debugger.symbols.line(at: address) {
                    precondition(line.line > 0 && line.start <= address)
                    _ = debugger.symbols.code(ofLine: line.line, path: line.path)
                }
            }
        } catch {
            precondition(!error.message.isEmpty)
        }
    }

    /// What is loaded lies in RAM, and starts where code can be.
    func loader(_ bytes: [UInt8]) {
        guard let choice = bytes.first else { return }
        let image = Array(bytes.dropFirst())
        ftruncate(file, 0)
        _ = image.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
        let kinds: [ImageKind?] = [nil] + ImageKind.allCases
        let modes: [EntryMode?] = [nil] + EntryMode.allCases
        var machine = MachineConfiguration()
        machine.ramSize = choice & 0x80 == 0 ? 4 << 20 : 32 << 20
        let request = ImageRequest(
            path: path, kind: kinds[Int(choice & 0xF) % kinds.count],
            mode: modes[Int(choice >> 4 & 3) % modes.count],
            commandLine: choice & 0x40 == 0 ? nil : "quiet")
        guard let loaded = try? request.load(machine) else { return }
        for part in loaded.parts {
            precondition(part.address < machine.ramSize, part.name)
            precondition(UInt64(part.bytes.count) <= machine.ramSize - part.address, part.name)
        }
        precondition(loaded.entry.address < 1 << 32)
    }

    func image(_ bytes: [UInt8]) {
        ftruncate(file, 0)
        _ = bytes.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
        if let sector = try? GuestImage.bootSector(path: path) {
            precondition(sector.parts[0].bytes == bytes)
        }
        let address = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        if let flat = try? GuestImage.flat(path: path, at: address, ramSize: 1 << 20) {
            precondition(flat.parts[0].bytes == bytes)
            // Real mode reaches what lies below 1 MiB, and starts where it was asked to.
            precondition(flat.entry.address == address, "\(flat.entry) for \(address)")
        }
        _ = try? GuestImage(name: "", bytes: bytes, at: address, entry: address)
    }
}

/// A client's conversation; what it is answered is taken apart again.
private final class FuzzedService: SessionService {
    private final class Sent { var bytes: [UInt8] = [] }

    let remote: RemoteSession
    private let sent = Sent()
    var summary: String { "fuzzed" }
    var descriptor: Int32 { -1 }

    init(_ session: Session, _ options: RemoteOptions) {
        let sent = sent
        remote = RemoteSession(session: session, options: options) { sent.bytes += $0 }
    }

    func serve() {}
    func guestStopped(_ stop: Stop) { remote.guestStopped(stop) }
    func stopFailed(_ error: DebuggerError) { remote.stopFailed(error) }
    func close() { remote.leave() }

    /// Every answer is a whole packet with a right sum.
    func check() {
        var decoder = PacketDecoder(limit: 1 << 24, expandsRuns: true)
        for event in decoder.feed(sent.bytes) {
            switch event {
            case .packet, .acknowledged, .resend: break
            default: fatalError("\(event)")
            }
        }
    }
}
