import DebugTarget
import Debugger
import Testing
import X86

@testable import Commands

@Suite struct SessionTests {
    @Test func stepsAndShowsWhereItStands() throws {
        let driver = try Driver()
        #expect(try driver.text("step") == ["(0) [0x000000007c02] 0000:7c02: out 0xe9, al ; e6e9"])
        let lines = try driver.text("step 2")
        #expect(lines[0].hasPrefix("Stepped 2 instructions."))
        #expect(lines.last == "(0) [0x000000007c05] 0000:7c05: hlt ; f4")
    }

    @Test(arguments: [false, true]) func continueEndsAtTheHalt(_ allowsInterrupts: Bool) throws {
        let driver = try Driver()
        try driver.output("set rflags = \(allowsInterrupts ? "0x202" : "2")")
        let lines = try driver.text("c")
        #expect(lines[0].hasPrefix("Halted: HLT"))
        #expect(lines[0].contains("interrupts off (IF = 0)") != allowsInterrupts, "\(lines[0])")
        #expect(try driver.text("info console") == ["e9: 1 byte", "  H"])
    }

    @Test func whatCannotBeTypedIsSaid() throws {
        let driver = try Driver()
        #expect(try driver.failure("type").message == "nothing to be typed")
        let escape = try driver.failure(#"type "a\qb""#)
        #expect(escape.message == #"there is no escape \q"# && escape.column == 7)
        #expect(try driver.failure(#"type a\x0"#).message.contains("two hexadecimal digits"))
        #expect(try driver.failure("type 0123456789abcdef").message.contains("takes 16 bytes now"))
    }

    @Test func breakpointsStopAndAreListed() throws {
        let driver = try Driver()
        #expect(
            try driver.text("b 0:7c04") == ["Breakpoint 1 at 0000:7c04, linear 0x7c04 (debug register)"])
        #expect(try driver.text("tb 0x7c05")[0].hasPrefix("Temporary breakpoint 2 at 0x7c05 ("))
        let stop = try driver.text("continue")
        #expect(stop[0].hasPrefix("Breakpoint 1."))
        #expect(stop[1] == "(0) [0x000000007c04] 0000:7c04: nop ; 90")
        let list = try driver.text("blist")
        #expect(list.count == 3)
        #expect(list[1].split(separator: " ").last == "1")
        #expect(try driver.text("disable 1") == ["Disabled 1 breakpoint."])
        #expect(try driver.text("blist")[1].contains(" n "))
        #expect(try driver.text("delete") == ["Deleted 2 breakpoints."])
        #expect(try driver.text("blist") == ["No breakpoints."])
    }

    @Test func aBadNumberDeletesNothing() throws {
        let driver = try Driver()
        try driver.output("b 0x7c04")
        let error = try driver.failure("delete 1 7")
        #expect(error.column == 9)
        #expect(error.message == "there is no breakpoint `7`")
        #expect(error.remedy == "breakpoints: 1")
        #expect(driver.session.debugger.breakpoints.count == 1)
    }

    @Test func fourAreTheLimitAndItSaysSo() throws {
        let driver = try Driver()
        for place in 0..<4 { try driver.output("hbreak \(0x7C10 + place)") }
        let error = try driver.failure("hbreak 0x7c20")
        #expect(error.message.contains("4") || error.message.contains("four"))
        #expect(error.remedy != nil)
        #expect(driver.session.debugger.breakpoints.count == 4)
    }

