import DebugTarget
import Debugger
import Expressions
import Foundation
import Testing

@testable import Attach

/// Three pages of this process, of which the middle one can be taken away.
final class Hole {
    let bytes: UnsafeMutablePointer<UInt8>
    private var isPunched = false
    var address: UInt64 { UInt64(UInt(bitPattern: bytes)) }

    /// - Parameter file: what they are of; memory of nothing for -1.
    init?(file: Int32 = -1) {
        let kind = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED
        let start = mmap(nil, 3 * 4096, PROT_READ | PROT_WRITE, kind, file, 0)
        guard let start, start != MAP_FAILED else { return nil }
        bytes = start.bindMemory(to: UInt8.self, capacity: 3 * 4096)
    }

    func punch() {
        isPunched = true
        munmap(bytes + 4096, 4096)
    }
    func protect() { mprotect(bytes + 4096, 4096, PROT_READ) }

    deinit {
        munmap(bytes, 4096)
        if !isPunched { munmap(bytes + 4096, 4096) }
        munmap(bytes + 8192, 4096)
    }
}

/// A guest's memory, where what is behind it in the VMM is not what it was: here this process in place of a VMM.
@Suite("Memory that its VMM has changed")
struct AttachedMemoryTests {
    /// Guest-physical 0x10000 and the pages after it, in two slots that meet in the middle of the last one.
    private func memory(_ place: Hole) -> AttachedMemory {
        let whole = MemoryRegion(
            slot: 0, gpa: 0x1_0000, size: 10_000, hva: place.address, isReadOnly: false)
        let rest = MemoryRegion(
            slot: 1, gpa: 0x1_0000 + 10_000, size: 3 * 4096 - 10_000, hva: place.address + 10_000,
            isReadOnly: false)
        let regions = [whole, rest]
        return AttachedMemory(process: getpid(), map: GuestMemoryMap(regions: regions, source: .none))
    }

    private func read(_ memory: AttachedMemory, _ gpa: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        try bytes.withUnsafeMutableBytes { try memory.read(gpa, into: $0) }
        return bytes
    }

    private func expectUnwritable(_ memory: AttachedMemory, _ gpa: UInt64, _ count: Int, fault: UInt64) {
        let bytes = [UInt8](repeating: 0x55, count: count)
        #expect(throws: MemoryFault(gpa: fault)) { try bytes.withUnsafeBytes { try memory.write(gpa, $0) } }
    }

    @Test("memory that is plugged in or moved meanwhile: a map that is in doubt is taken again")
    func doubt() throws {
        let (old, new) = (try #require(Hole()), try #require(Hole()))
        func map(_ hole: Hole, at gpa: UInt64) -> GuestMemoryMap {
            let region = MemoryRegion(slot: 0, gpa: gpa, size: 3 * 4096, hva: hole.address, isReadOnly: false)
            return GuestMemoryMap(regions: [region], source: .none)
        }
        let memory = AttachedMemory(process: getpid(), map: map(old, at: 0x1_0000))
        new.bytes[5] = 0x77
        nonisolated(unsafe) var looks = 0
        memory.onDoubt { looks += 1 }
        usleep(20_000)
        #expect(throws: MemoryFault(gpa: 0x10_0000)) { try read(memory, 0x10_0000, 1) }
        #expect(try read(memory, 0x1_0000, 1) == [0] && looks == 1)
        // There is more by now.
        let both = GuestMemoryMap(
            regions: map(old, at: 0x1_0000).regions + map(new, at: 0x10_0000).regions, source: .none)
        memory.onDoubt { [weak memory] in memory?.replace(both) }
        #expect(try read(memory, 0x10_0005, 1) == [0x77])
        // What was the guest's is the VMM's own: nothing is written there.
        let moved = map(new, at: 0x1_0000)
        memory.onDoubt { [weak memory] in memory?.replace(moved) }
        usleep(20_000)
        try [UInt8(0x55)].withUnsafeBytes { try memory.write(0x1_0001, $0) }
        #expect(old.bytes[1] == 0 && new.bytes[1] == 0x55)
    }

    @Test("a page that is unmapped is a fault there, and nothing around it is written")
    func unmapped() throws {
        let place = try #require(Hole())
        let memory = memory(place)
        #expect(try read(memory, 0x1_0000, 3 * 4096) == [UInt8](repeating: 0, count: 3 * 4096))
        place.punch()
        #expect(throws: MemoryFault(gpa: 0x1_1000)) { try read(memory, 0x1_0F00, 0x400) }
        #expect(throws: MemoryFault(gpa: 0x1_1000)) { try read(memory, 0x1_0F00, 0x2000) }
        expectUnwritable(memory, 0x1_0F00, 0x2000, fault: 0x1_1000)
        #expect((0..<4096).allSatisfy { place.bytes[$0] == 0 && place.bytes[8192 + $0] == 0 })
    }

    @Test("a page that may only be read is not written, nor what lies before it")
    func protected() throws {
        let place = try #require(Hole())
        let memory = memory(place)
        place.bytes[4095] = 7
        place.protect()
        expectUnwritable(memory, 0x1_0F00, 0x2000, fault: 0x1_1000)
        #expect(place.bytes[4095] == 7)
        #expect(
            (0..<4095).allSatisfy { place.bytes[$0] == 0 }
                && (8192..<12288).allSatisfy { place.bytes[$0] == 0 })
        let bytes: [UInt8] = [1, 2, 3]
        try bytes.withUnsafeBytes { try memory.write(0x1_0000 + 9_999, $0) }
        #expect(try read(memory, 0x1_0000 + 9_998, 5) == [0, 1, 2, 3, 0])
    }

