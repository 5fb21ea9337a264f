import DebugTarget
import Debugger
import KVMCore
import X86

extension ConformanceCase {
    /// Instructions that end a step, or what a step shows of them, in a way of their own.
    static let stepKinds: [ConformanceCase] = [
        ConformanceCase("steps STI and CLI") { fixture in
            // 7C00 sti; 7C01 inc ax; 7C02 cli; 7C03 inc ax
            try fixture.load([0xFB, 0x40, 0xFA, 0x40])
            try fixture.steps(to: [0x7C01, 0x7C02, 0x7C03, 0x7C04])
            try fixture.expect("ax", 2)
        },
        ConformanceCase("steps MOV SS and POP SS as one instruction each") { fixture in
            // 7C00 mov ss, ax; 7C02 inc bx; 7C03 push ss; 7C04 pop ss; 7C05 inc bx; 7C06 inc bx
            try fixture.load([0x8E, 0xD0, 0x43, 0x16, 0x17, 0x43, 0x43])
            try fixture.debugger.setRegister("ax", to: 0x100)
            try fixture.steps(to: [0x7C02])
            try fixture.expect("ss", 0x100)
            try fixture.expect("ss.base", 0x1000)
            try fixture.expect("bx", 0)
            try fixture.steps(to: [0x7C03, 0x7C04])
            try fixture.expect("sp", 0x6FFE)
            try fixture.steps(to: [0x7C05])
            try fixture.expect("bx", 1)
            try fixture.expect("sp", 0x7000)
            try fixture.expect("ss", 0x100)
            try fixture.steps(to: [0x7C06, 0x7C07])
            try fixture.expect("bx", 3)
            // All in one order, too.
            try fixture.debugger.setRegister("rip", to: 0x7C00)
            try fixture.step(4)
            try fixture.expect(.step(count: 4))
            try fixture.expect("rip", 0x7C05)
        },
        ConformanceCase("a step that raises an exception ends at the handler's first instruction") {
            fixture in
            // 7C00 div cx; 7C02 inc bx; the handler of #DE: inc dx; inc dx; iret
            try fixture.load([0xF7, 0xF1, 0x43])
            try fixture.handler(0, [0x42, 0x42, 0xCF])
            // With all debug registers taken, too.
            for isFull in [false, true] {
                if isFull {
                    guard fixture.honours(.executionBreakpoint) else { break }
                    for place in 1...4 {
                        try fixture.debugger.setBreakpoint(
                            at: .linear(0xB000 + UInt64(place)), needsRegister: true)
                    }
                }
                try fixture.debugger.setRegister("rip", to: 0x7C00)
                try fixture.debugger.setRegister("dx", to: 0)
                for _ in 0..<2 {
                    try fixture.step()
                    try fixture.expect(.step(count: 1))
                    try fixture.expect(fixture.debugger.stop.steps == 1, "it is one instruction")
                    // Without a debug register some hosts have executed one instruction of it.
                    let isInside = isFull && fixture.honours(.handlerStep)
                    if !isInside {
                        try fixture.expect("rip", 0x7D00)
                        try fixture.expect("tf", 0)
                        let pushed = try fixture.debugger.readMemory(.linear(0x6FFA), count: 6).bytes
                        try fixture.expect(pushed == [0x00, 0x7C, 0, 0, 2, 0], "pushed \(pushed)")
                        let handler = try fixture.debugger.readMemory(.linear(0x7D00), count: 3).bytes
                        try fixture.expect(handler == [0x42, 0x42, 0xCF], "the handler's bytes")
                    }
                    while try fixture.register("rip") != 0x7C00 { try fixture.step() }
                    try fixture.expect("sp", 0x7000)
                }
                try fixture.expect("dx", 4)
                try fixture.expect("bx", 0)
            }
        },
        ConformanceCase(
            "a step that raises #UD, or goes through INTO, ends at the handler", needsProcessor: true
        ) { fixture in
            // UD2; INTO with OF. Each handler: inc dx; iret
            try fixture.handler(6, [0x42, 0xCF], at: 0x7D00)
            try fixture.handler(4, [0x42, 0xCF], at: 0x7D20)
            try fixture.stepsIntoHandler([0x0F, 0x0B], 0x7D00, flags: 2)
            try fixture.stepsIntoHandler([0xCE], 0x7D20, flags: 0x802)
        },
        ConformanceCase(
            "a step that raises #GP ends at the handler", needsProcessor: true, needs: [.segmentLimits]
        ) { fixture in
            // mov ax, [FFFF]. The handler: inc dx; iret
            try fixture.handler(13, [0x42, 0xCF], at: 0x7D10)
            // In real mode accesses are not looked at where the host loses but one instruction.
            let place: UInt64 = fixture.honours(.handlerStep) ? 0x7D11 : 0x7D10
            try fixture.stepsIntoHandler([0xA1, 0xFF, 0xFF], place, flags: 2)
        },
        ConformanceCase("a step that makes no progress says so, and never that it stepped") { fixture in
            // 7C00 inc ax; 7C01 int 80h; 7C03 inc bx
            try fixture.load([0x40, 0xCD, 0x80, 0x43])
            try fixture.handler(0x80, [0x42, 0xCF])
            try fixture.step(2)
            if case .noProgress = fixture.debugger.stop.reason {
                try fixture.expect("rip", 0x7C01)
                try fixture.expect(fixture.debugger.stop.steps == 1, "one was stepped")
                // Run freely it gets no further, and says that when it is stopped.
                try fixture.debugger.startContinue()
                _ = try fixture.debugger.collectStop(timeout: .milliseconds(20))
                fixture.debugger.interrupt()
                try fixture.collect()
                guard case .noProgress = fixture.debugger.stop.reason else {
                    throw ConformanceFailure(description: "stopped for \(fixture.debugger.stop.reason)")
                }
                try fixture.expect("rip", 0x7C01)
            } else {
                try fixture.expect(.step(count: 2))
                try fixture.expect("rip", 0x7D00)
            }
            // A jump to itself gets on, whatever it leaves as it was.
            try fixture.load([0xEB, 0xFE])
            try fixture.step(5)
            try fixture.expect(.step(count: 5))
        },
        ConformanceCase("TF that the debugger steps with is not in what PUSHF and INT push") { fixture in
            // 7C00 pushf; 7C01 pop ax; 7C02 int 20h; 7C04 pushf; 7C05 pop bx
            try fixture.load([0x9C, 0x58, 0xCD, 0x20, 0x9C, 0x5B])
            try fixture.interruptHandler()
            try fixture.steps(to: [0x7C01, 0x7C02, 0x7D00])
            try fixture.expect("ax", 2)
            let pushed = try fixture.debugger.readMemory(.linear(0x6FFE), count: 2).bytes
            try fixture.expect(pushed == [2, 0], "INT pushed \(pushed)")
            try fixture.steps(to: [0x7D01, 0x7C04, 0x7C05, 0x7C06])
            try fixture.expect("bx", 2)
        },
        ConformanceCase("TF that the debugger steps with does not reach the guest by way of an exception") {
            fixture in
            // 7C00 div cx; 7C02 inc bx; 7C03 jmp 7C02; the handler of #DE: inc cx; iret
            try fixture.load([0xF7, 0xF1, 0x43, 0xEB, 0xFD])
            try fixture.debugger.writeMemory(.physical(0), [0x00, 0x7D, 0, 0])
            try fixture.debugger.writeMemory(.physical(0x7D00), [0x41, 0xCF])
            try fixture.trapHandler()
            while try fixture.register("rip") & 0xFF00 != 0x7C00 || fixture.register("bx") < 3 {
                try fixture.step()
                try fixture.expect("tf", 0)
            }
            try fixture.debugger.setBreakpoint(at: .linear(0x7C03), condition: "$bx == 9")
            try fixture.go()
            try fixture.expect("di", 0)
            try fixture.expect("tf", 0)
        },
        ConformanceCase(
            "a step into an exception's handler does not run over a breakpoint there",
            needs: [.debugRegisters]
        ) { fixture in
            // 7C00 inc bx; 7C01 div cx; the handlers of #DE: inc dx; mov cl, 1; iret, and one further
            try fixture.load([0x43, 0xF7, 0xF1])
            try fixture.handler(0, [0x42, 0xB1, 0x01, 0xCF])
            try fixture.handler(6, [0x90, 0xCF], at: 0x7E00)
            let first = try fixture.debugger.setBreakpoint(at: .linear(0x7D00), needsRegister: true)
            let second = try fixture.debugger.setBreakpoint(at: .linear(0x7E00), needsRegister: true)
            try fixture.step()
            try fixture.expect(.step(count: 1))
            try fixture.step()
            try fixture.expect(.breakpoint([first.number]))
            try fixture.expect("rip", 0x7D00)
            // Another handler, where the table was looked at before; and none at a breakpoint.
            try fixture.handler(0, [0x90, 0xCF], at: 0x7E00)
            try fixture.debugger.setRegister("rip", to: 0x7C01)
            try fixture.step()
            try fixture.expect(.breakpoint([second.number]))
            try fixture.expect("rip", 0x7E00)
            try fixture.handler(0, [0x42, 0x42, 0xCF], at: 0x7F00)
            try fixture.debugger.setRegister("rip", to: 0x7C01)
            try fixture.step()
            try fixture.expect(.step(count: 1))
            try fixture.expect(fixture.register("rip") & 0xFFF0 == 0x7F00, "the third handler")
            try fixture.expect(
                [first, second].map { try fixture.debugger.breakpoint($0.number).hits } == [1, 1], "hits")
        },
        ConformanceCase("a guest that steps itself goes on doing so while it is stepped") { fixture in
            try fixture.loadSelfStepping()
            // The trap of TF comes after the instruction after POPF, and then after each.
            try fixture.steps(to: [0x7C01, 0x7C02, 0x7E00, 0x7E01, 0x7C03, 0x7E00])
            try fixture.expect("di", 1)
            try fixture.steps(to: [0x7E01, 0x7C04, 0x7E00, 0x7E01, 0x7C05, 0x7E00, 0x7E01, 0x7C06])
            try fixture.expect("di", 4)
            // PUSHF of its own TF.
            try fixture.expect("bx", 0x102)
            try fixture.expect("tf", 1)
        },
        ConformanceCase("a guest that steps itself goes on doing so when it is resumed after a step") {
            fixture in
            try fixture.loadSelfStepping()
            try fixture.steps(to: [0x7C01, 0x7C02])
            try fixture.expect("tf", 1)
            try fixture.debugger.setBreakpoint(at: .linear(0x7C06))
            try fixture.go()
            try fixture.expect("rip", 0x7C06)
            try fixture.expect("di", 4)
            try fixture.expect("bx", 0x102)
        },
        ConformanceCase("TF set by the user is the guest's") { fixture in
            // 7C00 inc ax; 7C01 inc ax; 7C02 inc ax, and #DB's handler
            try fixture.load([0x40, 0x40, 0x40])
            try fixture.trapHandler()
            try fixture.step()
            try fixture.debugger.setRegister("tf", to: 1)
            try fixture.expect("tf", 1)
            try fixture.steps(to: [0x7E00])
            try fixture.expect("ax", 2)
            try fixture.expect("tf", 0)
            try fixture.steps(to: [0x7E01, 0x7C02])
            try fixture.expect("tf", 1)
            try fixture.debugger.setRegister("tf", to: 0)
            try fixture.steps(to: [0x7C03])
        },
        ConformanceCase("steps INT3 into its handler and back") { fixture in
            // 7C00 int3; 7C01 inc cx
            try fixture.load([0xCC, 0x41])
            try fixture.debugger.writeMemory(.physical(0x0C), [0x00, 0x7D, 0, 0])
            try fixture.debugger.writeMemory(.physical(0x7D00), [0x42, 0xCF])
            try fixture.steps(to: [0x7D00, 0x7D01, 0x7C01, 0x7C02])
            try fixture.expect("cx", 1)
            try fixture.expect("dx", 1)
        },
        ConformanceCase("steps REP INSB and REP OUTSB as one each") { fixture in
            try fixture.load([
                0xBA, 0xE9, 0x00,  // 7C00 mov dx, 0E9h
                0xBE, 0x00, 0x7C,  // 7C03 mov si, 7C00
                0xB9, 0x03, 0x00,  // 7C06 mov cx, 3
                0xF3, 0x6E,  // 7C09 rep outsb
                0xBF, 0x00, 0x60,  // 7C0B mov di, 6000
                0xB9, 0x02, 0x00,  // 7C0E mov cx, 2
                0xF3, 0x6C,  // 7C11 rep insb
                0x43,  // 7C13 inc bx
            ])
            try fixture.steps(to: [
                0x7C03, 0x7C06, 0x7C09, 0x7C0B, 0x7C0E, 0x7C11, 0x7C13, 0x7C14,
            ])
            try fixture.expect("si", 0x7C03)
            try fixture.expect("di", 0x6002)
            try fixture.expect("bx", 1)
        },
        ConformanceCase("steps CPUID, WRMSR, RDMSR and a write to CR0 that turns protection on") { fixture in
            try fixture.load([
                0xB8, 0x00, 0x00,  // 7C00 mov ax, 0
                0x0F, 0xA2,  // 7C03 cpuid
                0xB9, 0x74, 0x01,  // 7C05 mov cx, 174h (IA32_SYSENTER_CS)
                0xB8, 0x34, 0x12,  // 7C08 mov ax, 1234h
                0x0F, 0x30,  // 7C0B wrmsr
                0xB8, 0x00, 0x00,  // 7C0D mov ax, 0
                0x0F, 0x32,  // 7C10 rdmsr
                0x90,  // 7C12 nop
                0x0F, 0x20, 0xC0,  // 7C13 mov eax, cr0
                0x40,  // 7C16 inc ax
                0x0F, 0x22, 0xC0,  // 7C17 mov cr0, eax
                0x90,  // 7C1A nop
            ])
            try fixture.debugger.setRegister("cr0.pe", to: 0)
            try fixture.steps(to: [0x7C03, 0x7C05])
            for register in ["rax", "rbx", "rcx", "rdx"] {
                try fixture.debugger.setRegister(register, to: 0)
            }
            try fixture.steps(to: [0x7C08, 0x7C0B, 0x7C0D, 0x7C10, 0x7C12])
            try fixture.expect("ax", 0x1234)
            try fixture.steps(to: [0x7C13, 0x7C16, 0x7C17, 0x7C1A, 0x7C1B])
            try fixture.expect("cr0.pe", 1)
            try fixture.expect(fixture.debugger.selected.mode == .protected16, "it is in protected mode")
        },
        ConformanceCase("steps one instruction after each that KVM does itself") { fixture in
            // Between them INC BX, over which a lost step would run.
            try fixture.load(
                [
                    0xE4, 0xE9, 0x43,  // 9000 in al, e9
                    0xE6, 0x80, 0x43,  // 9003 out 80, al
                    0xA3, 0x00, 0x60, 0x43,  // 9006 mov [6000], ax
                    0x0F, 0xA2, 0x43,  // 900A cpuid
                    0xBB, 0x10, 0x00, 0x43,  // 900D mov bx, 10
                    0xB9, 0x74, 0x01, 0x43,  // 9011 mov cx, 174
                    0x0F, 0x30, 0x43,  // 9015 wrmsr
                    0xBA, 0x80, 0x00, 0x43,  // 9018 mov dx, 80
                    0xB9, 0x02, 0x00, 0x43,  // 901C mov cx, 2
                    0xF3, 0x6E, 0x43,  // 9020 rep outsb
                    0xB9, 0x02, 0x00, 0x43,  // 9023 mov cx, 2
                    0xF3, 0x6C, 0x43,  // 9027 rep insb
                    0xCD, 0x20, 0x43,  // 902A int 20h
                    0x43,  // 902D inc bx
                ], at: Fixture.code)
            try fixture.interruptHandler()
            try fixture.debugger.setRegister("di", to: 0xA000)
            try fixture.steps(to: [
                0x9002, 0x9003, 0x9005, 0x9006, 0x9009, 0x900A, 0x900C, 0x900D, 0x9010, 0x9011, 0x9014,
                0x9015,
            ])
            try fixture.debugger.setRegister("rdx", to: 0)
            try fixture.steps(to: [
                0x9017, 0x9018, 0x901B, 0x901C, 0x901F, 0x9020, 0x9022, 0x9023, 0x9026, 0x9027, 0x9029,
                0x902A,
                0x7D00, 0x7D01, 0x902C, 0x902D, 0x902E,
            ])
            try fixture.expect("bx", 0x10 + 10)
            // All in one order.
            try fixture.debugger.setRegister("rip", to: 0x9000)
            try fixture.debugger.setRegister("bx", to: 0)
            try fixture.debugger.setRegister("rax", to: 0)
            try fixture.step(6)
            try fixture.expect(.step(count: 6))
            try fixture.expect("rip", 0x900A)
            try fixture.expect("bx", 3)
        },
        ConformanceCase("steps one instruction after an access to a device in memory", needs: [.ownMachine]) {
            fixture in
            // 9000 mov [10], ax; 9003 inc bx; 9004 inc bx; 9005 mov ax, [20]; 9008 inc bx; 9009 jmp 9000
            try fixture.load(
                [0xA3, 0x10, 0x00, 0x43, 0x43, 0xA1, 0x20, 0x00, 0x43, 0xEB, 0xF5], at: Fixture.code)
            try fixture.debugger.setRegister("ds.base", to: 0xFEB0_0000)
            for _ in 0..<3 { try fixture.steps(to: [0x9003, 0x9004, 0x9005, 0x9008, 0x9009, 0x9000]) }
            try fixture.expect("bx", 9)
            try fixture.step(600)
            try fixture.expect("rip", 0x9000)
            try fixture.expect("bx", 309)
        },
        ConformanceCase(
            "steps over a HLT with `next`, where something wakes the guest or not", stopsAtHalt: true
        ) { fixture in
            try fixture.load(halts)
            try fixture.step()
            try fixture.next()
            try fixture.expect(.hlt)
            try fixture.expect("rip", 0x7C02)
            try fixture.step()
            try fixture.expect("rip", 0x7C03)
        },
    ]
}