    @Test func edits() throws {
        let driver = try Driver()
        #expect(try driver.text("set $rax = 0x10 + 5") == ["rax      0x0000000000000015  21"])
        #expect(try driver.text("set al = 0xff") == ["al       0xff  255"])
        #expect(try driver.text("output/x $rax") == ["0xff"])
        #expect(try driver.text("set zf = 1") == ["zf       0x1"])
        try driver.output("set $ds = 0x40")
        #expect(try driver.text("reg ds.base")[0].contains("0x0000000000000400"))
        try driver.output("sregs set ds.base = 0x12345")
        #expect(try driver.text("info registers ds.base ds").count == 2)
        #expect(try driver.text("output/x $ds") == ["0x40"])
        #expect(try driver.text("set *(u16*)0x500 = 0xabcd") == ["Wrote 2 bytes at 0x500: cdab"])
        #expect(try driver.text("output/x *(u16*)0x500") == ["0xabcd"])
        // Memory by whatever names it in GDB: C's types, and an int where there is none.
        #expect(try driver.text("set *(short*)0x500 = 5") == ["Wrote 2 bytes at 0x500: 0500"])
        #expect(try driver.text("set *(unsigned char*)0x500 = 6") == ["Wrote 1 byte at 0x500: 06"])
        #expect(try driver.text("set *0x500 = 1") == ["Wrote 4 bytes at 0x500: 01000000"])
        #expect(try driver.text("setpmem 0x600 4 (1 + 1)") == ["Wrote 4 bytes at p:0x600: 02000000"])
    }

