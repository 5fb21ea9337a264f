import Debugger
import KVMCore
import TargetConformance
import Testing
import X86

@Suite struct SearchTests {
    /// 32-bit paging: the first 4 MiB as they are, and 0x400000 up in an order of their own: pages 9, 5, 6, none, 7.
    private func pagedGuest() throws -> Debugger {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(.physical(0x2000), bytes([0x4003, 0x3007], width: 4))
        try debugger.writeMemory(
            .physical(0x3000), bytes([0x9007, 0x5007, 0x6007, 0, 0x7005], width: 4))
        try debugger.writeMemory(.physical(0x4000), bytes((0..<256).map { $0 << 12 | 3 }, width: 4))
        try debugger.setRegister("cr3", to: 0x2000)
        try debugger.setRegister("cr0", to: 0x8000_0011)
        return debugger
    }

    // MARK: - find

    @Test func findsAcrossPagesWhereverTheyAre() throws {
        let debugger = try pagedGuest()
        let text = Array("needle".utf8)
        // The end of page 9, which page 5 follows; the beginning of page 6; and one that ends in the hole.
        try debugger.writeMemory(.linear(0x40_0FFD), text)
        try debugger.writeMemory(.linear(0x40_1FFF), text)
        try debugger.writeMemory(.linear(0x40_2FFD), Array("nee".utf8))
        try debugger.writeMemory(.linear(0x40_4000), Array("dle".utf8))
        let found = try debugger.find(text, in: .range(.linear(0x40_0000), count: 0x5000), limit: 10)
        #expect(found.matches == [.linear(0x40_0FFD), .linear(0x40_1FFF)])
        #expect(found.end == .complete)
        #expect(found.unreadable == 0x1000)
        #expect(found.searched == 0x4000)
        // By physical address those are whole that cross from page 5 to 6, and from 6 to 7.
        #expect(
            try debugger.find(text, in: .everything, limit: 10).matches == [
                .physical(0x5FFF), .physical(0x6FFD),
            ])
        #expect(
            try debugger.find(text, in: .range(.linear(0x40_0FFE), count: 0x2000), limit: 10).matches == [
                .linear(0x40_1FFF)
            ])
        #expect(
            try debugger.find(
                text, in: .range(.segmented(.register(.ds), offset: 0x40_0000), count: .max), limit: 1
            )
            .matches == [.segmented(.register(.ds), offset: 0x40_0FFD)])
    }

    @Test func matchesOverlapAndAreLimited() throws {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(.physical(0x8000), [1, 1, 1, 1, 2])
        let range = SearchRange.range(.physical(0x8000), count: 16)
        #expect(try debugger.find([1, 1], in: range, limit: 9).matches.count == 3)
        let cut = try debugger.find([1, 1], in: range, limit: 2)
        #expect(cut.matches == [.physical(0x8000), .physical(0x8001)])
        #expect(cut.end == .limit)
        #expect(try debugger.find([1, 1], in: range, limit: 3).end == .complete)
        #expect(debuggerError { _ = try debugger.find([], in: range, limit: 1) }?.code == .outOfRange)
        // The last byte counts, the one after it does not.
        #expect(
            try debugger.find([1, 2], in: .range(.physical(0x8000), count: 4), limit: 1).matches.isEmpty)
        #expect(
            try debugger.find([1, 2], in: .range(.physical(0x8000), count: 5), limit: 1).matches.count == 1)
    }

    @Test func theUserEndsASearch() throws {
        let debugger = try pagedGuest()
        var asked = 0
        let found = try debugger.find([0xCC], in: .everything, limit: 1) {
            asked += 1
            return true
        }
        #expect(found.end == .interrupted && found.searched == 0 && asked == 1)
    }

    /// Against the plainest search there is.
    @Test func agreesWithAPlainSearch() throws {
        let debugger = try pagedGuest()
        var random = SystemRandomNumberGenerator()
        let content = (0..<0x3000).map { _ in UInt8(random.next() & 1) }
        try debugger.writeMemory(.linear(0x40_0000), content)
        for length in [1, 2, 3, 7, 16, 300] {
            let start = Int(random.next() % UInt64(content.count - length))
            let pattern = Array(content[start..<start + length])
            let expected = (0...(content.count - length)).filter {
                content[$0..<$0 + length].elementsEqual(pattern)
            }
            let found = try debugger.find(
                pattern, in: .range(.linear(0x40_0000), count: 0x3000), limit: .max - 1)
            #expect(found.matches == expected.map { .linear(0x40_0000 + UInt64($0)) })
        }
    }

    // MARK: - crc

    @Test func checksums() throws {
        let debugger = try pagedGuest()
        try debugger.writeMemory(.linear(0x40_0FFC), Array("123456789".utf8))
        // The check value of CRC-32 (ISO-HDLC).
        #expect(try debugger.crc32(.linear(0x40_0FFC), count: 9) == 0xCBF4_3926)
        #expect(try debugger.crc32(.physical(0x100), count: 32) == 0x190A_55AD, "zeros")
        #expect(debuggerError { _ = try debugger.crc32(.linear(0x40_2FFF), count: 2) }?.code == .unreadable)
        #expect(debuggerError { _ = try debugger.crc32(.linear(0x40_3000), count: 2) }?.code == .unreadable)
        #expect(debuggerError { _ = try debugger.crc32(.physical(0xF_FFFF), count: 2) }?.code == .unreadable)
        let ended = debuggerError { _ = try debugger.crc32(.physical(0), count: 64) { true } }
        #expect(ended?.code == .interrupted)
    }

    // MARK: - pages

    @Test func mapsAndTheWayBack() throws {
        let debugger = try pagedGuest()
        let map = try debugger.pageMap(in: 0x40_0000...0x7F_FFFF, grouping: .permissions, limit: 10)
        #expect(map.runs.map(\.linear) == [0x40_0000, 0x40_4000])
        #expect(map.runs.map(\.pages) == [3, 1])
        #expect(map.runs.map(\.isContiguous) == [false, true])
        #expect(map.runs[1].mapping.permissions == "r-x user")
        let physical = try debugger.pageMap(in: 0x40_0000...0x7F_FFFF, grouping: .physical, limit: 10)
        #expect(physical.runs.map(\.pages) == [1, 2, 1])
        let cut = try debugger.pageMap(grouping: .pages, limit: 3)
        #expect(cut.runs.count == 3 && cut.end == .limit)
        #expect(
            try debugger.linearAddresses(of: 0x5123, limit: 10).pages.map(\.linear) == [0x5000, 0x40_1000])
        #expect(try debugger.linearAddresses(of: 0x5123, limit: 1).end == .limit)
    }

    /// Page tables whose every entry is the table itself, in IA-32e mode.
    @Test func cyclicTablesEndWhenTheUserSays() throws {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(.physical(0x2000), bytes([UInt64](repeating: 0x2007, count: 512), width: 8))
        try debugger.setRegister("cr3", to: 0x2000)
        try debugger.setRegister("cr4", to: 0x20)
        try debugger.setRegister("efer", to: 0x100)
        try debugger.setRegister("cr0", to: 0x8000_0011)
        #expect(try debugger.walk(.linear(0)).mode == .level4)
        var asked = 0
        let map = try debugger.pageMap(grouping: .permissions, limit: 10) {
            asked += 1
            return asked > 50
        }
        #expect(map.end == .interrupted)
        #expect(map.runs.count == 1, "all that was met allows the same")
        #expect(try debugger.linearAddresses(of: 0x2000, limit: 5).pages.count == 5)
        #expect(try debugger.linearAddresses(of: 0x9000, limit: 5) { true }.end == .interrupted)
        let found = try debugger.find([0xCC], in: .range(.linear(0), count: .max), limit: 5) {
            asked += 1
            return asked > 100
        }
        #expect(found.end == .interrupted)
        #expect(try debugger.walk(.linear(0x1234_5678)).gpa == 0x2678)
    }

    // MARK: - pointers

    @Test func chainsEnd() throws {
        let debugger = try pagedGuest()
        try debugger.setRegister("cs.db", to: 1)
        try debugger.setRegister("ss.db", to: 1)
        func chain(_ pointer: UInt64) throws -> PointerChain? { try debugger.pointerChain(from: pointer) }
        // A loop of two, one that points to itself, text, a number, and what points nowhere.
        try debugger.writeMemory(
            .linear(0x40_0000), bytes([0x40_0010, 0, 0, 0, 0x40_0000, 0x40_0014], width: 4))
        #expect(
            try chain(0x40_0000)
                == PointerChain(addresses: [0x40_0000, 0x40_0010], end: .loop(to: 0x40_0000)))
        #expect(try chain(0x40_0014) == PointerChain(addresses: [0x40_0014], end: .loop(to: 0x40_0014)))
        try debugger.writeMemory(.linear(0x40_0100), Array("boot\n".utf8) + [0])
        #expect(try chain(0x40_0100)?.end == .string("boot\n", isCut: false))
        try debugger.writeMemory(.linear(0x40_0200), bytes([0x2A], width: 4))
        #expect(try chain(0x40_0200)?.end == .value(0x2A))
        #expect(try chain(0x40_3000) == nil, "not mapped")
        #expect(try chain(0xFFF) == nil, "a number")
        // Endless: each word points to the next one.
        try debugger.writeMemory(
            .linear(0x40_1000), bytes((1...1024).map { 0x40_1000 + $0 * 4 }, width: 4))
        let long = try chain(0x40_1000)
        #expect(long?.addresses.count == 5 && long?.end == .more)
        // The last bytes before a hole.
        try debugger.writeMemory(.linear(0x40_2FFE), [7, 7])
        #expect(try chain(0x40_2FFE)?.end == .value(7))

        try debugger.setRegister("esp", to: 0x40_0010)
        try debugger.setRegister("ebp", to: 0x40_0014)
        let rows = try debugger.telescope(count: 2)
        #expect(rows.map(\.registers) == [["rsp"], ["rbp"]])
        #expect(rows.map(\.value) == [0x40_0000, 0x40_0014])
        #expect(rows[1].chain?.end == .loop(to: 0x40_0014))
        #expect(debuggerError { _ = try debugger.telescope(at: .physical(0), count: 1) }?.code == .badAddress)
    }

    @Test func in16BitModesNumbersAreNumbers() throws {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(.physical(0x6FFE), [0x00, 0x7C])
        try debugger.setRegister("sp", to: 0x6FFE)
        let rows = try debugger.telescope(count: 1)
        #expect(rows.map(\.value) == [0x7C00] && rows[0].width == 2)
        #expect(rows[0].chain == nil)
    }

    // MARK: - tables and events

    @Test func tables() throws {
        let debugger = try pagedGuest()
        try debugger.writeMemory(
            .linear(0x40_0000), bytes([0, 0x00CF_9B00_0000_FFFF, 0x0000_8900_5000_0067], width: 8))
        try debugger.setRegister("gdtr.base", to: 0x40_0000)
        try debugger.setRegister("gdtr.limit", to: 0x17)
        let gdt = try debugger.table(.gdt, count: 100)
        #expect(gdt.entries.map(\.index) == [0, 1, 2] && gdt.unreadable == nil && !gdt.isCut)
        #expect(gdt.entries[0].descriptor == .null)
        #expect(gdt.entries[1].descriptor.description.contains("code exec/read"))
        try debugger.setRegister("gdtr.limit", to: 0xFFFF)
        #expect(try debugger.table(.gdt, count: 10_000).unreadable == 0x3000 / 8)
        #expect(try debugger.table(.gdt, from: 1, count: 1).entries.map(\.index) == [1])
        #expect(try debugger.table(.gdt, from: 1, count: 1).isCut)
        #expect(try debugger.table(.gdt, from: 9000, count: 1).entries.isEmpty)
        #expect(debuggerError { _ = try debugger.table(.ldt, count: 1) }?.code == .refused)
        #expect(try debugger.tableEntry(.gdt, 2).address == 0x40_0010)
        #expect(debuggerError { _ = try debugger.tableEntry(.gdt, .max) }?.code == .outOfRange)
    }

    @Test(arguments: EventField.all.map(\.name))
    func everyEventIsSet(_ name: String) throws {
        let (debugger, _) = try debugger()
        let field = try #require(EventField("events.\(name)"))
        try debugger.setEvent(field, 1)
        for other in EventField.all {
            #expect(other.value(in: try debugger.events()) == (other.name == name ? 1 : 0))
        }
    }
}
