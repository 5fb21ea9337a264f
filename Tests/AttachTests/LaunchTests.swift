import CLinux
import DebugTarget
import Debugger
import KVMCore
import Testing

@testable import Attach

@Suite("What a launched VMM asks KVM for")
struct LaunchTests {
    private func region(_ slot: UInt32, _ flags: UInt32, _ gpa: UInt64, _ size: UInt64, _ hva: UInt64)
        -> [UInt8]
    {
        var writer = WireWriter(0)
        writer.put(slot)
        writer.put(flags)
        writer.put(gpa)
        writer.put(size)
        writer.put(hva)
        return Array(writer.bytes.dropFirst())
    }

    @Test("slots are made, moved, and taken away, those of system management mode left out")
    func slots() throws {
        var machine = LaunchedMachine(process: 1, descriptor: 9)
        func set(_ slot: UInt32, _ flags: UInt32, _ gpa: UInt64, _ size: UInt64, _ hva: UInt64) throws {
            machine.set(try #require(LaunchedMachine.Region(region(slot, flags, gpa, size, hva))))
        }
        try set(1, 2, 0xFFFC_0000, 0x4_0000, 0x7000_0000)
        try set(0, 0, 0, 0xA_0000, 0x1000_0000)
        try set(0x1_0000, 0, 0, 0x10_0000, 0x5000_0000)
        #expect(
            machine.regions == [
                MemoryRegion(slot: 0, gpa: 0, size: 0xA_0000, hva: 0x1000_0000, isReadOnly: false),
                MemoryRegion(slot: 1, gpa: 0xFFFC_0000, size: 0x4_0000, hva: 0x7000_0000, isReadOnly: true),
            ])
        try set(0, 1, 0x1000, 0xA_0000, 0x1000_0000)
        try set(1, 0, 0, 0, 0)
        #expect(machine.regions.map(\.gpa) == [0x1000])
        #expect(LaunchedMachine.Region(Array(region(0, 0, 0, 1, 0).dropLast())) == nil)
    }

    @Test("the calls that matter are told from the others")
    func calls() {
        func call(
            _ number: UInt64, _ request: UInt64, _ third: UInt64 = 0, _ bytes: [UInt8]? = nil
        ) -> LaunchFollower.Call? {
            LaunchFollower.Call(number: number, arguments: (5, request, third, 0, 0, 0)) { address, count in
                address == third && count == 32 ? bytes : nil
            }
        }
        #expect(call(16, 0xAE01) == .createMachine)
        #expect(call(16, 0xAE41, 3) == .createVCPU(machine: 5, id: 3))
        #expect(call(16, 0xAE80) == .run(vcpu: 5))
        // Programs may sign-extend the request.
        #expect(call(16, 0xFFFF_FFFF_0000_AE80) == .run(vcpu: 5))
        let bytes = region(2, 0, 0x1000, 0x2000, 0x3000)
        let wanted = LaunchedMachine.Region(bytes)
        for request in [0x4020_AE46, 0x40A0_AE49] as [UInt64] {
            guard case .setRegion(machine: 5, let region)? = call(16, request, 0x500, bytes) else {
                Issue.record("no region")
                continue
            }
            #expect(region == wanted)
            #expect(call(16, request, 0x500, nil) == nil)
        }
        #expect(call(0, 0xAE80) == nil)
        #expect(call(16, 0xAE03) == nil)
    }

    @Test("the better map is the one that both agree on, else the kernel's")
    func best() throws {
        var machine = LaunchedMachine(process: 1, descriptor: 9)
        machine.set(try #require(LaunchedMachine.Region(region(0, 0, 0, 0x1000, 0x7000))))
        let same = GuestMemoryMap(regions: machine.regions, source: .kernel)
        let other = GuestMemoryMap(regions: [], source: .kernel)
        #expect(GuestMemoryMap.best(same, machine)?.source == .calls(isChecked: true))
        #expect(GuestMemoryMap.best(nil, machine)?.source == .calls(isChecked: false))
        #expect(GuestMemoryMap.best(other, machine) == other)
        #expect(GuestMemoryMap.best(same, nil) == same)
        #expect(GuestMemoryMap.best(nil, nil) == nil)
    }

    @Test(
        "how a program ended, in words", arguments: [(0x100, "status 1"), (0, "status 0"), (9, "signal 9")])
    func ending(status: Int32, text: String) { #expect(LaunchedVMM.text(status) == text) }
}
