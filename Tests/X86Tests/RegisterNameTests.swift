import Testing
import X86

@Suite struct RegisterNameTests {
    @Test(
        arguments: [
            ("eax", "eax", 32), ("$EAX", "eax", 32), ("RAX", "rax", 64), ("ax", "ax", 16), ("al", "al", 8),
            ("ah", "ah", 8), ("r8d", "r8d", 32), ("r8w", "r8w", 16), ("r8b", "r8b", 8), ("r15l", "r15b", 8),
            ("spl", "spl", 8), ("sp", "rsp", 64), ("$fp", "rbp", 64), ("bp", "bp", 16), ("pc", "rip", 64),
            ("eip", "eip", 32), ("ip", "ip", 16), ("ps", "eflags", 32), ("rflags", "rflags", 64),
            ("flags", "flags", 16), ("CF", "cf", 1), ("iopl", "iopl", 2), ("cs", "cs", 16),
            ("cs.base", "cs.base", 64), ("cs.limit", "cs.limit", 32), ("cs.attr", "cs.attr", 17),
            ("ss.dpl", "ss.dpl", 2), ("ss.b", "ss.db", 1), ("ldtr.base", "ldt.base", 64),
            ("fs_base", "fs.base", 64), ("gdtr.limit", "gdtr.limit", 16), ("idt.base", "idtr.base", 64),
            ("cr0.pe", "cr0.pe", 1), ("efer.lme", "efer.lme", 1), ("cr4.pae", "cr4.pae", 1),
            ("cr8", "cr8", 64),
            ("dr5", "dr7", 64), ("dr7.rw3", "dr7.rw3", 2), ("apicbase", "apicbase", 64),
        ] as [(String, String, Int)])
    func parses(text: String, name: String, width: Int) throws {
        let register = try RegisterName(parsing: text)
        #expect(register.name == name)
        #expect(register.width == width)
    }

    @Test(arguments: ["", "$", "$$rax", "rax ", "cr1", "r16", "cs.", ".base", "dr8", "cr0.xx", "rflagss "])
    func refuses(text: String) { #expect(RegisterName(text) == nil) }

    @Test func everySpellingParsesAndIsThereOnce() {
        #expect(Set(RegisterName.spellings).count == RegisterName.spellings.count)
        for spelling in RegisterName.spellings {
            #expect(RegisterName(spelling.uppercased()) != nil, "\(spelling)")
        }
        for register in RegisterName.all { #expect(RegisterName(register.name) == register) }
    }

    /// Each name alone: the largest value goes in and comes out, and back to zero nothing else has moved.
    @Test func everyRegisterRoundTripsAndTouchesNothingElse() throws {
        var protected = RegisterFile()
        protected.special.cr0 = [.pe]
        for register in RegisterName.all where register.loadedSegment == nil {
            // CR0 and RFLAGS decide the mode, so the file is inspected field by field, not by load.
            var file = protected
            let before = file[register]
            try file.set(register, to: register.mask)
            #expect(file[register] == register.mask, "\(register)")
            try file.set(register, to: before)
            #expect(file == protected, "\(register)")
            if register.width < 64 {
                #expect(throws: RegisterEditError.doesNotFit(register, value: register.mask + 1)) {
                    try file.set(register, to: register.mask + 1)
                }
                #expect(file == protected, "\(register)")
            }
        }
    }

    @Test(
        arguments: [
            ("eax", 0x1111_1111, 0xAAAA_BBBB_1111_1111 as UInt64), ("ax", 0x1111, 0xAAAA_BBBB_CCCC_1111),
            ("al", 0x11, 0xAAAA_BBBB_CCCC_DD11), ("ah", 0x11, 0xAAAA_BBBB_CCCC_11DD), ("rax", 0x11, 0x11),
        ] as [(String, UInt64, UInt64)])
    func partsKeepTheRest(name: String, value: UInt64, expected: UInt64) throws {
        var file = RegisterFile()
        file.general.rax = 0xAAAA_BBBB_CCCC_DDDD
        try file.set(try RegisterName(parsing: name), to: value)
        #expect(file.general.rax == expected)
    }

    @Test func flagsAreBitsOfRFLAGS() throws {
        var file = RegisterFile()
        try file.set(try RegisterName(parsing: "cf"), to: 1)
        try file.set(try RegisterName(parsing: "iopl"), to: 3)
        #expect(file.general.rflags == [.cf, .reserved1, RFlags(rawValue: 3 << 12)])
        // Bit 1 cannot be cleared.
        try file.set(try RegisterName(parsing: "eflags"), to: 0)
        #expect(file.general.rflags == .reserved1)
    }

    @Test(
        arguments: [
            ("rxa", "rax"), ("eaz", "eax"), ("cs.bse", "cs.base"), ("gdtr.limti", "gdtr.limit"),
            ("cr0.pee", "cr0.pe"), ("$eflag", "eflags"),
        ] as [(String, String)])
    func suggests(typo: String, name: String) {
        #expect(RegisterName.suggestions(for: typo).contains(name))
        #expect(throws: UnknownRegister(name: typo)) { try RegisterName(parsing: typo) }
    }

    @Test(arguments: ["", "foo", "zzzzzzzzzz", String(repeating: "a", count: 100_000)])
    func suggestsNothingFarAway(text: String) { #expect(RegisterName.suggestions(for: text).isEmpty) }

    @Test func errorsSayWhatAndWhatToDo() throws {
        #expect(
            "\(UnknownRegister(name: "gdtr.limti"))"
                == "there is no register 'gdtr.limti'; did you mean gdtr.limit, idtr.limit, gdt.limit?")
        let error = RegisterEditError.doesNotFit(try RegisterName(parsing: "al"), value: 0x100)
        #expect("\(error)" == "0x100 does not fit in al, which has 8 bits; the largest value is 0xff")
        #expect("\(RegisterEditError.needsDescriptor(.cs, selector: 8))".contains("cs.selector"))
    }
}
