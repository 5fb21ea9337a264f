import Debugger
import KVMCore
import Testing
import X86

@testable import Commands

@Suite struct SearchCommandTests {
    @Test func find() throws {
        let driver = try Driver()
        driver.guest.ram.store(Array("RSD PTR ".utf8), at: 0xF_0010)
        driver.guest.ram.store([0x55, 0xAA, 0x55, 0xAA], at: 0x7DFE)
        #expect(try driver.text("find \"RSD PTR \"").first == "p:0xf0010")
        #expect(try driver.text("search/b 0x55 0xaa").prefix(2) == ["p:0x7dfe", "p:0x7e00"])
        #expect(try driver.text("find x\"55 AA55aa\" in 0x7c00 +1K").first == "0x7dfe")
        #expect(try driver.text("find/h 0x7c00, +0x400, 0xaa55").prefix(2) == ["0x7dfe", "0x7e00"])
        #expect(try driver.text("find/h 0:7c00, 0:7dff, 0xaa55") == ["0000:7dfe", "1 match in 512 B."])
        // GDB's end is the last byte: one less and the word is not whole.
        #expect(try driver.text("find/h 0x7c00, 0x7dfe, 0xaa55") == ["Not found in 511 B."])
        #expect(try driver.text("find/b 0x55 in 0x7dfe 0x7dfe") == ["0x7dfe", "1 match in 1 B."])
        #expect(try driver.text("find 0xaa55aa55").first == "p:0x7dfe")
        #expect(try driver.text("find/h -21931 in p:0x7000 p:0x7fff").first == "p:0x7dfe")
        #expect(
            try driver.text("find/1h 0xaa55") == ["p:0x7dfe", "There are more: `find/N` lists N of them."])
        #expect(try driver.json("find/h 0xaa55 in 0x7c00 +512").contains(#""matches":["0x7dfe"]"#))
        // `x` goes on there.
        #expect(try driver.text("x/2xb")[0].hasPrefix("0x7dfe: 0x55 0xaa"))
    }

    @Test(
        arguments: [
            ("find", 4), ("find \"abc", 5), ("find \"\"", 5), ("find x\"5\"", 5), ("find \"\\q\"", 6),
            ("find/b 0x1ff", 7), ("find/i 5", 5), ("find 5 in 0x7c00", 10), ("find 5 in 0x7c00 0x7b00", 17),
            ("find 1 + in 0 +5", nil), ("crc 0x7c00", nil), ("crc 0x7c00 0x7c00", 11),
            ("crc 0x7c00 +0x1000000", 4), ("hexdump", nil), ("hexdump p:0x200000", 8),
            ("x/4xw p:0x200000", 6),
            ("x/s p:0x200000", 4), ("x/2i 0x200000", 5), ("u 0x200000", 2), ("deref 0x200000", 6),
            ("telescope p:0", 10), ("find 5 in p:0x200000 +16", nil), ("page", nil), ("page p:0", 5),
            ("gva2gpa 1 +", nil), ("p2v 0:0", 4), ("gpa2hva 0x200000", 8), ("info gdt 9", 9),
            ("info gdt 2 1", 11), ("info ldt", nil), ("info idt 256", 9), ("info cpuid 0x55", 11),
            ("info msr frobnicate", 9), ("info msr 0x55", 9), ("wrmsr efer", nil), ("info ioapic", nil),
            ("info pic", nil), ("info pit", nil), ("info tlb 0 0", 11), ("display 1 +", nil),
            ("undisplay 7", 10),
            // What is put together from a line is not the line: the caret stands in what was typed.
            ("find 1 in 0 1+", 14), ("find 1 in 0 (1", 14), ("find 0, 1+, 5", 10), ("set $n 1+", 9),
            ("set $n     rxa", 11), ("set $n* 1", 7), ("set cpuid[7,1+].eax = 0", 14),
            ("set cpuid[7,rxa].eax = 0", 12),
        ] as [(String, Int?)])
    func mistakesAreToldWithACaret(_ line: String, _ column: Int?) throws {
        let driver = try Driver()
        let error = try driver.failure(line)
        #expect(!error.message.isEmpty)
        #expect(error.column != nil)
        if let column { #expect(error.column == column, "\(error)") }
    }

    @Test func checksumAndDump() throws {
        let driver = try Driver()
        driver.guest.ram.store(Array("123456789".utf8), at: 0x8000)
        #expect(try driver.text("crc 0x8000 +9") == ["CRC-32 of 9 bytes at 0x8000: 0xcbf43926"])
        #expect(try driver.text("crc p:0x8000 0x8009")[0].hasSuffix("0xcbf43926"))
        let dump = try driver.text("hexdump 0x8000 80")
        #expect(
            dump[0] == "0x8000  31 32 33 34 35 36 37 38  39 00 00 00 00 00 00 00  |123456789.......|")
        // Rows of zeros: the first, a mark, the last.
        #expect(dump.count == 4 && dump[2] == "*" && dump[3].hasPrefix("0x8040"))
        #expect(try driver.text("hexdump p:0xffff8 16").last?.hasPrefix("cannot be read:") == true)
    }

    @Test func displaysFollowEveryStop() throws {
        let driver = try Driver()
        #expect(try driver.text("display/x $al") == ["1: /x $al = 0x0"])
        #expect(try driver.text("display/i $cs:$ip").count == 2)
        #expect(try driver.text("display *(u8*)0x200000")[0].contains("cannot be read"))
        let stop = try driver.text("step")
        #expect(stop.contains("1: /x $al = 0x48"))
        #expect(stop.contains { $0.contains("out 0xe9, al") && $0.hasPrefix(" =>") })
        #expect(stop.last?.contains("cannot be read") == true)
        #expect(try driver.json("step").contains(#""displays":[{"#))
        #expect(try driver.text("info display").count == 4)
        // A display does not move where `x` goes on.
        try driver.output("x/2xb 0x7c00")
        try driver.output("step")
        #expect(try driver.text("x")[0].hasPrefix("0x7c02"))
        #expect(try driver.text("undisplay 2 3") == ["Ended 2 displays."])
        #expect(try driver.text("display").count == 1)
        #expect(try driver.text("undisplay") == ["Ended 1 display."])
        #expect(try driver.json("stop").contains("displays") == false)
    }

    @Test func theUserEndsALongCommand() throws {
        let driver = try Driver()
        driver.session.cancelRequested = { true }
        #expect(try driver.text("find \"nothing of that kind\"") == ["Interrupted after 0 B."])
        #expect(driver.session.wasCancelled)
        driver.session.cancelRequested = { false }
        #expect(try driver.text("find \"nothing of that kind\"") == ["Not found in 1024 KiB."])
        #expect(!driver.session.wasCancelled)
    }

    /// Commands that show much end with what they have, say so, and go on from there.
    @Test func theUserEndsALongAnswer() throws {
        let driver = try Driver()
        var looks = 0
        driver.session.cancelRequested = {
            looks += 1
            return true
        }
        let bytes = try driver.text("x/500000xb 0")
        #expect(looks == 1)
        let rest = try #require(bytes.last)
        #expect(rest.hasPrefix("Ended before ") && rest.hasSuffix(" more bytes; `x` goes on from here."))
        #expect(rest.contains(" 495,904 "), "one slice was shown: \(rest)")
        driver.session.cancelRequested = { false }
        #expect(try driver.text("x/xb")[0].hasPrefix("0x1000:"))
        #expect(try driver.json("x/500000xb 0").contains("missing") == false)

        driver.session.cancelRequested = { true }
        #expect(try driver.text("hexdump 0 0x80000").last?.hasPrefix("Ended before ") == true)
        #expect(try driver.json("hexdump 0 0x80000").contains(#""missing":"#))
        let code = try driver.text("x/50000i 0")
        #expect(code.last == "Ended before the rest; `x/i` goes on from here." && code.count < 50_000)
        driver.session.cancelRequested = { false }
        #expect(try driver.text("x/3i 0").count == 3)
        #expect(throws: CommandError.self) { try driver.text("hexdump 0 0x100001") }
    }

    /// A long list of code is the same as its parts: no instruction is missed or doubled, and SEG:OFF stays what it was.
    @Test func aLongListOfCodeIsWhole() throws {
        let driver = try Driver()
        let lines = try driver.text("x/2500i 0700:0c00")
        #expect(lines.count >= 2500)
        let code = lines.filter { $0.contains("0700:") }
        #expect(code.count == 2500)
        #expect(Set(code).count == 2500)
    }

    @Test func pointersAndFrames() throws {
        let driver = try Driver()
        #expect(try driver.text("telescope")[0] == "0000 ss:0x7c00 rsp rip  48b0")
        #expect(try driver.text("deref 0x7c00 2").count == 2)
        #expect(try driver.text("bt")[0].hasPrefix("#0  0000:7c00"))
        #expect(try driver.json("where").contains(#""kind":"innermost""#))
    }

    @Test func pages() throws {
        let driver = try Driver()
        #expect(try driver.text("page 0:7c00").last == "paging is off: linear is physical")
        #expect(try driver.text("gva2gpa ds:0x500") == ["gpa: 0x500"])
        #expect(try driver.text("p2v 0x500")[0].hasPrefix("linear: 0x500"))
        #expect(try driver.text("gpa2hva 0x500") == ["hva: 0x500  memslot 0"])
        #expect(try driver.text("info mem").count == 1)
    }
}

