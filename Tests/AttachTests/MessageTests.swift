import DebugTarget
import Debugger
import Host
import KVMCore
import Testing
import X86

@testable import Attach

@Suite("The tracer's messages")
struct MessageTests {
    static let machine: LaunchedMachine = {
        var machine = LaunchedMachine(process: 70, descriptor: 9)
        machine.made(1, 14, by: 71)
        machine.made(0, 13, by: 70)
        machine.vcpus[0].hasArrived = true
        var writer = WireWriter(0)
        for value in [3, 0x1000, 0x2000, 0x7000_0000] as [UInt64] { writer.put(value) }
        if let region = LaunchedMachine.Region(Array(writer.bytes.dropFirst())) { machine.set(region) }
        return machine
    }()
    static let requests: [TracerRequest] = [
        .attach(
            process: 7, mappingSize: 12288, syncMask: 7,
            vcpus: [
                TracedVCPU(id: 0, descriptor: 13, thread: 70), TracedVCPU(id: 1, descriptor: 14, thread: 71),
            ]),
        .stop, .go([.init(index: 1, mode: .run), .init(index: 0, mode: .runReportingHandled)]),
        .add(vcpus: [TracedVCPU(id: 7, descriptor: 20, thread: 77)]), .add(vcpus: []),
        .add(vcpus: [
            TracedVCPU(
                id: 7, descriptor: 20, thread: 77, legacy: .init(validRegisters: 1 << 40, isArmed: true)),
            TracedVCPU(id: 8, descriptor: 21, thread: 0, legacy: .init(validRegisters: 3, isArmed: false)),
            TracedVCPU(
                id: 9, descriptor: 22, thread: 78,
                legacy: .init(
                    validRegisters: 0, isArmed: true,
                    record: ThreadRecord(
                        flags: [.held, .atRun, .takingBack], mask: .max, rip: 0x7C00,
                        registers: (0..<ThreadRecord.registersSize).map { UInt8(truncatingIfNeeded: $0) }))),
            TracedVCPU(id: 10, descriptor: 23, thread: 79),
        ]),
        .callValue(descriptor: 3, request: 0xAE80, value: .max),
        .callBytes(descriptor: 3, request: 0x4048_AE9B, argument: [1, 2, 3]),
        .callIndirect(
            descriptor: 3, request: 9, argument: [UInt8](repeating: 7, count: 16), offset: 8, indirect: [9]),
        .patch(gpa: 1 << 40, patch: 0xE6, hidden: [1, 2]), .unpatch(gpa: 0x9000, count: 2),
        .noticed(isPending: true), .noticed(isPending: false), .synchronise(mask: 7),
        .add(vcpus: [TracedVCPU(id: 8, descriptor: 21, thread: 0)]), .close(descriptor: 5), .nudge, .detach,
        .standstills, .progress, .watchCalls,
        .find(process: 7, threads: [8, 9]), .find(process: 7, threads: []),
        .pause(process: 7, threads: [8, 9]), .pause(process: 7, threads: []),
        .launch(arguments: ["qemu", "", "-name", "ü"], input: "/dev/null", output: "/tmp/log"),
        .go([
            .init(
                index: 3, mode: .runReportingHandled,
                plan: UnattendedSteps(count: 1 << 40, places: [0x7C00, .max], before: Self.registers))
        ]),
        .memory([
            MemoryRegion(slot: 2, gpa: 0, size: 0xA_0000, hva: 0x7F00_0000_0000, isReadOnly: false),
            MemoryRegion(slot: 3, gpa: 0xF_0000, size: 0x1_0000, hva: 0x7F00_0010_0000, isReadOnly: true),
        ]), .memory([]),
    ]
    /// Each with a value of its own.
    static var registers: GeneralRegisters {
        var registers = GeneralRegisters()
        for (number, word) in WireReader.words.enumerated() {
            registers[keyPath: word] = UInt64(number + 1) << 32
        }
        registers.rflags = .init(rawValue: 0x246)
        return registers
    }
    static let replies: [TracerReply] = [
        .done, .attached([3, 1 << 50]), .attached([]),
        .refused(HostGuestError(.seccomp, "why", remedy: "what to do")),
        .refused(HostGuestError(.ended, "why")),
        .stopped([.debug, .gone, .elsewhere], spread: 1 << 33), .stopped([], spread: 0),
        .called(result: -22, argument: [1], indirect: [2, 3]), .nudged, .changed,
        .stopped([.absent, .interrupted], spread: 5),
        .found([.init(thread: 8, descriptor: 13)]), .found([]), .progress(.starting), .progress(.hasMachine),
        .progress(.bits32), .progress(.ended(status: 256)),
        .progress(.ready(machine)),
        .standstills(count: 1 << 40, last: 2, total: 3),
        .released(threads: 4, guestDebug: 1, pages: 4, patches: 1 << 20, stood: 9),
        .event(.init(index: 2, standing: .handled, stood: 12345, page: [1, 2, 3, 4])),
        .event(.init(index: 1, standing: .patch, stood: 0, page: [9])),
        .event(
            .init(
                index: 0, standing: .debug, stood: 1, page: [],
                passed: .init(count: 99, last: 1 << 50, registers: [5, 6, 7]))),
    ]

