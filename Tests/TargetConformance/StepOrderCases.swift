import DebugTarget
import Debugger
import Glibc
import X86

extension ConformanceCase {
    /// Orders that step until something is so.
    static let stepOrders: [ConformanceCase] = [
        ConformanceCase("finish: out of a routine without a frame, past its own calls and a jump by RET") {
            fixture in
            try fixture.load(routines)
            try fixture.step(3)
            try fixture.expect("rip", 0x7C0B)
            try fixture.finish()
            try fixture.expect("rip", 0x7C05)
            try fixture.expect("bx", 3)
            try fixture.expect("di", 1)
            try fixture.expect("sp", 0x7000)
        },
        ConformanceCase("finish: out of an interrupt handler") { fixture in
            try fixture.load([0xCD, 0x20, 0x41, 0xF4])
            try fixture.interruptHandler()
            try fixture.step()
            try fixture.finish()
            try fixture.expect("rip", 0x7C02)
            try fixture.expect("dx", 1)
        },
        ConformanceCase("finish: says where no caller is to be seen") { fixture in
            try fixture.load(counting)
            try fixture.expectError(.refused) { try fixture.debugger.startFinish() }
        },
        ConformanceCase("finish: stops at a breakpoint in a call on the way, and with all registers taken") {
            fixture in
            try fixture.load(routines)
            try fixture.step(3)
            for address: UInt64 in 0x9000...0x9003 {
                try fixture.debugger.setBreakpoint(at: .linear(address))
            }
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C19), isTemporary: true)
            try fixture.debugger.startFinish()
            try fixture.collect()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect("rip", 0x7C19)
            try fixture.finish()
            try fixture.expect("rip", 0x7C0F)
            try fixture.expect("bx", 1)
        },
        ConformanceCase("finish: a jump by RET on another stack is no return") { fixture in
            try fixture.load(switchingStacks, at: Fixture.code)
            try fixture.steps(to: [0x9008])
            try fixture.finish()
            try fixture.expect("rip", 0x9003)
            try fixture.expect("di", 1)
            try fixture.expect("bx", 1)
        },
        ConformanceCase("until: leaves a loop, and goes over calls") { fixture in
            try fixture.load(routines)
            try fixture.step(3)
            for ip: UInt64 in [0x7C0C, 0x7C0F, 0x7C10, 0x7C11] {
                try fixture.until()
                try fixture.expect("rip", ip)
            }
            // dec si; jnz 7C0B
            try fixture.until()
            try fixture.expect("rip", 0x7C13)
            try fixture.expect("bx", 2)
        },
        ConformanceCase("until: ends where the routine returns") { fixture in
            // 7C00 call 7C10; 7C03 jmp $; 7C10 ret
            try fixture.load([0xE8, 0x0D, 0x00, 0xEB, 0xFE] + [UInt8](repeating: 0x90, count: 11) + [0xC3])
            try fixture.step()
            try fixture.until()
            try fixture.expect("rip", 0x7C03)
        },
        ConformanceCase("step-until: the next CALL, RET, INT, IRET and branch") { fixture in
            try fixture.load(routines)
            for (kind, ip) in [
                (InstructionKind.call, UInt64(0x7C02)), (.ret, 0x7C1A), (.branch, 0x7C11), (.call, 0x7C0C),
            ] {
                try fixture.debugger.startStep(until: kind)
                try fixture.collect()
                try fixture.expect(.reached(.instruction(kind)))
                try fixture.expect("rip", ip)
            }
            try fixture.load([0x40, 0xCD, 0x20, 0x41, 0xF4])
            try fixture.interruptHandler()
            for (kind, ip) in [(InstructionKind.int, UInt64(0x7C01)), (.iret, 0x7D01)] {
                try fixture.debugger.startStep(until: kind)
                try fixture.collect()
                try fixture.expect(.reached(.instruction(kind)))
                try fixture.expect("rip", ip)
            }
        },
        ConformanceCase("step until an expression is true") { fixture in
            try fixture.load(counting)
            try fixture.debugger.startStep(untilTrue: "$bx == 7")
            try fixture.collect()
            try fixture.expect(.reached(.condition("$bx == 7")))
            try fixture.expect("ax", 7)
            try fixture.expect("rip", 0x7C05)
            try fixture.expect(fixture.debugger.stop.steps == 21, "steps are counted")
            // One step at least.
            try fixture.debugger.startStep(untilTrue: "$bx == 7")
            try fixture.collect()
            try fixture.expect("rip", 0x7C03)
            try fixture.expectError(.syntax) { try fixture.debugger.startStep(untilTrue: "$bx ==") }
            try fixture.expectError(.refused) { try fixture.debugger.startStep(untilTrue: "$bx = 1") }
            // One that cannot be evaluated ends it.
            try fixture.debugger.startStep(untilTrue: "1 / ($ax - 9) == 5")
            try fixture.collect()
            try fixture.expect("ax", 9)
            try fixture.expect(fixture.debugger.stop.conditionFailure?.code == .outOfRange, "it says why")
        },
        ConformanceCase("a long order of steps can be interrupted") { fixture in
            try fixture.load(counting)
            // On a busy host its first steps may come late.
            for round in 1...10 {
                try fixture.debugger.startStep(untilTrue: "$cx == 1")
                try fixture.expect(
                    try fixture.debugger.collectStop(timeout: .milliseconds(10 << round)) == nil,
                    "it steps on")
                fixture.debugger.interrupt()
                try fixture.collect()
                try fixture.expect(.interrupted)
                if fixture.debugger.stop.steps > 0 { break }
            }
            try fixture.expect(fixture.debugger.stop.steps > 0, "it stepped")
        },
        ConformanceCase("`next N` and `step all N` are interrupted between two of their parts, too", vcpus: 2)
        {
            fixture in
            try fixture.load(counting)
            for start in [fixture.debugger.startNext(count:), fixture.debugger.startStepAll(count:)] {
                try start(1 << 30)
                var ready = pollfd(fd: fixture.debugger.stopDescriptor, events: Int16(POLLIN), revents: 0)
                try fixture.expect(poll(&ready, 1, 20_000) == 1, "a part is over")
                fixture.debugger.interrupt()
                try fixture.collect()
                try fixture.expect(.interrupted)
                // That was it: what is ordered next is done.
                try fixture.debugger.startNext(count: 3)
                try fixture.collect()
                try fixture.expect(.step(count: 3))
                let exits = fixture.debugger.stop.exitsSince
                try fixture.expect(exits >= 3, "those of all parts: \(exits)")
            }
        },
        ConformanceCase("steps all vCPUs, each as far", vcpus: 3) { fixture in
            try fixture.load(counting)
            try fixture.debugger.select(vcpu: 1)
            for (count, ax, ip) in [(1, 0, 0x7C03), (2, 1, 0x7C05), (198, 67, 0x7C05)] {
                try fixture.debugger.startStepAll(count: count)
                try fixture.collect()
                try fixture.expect(.step(count: count))
                for vcpu in 0..<3 {
                    try fixture.expect("ax", UInt64(ax), vcpu: vcpu)
                    try fixture.expect("rip", UInt64(ip), vcpu: vcpu)
                }
                try fixture.expect(fixture.debugger.stop.steps == count * 3, "all steps are counted")
                try fixture.expect(fixture.debugger.selectedVCPU == 1, "the same vCPU is selected")
            }
        },
        ConformanceCase("step all: one that halts leaves the others their steps", vcpus: 2, stopsAtHalt: true)
        {
            fixture in
            // 7C00 inc ax; 7C01 hlt, and the second at 7C03 inc bx; 7C04 jmp 7C03
            try fixture.load([0x40, 0xF4, 0xF4, 0x43, 0xEB, 0xFD])
            try fixture.place(1, at: 0x7C03)
            try fixture.debugger.startStepAll(count: 100)
            try fixture.collect()
            try fixture.expect(.step(count: 100))
            try fixture.expect("rip", 0x7C02, vcpu: 0)
            try fixture.expect("bx", 50, vcpu: 1)
            try fixture.expect(fixture.debugger.stop[0]?.activity == .halted, "the first is halted")
        },
    ]

    /// A routine that takes another stack, jumps by RET there, and comes back on its own.
    private static let switchingStacks: [UInt8] = [
        0xE8, 0x05, 0x00,  // 9000 call 9008
        0x41,  // 9003 inc cx
        0xEB, 0xFE,  // 9004 jmp 9004
        0x90, 0x90,
        0xB8, 0x00, 0x10,  // 9008 mov ax, 1000
        0x8E, 0xD0,  // 900B mov ss, ax
        0x43,  // 900D inc bx
        0xB8, 0x14, 0x90,  // 900E mov ax, 9014
        0x50,  // 9011 push ax
        0xC3,  // 9012 ret, a jump to 9014
        0x90,
        0x47,  // 9014 inc di
        0xB8, 0x00, 0x00,  // 9015 mov ax, 0
        0x8E, 0xD0,  // 9018 mov ss, ax
        0x90,  // 901A nop
        0xC3,  // 901B ret
    ]

    private static let routines: [UInt8] = [
        0x46,  // 7C00 inc si
        0x46,  // 7C01 inc si
        0xE8, 0x06, 0x00,  // 7C02 call 7C0B
        0x41,  // 7C05 inc cx
        0xEB, 0xFE,  // 7C06 jmp 7C06
        0x90, 0x90, 0x90,
        0x50,  // 7C0B push ax
        0xE8, 0x0A, 0x00,  // 7C0C call 7C19
        0x58,  // 7C0F pop ax
        0x4E,  // 7C10 dec si
        0x75, 0xF8,  // 7C11 jnz 7C0B
        0xB8, 0x1C, 0x7C,  // 7C13 mov ax, 7C1C
        0x50,  // 7C16 push ax
        0xC3,  // 7C17 ret, a jump to 7C1C
        0x90,
        0x43,  // 7C19 inc bx
        0xC3,  // 7C1A ret
        0x90,
        0x47,  // 7C1C inc di
        0x43,  // 7C1D inc bx
        0xC3,  // 7C1E ret
    ]
}

extension Fixture {
    func finish(line: Int = #line) throws {
        try debugger.startFinish()
        try collect(line: line)
        try expect(.reached(.returned), line: line)
    }

    func until(line: Int = #line) throws {
        try debugger.startUntilPast()
        try collect(line: line)
        guard case .step = debugger.stop.reason else {
            throw ConformanceFailure(description: "stopped for \(debugger.stop.reason) (line \(line))")
        }
    }
}
