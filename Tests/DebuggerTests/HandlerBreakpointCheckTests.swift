import KVMCore
import TargetConformance
import Testing
import X86

@testable import DebugTarget
@testable import Debugger

/// Keeps what it remembers, for expectations do not change what they look at.
private final class Lookout {
    private var lookout = HandlerBreakpointCheck()
    func leads(to set: ArmedSet, _ special: SpecialRegisters, _ memory: any PhysicalMemory) -> Bool {
        lookout.leads(to: set, special, memory)
    }
}

/// Whether an exception leads to a breakpoint.
@Suite struct HandlerBreakpointCheckTests {
    private let ram = FakeMemory(size: 0x4000)

    private func set(_ places: [UInt64]) -> ArmedSet {
        var registers = ArmedBreakpoints()
        for place in places { registers.insert(place) }
        return ArmedSet(
            registers: registers, linear: PlaceTable(), physical: PlaceTable(), needsStepping: false,
            hasPatches: false, hasINT3: false,
            watches: [])
    }

    private func put(_ gpa: UInt64, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try ram.write(gpa, $0) }
    }

    @Test func realMode() throws {
        var special = SpecialRegisters()
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        let lookout = Lookout()
        let first = set([0x1230])
        #expect(!lookout.leads(to: first, special, ram))
        // 0100:0230, of #GP.
        try put(13 * 4, [0x30, 0x02, 0x00, 0x01])
        #expect(lookout.leads(to: first, special, ram))
        #expect(lookout.leads(to: first, special, ram), "as remembered")
        #expect(!lookout.leads(to: set([0x1231]), special, ram))
        // An interrupt of a device is held off.
        try put(13 * 4, [0, 0, 0, 0])
        try put(0x20 * 4, [0x30, 0x02, 0x00, 0x01])
        #expect(!lookout.leads(to: first, special, ram))
        // Another table.
        special.idt.base = 0x13 * 4
        #expect(lookout.leads(to: first, special, ram))
        special.idt.base = 0x3FF0
        #expect(lookout.leads(to: first, special, ram), "it cannot be read")
    }

    @Test func protectedMode() throws {
        var special = SpecialRegisters()
        special.cr0.insert(.pe)
        special.idt = DescriptorTable(base: 0x800, limit: 0xFF)
        special.gdt = DescriptorTable(base: 0xC00, limit: 0x17)
        // Code of 4 GiB at 0 and at 0x1000; #PF's gate to 08:1230.
        try put(0xC08, [0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0])
        try put(0xC10, [0xFF, 0xFF, 0, 0x10, 0, 0x9B, 0xCF, 0])
        try put(0x800 + 14 * 8, [0x30, 0x12, 0x08, 0, 0, 0x8E, 0, 0])
        let lookout = Lookout()
        let places = set([0x1230])
        #expect(lookout.leads(to: places, special, ram))
        // The segment moves under the gate, and the gate to another segment.
        try put(0xC08, [0xFF, 0xFF, 0, 0x10, 0, 0x9B, 0xCF, 0])
        #expect(!lookout.leads(to: places, special, ram))
        try put(0x800 + 14 * 8, [0x30, 0x02, 0x10, 0, 0, 0x8E, 0, 0])
        #expect(lookout.leads(to: places, special, ram))
        // Not present.
        try put(0x800 + 14 * 8 + 5, [0x0E])
        #expect(!lookout.leads(to: places, special, ram))
        // A task gate leads anywhere.
        try put(0x800 + 8 * 8, [0, 0, 0x18, 0, 0, 0x85, 0, 0])
        #expect(lookout.leads(to: places, special, ram))
        try put(0x800 + 8 * 8 + 5, [0])
        #expect(!lookout.leads(to: places, special, ram))
        special.cr0.insert(.pg)
        #expect(lookout.leads(to: places, special, ram), "not looked for")
    }

    @Test func executionBreakpointsAreLeftOut() throws {
        var all = ArmedBreakpoints()
        all.insert(0x1000)
        let place = all.insert(data: 0x2000, length: 4, writesOnly: true)
        #expect(place == 1)
        all.insert(0x3000)
        #expect(all.count == 3 && all.hasExecution && all.dataMask == 2)
        var data = all.dataOnly
        #expect(data.count == 1 && !data.hasExecution && data.dataMask == 2)
        // DR1: enabled globally, writes, 4 bytes. Source: SDM volume 3B, 17.2.4.
        #expect(data.dr7(except: nil) == 0x400 | 8 | 0xD << 20)
        #expect(data.addresses == SIMD4(0, 0x2000, 0, 0))
        data.insert(0x4000)
        #expect(data.contains(0x4000) && !data.contains(0x1000))
        #expect(data.addresses[0] == 0x4000 && data.dr7(except: nil) == 0x400 | 8 | 2 | 0xD << 20)
        let more = [data.insert(0x5000), data.insert(0x6000), data.insert(0x7000)]
        #expect(more == [true, true, false])
    }
}
