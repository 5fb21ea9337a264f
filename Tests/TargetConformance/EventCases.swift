import DebugTarget
import Debugger
import KVMCore
import X86

extension Fixture {
    /// What the catchpoints stopped at, with nothing else as the reason.
    func caught(line: Int = #line) throws -> [CaughtEvent] {
        guard case .caught(let events) = debugger.stop.reason else {
            throw ConformanceFailure(
                description: "stopped for \(debugger.stop.reason), expected an event (line \(line))")
        }
        try expect(events == debugger.stop.caught, "the stop says the same twice", line: line)
        return events
    }

    func expect(_ number: Int, _ what: CaughtEvent.What, line: Int = #line) throws {
        let found = try caught(line: line)
        try expect(
            found == [CaughtEvent(number: number, what: what)], "caught \(found), expected \(what)",
            line: line)
    }

    /// The events of exits are seen by whoever is the machine.
    func mechanism(_ event: CatchEvent) throws -> Breakpoint.Mechanism {
        let catchpoint = try debugger.setCatchpoint(event)
        defer { try? debugger.deleteBreakpoint(catchpoint.number) }
        return catchpoint.mechanism
    }

}

extension ConformanceCase {
    /// 9000 mov al, 41; 9002 out 80, al; 9004 in al, 60; 9006 out 81, al; 9008 jmp 9000
    private static let talking: [UInt8] = [
        0xB0, 0x41, 0xE6, 0x80, 0xE4, 0x60, 0xE6, 0x81, 0xEB, 0xF6,
    ]

    private static func out(_ port: UInt16, _ value: UInt64, size: Int = 1) -> CaughtEvent.What {
        .io(PortIO(direction: .out, port: port, size: size, data: AccessData(value: value, count: size)))
    }

    static let catching: [ConformanceCase] = catchingExits + catchingSteps + catchingInterrupts + asking

