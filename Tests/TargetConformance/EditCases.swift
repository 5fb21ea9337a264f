import DebugTarget
public import Debugger
public import X86

extension ConformanceCase {
    /// 7C00 jmp $; 7C02 inc bx; 7C03 hlt
    private static let spinning: [UInt8] = [0xEB, 0xFE, 0x43, 0xF4]

    static let editing: [ConformanceCase] = [
        ConformanceCase("edits every kind of register") { fixture in
            try fixture.load(counting)
            let edits = fixture.debugger.stop.edits
            let values: [(String, UInt64)] = [
                ("r15", 0x1234_5678_9ABC_DEF0), ("ah", 0x12), ("cf", 1), ("df", 1), ("ds", 0x1000),
                ("es.limit", 0xFFFF), ("gdtr.base", 0x5000), ("gdtr.limit", 0x27), ("cr2", 0xDEAD_0000),
                ("dr0", 0x7C00), ("fs.selector", 0x33),
            ]
            for (name, value) in values {
                try fixture.debugger.setRegister(name, to: value)
                try fixture.expect(name, value)
            }
            try fixture.expect("ds.base", 0x10000)
            try fixture.expect("fs.base", 0)
            try fixture.expect(
                fixture.debugger.stop.edits == edits + values.count, "edits are counted")
        },
        ConformanceCase("refuses what cannot be, and changes nothing") { fixture in
            try fixture.load(counting)
            let before = try fixture.debugger.registerFile()
            let refused: [(String, UInt64)] = [
                // Paging without protection.
                ("cr0", 0x8000_0000),
                ("efer", 1 << 10),
                ("gdtr.base", 0x8000_0000_0000_0000),
                ("cr4", 1 << 63),
            ]
            for (name, value) in refused {
                try fixture.expectError(.refused) { try fixture.debugger.setRegister(name, to: value) }
            }
            try fixture.expectError(.outOfRange) { try fixture.debugger.setRegister("al", to: 0x100) }
            try fixture.expectError(.unknownName) { try fixture.debugger.setRegister("rxa", to: 0) }
            let after = try fixture.debugger.registerFile()
            try fixture.expect(before == after, "something changed")
        },
        ConformanceCase("reads and writes memory, and says what is not there") { fixture in
            let debugger = fixture.debugger
            guard let last = fixture.target.memory.regions.map({ $0.gpa + $0.size }).max() else {
                return try fixture.expect(false, "there is no memory")
            }
            try debugger.writeMemory(.physical(last - 2), [1, 2])
            let image = try debugger.readMemory(.physical(last - 2), count: 4)
            try fixture.expect([image[0], image[1], image[2], image[3]] == [1, 2, nil, nil], "\(image)")
            try fixture.expectError(.unreadable) { try debugger.writeMemory(.physical(last - 1), [7, 7]) }
            try fixture.expect(
                try debugger.readMemory(.physical(last - 1), count: 1).bytes == [2], "nothing was written")
        },
    ]

    static let running: [ConformanceCase] = [
        ConformanceCase("stops a guest that never exits") { fixture in
            try fixture.load(spinning)
            try fixture.allowInterrupts()
            try fixture.debugger.startContinue()
            try fixture.expect(
                try fixture.debugger.collectStop(timeout: .milliseconds(20)) == nil, "it stopped by itself")
            try fixture.expectError(.running) { try fixture.debugger.startStep() }
            fixture.debugger.interrupt()
            try fixture.collect()
            try fixture.expect(.interrupted)
            try fixture.expect("rip", 0x7C00)
            try fixture.step()
            try fixture.expect(.step(count: 1))
            try fixture.expect("rip", 0x7C00)
        },
        ConformanceCase("edits a guest that runs", stopsAtHalt: true) { fixture in
            try fixture.load(spinning)
            try fixture.allowInterrupts()
            try fixture.debugger.startContinue()
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(5))
            try fixture.debugger.setRegister("bx", to: 6)
            try fixture.expect(try fixture.debugger.liveSnapshot().registers.rbx == 6, "bx was set")
            try fixture.debugger.setRegister("rip", to: 0x7C02)
            try fixture.collect()
            try fixture.expect(.hlt)
            try fixture.expect("bx", 7)
        },
        ConformanceCase("sets a breakpoint in a guest that runs") { fixture in
            try fixture.load(counting)
            try fixture.allowInterrupts()
            try fixture.debugger.startContinue()
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(5))
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C05))
            try fixture.collect()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect("rip", 0x7C05)
        },
        ConformanceCase("steps one vCPU and leaves the other", vcpus: 2) { fixture in
            try fixture.load(counting)
            try fixture.debugger.select(vcpu: 1)
            try fixture.step(2)
            try fixture.expect("rip", 0x7C04, vcpu: 1)
            try fixture.expect("rip", 0x7C00, vcpu: 0)
        },
        ConformanceCase("all stop where one breaks, and all go", vcpus: 2) { fixture in
            try fixture.load(counting)
            // 7C20 inc bx; 7C21 jmp 7C20
            try fixture.debugger.writeMemory(.physical(0x7C20), [0x43, 0xEB, 0xFD])
            try fixture.place(1, at: 0x7C20)
            try fixture.allowInterrupts()
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C20))
            for count: UInt64 in 1...3 {
                try fixture.go()
                try fixture.expect(.breakpoint([breakpoint.number]))
                try fixture.expect(fixture.debugger.stop.vcpu == 1, "it is about vCPU 1")
                try fixture.expect(fixture.debugger.selectedVCPU == 1, "which is selected now")
                try fixture.expect("bx", count, vcpu: 1)
            }
            try fixture.expect(!fixture.target.isRunning, "all are stopped")
        },
        ConformanceCase(
            "a halted vCPU stays halted while the other goes", vcpus: 2, stopsAtHalt: true
        ) { fixture in
            try fixture.load(counting)
            try fixture.debugger.writeMemory(.physical(0x7C20), [0xF4, 0x43, 0xEB, 0xFD])
            try fixture.place(1, at: 0x7C20)
            try fixture.debugger.setBreakpoint(at: .linear(0x7C05))
            try fixture.debugger.setBreakpoint(at: .linear(0x7C21))
            // vCPU 1 halts before, between or after the breaks of vCPU 0, but never gets to bx.
            for _ in 0..<50 {
                try fixture.go()
                try fixture.expect(fixture.debugger.stop.vcpu == 0, "a breakpoint of vCPU 0")
            }
            try fixture.expect("bx", 0, vcpu: 1)
            try fixture.expect("bx", 50, vcpu: 0)
        },
    ]
}

extension Debugger {
    /// What an edit that was refused must not change.
    public func registerFile() throws(DebuggerError) -> RegisterFile {
        RegisterFile(
            general: selected.registers, special: selected.special, debug: try debugRegisters())
    }
}