@Suite struct StateCommandTests {
    @Test func tables() throws {
        let driver = try Driver()
        #expect(try driver.text("set ivt[0x10] = f000:1234").last == "10  f0001234  f000:1234  BIOS video")
        #expect(driver.guest.ram.byte(0x40) == 0x34 && driver.guest.ram.byte(0x43) == 0xF0)
        let vector = try driver.text("info ivt 16")
        #expect(try driver.text("info idt 0x10") == vector)
        // Vectors in a row that say the same are one line; each is still an entry of its own for programs.
        for index in 0x70..<0x74 { try driver.output("set ivt[\(index)] = f000:1234") }
        for index in 0x80..<0x90 { try driver.output("set ivt[\(index)] = f000:ff53") }
        let all = try driver.text("info ivt")
        #expect(all.contains("80-8f  f000ff53  f000:ff53  16 vectors"), "\(all)")
        #expect(all.filter { $0.hasPrefix("7") }.count == 4)
        #expect(try driver.json("info ivt").contains(#""index":133"#))
        try driver.output("set gdtr.base = 0x9000")
        let entry = try driver.text("set gdt[1] = 0x00cf9b000000ffff")
        #expect(entry.last?.contains("code exec/read accessed, DPL 0, 32-bit, G") == true)
        #expect(try driver.text("info gdt").last == "4 null entries not shown")
        #expect(try driver.failure("set gdt[1].middle = 0").column == 4)
        #expect(try driver.failure("set ivt[1] = 0x100000000").column == 13)
        #expect(try driver.failure("set gdt = 5").remedy?.contains("gdt[2]") == true)
    }