    @Test("requests arrive as they were sent", arguments: requests)
    func request(_ request: TracerRequest) { #expect(TracerRequest(request.encoded[...]) == request) }

    @Test("replies arrive as they were sent", arguments: replies)
    func reply(_ reply: TracerReply) { #expect(TracerReply(reply.encoded[...]) == reply) }

    @Test("a message cut short or too long is refused, not guessed at")
    func damaged() {
        for request in Self.requests {
            let bytes = request.encoded
            for length in 0..<bytes.count {
                #expect(TracerRequest(bytes[..<length]) == nil, "\(request) to \(length)")
            }
            if bytes.count > 1 { #expect(TracerRequest((bytes + [0])[...]) == nil) }
        }
        for reply in Self.replies {
            let bytes = reply.encoded
            // Lists that end with their message.
            guard ![3, 8].contains(bytes.first) else { continue }
            for length in 0..<bytes.count {
                #expect(TracerReply(bytes[..<length]) == nil, "\(reply) to \(length)")
            }
        }
        #expect(TracerRequest([99]) == nil)
        #expect(TracerReply([99]) == nil)
        // A length beyond the message, and an address beside the argument.
        #expect(TracerRequest([5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]) == nil)
        let beside = TracerRequest.callIndirect(
            descriptor: 3, request: 9, argument: [UInt8](repeating: 0, count: 16), offset: 9, indirect: [])
        #expect(TracerRequest(beside.encoded[...]) == nil)
    }

    /// Numbers that look random and are the same each time: xorshift.
    private struct Numbers: RandomNumberGenerator {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }

    @Test("damaged messages are refused, or are others: what was read can be sent, and reads the same")
    func flipped() {
        var numbers = Numbers()
        func damaged(_ bytes: [UInt8]) -> [UInt8] {
            var bytes = bytes
            for _ in 0..<Int.random(in: 1...3, using: &numbers) {
                let place = Int.random(in: 0..<bytes.count, using: &numbers)
                bytes[place] = Bool.random(using: &numbers) ? .max : .random(in: 0...255, using: &numbers)
            }
            if Int.random(in: 0..<4, using: &numbers) == 0 {
                bytes += (0..<Int.random(in: 1...40, using: &numbers)).map { _ in 0x80 }
            }
            return bytes
        }
        var read = 0
        for _ in 0..<400 {
            for request in Self.requests {
                guard let other = TracerRequest(damaged(request.encoded)[...]) else { continue }
                read += 1
                #expect(TracerRequest(other.encoded[...]) == other)
            }
            for reply in Self.replies {
                guard let other = TracerReply(damaged(reply.encoded)[...]) else { continue }
                read += 1
                #expect(TracerReply(other.encoded[...]) == other)
            }
        }
        #expect(read > 1000)
    }

    @Test(
        "a message of any length arrives, also where another comes between its pieces",
        arguments: [
            1, WirePieces.limit - 1, WirePieces.limit, WirePieces.limit + 1, 2 * WirePieces.limit - 2,
            1 << 20,
        ])
    func pieces(length: Int) {
        let message = [25] + (1..<length).map { UInt8(truncatingIfNeeded: $0 &* 0x9E37 >> 3) }
        let cut = WirePieces.cut(message)
        #expect(cut.allSatisfy { $0.count <= WirePieces.limit })
        #expect((cut.count == 1) == (length <= WirePieces.limit))
        var joined = WirePieces()
        for _ in 0..<2 {
            for (place, piece) in cut.enumerated() {
                #expect(joined.take(TracerRequest.nudge.encoded[...]) == TracerRequest.nudge.encoded[...])
                let isLast = place == cut.count - 1
                #expect(joined.take(piece[...]).map(Array.init) == (isLast ? message : nil))
            }
        }
    }

    @Test("a message without an end is not kept")
    func endless() {
        var joined = WirePieces()
        let piece = [0xFE] + [UInt8](repeating: 1, count: WirePieces.limit - 1)
        let taken = (0..<100).compactMap { _ in joined.take(piece[...]) }
        #expect(taken.count == 1 && taken.allSatisfy(\.isEmpty))
        #expect(TracerRequest([]) == nil && TracerReply([]) == nil)
    }

    @Test(
        "a stop is what waitpid's status says",
        arguments: [
            (0x0000, TracedThread.Stop.ended), (0x0100, .ended), (0x0009, .ended), (0x8B, .ended),
            (0x057F, .signal(5)), (0x857F, .systemCall), (0x80_057F, .event(signal: 5)),
            (0x80_137F, .event(signal: 19)), (0x0A7F, .signal(10)),
        ] as [(Int32, TracedThread.Stop)])
    func stop(status: Int32, expected: TracedThread.Stop) {
        #expect(TracedThread.Stop(status: status) == expected)
    }
}
