import DebugTarget
import Debugger
import Foundation
import TargetConformance
import Testing

@testable import Attach

/// What the tracer knows of patches, on memory of this process in place of a VMM's.
@Suite("The tracer's account of patches")
struct PatchLedgerTests {
    /// Two pages: guest-physical 0x1000 is the first, until it is moved.
    private final class Memory {
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: 8192, alignment: 4096)
            .bindMemory(to: UInt8.self, capacity: 8192)
        init() { for index in 0..<8192 { bytes[index] = UInt8(truncatingIfNeeded: index) } }
        deinit { bytes.deallocate() }

        func map(page: Int) -> AttachedMemory {
            let hva = UInt64(UInt(bitPattern: bytes + page * 4096))
            return AttachedMemory(
                process: getpid(),
                map: GuestMemoryMap(
                    regions: [MemoryRegion(slot: 0, gpa: 0x1000, size: 4096, hva: hva, isReadOnly: false)],
                    source: .none))
        }

        /// Patches as the debugger does: first told, then written.
        func patch(_ ledger: PatchLedger, _ offset: Int, _ patch: UInt8, count: Int, page: Int = 0) {
            let hidden = (0..<count).map { bytes[page * 4096 + offset + $0] }
            ledger.note(0x1000 + UInt64(offset), patch, hiding: hidden, map(page: page), getpid())
            for index in 0..<count { bytes[page * 4096 + offset + index] = patch }
        }
    }

    @Test("all are put back, and what the guest wrote since is left alone")
    func restores() {
        let memory = Memory()
        let ledger = PatchLedger()
        for offset in [0, 2, 4, 100, 4094] { memory.patch(ledger, offset, 0xE6, count: 2) }
        #expect(!ledger.isEmpty && ledger.covers(0x1064) && !ledger.covers(0x1066))
        // The guest has written over one, and over half of another.
        memory.bytes[100] = 0x11
        memory.bytes[101] = 0x22
        memory.bytes[4095] = 0x33
        #expect(ledger.restoreAll(getpid()) == 10)
        #expect((0..<6).map { memory.bytes[$0] } == [0, 1, 2, 3, 4, 5])
        #expect(memory.bytes[100] == 0x11 && memory.bytes[101] == 0x22)
        #expect(memory.bytes[4094] == UInt8(truncatingIfNeeded: 4094) && memory.bytes[4095] == 0x33)
        #expect(ledger.isEmpty && ledger.restoreAll(getpid()) == 0)
    }

    @Test("the guest's own OUT, under a patch that is lifted for its step, is no patch")
    func ownOut() {
        let memory = Memory()
        let ledger = PatchLedger()
        let map = memory.map(page: 0)
        func isPatch(_ offset: UInt64, _ port: UInt16, isStep: Bool) -> Bool {
            ledger.isPatch(at: 0x1000 + offset, port, map, isStep: isStep)
        }
        // out e9, al; in al, e9; inc bx. Two patches side by side, and one of OUT E6h.
        for (offset, byte) in [0xE6, 0xE9, 0xE4, 0xE9, 0x43].enumerated() {
            memory.bytes[offset] = UInt8(byte)
        }
        memory.patch(ledger, 0, 0xE6, count: 2)
        memory.patch(ledger, 2, 0xE6, count: 2)
        #expect(isPatch(0, 0xE6, isStep: false) && isPatch(2, 0xE6, isStep: false))
        #expect(isPatch(0, 0xE6, isStep: true), "a handler's, say")
        #expect(isPatch(1, 0xE6, isStep: false), "a branch into the middle, with another patch after it")
        #expect(isPatch(3, 0x43, isStep: false), "and with the guest's own byte")
        #expect(!isPatch(3, 0x44, isStep: false))
        // Lifted for a step.
        (memory.bytes[0], memory.bytes[1]) = (0xE6, 0xE9)
        #expect(!isPatch(0, 0xE9, isStep: true) && !isPatch(0, 0xE6, isStep: true))
        (memory.bytes[16], memory.bytes[17]) = (0xE6, 0xE6)
        memory.patch(ledger, 16, 0xE6, count: 2)
        #expect(isPatch(16, 0xE6, isStep: false) && !isPatch(16, 0xE6, isStep: true))
    }

    @Test("one that was told of and never written changes nothing")
    func neverWritten() {
        let memory = Memory()
        let ledger = PatchLedger()
        ledger.note(0x1010, 0xCC, hiding: [0x99], memory.map(page: 0), getpid())
        ledger.restoreAll(getpid())
        #expect(memory.bytes[0x10] == 0x10)
    }

    @Test("what is hidden now is put back, not what was at first")
    func changes() {
        let memory = Memory()
        let ledger = PatchLedger()
        memory.patch(ledger, 0x20, 0xCC, count: 1)
        ledger.note(0x1020, 0xCC, hiding: [0x77], memory.map(page: 0), getpid())
        ledger.restoreAll(getpid())
        #expect(memory.bytes[0x20] == 0x77)
    }

    @Test(
        "a patch is taken out of the memory that it stands in, also when other memory has its address by now")
    func moved() {
        let memory = Memory()
        let ledger = PatchLedger()
        memory.patch(ledger, 0x30, 0xE6, count: 2)
        memory.patch(ledger, 0x40, 0xE6, count: 2)
        // Page 1 is laid over the address: the debugger patches there again, and takes the other away there.
        memory.patch(ledger, 0x30, 0xE6, count: 2, page: 1)
        #expect(memory.bytes[0x30] == 0x30 && memory.bytes[0x31] == 0x31)
        ledger.forget(0x1040, count: 2, getpid())
        #expect(memory.bytes[0x40] == 0x40 && memory.bytes[0x41] == 0x41)
        #expect(memory.bytes[4096 + 0x30] == 0xE6)
        ledger.restoreAll(getpid())
        #expect(memory.bytes[4096 + 0x30] == 0x30 && memory.bytes[4096 + 0x31] == 0x31)
    }

    @Test("what is to be forgotten may wrap round the end of addresses")
    func wraps() {
        let memory = Memory()
        let ledger = PatchLedger()
        memory.patch(ledger, 0, 0xE6, count: 1)
        ledger.forget(.max - 1, count: 0xFFFF, getpid())
        #expect(ledger.isEmpty && memory.bytes[0] == 0)
    }

    @Test("one that the guest has loaded something over is seen, in whichever page it is")
    func overwritten() {
        let memory = Memory()
        let ledger = PatchLedger()
        #expect(!ledger.isOverwritten(getpid()))
        for offset in stride(from: 0x10, to: 0x90, by: 0x10) { memory.patch(ledger, offset, 0xE6, count: 2) }
        for _ in 0..<3 { #expect(!ledger.isOverwritten(getpid())) }
        memory.bytes[0x41] = 0x41
        #expect(ledger.isOverwritten(getpid()))
        // Planted again, or no patch any more.
        memory.bytes[0x41] = 0xE6
        for _ in 0..<3 { #expect(!ledger.isOverwritten(getpid())) }
        ledger.forget(0x1080, count: 2, getpid())
        #expect(!ledger.isOverwritten(getpid()))
        memory.bytes[0x11] = 0x90
        ledger.forget(0x1010, count: 2, getpid())
        #expect(!ledger.isOverwritten(getpid()))
    }

    @Test("a change is told of once until it was looked at, and again while something is on its way")
    func changeWatcher() {
        let memory = Memory()
        let ledger = PatchLedger()
        memory.patch(ledger, 0x10, 0xCC, count: 1)
        var changeWatcher = VMMChangeWatcher(getpid())
        func tells() -> Bool {
            let end = ContinuousClock.now + .paced(10)
            while ContinuousClock.now < end {
                if changeWatcher.isToTell(ledger) { return true }
                usleep(1000)
            }
            return false
        }
        // What there is at first may have come before it was looked at.
        #expect(tells())
        memory.bytes[0x10] = 0x10
        for _ in 0..<30 {
            let isAgain = changeWatcher.isToTell(ledger)
            #expect(!isAgain)
            usleep(1000)
        }
        changeWatcher.noticed(isPending: false)
        #expect(tells())
        memory.bytes[0x10] = 0xCC
        changeWatcher.noticed(isPending: true)
        #expect(tells())
        changeWatcher.noticed(isPending: false)
        let pipe = Pipe()
        #expect(tells())
        _ = pipe
    }

    @Test("where a page of them is gone, those around it are put back")
    func holes() throws {
        let place = try #require(Hole())
        let memory = AttachedMemory(
            process: getpid(),
            map: GuestMemoryMap(
                regions: [
                    MemoryRegion(slot: 0, gpa: 0, size: 3 * 4096, hva: place.address, isReadOnly: false)
                ], source: .none))
        let ledger = PatchLedger()
        ledger.note(4080, 0xE6, hiding: [UInt8](repeating: 1, count: 4096), memory, getpid())
        ledger.note(4080 + 4096, 0xE6, hiding: [UInt8](repeating: 2, count: 64), memory, getpid())
        for offset in 4080..<4096 { place.bytes[offset] = 0xE6 }
        for offset in 8192..<8240 { place.bytes[offset] = 0xE6 }
        place.punch()
        ledger.restoreAll(getpid())
        #expect((4080..<4096).allSatisfy { place.bytes[$0] == 1 })
        #expect((8192..<8240).allSatisfy { place.bytes[$0] == 2 })
    }
}