    @Test func modelSpecificRegisters() throws {
        let driver = try Driver()
        #expect(
            try driver.text("set msr[0xC0000080] = 0x101").last
                == " 0xc0000080 IA32_EFER  0000000000000101  SCE LME")
        for line in ["set msr[efer] = 0", "set msr efer = 0", "set msr.efer = 0", "wrmsr EFER 0"] {
            try driver.output("set msr[0xC0000080] = 1")
            #expect(try driver.text(line).last?.contains("0000000000000000") == true, "\(line)")
        }
        #expect(try driver.text("info msr").count == 3, "those that are not 0")
        #expect(try driver.text("rdmsr apic_base lstar").count == 3)
        #expect(try driver.failure("set msr[lstaar] = 0").suggestion == "lstar")
        #expect(try driver.failure("set msr[0x55] = 0").column == 4)
        #expect(try driver.failure("set msr = 0").column == 4)
    }

    @Test func eventsAndStates() throws {
        let driver = try Driver()
        let shown = try driver.text("set events.nmi.pending = 1")
        #expect(shown.contains { $0.hasPrefix(" nmi.pending") && $0.contains("  1  ") })
        #expect(try driver.failure("set events.nmi.pendin = 1").suggestion == "events.nmi.pending")
        #expect(try driver.failure("set events.nmi.masked = 2").column == 4)
        for (word, title) in [
            ("halted", "halted"), ("init-received", "INIT received"), ("SIPI_RECEIVED", "SIPI received"),
            ("1", "uninitialized"), ("runnable", "runnable"),
        ] {
            #expect(try driver.text("set mp = \(word)").last?.hasSuffix(title) == true)
            #expect(try driver.text("info mp").last?.hasSuffix(title) == true)
        }
        #expect(try driver.failure("set mp_state = asleep").column == 15)
    }

    @Test func extendedState() throws {
        let driver = try Driver()
        let shown = try driver.text("set ymm1 = 0x0f" + String(repeating: "00", count: 30) + "01")
        #expect(shown.contains(" ymm1  0f" + String(repeating: "00", count: 30) + "01"))
        #expect(shown[0].hasPrefix("Extended state of vCPU 0: xcr0 0x7 X87 SSE AVX, in use 0x6"))
        #expect(try driver.text("set xcr0 = 3")[0].contains("xcr0 0x3 "))
        #expect(try driver.failure("set xcr0 = 2").message.contains("refused"))
        let narrow = try Driver()
        try narrow.output("set xcr0 = 3")
        #expect(try narrow.failure("set ymm1 = 1").message.contains("XCR0"))
        let wide = String(repeating: "ab", count: 16)
        #expect(try driver.text("set xmm3 = 0x\(wide)").contains { $0.contains("xmm3  \(wide)") })
        #expect(try driver.failure("set xmm3 = 0x1\(wide)").column == 11)
        #expect(try driver.text("set mxcsr = 0x1f00").last == " mxcsr 00001f00")
        #expect(try driver.text("p/x $mxcsr") == ["$1 = 0x1f00"])
        #expect(try driver.text("p $xmm3")[0] == "xmm3 = 0x\(wide)")
        try driver.output("set xmm4 = 0x40000000000000003f80000000000000")
        #expect(
            try driver.text("output xmm4") == [
                "xmm4 = 0x40000000000000003f80000000000000", "  v4_float   0.0  1.0  0.0  2.0",
                "  v2_double  0.0078125  2.0", "  v4_int32   0x0  0x3f800000  0x0  0x40000000",
                "  v2_int64   0x3f80000000000000  0x4000000000000000",
            ])
        #expect(
            try driver.json("p $xmm4").contains(
                #""name":"xmm4","parts":[{"form":"v4_float","values":["0.0","1.0","0.0","2.0"]}"#))
        #expect(try driver.text("set st1 = 0x3fff8000000000000000")[1].contains("1.0"))
        #expect(try driver.text("p $st1") == ["st1 = 0x3fff8000000000000000", "  i387_ext   1.0"])
        #expect(try driver.failure("set fcw = 0x10000").column == 10)
        #expect(try driver.failure("set xmm1.x = 1").column == 4)
    }

    @Test func cpuid() throws {
        let driver = try Driver()
        let all = try driver.text("info cpuid")
        #expect(all.contains { $0.hasPrefix(" vendor") && $0.hasSuffix(" GenuineIntel") })
        #expect(try driver.text("cpuid 1").last?.hasSuffix(" fpu sse2 avx") == true)
        #expect(try driver.text("set cpuid[7].ebx = 0x80").contains(" ebx  00000080"))
        #expect(try driver.text("set cpuid[0xd,2].eax = 0x100").contains(" eax  00000100"))
        // What the host insists on is told.
        #expect(try driver.failure("set cpuid[1].edx = 0").message.contains("kept"))
        #expect(try driver.failure("set cpuid[0x55].eax = 0").column == 4)
        #expect(try driver.failure("set cpuid[1] = 0").remedy?.contains("cpuid[7].ebx") == true)
    }

    @Test func taskState() throws {
        let driver = try Driver()
        try driver.output("sregs set tr.attr = 0x8b")
        try driver.output("sregs set tr.base = 0x8000")
        try driver.output("sregs set tr.limit = 0x67")
        driver.guest.ram.store([0x00, 0x70, 0, 0, 0x10], at: 0x8004)
        let lines = try driver.text("info tss")
        #expect(lines[0] == "32-bit TSS of vCPU 0: base 0x8000 limit 0x67")
        #expect(lines.contains { $0.hasPrefix(" esp0") && $0.contains("00007000") })
        try driver.output("sregs set tr.base = 0x200000")
        #expect(try driver.failure("info tss").message.contains("cannot be read"))
    }

    @Test func completionKnowsWhatCanBeSet() throws {
        let driver = try Driver()
        let found = driver.session.complete("set events.nmi.", cursor: 15).candidates.map(\.text)
        #expect(found == ["events.nmi.injected", "events.nmi.masked", "events.nmi.pending"])
        #expect(driver.session.complete("set ms", cursor: 6).candidates.map(\.text).contains("msr["))
    }
}
