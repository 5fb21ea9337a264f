import SystemPackage
import Testing

@testable import KVMCore

/// A made-up statistics file: header, id, two descriptors with names of 16 bytes, data.
private struct File {
    var bytes: [UInt8]

    init() {
        bytes = [UInt8](repeating: 0, count: 24 + 16 + 2 * 32 + 40)
        bytes.store(16 as UInt32, at: 4)  // name_size
        bytes.store(2 as UInt32, at: 8)  // num_desc
        bytes.store(24 as UInt32, at: 12)  // id_offset
        bytes.store(40 as UInt32, at: 16)  // desc_offset
        bytes.store(104 as UInt32, at: 20)  // data_offset
        text("kvm-7/vcpu-0", at: 24)
        // A cumulative count.
        bytes.store(1 as UInt16, at: 46)
        text("exits", at: 56)
        // A linear histogram of nanoseconds, buckets of 500.
        bytes.store(0x23 as UInt32, at: 72)
        bytes.store(UInt16(bitPattern: -9), at: 76)
        bytes.store(4 as UInt16, at: 78)
        bytes.store(8 as UInt32, at: 80)
        bytes.store(500 as UInt32, at: 84)
        text("wait_hist_16bytes_and_no_zero", at: 88, limit: 16)
        for index in 0..<5 { bytes.store(UInt64(100 + index), at: 104 + index * 8) }
    }

    mutating func text(_ text: String, at offset: Int, limit: Int = .max) {
        for (index, byte) in text.utf8.prefix(limit).enumerated() { bytes[offset + index] = byte }
    }

    func read(_ offset: UInt64, _ count: Int) throws(KVMError) -> [UInt8] {
        guard offset <= UInt64(bytes.count), UInt64(count) <= UInt64(bytes.count) - offset else {
            throw KVMError("read statistics", .invalidArgument)
        }
        return Array(bytes[Int(offset)..<Int(offset) + count])
    }

    func statistics() throws -> [Statistic] {
        let layout = try StatisticsLayout(read)
        return layout.statistics(try read(layout.dataOffset, layout.dataSize))
    }
}

@Suite struct StatisticsTests {
    @Test func countersAndHistogramsAreNamedValues() throws {
        #expect(try StatisticsLayout(File().read).id == "kvm-7/vcpu-0")
        #expect(
            try File().statistics() == [
                Statistic(
                    name: "exits", kind: .cumulative, unit: .none, exponent: 0, radix: 10, values: [100]),
                Statistic(
                    name: "wait_hist_16byte", kind: .linearHistogram(bucketSize: 500), unit: .seconds,
                    exponent: -9, radix: 10, values: [101, 102, 103, 104]),
            ])
    }

    @Test(
        arguments: [
            (0x011, .instant, .bytes, 10), (0x132, .peak, .cycles, 2), (0x144, .logHistogram, .boolean, 2),
            (0x25F, .other(15), .other(5), 0),
        ] as [(UInt32, Statistic.Kind, Statistic.Unit, Int)])
    func flags(_ flags: UInt32, kind: Statistic.Kind, unit: Statistic.Unit, radix: Int) throws {
        var file = File()
        file.bytes.store(flags, at: 40)
        let first = try #require(try file.statistics().first)
        #expect(first.kind == kind)
        #expect(first.unit == unit)
        #expect(first.radix == radix)
    }

    @Test(
        "a file that claims what it does not hold is refused",
        arguments: [
            (4, 0), (4, .max), (8, .max), (8, 3), (12, .max), (16, 4000), (20, 4000), (48, .max), (80, 4096),
        ] as [(Int, UInt32)])
    func hostile(offset: Int, value: UInt32) {
        var file = File()
        file.bytes.store(value, at: offset)
        #expect(throws: KVMError.self) { try file.statistics() }
    }
}