extension Fixture {
    /// One step of `code` ends at `handler`: its first instruction, INC DX, or, at an odd address, after that.
    fileprivate func stepsIntoHandler(
        _ code: [UInt8], _ handler: UInt64, flags: UInt64, line: Int = #line
    ) throws {
        try load(code, at: 0x7C00)
        try debugger.setRegister("rflags", to: flags)
        try step()
        try expect(.step(count: 1), line: line)
        try expect("rip", handler, line: line)
        try expect("dx", handler & 1, line: line)
        let pushed = try debugger.readMemory(.linear(0x6FFE), count: 2).bytes
        try expect(pushed == [UInt8(flags & 0xFF), UInt8(flags >> 8)], "pushed \(pushed)", line: line)
    }

    /// Steps once for each address, and expects to be there.
    func steps(to addresses: [UInt64], line: Int = #line) throws {
        for address in addresses {
            try step()
            try expect(.step(count: 1), line: line)
            try expect("rip", address, line: line)
        }
    }

    /// Vector 1 leads to 0000:7E00: inc di; iret.
    func trapHandler() throws {
        try debugger.writeMemory(.physical(4), [0x00, 0x7E, 0, 0])
        try debugger.writeMemory(.physical(0x7E00), [0x47, 0xCF])
    }

    /// 7C00 push dx; 7C01 popf; 7C02 inc ax; 7C03 inc ax; 7C04 pushf; 7C05 pop bx; DX has TF.
    func loadSelfStepping() throws {
        try load([0x52, 0x9D, 0x40, 0x40, 0x9C, 0x5B, 0x90])
        try trapHandler()
        try debugger.setRegister("rdx", to: 0x102)
    }
}
