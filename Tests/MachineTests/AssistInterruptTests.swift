import DebugTarget
import KVMCore
import Locking
import Testing
import X86

@testable import Machine

/// INT, where KVM's emulator does not do it.
extension AssistTests {
    // MARK: INT

    private func gate(
        _ vector: UInt64, _ selector: UInt64 = 8, type: UInt64 = 0xE, dpl: UInt64 = 0, long: Bool = false,
        ist: UInt64 = 0
    ) {
        let low = 0x6000 | selector << 16 | (0x80 | dpl << 5 | type) << 40 | ist << 32
        memory.put(low, at: Self.idt + vector * (long ? 16 : 8))
        if long { memory.put(UInt64(0), at: Self.idt + vector * 16 + 8) }
    }

    @Test func interruptOnOneLevel() {
        var state = state([0xCD, 0x80])
        gate(0x80)
        state.general.rflags.insert([.if, .cf])
        #expect(Assist.perform(&state)?.name == "int")
        #expect(state.general.rip == 0x6000)
        #expect(state.general.rsp == Self.stack - 12)
        #expect(word(Self.stack - 4, 4) == 0x203)
        #expect(word(Self.stack - 8, 4) == 8)
        #expect(word(Self.stack - 12, 4) == Self.code + 2)
        #expect(!state.general.rflags.contains(.if))
        // A trap gate leaves IF.
        var trap = self.state([0xCC])
        gate(3, type: 0xF)
        trap.general.rflags.insert(.if)
        #expect(Assist.perform(&trap)?.name == "int3")
        #expect(trap.general.rflags.contains(.if))
    }

