import DebugTarget
import Debugger
import TargetConformance
import Testing
import X86

@testable import Commands

/// Catchpoints as they are typed, and the black box.
@Suite struct CatchCommandTests {
    /// 7C00 inc ax; 7C01 out 80, al; 7C03 xchg bx, bx; 7C05 int 20h; 7C07 jmp 7C00. INT 20's handler: 7D00 iret
    private func guest() throws -> BreakpointCommandTests.Guest {
        let guest = try BreakpointCommandTests.Guest()
        try guest.debugger.writeMemory(
            .physical(0x7C00), [0x40, 0xE6, 0x80, 0x87, 0xDB, 0xCD, 0x20, 0xEB, 0xF7])
        try guest.debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try guest.debugger.writeMemory(.physical(0x7D00), [0xCF])
        return guest
    }

    /// By TF, an interrupt's handler takes the steps with it.
    @Test func whatIsMissedInHandlersIsSaid() throws {
        let session = Session(debugger: try Debugger(target: TargetConformance.FakeTarget(quirks: .tfIsReal)))
        for (line, isMissed) in [("catch mode", true), ("catch cr", true), ("catch int 8", false)] {
            guard case .done(let output) = try session.execute(line, origin: .script) else {
                Issue.record("\(line) does not end")
                continue
            }
            let text = output.lines(width: 120).map(\.text).joined()
            #expect(text.contains("every instruction is stepped"))
            #expect(text.contains("the handlers of some interrupts run unseen") == isMissed, "\(text)")
        }
    }

    @Test func eachEventIsSetAndListed() throws {
        let guest = try guest()
        let slow = "  every instruction is stepped: slow."
        let lines: [(String, [String])] = [
            ("catch io", ["Catchpoint 1 (io) (by exit)"]),
            ("catch io 0x60-0x64 in", ["Catchpoint 2 (io 0x60-0x64 in) (by exit)"]),
            ("catch io 0x80 out if $al == 3", ["Catchpoint 3 (io 0x80 out) if $al == 3 (by exit)"]),
            ("catch mmio 0xfee00000 +0x1000", ["Catchpoint 4 (mmio 0xfee00000-0xfee00fff) (by exit)"]),
            ("catch mmio p:0xfec00000-0xfec0000f", ["Catchpoint 5 (mmio 0xfec00000-0xfec0000f) (by exit)"]),
            ("catch exit kvm_exit_hlt", ["Catchpoint 6 (exit HLT) (by exit)"]),
            ("catch exit rdmsr", ["Catchpoint 7 (exit X86_RDMSR) (by exit)"]),
            ("catch int 0x20", ["Catchpoint 8 (int 0x20) (by stepping)", slow]),
            ("catch interrupt 33", ["Catchpoint 9 (int 0x21) (by stepping)", slow]),
            ("catch exception", ["Catchpoint 10 (exception) (by stepping)", slow]),
            ("catch exception gp", ["Catchpoint 11 (exception #GP) (by stepping)", slow]),
            ("catch exception 14", ["Catchpoint 12 (exception #PF) (by stepping)", slow]),
            ("catch mode", ["Catchpoint 13 (mode) (by stepping)", slow]),
            ("catch msr efer", ["Catchpoint 14 (msr IA32_EFER) (by MSR filter)"]),
            ("catch cr $cr3", ["Catchpoint 15 (cr cr3) (by stepping)", slow]),
            ("catch cr", ["Catchpoint 16 (cr) (by stepping)", slow]),
            ("catch hlt", ["Catchpoint 17 (hlt) (by exit)"]),
            ("catch triplefault", ["Catchpoint 18 (triplefault) (by exit)"]),
            ("tcatch io 0x90", ["Temporary catchpoint 19 (io 0x90) (by exit)"]),
        ]
        for (line, expected) in lines { #expect(try guest.text(line) == expected) }
        let list = try guest.text("info breakpoints")
        #expect(list[0].hasPrefix("Num  Type"))
        #expect(
            list.contains { $0.hasPrefix("  3  catch") && $0.contains("io 0x80 out") && $0.contains("exit") })
        #expect(list.contains { $0.contains("only if $al == 3") })
        #expect(list.contains { $0.contains("19  once catch") })
    }