    @Test("a file after it that is cut off is a fault, and no signal")
    func truncated() throws {
        let path = NSTemporaryDirectory() + "ram-\(UUID().uuidString)"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        defer {
            close(file)
            unlink(path)
        }
        ftruncate(file, 3 * 4096)
        let place = try #require(Hole(file: file))
        let memory = memory(place)
        #expect(try read(memory, 0x1_2000, 16).allSatisfy { $0 == 0 })
        ftruncate(file, 4096)
        #expect(throws: MemoryFault(gpa: 0x1_1000)) { try read(memory, 0x1_0000, 3 * 4096) }
        expectUnwritable(memory, 0x1_0F00, 0x200, fault: 0x1_1000)
        #expect(place.bytes[4095] == 0)
    }
}

/// `kvm_run` as a VMM may have written it.
@Suite("A kvm_run that makes no sense")
struct RunPageTests {
    private func page(size: UInt8, count: UInt32, offset: UInt64, reason: UInt32 = 2) -> [UInt8] {
        var page = (0..<12288).map { UInt8(truncatingIfNeeded: $0 / 256) }
        func put<Value: FixedWidthInteger>(_ value: Value, _ at: Int) {
            withUnsafeBytes(of: value.littleEndian) { page.replaceSubrange(at..<at + $0.count, with: $0) }
        }
        put(reason, 8)
        put(1 as UInt8, 32)
        put(size, 33)
        put(count, 36)
        put(offset, 40)
        return page
    }

    private func copy(_ page: [UInt8]) -> [UInt8] { page.withUnsafeBytes { SharedRunPage.exitCopy($0) } }

    @Test("the data of an exit is after it, where the page has it")
    func data() {
        let copied = copy(page(size: 4, count: 2, offset: 4096))
        #expect(copied.count == 288 + 8 && copied[288...].allSatisfy { $0 == 16 })
        #expect(Array(copied[40..<48]) == [0x20, 1, 0, 0, 0, 0, 0, 0])
        #expect(copy(page(size: 1, count: 1, offset: 12287)).count == 289)
    }

    @Test(
        "an offset, a size or a count beyond it gives no data",
        arguments: [
            (4, 2, 12288), (4, 2, 12281), (1, 1, .max), (1, 1, 1 << 63), (0, 1, 4096), (9, 1, 4096),
            (1, 0, 4096),
            (8, 4097, 4096), (8, .max, 4096), (8, 1025, 4096),
        ] as [(UInt8, UInt32, UInt64)])
    func nonsense(size: UInt8, count: UInt32, offset: UInt64) {
        #expect(copy(page(size: size, count: count, offset: offset)).count == 288)
    }
}