    @Test func interruptFromRing3() {
        var state = state([0xCD, 0x30], cpl: 3)
        gate(0x30, dpl: 3)
        memory.put(UInt32(0x8800), at: Self.tss + 4)
        memory.put(UInt16(0x10), at: Self.tss + 8)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.cpl == 0 && state.special.ss.selector == 0x10)
        #expect(state.general.rsp == 0x8800 - 20)
        #expect(word(0x8800 - 4, 4) == 0x23 && word(0x8800 - 8, 4) == Self.stack)
        #expect(word(0x8800 - 16, 4) == 0x1B)
        // Its gate is not for ring 3.
        var refused = self.state([0xCD, 0x31], cpl: 3)
        gate(0x31)
        #expect(fault(&refused) == .init(vector: 13, code: 0x31 << 3 | 2))
        // No stack in the TSS.
        memory.put(UInt16(0), at: Self.tss + 8)
        var stackless = self.state([0xCD, 0x30], cpl: 3)
        #expect(fault(&stackless) == .init(vector: 10, code: 0))
    }

    /// An exception is delivered with its error code, through a gate that is not for ring 3.
    @Test(arguments: [false, true])
    func exceptionsAreDelivered(long: Bool) {
        var state = state([0xCD, 0x31], cpl: 3, long: long)
        gate(0x31, long: long)
        gate(13, long: long)
        memory.put(UInt32(0x8800), at: Self.tss + 4)
        memory.put(UInt16(long ? 0 : 0x10), at: Self.tss + 8)
        state.general.rflags.insert(.if)
        guard let fault = Assist.perform(&state)?.fault else {
            Issue.record("no exception")
            return
        }
        #expect(fault == .init(vector: 13, code: 0x31 << 3 | 2))
        #expect(Assist.deliver(fault, &state))
        #expect(state.cpl == 0 && state.general.rip == 0x6000 && !state.general.rflags.contains(.if))
        let width = UInt64(long ? 8 : 4)
        #expect(state.general.rsp == 0x8800 - 6 * width)
        #expect(word(0x8800 - 6 * width, Int(width)) == 0x31 << 3 | 2)
        #expect(word(0x8800 - 5 * width, Int(width)) == Self.code)
        #expect((word(0x8800 - 3 * width, Int(width)) ?? 0) & 0x1_0200 == 0x1_0200)
        // Without a gate it is KVM's.
        state.special.idt.limit = 0
        #expect(!Assist.deliver(fault, &state))
    }

    @Test func interruptIn64BitMode() {
        var state = state([0xCD, 0x40], long: true)
        gate(0x40, long: true)
        state.general.rsp = Self.stack + 4
        #expect(Assist.perform(&state)?.fault == nil)
        // Aligned, and SS and RSP in any case.
        #expect(state.general.rsp == Self.stack - 40)
        #expect(word(Self.stack - 16, 8) == Self.stack + 4)
        #expect(word(Self.stack - 8, 8) == 0x10)
        var own = self.state([0xCD, 0x41], cpl: 3, long: true)
        gate(0x41, dpl: 3, long: true, ist: 2)
        memory.put(UInt64(0x8808), at: Self.tss + 0x24 + 8)
        #expect(Assist.perform(&own)?.fault == nil)
        #expect(own.general.rsp == 0x8800 - 40)
        #expect(own.cpl == 0 && own.special.ss.attributes.isUnusable)
    }

    @Test func interruptGatesThatFault() {
        var beyond = state([0xCD, 0xFF])
        beyond.special.idt.limit = 0x7F
        #expect(fault(&beyond) == .init(vector: 13, code: 0xFF << 3 | 2))
        var empty = state([0xCD, 0x50])
        #expect(fault(&empty) == .init(vector: 13, code: 0x50 << 3 | 2))
        memory.put(UInt64(0x0000_0E00_0008_6000), at: Self.idt + 0x50 * 8)
        #expect(fault(&empty) == .init(vector: 11, code: 0x50 << 3 | 2))
        gate(0x50, 0x10)
        #expect(fault(&empty) == .init(vector: 13, code: 0x10))
        // A task gate is not followed.
        gate(0x50, 0x28, type: 5)
        #expect(Assist.perform(&empty) == nil)
    }

    @Test func interruptInRealMode() {
        var state = state([0xCD, 0x90])
        state.special.cr0.remove(.pe)
        state.special.cs = .real(0, code: true)
        state.special.ss = .real(0)
        state.special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        memory.put(UInt32(0x0123_4567), at: 0x240)
        state.general.rflags.insert(.if)
        #expect(Assist.perform(&state)?.fault == nil)
        #expect(state.special.cs.selector == 0x123 && state.special.cs.base == 0x1230)
        #expect(state.general.rip == 0x4567)
        #expect(word(Self.stack - 6, 2) == Self.code + 2)
        #expect(!state.general.rflags.contains(.if))
    }

    /// Memory that is not there, or may not be written: the page fault that the processor raises, and nothing changed.
    @Test func pageFaultsAreTheProcessors() {
        var state = state([0xCD, 0x40], cpl: 3, long: true)
        gate(0x40, dpl: 3, long: true)
        // Four levels that map the first 2 MiB for the supervisor, by pages of 4 KiB; the user's code page alone is the user's.
        memory.put(UInt64(0x1_1007), at: 0x1_0000)
        memory.put(UInt64(0x1_2007), at: 0x1_1000)
        memory.put(UInt64(0x1_3007), at: 0x1_2000)
        for page in 0..<64 as Range<UInt64> {
            memory.put(page << 12 | (page == 4 ? 7 : page == 8 ? 0 : 3), at: 0x1_3000 + page * 8)
        }
        state.special.cr0.insert([.pg, .wp])
        state.special.cr4.insert(.pae)
        state.special.cr3 = 0x1_0000
        memory.put(UInt64(0x8800), at: Self.tss + 4)
        // The kernel's stack, on page 8, is not mapped: a write by the supervisor.
        #expect(fault(&state) == .init(vector: 14, code: 2))
        #expect(state.special.cr2 & ~0xFFF == 0x8000)
        memory.put(UInt64(0x8003), at: 0x1_3000 + 8 * 8)
        #expect(Assist.perform(&state)?.fault == nil)
        // Accessed and dirty.
        #expect(word(0x1_3000 + 8 * 8, 8) == 0x8063)
    }

    /// Whatever bytes are at RIP, nothing crashes, and what is not done changes nothing.
    @Test func anyBytesAtAll() {
        var generator = AssistRandom()
        let starts: [[UInt8]] = [
            [], [0xCF], [0xCB], [0xCD], [0x0F, 0x02], [0x0F, 0x03], [0x0F, 0xC7], [0x0F, 0x1E], [0x66, 0xCF],
            [0x48, 0xCF],
        ]
        for _ in 0..<3000 {
            let start = starts.randomElement(using: &generator) ?? []
            let bytes = start + (0..<15).map { _ in UInt8.random(in: 0...255, using: &generator) }
            var state = state(
                bytes, cpl: Bool.random(using: &generator) ? 0 : 3, long: Bool.random(using: &generator))
            for register in GeneralRegister.allCases where register != .rip {
                state.general[register] =
                    UInt64.random(in: 0...(.max), using: &generator) >> UInt64.random(in: 0..<64)
            }
            state.general.rflags = RFlags(
                rawValue: UInt64.random(in: 0...0x3F_FFFF, using: &generator) & ~(1 << 17) | 2)
            let before = (state.general, state.special)
            let done = Assist.perform(&state)
            if done == nil { #expect(state.general == before.0 && state.special == before.1) }
            if done?.fault != nil { #expect(state.general == before.0) }
        }
    }
}