    private static let catchingExits: [ConformanceCase] = [
        ConformanceCase("catches OUT and IN by port and direction, when they are done") { fixture in
            try fixture.load(talking, at: Fixture.code)
            let out = try fixture.debugger.setCatchpoint(.io(ports: 0x80...0x80, direction: nil))
            let into = try fixture.debugger.setCatchpoint(.io(ports: nil, direction: .in))
            try fixture.expect(out.mechanism == .exit, "an OUT leaves the guest by itself")
            for _ in 0..<2 {
                try fixture.go()
                try fixture.expect(out.number, Self.out(0x80, 0x41))
                try fixture.expect("rip", 0x9004)
                try fixture.go()
                guard case .io(let io)? = try fixture.caught().first?.what else {
                    throw ConformanceFailure(description: "no I/O was caught")
                }
                try fixture.expect(io.direction == .in && io.port == 0x60 && io.size == 1, "\(io)")
                try fixture.expect(try fixture.caught().map(\.number) == [into.number], "by its number")
                try fixture.expect("rip", 0x9006)
                // What a device gives is the machine's matter; that it came is not.
                if fixture.target is FakeTarget { try fixture.expect("al", 0x5A) }
            }
            try fixture.expect(try fixture.debugger.breakpoint(out.number).hits == 2, "hits are counted")
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.step(3)
            try fixture.expect(.step(count: 3))
        },
        ConformanceCase("a catchpoint has a condition, an ignore count, can be disabled, or is for once") {
            fixture in
            // 9000 inc ax; 9001 out 80, al; 9003 jmp 9000
            try fixture.load([0x40, 0xE6, 0x80, 0xEB, 0xFB], at: Fixture.code)
            let io = CatchEvent.io(ports: 0x80...0x8F, direction: .out)
            let all = try fixture.debugger.setCatchpoint(io, condition: "$al == 7")
            try fixture.go()
            try fixture.expect(all.number, Self.out(0x80, 7))
            try fixture.debugger.setBreakpoint(all.number, condition: nil)
            try fixture.debugger.setBreakpoint(all.number, ignore: 2)
            try fixture.go()
            try fixture.expect(all.number, Self.out(0x80, 10))
            try fixture.debugger.setBreakpoint(all.number, enabled: false)
            let once = try fixture.debugger.setCatchpoint(io, isTemporary: true, condition: "$al == 0x20")
            try fixture.go()
            try fixture.expect(once.number, Self.out(0x80, 0x20))
            try fixture.expect(fixture.debugger.breakpoints.map(\.number) == [all.number], "it is gone")
            try fixture.debugger.setBreakpoint(all.number, enabled: true)
            try fixture.go()
            try fixture.expect(all.number, Self.out(0x80, 0x21))
        },
        ConformanceCase("catches REP OUTSB and REP INSB once each, with all their accesses") { fixture in
            // 9000 mov cx, 3; 9003 rep outsb; 9005 mov cx, 2; 9008 rep insb; 900A inc bx; 900B jmp 900B
            try fixture.load(
                [0xB9, 0x03, 0x00, 0xF3, 0x6E, 0xB9, 0x02, 0x00, 0xF3, 0x6C, 0x43, 0xEB, 0xFE],
                at: Fixture.code)
            try fixture.debugger.setRegister("dx", to: 0x80)
            try fixture.debugger.setRegister("si", to: 0x9000)
            try fixture.debugger.setRegister("di", to: 0xA000)
            let catchpoint = try fixture.debugger.setCatchpoint(.io(ports: 0x80...0x80, direction: nil))
            for (ip, direction, count, string) in [
                (0x9005, .out, 3, [0xB9, 0x03, 0x00]), (0x900A, .in, 2, []),
            ] as [(UInt64, PortIO.Direction, Int, [UInt8])] {
                try fixture.go()
                guard case .io(let io)? = try fixture.caught().first?.what else {
                    throw ConformanceFailure(description: "no I/O was caught")
                }
                try fixture.expect("rip", ip)
                try fixture.expect("cx", 0)
                try fixture.expect(
                    io.direction == direction && io.count == count && io.string == string, "\(io)")
            }
            try fixture.expect("si", 0x9003)
            try fixture.expect("di", 0xA002)
            try fixture.expect(try fixture.debugger.breakpoint(catchpoint.number).hits == 2, "two hits")
            // Stepped, each is one step and one hit.
            try fixture.debugger.setRegister("rip", to: 0x9000)
            for ip: UInt64 in [0x9003, 0x9005, 0x9008, 0x900A, 0x900B] {
                try fixture.step()
                try fixture.expect("rip", ip)
            }
            let hits = try fixture.debugger.breakpoint(catchpoint.number).hits
            try fixture.expect(hits == 4, "two more, not \(hits - 2)")
        },
        ConformanceCase("catches I/O while stepping, beside a breakpoint, and no other ports") { fixture in
            try fixture.load(talking, at: Fixture.code)
            let high = try fixture.debugger.setCatchpoint(.io(ports: 0x81...0x90, direction: .out))
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x9008))
            try fixture.step(100)
            try fixture.expect("rip", 0x9008)
            try fixture.expect(fixture.debugger.stop.caught.map(\.number) == [high.number], "it was caught")
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect(fixture.debugger.stop.steps == 4, "four steps were made")
            try fixture.step(2)
            try fixture.expect(.step(count: 2))
        },
        ConformanceCase("refuses to catch accesses to memory by range") { fixture in
            try fixture.expectError(.refused) {
                try fixture.debugger.setCatchpoint(.mmio(0x1000...0x1FFF))
            }
        },
        // No QEMU has anything there, and what it has elsewhere may be memory.
        ConformanceCase("catches accesses to devices in memory by range", needs: [.ownMachine]) { fixture in
            // 9000 mov ax, 1234; 9003 mov [10], ax; 9006 mov ax, [20]; 9009 jmp 9000
            try fixture.load(
                [0xB8, 0x34, 0x12, 0xA3, 0x10, 0x00, 0xA1, 0x20, 0x00, 0xEB, 0xF5], at: Fixture.code)
            try fixture.debugger.setRegister("ds.base", to: 0xFEB0_0000)
            let both = try fixture.debugger.setCatchpoint(.mmio(0xFEB0_0010...0xFEB0_0021))
            try fixture.go()
            try fixture.expect(
                both.number,
                .mmio(MMIO(gpa: 0xFEB0_0010, isWrite: true, data: AccessData(value: 0x1234, count: 2))))
            try fixture.expect("rip", 0x9006)
            try fixture.go()
            guard case .mmio(let read)? = try fixture.caught().first?.what else {
                throw ConformanceFailure(description: "no access was caught")
            }
            try fixture.expect(read.gpa == 0xFEB0_0020 && !read.isWrite, "\(read)")
            try fixture.expect("rip", 0x9009)
            // It was completed: all ones where no device is.
            try fixture.expect("ax", fixture.target is FakeTarget ? 0x5A5A : 0xFFFF)
        },
        ConformanceCase("catches exits by their reason") { fixture in
            try fixture.load(talking, at: Fixture.code)
            let catchpoint = try fixture.debugger.setCatchpoint(.exit(.io), condition: "$al != 0x41")
            try fixture.go()
            guard case .exit(.io(let io))? = try fixture.caught().first?.what else {
                throw ConformanceFailure(description: "no exit was caught")
            }
            try fixture.expect(io.port == 0x60, "\(io)")
            try fixture.expect(try fixture.caught().map(\.number) == [catchpoint.number], "by its number")
            try fixture.expectError(.refused) { try fixture.debugger.setCatchpoint(.exit(.debug)) }
            try fixture.expectError(.refused) { try fixture.debugger.setCatchpoint(.exit(.intr)) }
        },
        ConformanceCase("catches HLT, and says that the vCPU is halted", stopsAtHalt: true) { fixture in
            try fixture.load(halts)
            let catchpoint = try fixture.debugger.setCatchpoint(.hlt)
            try fixture.go()
            try fixture.expect(catchpoint.number, .hlt)
            try fixture.expect("rip", 0x7C02)
            try fixture.expect(fixture.debugger.selected.activity == .halted, "it is halted")
            try fixture.step(2)
            try fixture.expect(.step(count: 2))
            try fixture.step()
            try fixture.expect(catchpoint.number, .hlt)
            try fixture.expect("rip", 0x7C05)
        },
        ConformanceCase("catches a HLT of one vCPU while others run", vcpus: 2, stopsAtHalt: true) {
            fixture in
            // 7C00 inc ax; 7C01 hlt; the other one: 9000 jmp 9000
            try fixture.load(halts)
            try fixture.debugger.writeMemory(.physical(0x9000), [0xEB, 0xFE])
            try fixture.place(1, at: 0x9000)
            try fixture.allowInterrupts(vcpu: 1)
            let catchpoint = try fixture.debugger.setCatchpoint(.hlt)
            try fixture.go()
            try fixture.expect(catchpoint.number, .hlt)
            try fixture.expect(fixture.debugger.stop.vcpu == 0, "by vCPU 0")
        },
    ]

    private static let catchingSteps: [ConformanceCase] = [
        ConformanceCase("catches a mode switch, and writes to control registers") { fixture in
            // 9000 mov ax, 11; 9003 mov cr0, eax; 9006 nop; 9007 jmp 9006
            try fixture.load([0xB8, 0x11, 0x00, 0x0F, 0x22, 0xC0, 0x90, 0xEB, 0xFD], at: Fixture.code)
            let mode = try fixture.debugger.setCatchpoint(.modeSwitch)
            try fixture.expect(mode.mechanism == .stepping, "the mechanism says how")
            try fixture.go()
            try fixture.expect(mode.number, .modeSwitch(from: .real, to: .protected))
            try fixture.expect("rip", 0x9006)
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.debugger.setRegister("cr0", to: 0x10)
            try fixture.load([0xB8, 0x10, 0x00, 0x0F, 0x22, 0xC0, 0x90, 0xEB, 0xF7], at: Fixture.code)
            try fixture.debugger.setCatchpoint(.control(.cr3))
            let control = try fixture.debugger.setCatchpoint(.control(.cr0))
            // The second time it changes nothing, and is a write all the same.
            for _ in 0..<2 {
                try fixture.go()
                try fixture.expect(control.number, .control(.cr0, old: 0x10, new: 0x10))
                try fixture.expect("rip", 0x9006)
            }
        },
        ConformanceCase("catches WRMSR by index, and the write is done as ever") { fixture in
            // 9000 mov cx, 174; 9003 mov ax, 1234; 9006 wrmsr; 9008 inc cx; 9009 wrmsr; 900B jmp 9000
            try fixture.load(
                [
                    0xB9, 0x74, 0x01, 0xB8, 0x34, 0x12, 0x0F, 0x30, 0x41, 0x0F, 0x30, 0xEB, 0xF3,
                ], at: Fixture.code)
            try fixture.debugger.setRegister("rdx", to: 0)
            let one = try fixture.debugger.setCatchpoint(.msr(0x175))
            try fixture.go()
            try fixture.expect(one.number, .msr(index: 0x175, value: 0x1234))
            try fixture.expect("rip", 0x900B)
            try fixture.expect(try fixture.debugger.msr(0x175) == 0x1234, "it was written")
            try fixture.debugger.deleteBreakpoint(one.number)
            let all = try fixture.debugger.setCatchpoint(.msr(nil), condition: "$cx == 0x174")
            try fixture.go()
            try fixture.expect(all.number, .msr(index: 0x174, value: 0x1234))
            try fixture.expect("rip", 0x9008)
            try fixture.expect(try fixture.debugger.msr(0x174) == 0x1234, "it was written")
            // While stepping it is one step.
            try fixture.debugger.setBreakpoint(all.number, condition: nil)
            try fixture.step()
            try fixture.expect(.step(count: 1))
            try fixture.step()
            try fixture.expect(all.number, .msr(index: 0x175, value: 0x1234))
            try fixture.expect("rip", 0x900B)
            try fixture.expect(fixture.debugger.stop.steps == 1, "one step was made")
            try fixture.debugger.deleteAllBreakpoints()
            let end = try fixture.debugger.setBreakpoint(at: .linear(0x900B))
            try fixture.go()
            try fixture.expect(.breakpoint([end.number]))
        },
        ConformanceCase("a WRMSR that faults is caught, and faults as ever") { fixture in
            // 9000 wrmsr; 9002 hlt; the handler of #GP: 7D00 inc bx; 7D01 jmp 7D00
            try fixture.load([0x0F, 0x30, 0xF4], at: Fixture.code)
            try fixture.handler(13, [0x43, 0xEB, 0xFD])
            // No processor has it.
            try fixture.debugger.setRegister("rcx", to: 0x1234_5678)
            let catchpoint = try fixture.debugger.setCatchpoint(.msr(0x1234_5678))
            // By stepping a WRMSR that is not done cannot be told from one that is not there.
            let isSeen = catchpoint.mechanism == .msrFilter
            let handler = try fixture.debugger.setBreakpoint(at: .linear(0x7D01))
            try fixture.go()
            let event = CaughtEvent(
                number: catchpoint.number, what: .msr(index: 0x1234_5678, value: 0))
            try fixture.expect(!isSeen || fixture.debugger.stop.caught == [event], "it was caught")
            // Where the step ends at the handler, and not after its first instruction.
            if try fixture.register("rip") == 0x7D00 { try fixture.go() }
            try fixture.expect(.breakpoint([handler.number]))
            try fixture.expect("rip", 0x7D01)
            try fixture.expect("rsp", 0x7000 - 6)
            try fixture.expect(try fixture.bytes(0x6FFA, 2) == [0x00, 0x90], "it returns to the WRMSR")
        },
        ConformanceCase("stops after the magic breakpoint where that is on") { fixture in
            // 9000 xchg bx, bx; 9002 inc ax; 9003 jmp 9000
            try fixture.load([0x87, 0xDB, 0x40, 0xEB, 0xFB], at: Fixture.code)
            let place = try fixture.debugger.setBreakpoint(at: .linear(0x9003))
            try fixture.go()
            try fixture.expect(.breakpoint([place.number]))
            try fixture.debugger.setMagicBreakpoint(true)
            try fixture.go()
            try fixture.expect(.magicBreakpoint)
            try fixture.expect("rip", 0x9002)
            try fixture.go()
            try fixture.expect(.breakpoint([place.number]))
            try fixture.step(10)
            try fixture.expect(.magicBreakpoint)
            try fixture.debugger.setMagicBreakpoint(false)
            try fixture.go()
            try fixture.expect(.breakpoint([place.number]))
            try fixture.go()
            try fixture.expect(.breakpoint([place.number]))
        },
        ConformanceCase("what is found by steps is found, too, where it is set while the guest runs") {
            fixture in
            // 9000 inc cx; 9001 xchg bx, bx; 9003 int 21h; 9005 jmp 9000
            try fixture.load([0x41, 0x87, 0xDB, 0xCD, 0x21, 0xEB, 0xF9], at: Fixture.code)
            try fixture.handler(0x21, [0xCF])
            try fixture.allowInterrupts()
            func goFreely() throws {
                try fixture.debugger.startContinue()
                // Some hosts take long to begin; none is stepped.
                _ = try fixture.debugger.collectStop(timeout: .milliseconds(50))
            }
            // Steps begin where the guest is, not at its last exit, which may be before any instruction of the loop.
            for _ in 1...8 {
                try goFreely()
                try fixture.debugger.setMagicBreakpoint(true)
                try fixture.collect()
                try fixture.expect(.magicBreakpoint)
                try fixture.expect("rip", 0x9003)
                try fixture.debugger.setMagicBreakpoint(false)
            }
            try goFreely()
            let catchpoint = try fixture.debugger.setCatchpoint(.interrupt(0x21))
            try fixture.collect()
            let numbers = fixture.debugger.stop.caught.map(\.number)
            try fixture.expect(numbers == [catchpoint.number], "it is \(numbers)")
            try fixture.debugger.deleteAllBreakpoints()
            try goFreely()
            try fixture.debugger.setTracing(true)
            // On a busy host its first steps may come late.
            for round in 1...10 where fixture.debugger.isRunning {
                _ = try fixture.debugger.collectStop(timeout: .milliseconds(10 << round))
                fixture.debugger.interrupt()
                try fixture.collect()
                if fixture.debugger.stop.steps == 0 { try fixture.debugger.startContinue() }
            }
            try fixture.expect(fixture.debugger.stop.steps > 0, "it was stepped")
            try fixture.debugger.setTracing(false)
        },
    ]
}
