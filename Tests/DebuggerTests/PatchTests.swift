import KVMCore
import TargetConformance
import Testing
import X86

@testable import DebugTarget
@testable import Debugger

/// The table of patches, and memory without them.
@Suite struct PatchTests {
    private let ram = FakeMemory(size: 0x4000)

    private func raw(_ gpa: UInt64, _ count: Int) throws -> [UInt8] { try read(ram, gpa, count) }

    private func read(_ memory: any PhysicalMemory, _ gpa: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        try bytes.withUnsafeMutableBytes { try memory.read(gpa, into: $0) }
        return bytes
    }

    private func fill() throws {
        try (0..<0x40).map { UInt8($0) }.withUnsafeBytes { try ram.write(0x1000, $0) }
    }

    /// In a guest that runs: a vCPU that comes to it before INT3 exits would give it to the guest.
    @Test func anINT3IsPlantedWhereItExitsAlready() throws {
        // 7C00 inc cx; 7C01 jmp 7C00
        let (debugger, target) = try debugger(
            [0x41, 0xEB, 0xFD], quirks: [.tfIsReal, .int3Traps, .registersNeverFire])
        var seen: [(isPlanted: Bool, exits: Bool)] = []
        target.released = {
            seen.append(
                (
                    target.ram.word(0x7C01, size: 1) == 0xCC,
                    target.processors[0].guestDebug.control.contains(.softwareBreakpoints)
                ))
        }
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(5)) == nil)
        let breakpoint = try debugger.setBreakpoint(at: .linear(0x7C01))
        #expect(breakpoint.mechanism == .int3)
        #expect(seen.contains { $0.isPlanted } && seen.allSatisfy { !$0.isPlanted || $0.exits }, "\(seen)")
        #expect(try debugger.collectStop(timeout: nil)?.reason == .breakpoint([breakpoint.number]))
        try debugger.deleteAllBreakpoints()
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(5)) == nil)
        #expect(!target.processors[0].guestDebug.control.contains(.softwareBreakpoints))
        debugger.interrupt()
        _ = try debugger.collectStop(timeout: nil)
    }

    /// Its exit waits while the patch is deleted: the INT3 is not given to the guest, which has none. A patch that comes
    /// under the step past that place is lifted for it.
    @Test func anINT3WhosePatchIsGoneIsNotTheGuests() throws {
        // 7C00 inc cx; 7C01 jmp 7C00
        let (debugger, target) = try debugger(
            [0x41, 0xEB, 0xFD], quirks: [.tfIsReal, .int3Traps, .registersNeverFire])
        let first = try debugger.setBreakpoint(at: .linear(0x7C01))
        target.keeps = { if case .debug(let debug) = $0 { debug.exception == 3 } else { false } }
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .seconds(10)) == nil)
        target.keeps = nil
        try debugger.deleteBreakpoint(first.number)
        #expect(target.ram.word(0x7C01, size: 2) == 0xFDEB)
        // Decided, and no more.
        #expect(try debugger.collectStop(timeout: .zero) == nil)
        let second = try debugger.setBreakpoint(at: .linear(0x7C01))
        let stop = try #require(try debugger.collectStop(timeout: nil))
        #expect(stop.reason == .breakpoint([second.number]))
        #expect(stop[0]?.registers.rip == 0x7C01)
        #expect(stop[0]?.registers.rcx == 2)
    }

    @Test func anINT3IsTheGuestsOwnWhereOneStands() throws {
        try fill()
        try [UInt8(0xCC)].withUnsafeBytes { try ram.write(0x1004, $0) }
        let table = PatchTable(base: ram)
        func isOwn(_ gpa: UInt64, isStepped: Bool = false) -> Bool {
            table.isOwn(int3At: gpa, isStepped: isStepped)
        }
        #expect(isOwn(0x1004) && !isOwn(0x1002))
        #expect(table.insert(.int3, at: 0x1002) && table.insert(.int3, at: 0x1004))
        #expect(!isOwn(0x1002) && !isOwn(0x1004))
        // The patches were lifted for the step, whether they are there again or not.
        #expect(isOwn(0x1004, isStepped: true) && !isOwn(0x1002, isStepped: true))
        #expect(table.lift(0x1000..<0x1008))
        #expect(isOwn(0x1004, isStepped: true) && !isOwn(0x1002, isStepped: true))
        table.restore()
        table.remove(0x1004)
        table.remove(0x1002)
        #expect(isOwn(0x1004) && !isOwn(0x1002))
        #expect(isOwn(0xFFFF_0000), "where no memory is, nothing of ours is")
    }

    @Test func neighboursShareBytes() throws {
        try fill()
        let table = PatchTable(base: ram)
        let memory = PatchedMemory(ram, table)
        for gpa: UInt64 in [0x1002, 0x1003, 0x1003, 0x1005] { #expect(table.insert(.portOut, at: gpa)) }
        #expect(try raw(0x1000, 8) == [0, 1, 0xE6, 0xE6, 0xE6, 0xE6, 0xE6, 7])
        #expect(try read(memory, 0x1000, 8) == [0, 1, 2, 3, 4, 5, 6, 7])
        #expect(try read(memory, 0x1004, 1) == [4])
        #expect(table.contains(0x1003) && !table.contains(0x1004) && table.covers(0x1004))
        table.remove(0x1003)
        #expect(table.contains(0x1003), "two wanted it")
        table.remove(0x1003)
        #expect(try raw(0x1000, 8) == [0, 1, 0xE6, 0xE6, 4, 0xE6, 0xE6, 7])
        table.remove(0x1002)
        table.remove(0x1005)
        #expect(try raw(0x1000, 8) == [0, 1, 2, 3, 4, 5, 6, 7])
        #expect(!table.hasPatches(page: 0x1000))
    }

    @Test func writesGoBeneath() throws {
        try fill()
        let table = PatchTable(base: ram)
        let memory = PatchedMemory(ram, table)
        #expect(table.insert(.portOut, at: 0x1002))
        try [UInt8](repeating: 0xAA, count: 4).withUnsafeBytes { try memory.write(0x1001, $0) }
        #expect(try raw(0x1000, 6) == [0, 0xAA, 0xE6, 0xE6, 0xAA, 5])
        #expect(try read(memory, 0x1000, 6) == [0, 0xAA, 0xAA, 0xAA, 0xAA, 5])
        table.remove(0x1002)
        #expect(try raw(0x1000, 6) == [0, 0xAA, 0xAA, 0xAA, 0xAA, 5])
    }

    @Test func aStepTakesWhatItWroteInto() throws {
        try fill()
        let table = PatchTable(base: ram)
        let memory = PatchedMemory(ram, table)
        #expect(table.insert(.portOut, at: 0x1002) && table.insert(.portOut, at: 0x1008))
        #expect(!table.lift(0x1010..<0x101F))
        #expect(table.lift(0x1000..<0x1008))
        #expect(try raw(0x1000, 10) == [0, 1, 2, 3, 4, 5, 6, 7, 0xE6, 0xE6])
        // The instruction writes over itself.
        try [UInt8(0x77)].withUnsafeBytes { try ram.write(0x1003, $0) }
        table.restore()
        #expect(try raw(0x1000, 5) == [0, 1, 0xE6, 0xE6, 4])
        #expect(try read(memory, 0x1000, 5) == [0, 1, 2, 0x77, 4])
    }

    /// A breakpoint deleted and one set anew at the same place, or beside it, while a vCPU steps past.
    @Test func plantedWhileLifted() throws {
        try fill()
        let table = PatchTable(base: ram)
        let memory = PatchedMemory(ram, table)
        #expect(table.insert(.portOut, at: 0x1002))
        #expect(table.lift(0x1002..<0x1008))
        table.remove(0x1002)
        #expect(table.insert(.portOut, at: 0x1002) && table.insert(.portOut, at: 0x1003))
        table.check()
        // The step is not disturbed.
        #expect(try raw(0x1000, 6) == [0, 1, 2, 3, 0xE6, 5])
        table.restore()
        #expect(try raw(0x1000, 6) == [0, 1, 0xE6, 0xE6, 0xE6, 5])
        #expect(try read(memory, 0x1000, 6) == [0, 1, 2, 3, 4, 5])
        table.remove(0x1002)
        table.remove(0x1003)
        #expect(try raw(0x1000, 6) == [0, 1, 2, 3, 4, 5])
    }

    @Test func whatIsLiftedTwiceIsTakenInOnce() throws {
        try fill()
        let table = PatchTable(base: ram)
        #expect(table.insert(.portOut, at: 0x1002))
        #expect(table.lift(0x1000..<0x1008))
        #expect(!table.lift(0x1001..<0x1009), "it is open already")
        table.restore()
        #expect(try raw(0x1000, 5) == [0, 1, 0xE6, 0xE6, 4])
        #expect(try read(PatchedMemory(ram, table), 0x1000, 5) == [0, 1, 2, 3, 4])
        table.remove(0x1002)
        #expect(try raw(0x1000, 5) == [0, 1, 2, 3, 4])
    }

    @Test func whatTheGuestWroteOverIsPatchedAgain() throws {
        try fill()
        let table = PatchTable(base: ram)
        let memory = PatchedMemory(ram, table)
        #expect(table.insert(.int3, at: 0x1002) && table.insert(.int3, at: 0x1004))
        try [UInt8](repeating: 0x90, count: 4).withUnsafeBytes { try ram.write(0x1001, $0) }
        #expect(table.check().sorted() == [0x1002, 0x1004])
        #expect(table.check().isEmpty, "they are there again")
        #expect(try raw(0x1001, 4) == [0x90, 0xCC, 0x90, 0xCC])
        #expect(try read(memory, 0x1001, 4) == [0x90, 0x90, 0x90, 0x90])
    }

    @Test func guardedPagesAreNotLookedThrough() throws {
        try fill()
        let table = PatchTable(base: ram)
        #expect(table.insert(.int3, at: 0x1002) && table.insert(.int3, at: 0x2005))
        table.guardPage(0x1000, true)
        for gpa: UInt64 in [0x1002, 0x2005] { try [UInt8(0x90)].withUnsafeBytes { try ram.write(gpa, $0) } }
        table.check()
        #expect(try raw(0x1002, 1) == [0x90] && raw(0x2005, 1) == [0xCC])
        table.guardPage(0x1000, false)
        table.check()
        #expect(try raw(0x1002, 1) == [0xCC])
        // One that goes while it is open, and comes back guarded by nothing.
        table.remove(0x2005)
        #expect(table.insert(.int3, at: 0x2006))
        try [UInt8(0x91)].withUnsafeBytes { try ram.write(0x2006, $0) }
        table.check()
        #expect(try raw(0x2006, 1) == [0xCC])
        #expect(try read(PatchedMemory(ram, table), 0x2004, 4) == [0, 0x90, 0x91, 0])
    }

    @Test func wordsAreReadBeneathPatches() throws {
        try fill()
        let table = PatchTable(base: ram)
        let memory = PatchedMemory(ram, table)
        #expect(table.insert(.portOut, at: 0x1008) && table.insert(.portOut, at: 0x1FFE))
        #expect(memory.word(0x1000, size: 8) == 0x0706_0504_0302_0100)
        #expect(memory.word(0x1002, size: 8) == 0x0908_0706_0504_0302)
        #expect(memory.word(0x1009, size: 1) == 9)
        #expect(memory.word(0x1FFC, size: 8) == 0)
        #expect(memory.word(0x3FFC, size: 8) == nil)
    }

    /// Is told of patches, and looks at memory when it is.
    private final class Keeper: PatchKeeping, @unchecked Sendable {
        let target = FakeTarget()
        let ram: FakeMemory
        var isGone = false
        var isMemoryKnown = true
        func knowsMemory() -> Bool { isMemoryKnown }
        var patchesOverwritten: (() -> Void)?
        /// What each byte hides, and what was there when it was told.
        var kept: [UInt64: (hidden: UInt8, then: UInt8)] = [:]

        init(_ ram: FakeMemory) { self.ram = ram }

        func willPatch(_ gpa: UInt64, with patch: UInt8, hiding hidden: [UInt8]) throws {
            if isGone { throw MemoryFault(gpa: gpa) }
            for (offset, byte) in hidden.enumerated() {
                let place = gpa + UInt64(offset)
                kept[place] = (byte, UInt8(ram.word(place, size: 1) ?? 0))
            }
        }
        func didRestore(_ gpa: UInt64, count: Int) {
            for place in gpa..<gpa + UInt64(count) { kept[place] = nil }
        }

        var name: String { target.name }
        var memory: any PhysicalMemory { ram }
        var vcpus: [VCPUIdentity] { target.vcpus }
        var exits: ExitLog { target.exits }
        var isRunning: Bool { target.isRunning }
        var stopDescriptor: Int32 { target.stopDescriptor }
        var passesPortWrites: Bool { true }
        func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
            try target.withVCPU(id, body)
        }
        func resume(_ orders: [RunOrder]) throws { try target.resume(orders) }
        func interrupt() { target.interrupt() }
        func waitForStop(timeout: Duration?) -> StopReport? { target.waitForStop(timeout: timeout) }
        func holdVCPUs(except vcpu: Int?) {}
        func releaseVCPUs(except vcpu: Int?) {}
    }

    @Test func theKeeperIsToldBeforeAPatchIsThere() throws {
        try fill()
        let keeper = Keeper(ram)
        let table = PatchTable(base: ram, keeper: keeper)
        #expect(table.insert(.portOut, at: 0x1002) && table.insert(.portOut, at: 0x1003))
        #expect(keeper.kept[0x1002]?.hidden == 2 && keeper.kept[0x1002]?.then == 2, "before it was written")
        #expect(keeper.kept[0x1004]?.hidden == 4 && keeper.kept.count == 3)
        // What is hidden changes: by the user, by a step, by the guest.
        try [UInt8(0x55)].withUnsafeBytes { try PatchedMemory(ram, table).write(0x1004, $0) }
        #expect(keeper.kept[0x1004]?.hidden == 0x55)
        #expect(table.lift(0x1000..<0x1008))
        try [UInt8(0x66)].withUnsafeBytes { try ram.write(0x1002, $0) }
        table.restore()
        #expect(keeper.kept[0x1002]?.hidden == 0x66)
        try [UInt8(0x77)].withUnsafeBytes { try ram.write(0x1003, $0) }
        table.check()
        #expect(keeper.kept[0x1003]?.hidden == 0x77)
        table.remove(0x1002)
        #expect(Set(keeper.kept.keys) == [0x1003, 0x1004], "the neighbour still needs its own")
        table.remove(0x1003)
        #expect(keeper.kept.isEmpty)
        #expect(try raw(0x1000, 6) == [0, 1, 0x66, 0x77, 0x55, 5])
    }

    @Test func whatCannotBeKeptIsNotPatched() throws {
        try fill()
        let keeper = Keeper(ram)
        keeper.isGone = true
        let table = PatchTable(base: ram, keeper: keeper)
        #expect(!table.insert(.portOut, at: 0x1002))
        #expect(try raw(0x1000, 6) == [0, 1, 2, 3, 4, 5])
        #expect(!table.contains(0x1002) && !table.hasPatches(page: 0x1000))
    }

    /// A guess of where the guest's memory is in its VMM serves to look at it; a patch is not planted by it.
    @Test(arguments: [true, false])
    func noPatchIsPlantedByAGuess(isMemoryKnown: Bool) throws {
        try fill()
        let keeper = Keeper(ram)
        keeper.isMemoryKnown = isMemoryKnown
        let debugger = try Debugger(target: keeper)
        let breakpoints = try (0..<5).map { try debugger.setBreakpoint(at: .linear(0x1000 + $0 * 0x10)) }
        #expect(breakpoints[0].mechanism == .debugRegister)
        #expect(breakpoints[4].mechanism == (isMemoryKnown ? .portOut : .stepping))
        #expect(breakpoints.map(\.isPatchWithheld) == [false, false, false, false, !isMemoryKnown])
        #expect(keeper.kept.isEmpty == !isMemoryKnown)
    }

    @Test(arguments: [true, false])
    func nothingIsWrittenByAGuess(isMemoryKnown: Bool) throws {
        try fill()
        let keeper = Keeper(ram)
        keeper.isMemoryKnown = isMemoryKnown
        let debugger = try Debugger(target: keeper)
        for address: Address in [.linear(0x1008), .physical(0x1008)] {
            var refusal: DebuggerError?
            do {
                try debugger.writeMemory(address, [0xAA])
            } catch {
                refusal = error
            }
            #expect(refusal?.code == (isMemoryKnown ? nil : .target))
        }
        #expect(ram.word(0x1008, size: 1) == (isMemoryKnown ? 0xAA : 8))
        #expect(try debugger.readMemory(.physical(0x1008), count: 1).bytes == [isMemoryKnown ? 0xAA : 8])
    }

    @Test func patchesStayInTheirPage() throws {
        let out = PatchTable(base: ram)
        #expect(!out.fits(.portOut, at: 0x1FFF) && out.fits(.portOut, at: 0x1FFE))
        #expect(PatchTable(base: ram).fits(.int3, at: 0x1FFF))
        #expect(!out.insert(.portOut, at: 0x4000), "no memory is there")
        #expect(!out.hasPatches(page: 0x4000))
    }

    @Test func debugRegistersHoldCodeAndData() {
        var armed = ArmedBreakpoints()
        let four = armed.insert(data: 0x2000, length: 4, writesOnly: true)
        let eight = armed.insert(data: 0x2008, length: 8, writesOnly: false)
        let code = [0x7C00, 0x2000, 0x9000].map { armed.insert($0) }
        #expect(four == 0 && eight == 1)
        #expect(code == [true, true, false])
        #expect(armed.dataMask == 0b0011)
        #expect(armed.contains(0x2000) && !armed.contains(0x2008))
        // LEN and R/W: 1101 for four bytes written, 1011 for eight accessed; code is 0000.
        #expect(armed.dr7(except: nil) == 0x400 | 0xAA | 0xBD << 16)
        #expect(armed.dr7(except: 0x7C00) == 0x400 | 0x8A | 0xBD << 16)
    }
}