    @Test(
        arguments: [
            ("set raxx = 5", 4, "rax"), ("set $rax = 1 +", 14, nil), ("set $rax = $foo", 11, nil),
            ("set *(u16*)0x500 = 0x10000", 19, nil), ("set *nope = 1", 4, nil),
            ("setpmem 0x500 3 1", 14, nil),
            ("setpmem 0x500 1", 8, nil), ("sregs set rax = 5", 10, nil), ("x/4q 0", 3, nil), ("x", 1, nil),
            ("p 1 / 0", nil, nil), ("p (1 + 2", nil, nil), ("step 0", 5, nil), ("step 1 2", nil, nil),
            ("cpu 7", 4, nil), ("cpu", 3, nil), ("advance", 7, nil), ("continue 5", 9, nil),
            ("xp 0:10", 3, nil),
            ("x/i", nil, nil), ("p", 1, nil), ("p/4x 1", 2, nil), ("info frobnicate", 5, nil),
            ("help nonsense", 5, nil), ("source", 6, nil), ("writemem f 0", 9, nil), ("vcpu create", 11, nil),
            ("info lapic", nil, nil), ("xp/i 0", 3, nil), ("u/4x", 2, nil), ("b 0x1_", nil, nil),
        ] as [(String, Int?, String?)])
    func errorsPointAtThePlace(_ line: String, _ column: Int?, _ suggestion: String?) throws {
        guard line != "x/i" else { return }
        let driver = try Driver()
        let before = driver.session.debugger.stop.vcpus
        let error = try driver.failure(line)
        #expect(!error.message.isEmpty)
        if let column { #expect(error.column == column, "\(error)") }
        if let suggestion { #expect(error.suggestion == suggestion) }
        if let place = error.column { #expect((0...line.count).contains(place)) }
        #expect(driver.session.debugger.stop.vcpus == before)
    }

    /// A number is refused as it was meant, and a command without arguments says so.
    @Test(
        arguments: [
            ("step -1", "a count is from 1 to 2,147,483,647, not -1"), ("cpu -2", "there is no vCPU -2"),
            ("stop 5", "`stop` takes no argument"),
            ("cpu 0 1", "`vcpu select` takes one argument at most"),
            (
                "setpmem 0xfffffff0 1 2",
                "writing a byte at p:0xfffffff0: no memory at guest-physical 0xfffffff0"
            ),
        ])
    func errorsSayWhatWasWrong(_ line: String, _ message: String) throws {
        #expect(try Driver().failure(line).message == message)
    }

    @Test func memoryIsShownAndItsHolesAreSaid() throws {
        let driver = try Driver()
        #expect(try driver.text("x/6xb 0:7c00") == ["0000:7c00: 0xb0 0x48 0xe6 0xe9 0x90 0xf4  .H...."])
        #expect(try driver.text("x/2xh 0x7c00") == ["0x7c00: 0x48b0 0xe9e6"])
        #expect(try driver.text("x/1dw 0x7c00") == ["0x7c00: \(Int32(bitPattern: 0xE9E6_48B0))"])
        let edge = try driver.text("xp/4xb 0xffffe")
        #expect(edge[0] == "p:0xffffe: 0x00 0x00   ??   ??  ..??")
        #expect(edge[1].hasPrefix("cannot be read: p:0x100000, 2 bytes:"))
        driver.guest.ram.store(Array("hi \u{1B}[2J\0you\0".utf8), at: 0x500)
        #expect(
            try driver.text("x/2s 0x500") == ["0x500: \"hi \\x1b[2J\"", "0x508: \"you\""])
    }

    @Test func enterRepeatsAndGoesOn() throws {
        let driver = try Driver()
        _ = try driver.output("x/2xb 0x7c00", origin: .interactive)
        #expect(try driver.output("", origin: .interactive).lines(width: 80)[0].text.hasPrefix("0x7c02:"))
        #expect(try driver.output("  ", origin: .interactive).lines(width: 80)[0].text.hasPrefix("0x7c04:"))
        _ = try driver.output("s", origin: .interactive)
        _ = try driver.output("", origin: .interactive)
        #expect(driver.session.debugger.selected.registers.rip == 0x7C04)
        // After something that does not repeat, and after an error, Enter does nothing.
        _ = try driver.output("regs", origin: .interactive)
        #expect(try driver.output("", origin: .interactive) is Silence)
        _ = try driver.output("s", origin: .interactive)
        #expect(throws: CommandError.self) { try driver.output("frobnicate", origin: .interactive) }
        #expect(try driver.output("", origin: .interactive) is Silence)
        // A script's blank line never repeats.
        _ = try driver.output("x/2xb 0x7c00", origin: .interactive)
        #expect(try driver.output("") is Silence)
        #expect(driver.session.history == ["x/2xb 0x7c00", "s", "regs", "s", "frobnicate", "x/2xb 0x7c00"])
    }

    @Test func codeGoesOnWithEnter() throws {
        let driver = try Driver()
        let first = try driver.output("u/2", origin: .interactive).lines(width: 80).map(\.text)
        #expect(first[0] == " => 0000:7c00  b048    mov al, 0x48")
        #expect(first[1] == "    0000:7c02  e6e9    out 0xe9, al")
        let second = try driver.output("", origin: .interactive).lines(width: 80).map(\.text)
        #expect(second[0] == "    0000:7c04  90      nop")
        // As Bochs has it, and as GDB has it.
        #expect(try driver.text("u 0x7c00 0x7c04") == driver.text("disassemble 0x7c00, 0x7c04"))
    }

    @Test func aGuestThatSpinsIsStopped() throws {
        let driver = try Driver([0xEB, 0xFE])
        guard case .running(let running) = try driver.session.execute("c") else {
            Issue.record("it does not run")
            return
        }
        #expect(running == Running(action: "continue", vcpus: [0]))
        #expect(try driver.session.collectStop(timeout: .zero) == nil)
        #expect(driver.session.isRunning)
        let refused = try driver.failure("step")
        #expect(refused.message.contains("is stopped"))
        // Registers are read, and edited, as it runs.
        #expect(try driver.text("output/x $rip") == ["0x7c00"])
        try driver.output("set $rbx = 7")
        #expect(try driver.text("stop")[0].hasPrefix("Interrupted."))
        #expect(try driver.text("p $rbx") == ["$1 = 7  0x7"])
        #expect(try driver.text("stop") == ["The guest is stopped already."])
    }

    @Test func aGuestInTheBackgroundLeavesTheQueueGoing() throws {
        let driver = try Driver([0xEB, 0xFE])
        driver.session.enqueue(["c &", "set $rbx = 7", "stop", "p 1"], place: "here")
        var lines: [String] = []
        while let next = driver.session.advance() {
            lines.append(next.line)
            guard case .success(.running(let running)) = next.result else { continue }
            #expect(running.isBackground == (next.line == "c &"))
            if !running.isBackground { _ = try driver.session.collectStop(timeout: nil) }
        }
        #expect(lines == ["c &", "set $rbx = 7", "stop", "p 1"])
        #expect(driver.session.runningLine == "c &")
        #expect(driver.session.debugger.selected.registers.rbx == 7)
        #expect(try driver.text("step 2 &").last == "(0) [0x000000007c00] 0000:7c00: jmp 0x7c00 ; ebfe")
        #expect(try driver.failure("p 1 &").column != nil)
    }

    @Test func vcpus() throws {
        let driver = try Driver(vcpus: 2)
        #expect(try driver.text("vcpu list").count == 3)
        #expect(try driver.text("cpu 1") == ["(1) [0x000000007c00] 0000:7c00: mov al, 0x48 ; b048"])
        try driver.output("s")
        #expect(driver.session.debugger.stop[0]?.registers.rip == 0x7C00)
        #expect(driver.session.debugger.stop[1]?.registers.rip == 0x7C02)
        #expect(try driver.text("vcpu info 0")[0].hasPrefix("vCPU 0, boot processor, stopped"))
        #expect(try driver.failure("vcpu create").message.contains("cannot be added to fake"))
    }

    @Test func exitsAreCountedAndReset() throws {
        let driver = try Driver()
        #expect(try driver.text("info exits") == ["No exits yet."])
        try driver.output("c")
        let lines = try driver.text("exits 5")
        #expect(lines.contains { $0.hasPrefix("IO 0xe9 out") })
        #expect(lines.last?.hasSuffix("HLT") == true)
        #expect(lines.contains { $0.hasSuffix("IO out 0xe9 1 byte 0x48") })
        try driver.output("exits reset")
        #expect(try driver.text("info exits") == ["No exits yet."])
    }

    @Test(arguments: CommandTable.standard.commands.map(\.name).filter { $0 != "info" })
    func everyCommandHasAHelpPage(_ name: String) throws {
        let lines = try Driver().text("help \(name)")
        let command = try #require(CommandTable.standard.command(named: name))
        #expect(lines[0] == "\(command.usage)  \(command.summary)")
    }

    @Test func helpFindsGroupsAndWords() throws {
        let driver = try Driver()
        #expect(try driver.text("help").count > CommandTable.standard.commands.count)
        #expect(try driver.text("help info").contains { $0.contains("info exits") })
        #expect(try driver.text("apropos physical").contains { $0.contains("setpmem") })
        #expect(try driver.text("apropos zzzz") == ["No command mentions `zzzz`."])
        #expect(try driver.text("info").contains { $0.contains("info lapic") })
        #expect(try driver.failure("help contineu").suggestion == "continue")
    }

    @Test func textOfAnyKindIsNoCrash() throws {
        let driver = try Driver()
        // No file is made of such a name, and no program run.
        driver.session.hostAccess = []
        let names = CommandTable.standard.commands.flatMap(\.names) + ["", "\u{301}", "é"]
        let tails = [
            "", " ", "/", "/ ", "/x", "/99999999999999999999", " $", " (",
            " " + String(repeating: "(", count: 5000),
            " \"", " -1", " 0x", " 0xffffffffffffffff", " 18446744073709551616", " =", " = =", " *()",
            " *(u8*)",
            " a b c d e f", " \u{1B}[2J", " p:0xffffffffffffffff", " ffff:ffffffffffffffff",
            " ~/nothing-here 0 1", " \u{0}",
        ]
        for name in names where name != "quit" {
            for tail in tails {
                do throws(CommandError) {
                    _ = try driver.output(name + tail).lines(width: 1).map(\.text)
                } catch {
                    let lines = error.lines(width: 20).map(\.text)
                    #expect(!lines.joined().unicodeScalars.contains { $0.value < 0x20 })
                }
                driver.session.cancelQueue()
                driver.session.abandonBlock()
                if driver.session.isRunning {
                    driver.session.interrupt()
                    _ = try driver.session.collectStop(timeout: nil)
                }
            }
        }
    }
}
