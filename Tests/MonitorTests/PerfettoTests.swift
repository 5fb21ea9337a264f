import RecordedHosts
import Testing

@testable import Monitor

/// Perfetto's traces, read again by the wire format's rules.
@Suite struct PerfettoTests {
    /// A message's fields, in their order.
    private struct Message {
        enum Value {
            case number(UInt64)
            case bytes([UInt8])
        }
        var fields: [(number: UInt64, value: Value)] = []

        init(_ bytes: [UInt8]) throws {
            var at = 0
            func varint() throws -> UInt64 {
                var value: UInt64 = 0
                for shift in stride(from: UInt64(0), to: 70, by: 7) {
                    let byte = try #require(at < bytes.count ? bytes[at] : nil)
                    at += 1
                    value |= UInt64(byte & 0x7F) << shift
                    if byte < 0x80 { break }
                }
                return value
            }
            while at < bytes.count {
                let tag = try varint()
                if tag & 7 == 0 {
                    fields.append((tag >> 3, .number(try varint())))
                } else {
                    try #require(tag & 7 == 2)
                    let count = Int(try varint())
                    try #require(at + count <= bytes.count)
                    fields.append((tag >> 3, .bytes(Array(bytes[at..<at + count]))))
                    at += count
                }
            }
        }

        func number(_ field: UInt64) -> UInt64? {
            for (number, value) in fields where number == field {
                if case .number(let n) = value { return n }
            }
            return nil
        }
        func text(_ field: UInt64) -> String? {
            bytes(field).first.map { String(decoding: $0, as: UTF8.self) }
        }
        func bytes(_ field: UInt64) -> [[UInt8]] {
            fields.compactMap {
                if $0.number == field, case .bytes(let bytes) = $0.value { bytes } else { nil }
            }
        }
        func messages(_ field: UInt64) throws -> [Message] { try bytes(field).map { try Message($0) } }
    }

    private struct Slice: Equatable {
        var track: UInt64
        var name: String
        var begin: UInt64
        var end: UInt64
    }

    /// The slices of a trace, whose begins and ends have to match, and its instants.
    private func slices(_ trace: [UInt8]) throws -> (
        slices: [Slice], instants: [String], tracks: [UInt64: String]
    ) {
        var names: [UInt64: String] = [:]
        var open: [UInt64: Slice] = [:]
        var slices: [Slice] = []
        var instants: [String] = []
        var tracks: [UInt64: String] = [:]
        for packet in try Message(trace).messages(1) {
            for data in try packet.messages(12) {
                for entry in try data.messages(2) { names[try #require(entry.number(1))] = entry.text(2) }
            }
            for track in try packet.messages(60) {
                let process = try track.messages(3).first
                tracks[try #require(track.number(1))] = try #require(process?.text(6) ?? track.text(2))
            }
            guard let event = try packet.messages(11).first else { continue }
            let time = try #require(packet.number(8))
            #expect(packet.number(58) == 3 && packet.number(10) == 1)
            let track = try #require(event.number(11))
            let name = event.number(10).flatMap { names[$0] } ?? event.text(23)
            switch event.number(9) {
            case 1:
                #expect(open[track] == nil)
                open[track] = Slice(track: track, name: try #require(name), begin: time, end: 0)
            case 2:
                let begun = open.removeValue(forKey: track)
                var slice = try #require(begun)
                slice.end = time
                slices.append(slice)
            default: instants.append(try #require(name))
            }
        }
        #expect(open.isEmpty)
        return (slices, instants, tracks)
    }

    private func trace(_ events: [ExitEvent], lost: (UInt64, UInt64)? = nil) throws -> [UInt8] {
        let file = RecordingTests.File()
        var writer = try RecordingWriter(RecordingTests.start, sink: file.write)
        try writer.guests(RecordingTests.guests, owners: [:], at: 1000)
        for event in events { try writer.add(event) }
        if let lost { try writer.lost(lost.0, at: lost.1) }
        try writer.end(at: 10_000)
        var bytes: [UInt8] = []
        #expect(try PerfettoTrace.write(try file.reader(), sink: { bytes += $0 }) == .whole)
        return bytes
    }

    @Test func aVCPUsTimeIsSlices() throws {
        let found = try slices(
            try trace([
                ExitEvent(time: 1000, thread: 101, .entry),
                ExitEvent(time: 2000, thread: 101, .exit(code: 1 << 32 | 30, instructionPointer: 5)),
                ExitEvent(
                    time: 2100, thread: 101,
                    .count(kind: .port, code: CounterKey.write | 0x80, emulation: .begins)),
                ExitEvent(time: 2500, thread: 101, .userspaceExit(code: 2)),
                ExitEvent(time: 4000, thread: 101, .entry),
                ExitEvent(time: 4500, thread: 102, .exit(code: 1 << 32 | 12, instructionPointer: 5)),
                ExitEvent(time: 5000, thread: 101, .timed(kind: .halt, code: 1, nanoseconds: 70)),
            ]))
        let first: UInt64 = 2 << 32 | 101
        let second: UInt64 = 2 << 32 | 102
        #expect(
            found.slices == [
                Slice(track: first, name: "guest", begin: 1000, end: 2000),
                Slice(track: first, name: "kvm_exit(IO_INSTRUCTION)", begin: 2000, end: 2500),
                Slice(track: first, name: "VMM: reason 2", begin: 2500, end: 4000),
                Slice(track: first, name: "guest", begin: 4000, end: 10_000),
                Slice(track: second, name: "kvm_exit(HLT)", begin: 4500, end: 10_000),
            ])
        #expect(found.instants == ["port 0x80 out", "halt"])
        #expect(found.tracks == [first: "vCPU 0", second: "vCPU 1", 1 << 32 | 100: "web\n\"1\" (QEMU)"])
    }

    @Test func withoutHardwareExitsGuestAndVMMAreOneAndSaidSo() throws {
        let found = try slices(
            try trace([
                ExitEvent(
                    time: 2100, thread: 101,
                    .count(kind: .port, code: CounterKey.write | 0x80, emulation: .begins)),
                ExitEvent(time: 2500, thread: 101, .userspaceExit(code: 2)),
                ExitEvent(time: 2600, thread: 101, .count(kind: .mmio, code: 0xFEE00, emulation: .begins)),
                ExitEvent(time: 2700, thread: 101, .userspaceExit(code: 6)),
            ]))
        #expect(
            found.slices.map(\.name) == [
                "emulation: port 0x80 out", "VMM, then guest: reason 2", "emulation: MMIO 0xfee00000 read",
                "VMM, then guest: reason 6",
            ])
    }

    @Test func aGapEndsWhatIsOpen() throws {
        let found = try slices(try trace([ExitEvent(time: 1000, thread: 101, .entry)], lost: (44, 3000)))
        #expect(found.slices.map(\.end) == [3000])
        #expect(found.instants == ["44 records lost"])
    }
}