    @Test func stopLinesSayWhatWasCaught() throws {
        let guest = try guest()
        try guest.text("catch io 0x80 out if $al >= 2")
        try guest.text("commands 1 print $al")
        #expect(try guest.text("c")[0].hasPrefix("Catchpoint 1 (out 0x80, 1 byte, 0x2)."))
        #expect(guest.drain() == ["print $al"])
        try guest.text("delete 1")
        try guest.text("tcatch int 0x20")
        #expect(try guest.text("c")[0].hasPrefix("Catchpoint 2 (int 0x20)."))
        #expect(guest.debugger.breakpoints.isEmpty)
        try guest.text("b 0x7c03")
        try guest.text("catch io")
        #expect(
            try guest.text("c")[0].hasPrefix("Catchpoint 4 (out 0x80, 1 byte, 0x3).")
                || guest.debugger.stop.caught.count == 1)
    }

    @Test func modebpTogglesAndTheMagicBreakpointIsASetting() throws {
        let guest = try guest()
        #expect(try guest.text("modebp")[0] == "Catchpoint 1 (mode) (by stepping)")
        #expect(try guest.text("modebp") == ["Mode switches stop the guest no longer."])
        #expect(guest.debugger.breakpoints.isEmpty)
        #expect(try guest.text("show magic-break") == ["The magic breakpoint is off."])
        #expect(try guest.text("set magic-break on")[0].hasPrefix("The magic breakpoint is on"))
        let stop = try guest.text("c")
        #expect(stop[0].hasPrefix("Magic breakpoint."))
        #expect(stop[1].contains("0000:7c05"))
        #expect(try guest.text("set magic-break off") == ["The magic breakpoint is off."])
        #expect(try guest.failure("set magic-break maybe").message.contains("`on` or `off`"))
        // It is no name for other settings.
        #expect(try guest.text("set $bx = 7").isEmpty == false)
    }

    @Test func tracingIsASettingThatTheGuestMayChange() throws {
        let guest = try guest()
        #expect(try guest.text("show trace") == ["Tracing is off."])
        #expect(try guest.text("trace on")[0].hasPrefix("Tracing is on: every instruction is stepped"))
        #expect(guest.debugger.isTracing)
        try guest.text("b 0x7c03")
        let stop = try guest.text("c")
        // It was the user who turned it on.
        #expect(!stop.contains { $0.contains("tracing") })
        #expect(try guest.text("info blackbox 5").contains { $0.contains("0000:7c00: inc ax") })
        #expect(try guest.text("trace-reg off") == ["Tracing is off."])
        #expect(try guest.failure("trace maybe").message.contains("`on` or `off`"))
        #expect(try guest.failure("set trace").message.contains("`on` or `off`"))
        // mov dx, 8a00; mov ax, 8a00; out dx, ax; mov ax, 8ae3; out dx, ax; mov ax, 8ae0; out dx, ax
        try guest.debugger.writeMemory(
            .physical(0x7C00),
            [0xBA, 0x00, 0x8A, 0xB8, 0x00, 0x8A, 0xEF, 0xB8, 0xE3, 0x8A, 0xEF, 0xB8, 0xE0, 0x8A, 0xEF])
        try guest.text("d")
        try guest.text("set $ip = 0x7c00")
        let asked = try guest.text("c")
        #expect(asked[0].hasPrefix("The guest asked for its debugger (port 0x8a00)."))
        #expect(asked.contains { $0.hasPrefix("The guest turned tracing on (port 0x8a00)") })
        #expect(try guest.text("show trace")[0].hasPrefix("Tracing is on"))
    }

    @Test(arguments: [
        ("catch", "needs a second word"), ("catch nothing", "there is no `catch nothing`"),
        ("catch io 0x10000", "ports are from 0 to 0xffff"), ("catch io 0x64-0x60", "ends before it begins"),
        ("catch io 1 2", "takes ports"), ("catch io 0x80 if", "needs an expression"),
        ("catch io 0x80 if $nothing", "nothing"), ("catch mmio", "needs an address"),
        ("catch mmio 0x1000", "there is memory"), ("catch mmio 0xfee00000 0", "no length"),
        ("catch exit", "needs a reason"), ("catch exit frob", "there is no exit reason"),
        ("catch exit debug", "made by the debugger itself"), ("catch int", "needs a vector"),
        ("catch int 256", "vectors are from 0 to 255"), ("catch exception 32", "vectors 0 to 31"),
        ("catch cr 2", "no control register"), ("catch msr frobnicate", "there is no MSR"),
        ("catch hlt 5", "takes no `5`"), ("tcatch", "needs an event"), ("tcatch frob", "there is no event"),
        ("tcatch ex", "ambiguous"),
    ])
    func whatCannotBeIsSaid(_ line: String, _ part: String) throws {
        let error = try guest().failure(line)
        #expect("\(error.message)".contains(part), "\(error.message)")
    }

    @Test func jsonHasTheEvent() throws {
        let guest = try guest()
        let session = guest.session
        func json(_ line: String) throws -> String {
            switch try session.execute(line, origin: .script) {
            case .done(let output): JSONRecord.line(command: line, result: output)
            case .running:
                JSONRecord.line(command: line, result: try session.collectStop(timeout: nil) ?? Silence())
            case .quit: ""
            }
        }
        let set = try json("catch io 0x80 out")
        #expect(set.contains(#""event":"io 0x80 out""#) && set.contains(#""mechanism":"exit""#))
        #expect(!set.contains(#""address""#))
        let stop = try json("c")
        for part in [
            #""kind":"caught""#, #""breakpoints":[1]"#, #""direction":"out""#, #""place":"0x80""#,
            #""value":"0x1""#, #""size":1"#,
        ] { #expect(stop.contains(part), "\(stop)") }
        let box = try json("info blackbox 3")
        #expect(box.contains(#""steps":["#) && !box.contains(#""fault""#))
    }

    @Test func theBlackBoxNamesTheCause() throws {
        let guest = try BreakpointCommandTests.Guest()
        // 7C00 inc ax; 7C01 inc bx; 7C02 out 80, al; 7C04: what this processor dies of
        try guest.debugger.writeMemory(.physical(0x7C00), [0x40, 0x43, 0xE6, 0x80, 0x0F, 0x0B])
        #expect(try guest.text("info blackbox")[0] == "vCPU 0 has not died of a triple fault.")
        try guest.text("step 2")
        let steps = try guest.text("info blackbox")
        #expect(steps.contains { $0.contains("0000:7c00: inc ax") && $0.contains("rax=1") })
        #expect(steps.contains { $0.contains("0000:7c01: inc bx") && $0.contains("rbx=1") })
        try guest.text("c")
        let lines = try guest.text("info blackbox")
        #expect(lines[0].hasPrefix("vCPU 0 died of a triple fault at 0000:7c04: ud2"))
        #expect(lines.contains(" 1. #UD invalid opcode: the instruction is undefined"))
        #expect(lines.contains { $0.contains("IO out 0x80") })
        // The table of this guest is all zeros: the handler would be at 0.
        #expect(lines.contains { $0.hasPrefix("As memory is now, the handler at 0x0") })
        try guest.text("set idtr.limit = 0")
        #expect(try guest.failure("info blackbox x").message.isEmpty == false)
    }

    @Test(arguments: [
        ("catch e", ["exception", "exit"]), ("catch io 0x60 o", ["out"]), ("catch exit hl", ["hlt"]),
        ("catch exception #G", ["#GP"]), ("tcatch tri", ["triplefault"]),
        ("set magic-break o", ["off", "on"]),
        ("info blac", ["blackbox"]), ("catch cr ", ["0", "3", "4", "8"]),
    ])
    func completes(_ line: String, _ expected: [String]) throws {
        let guest = try guest()
        let found = guest.session.complete(line, cursor: line.utf8.count).candidates.map(\.text)
        #expect(found == expected)
    }

    @Test func vector21IsAnInterruptInRealMode() {
        #expect(ExceptionName.full(21, inRealMode: true) == "vector 0x15 (BIOS system services)")
        #expect(ExceptionName.full(21) == "#CP control protection")
        let real = CaughtRow.text(
            CaughtEvent(number: 1, what: .interrupt(vectors: [21], isSoftware: false, isInside: false)),
            inRealMode: true)
        #expect(!real.contains("#CP"), "\(real)")
        let protected = CaughtRow.text(
            CaughtEvent(number: 1, what: .interrupt(vectors: [21], isSoftware: false, isInside: false)),
            inRealMode: false)
        #expect(protected.contains("#CP"), "\(protected)")
    }
}
