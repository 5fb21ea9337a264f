import DebugTarget
import KVMCore
import Testing
import X86

@testable import Machine

/// How RAM is cut into memslots as pages are protected, and put together again.
@Suite("Memory slots", .enabled(if: isLive, "needs /dev/kvm"))
struct MemorySlotsTests {
    /// RAM of 16 pages at 0 and of 4 at 0x100000.
    private final class Fixture {
        let vm: VirtualMachine
        let memories: [GuestMemory]
        var slots: MemorySlots

        init(rom: Range<UInt64>? = nil) throws {
            let kvm = try KVM.open()
            vm = try kvm.createVM()
            memories = [
                try GuestMemory(gpa: 0, size: 0x10000), try GuestMemory(gpa: 0x10_0000, size: 0x4000),
            ]
            slots = try MemorySlots(memories, rom: rom, vm: vm)
        }

        func protect(_ page: UInt64, _ access: PageAccess?) throws {
            try slots.protect(page: page, access, vm)
        }

        /// `0-fff w` a segment, `-` for no slot: in order.
        var layout: [String] {
            slots.segments.map {
                let range = $0.range
                let access =
                    ($0.isROM ? " rom" : "") + ($0.access.map { $0 == .readOnly ? " ro" : " none" } ?? "")
                let end = String(range.upperBound - 1, radix: 16)
                return String(range.lowerBound, radix: 16) + "-" + end + access + ($0.slot == nil ? " -" : "")
            }
        }

        /// No number is used twice.
        var isConsistent: Bool {
            let numbers = slots.segments.compactMap(\.slot)
            return Set(numbers).count == numbers.count
        }
    }

    @Test func aROMStaysOne() throws {
        let fixture = try Fixture(rom: 0x8000..<0xC000)
        let whole = ["0-7fff", "8000-bfff rom", "c000-ffff", "100000-103fff"]
        #expect(fixture.layout == whole)
        // A page of it that is protected, and one beside it.
        try fixture.protect(0x8000, .readOnly)
        try fixture.protect(0x7000, .readOnly)
        #expect(
            fixture.layout == [
                "0-6fff", "7000-7fff ro", "8000-8fff rom ro", "9000-bfff rom", "c000-ffff", "100000-103fff",
            ])
        try fixture.slots.suspend(fixture.vm)
        try fixture.slots.resume(fixture.vm)
        try fixture.protect(0x8000, nil)
        try fixture.protect(0x7000, nil)
        #expect(fixture.layout == whole)
        #expect(fixture.isConsistent)
    }

    @Test func pagesAreCutOutAndPutTogetherAgain() throws {
        let fixture = try Fixture()
        let whole = ["0-ffff", "100000-103fff"]
        #expect(fixture.layout == whole)
        try fixture.protect(0x5123, .readOnly)
        #expect(fixture.layout == ["0-4fff", "5000-5fff ro", "6000-ffff", "100000-103fff"])
        // A neighbour that is protected alike is one with it, a different one is not.
        try fixture.protect(0x6000, .readOnly)
        #expect(fixture.layout == ["0-4fff", "5000-6fff ro", "7000-ffff", "100000-103fff"])
        try fixture.protect(0x4000, PageAccess.none)
        #expect(
            fixture.layout == ["0-3fff", "4000-4fff none -", "5000-6fff ro", "7000-ffff", "100000-103fff"])
        // Twice is once.
        try fixture.protect(0x4000, PageAccess.none)
        try fixture.protect(0x5000, nil)
        #expect(
            fixture.layout == [
                "0-3fff", "4000-4fff none -", "5000-5fff", "6000-6fff ro", "7000-ffff", "100000-103fff",
            ])
        #expect(fixture.isConsistent)
        try fixture.protect(0x4000, nil)
        try fixture.protect(0x6000, nil)
        #expect(fixture.layout == whole && fixture.isConsistent)
    }

    @Test("the first and the last page of a memory, and never across two of them")
    func edges() throws {
        let fixture = try Fixture()
        try fixture.protect(0, .readOnly)
        try fixture.protect(0xF000, .readOnly)
        try fixture.protect(0x10_0000, .readOnly)
        try fixture.protect(0x10_3FFF, .readOnly)
        #expect(
            fixture.layout == [
                "0-fff ro", "1000-efff", "f000-ffff ro", "100000-100fff ro", "101000-102fff",
                "103000-103fff ro",
            ])
        for page: UInt64 in [0, 0xF000, 0x10_0000, 0x10_3000] { try fixture.protect(page, nil) }
        #expect(fixture.layout == ["0-ffff", "100000-103fff"])
    }

    @Test(
        "all pages of a memory, in an order of their own, and back", arguments: [PageAccess.readOnly, .none])
    func all(_ access: PageAccess) throws {
        let fixture = try Fixture()
        for step in 0..<16 as Range<UInt64> { try fixture.protect((step * 7 % 16) << 12, access) }
        #expect(fixture.layout.first == (access == .readOnly ? "0-ffff ro" : "0-ffff none -"))
        for step in 0..<16 as Range<UInt64> { try fixture.protect((step * 5 % 16) << 12, nil) }
        #expect(fixture.layout == ["0-ffff", "100000-103fff"] && fixture.isConsistent)
        // The numbers that were given back are used again.
        #expect(fixture.slots.segments.compactMap(\.slot).allSatisfy { $0 < 32 })
    }

    @Test func whereThereIsNoRAMNothingIsProtected() throws {
        let fixture = try Fixture()
        for page: UInt64 in [0x1_0000, 0xF_F000, 0x10_4000, .max] {
            #expect(throws: KVMError.self) { try fixture.protect(page, .readOnly) }
        }
        #expect(fixture.layout == ["0-ffff", "100000-103fff"])
    }

    /// KVM itself says where the slots are: it refuses one that overlaps another.
    @Test func suspendedAllIsOpenForAMoment() throws {
        let fixture = try Fixture()
        try fixture.protect(0x5000, PageAccess.none)
        let other = try GuestMemory(gpa: 0x5000, size: 0x1000)
        func fits() -> Bool {
            do {
                try fixture.vm.setMemoryRegion(slot: 30, gpa: 0x5000, memory: other)
                try fixture.vm.removeMemoryRegion(slot: 30)
                return true
            } catch {
                return false
            }
        }
        #expect(fits(), "the page has no slot")
        try fixture.slots.suspend(fixture.vm)
        try fixture.slots.suspend(fixture.vm)
        #expect(!fits(), "all of it is one slot")
        try fixture.slots.resume(fixture.vm)
        try fixture.slots.resume(fixture.vm)
        #expect(fits() && fixture.layout == ["0-4fff", "5000-5fff none -", "6000-ffff", "100000-103fff"])
        #expect(fixture.isConsistent)
    }
}
