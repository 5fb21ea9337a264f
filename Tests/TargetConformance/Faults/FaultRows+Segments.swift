import Debugger
import X86

extension FaultRow {
    /// A row about a selector: its error code is the selector's index, of #GP where nothing else is given.
    private static func selector(
        _ name: String, _ mode: FaultStage.Mode, _ code: [UInt8], _ selector: UInt16,
        _ problem: FaultCause.SelectorProblem, vector: UInt8 = 13, isMadeUpOnly: Bool = false,
        otherVector: UInt8? = nil,
        _ change: @escaping @Sendable (inout FaultStage) -> Void = { _ in }
    ) -> FaultRow {
        FaultRow(
            name, mode, code, vector, problem == .null ? 0 : UInt32(selector & ~3),
            .selector(selector, problem),
            isMadeUpOnly: isMadeUpOnly, otherVector: otherVector
        ) { stage in
            stage.registers.rax = UInt64(selector)
            change(&stage)
        }
    }

    // mov ds, ax; mov ss, ax; lldt ax; ltr ax
    private static let movDS: [UInt8] = [0x8E, 0xD8]
    private static let movSS: [UInt8] = [0x8E, 0xD0]
    private static let lldt: [UInt8] = [0x0F, 0x00, 0xD0]
    private static let ltr: [UInt8] = [0x0F, 0x00, 0xD8]

    /// Loads of segment registers, LDTR and TR. Source: SDM volume 2, MOV, POP, LSS, LLDT, LTR.
    static let selectors: [FaultRow] = [
        FaultRow("a null selector in DS", .protected, movDS, nil),
        FaultRow("a selector of any value in real mode", .real, movDS, nil) { $0.registers.rax = 0x1234 },
        selector("DS beyond the GDT", .protected, movDS, 0x100, .beyondTable(limit: 0xFF)),
        selector("DS of the LDT without one", .protected, movDS, 0x0C, .noLocalTable),
        selector("DS with a TSS", .protected, movDS, 0x18, .notData),
        selector("DS with code that is not readable", .protected, movDS, 0x50, .notData),
        selector("DS that is not present", .protected, movDS, 0x38, .notPresent, vector: 11),
        selector(
            "DS of ring 0 at CPL 3", .protectedUser, movDS, 0x10, .descriptorPrivilege(dpl: 0, rpl: 0, cpl: 3)
        ),
        selector(
            "DS of ring 0 with RPL 3", .protected, movDS, 0x13, .descriptorPrivilege(dpl: 0, rpl: 3, cpl: 0)),
        FaultRow(
            "DS with conforming code at CPL 3", .protectedUser, movDS + [0xCD, 3], nil, isMadeUpOnly: true
        ) {
            $0.registers.rax = 0x48
        },
        selector("a null SS", .protected, movSS, 0, .null),
        FaultRow("a null SS in 64-bit mode", .long, movSS, nil),
        selector("a null SS at CPL 3", .longUser, movSS, 3, .null),
        selector("SS with another RPL", .protected, movSS, 0x13, .requestedPrivilege(rpl: 3, cpl: 0)),
        selector(
            "SS with another DPL", .protected, movSS, 0x20, .descriptorPrivilege(dpl: 3, rpl: 0, cpl: 0)),
        selector("SS with data that is not writable", .protected, movSS, 0x58, .notData),
        selector("SS with code", .protected, movSS, 0x08, .notData),
        selector("SS that is not present", .protected, movSS, 0x38, .notPresent, vector: 12),
        // pop ds; pop ss; lds eax, [4000]; lss eax, [4000]; pop fs
        selector("POP DS", .protected, [0x1F], 0x100, .beyondTable(limit: 0xFF)) {
            $0.push([0x100], size: 4)
        },
        selector("POP SS", .protected, [0x17], 0x08, .notData) { $0.push([0x08], size: 4) },
        selector("POP FS in 64-bit mode", .long, [0x0F, 0xA1], 0x38, .notPresent, vector: 11) {
            $0.push([0x38], size: 8)
        },
        selector("LDS", .protected, [0xC5, 0x05, 0, 0x40, 0, 0], 0x38, .notPresent, vector: 11) {
            $0.put(0x4004, 0x38)
        },
        selector("LSS", .protected, [0x0F, 0xB2, 0x05, 0, 0x40, 0, 0], 0x08, .notData) {
            $0.put(0x4004, 0x08)
        },
        FaultRow("LLDT of a null selector", .protected, lldt, nil),
        selector("LLDT of code", .protected, lldt, 0x08, .notLocalTable),
        selector("LLDT of the LDT", .protected, lldt, 0x64, .inLocalTable),
        selector("LLDT beyond the GDT", .protected, lldt, 0x100, .beyondTable(limit: 0xFF)),
        selector("LLDT that is not present", .protected, lldt, 0xB0, .notPresent, vector: 11),
        selector("LTR of a null selector", .protected, ltr, 0, .null),
        selector("LTR of code", .protected, ltr, 0x08, .notTaskState),
        selector("LTR of the LDT", .protected, ltr, 0x6C, .inLocalTable),
        selector("LTR of a busy TSS", .protected, ltr, 0x18, .busyTask),
        selector("LTR that is not present", .protected, ltr, 0x70, .notPresent, vector: 11),
        FaultRow("LTR of a free TSS", .protected, ltr, nil) { $0.registers.rax = 0x68 },
        selector("LTR of a data segment in 64-bit mode", .long, ltr, 0x20, .notTaskState),
        FaultRow("LTR of a free TSS in 64-bit mode", .long, ltr, nil) { $0.registers.rax = 0xE0 },
    ]

    /// jmp SELECTOR:6300; call SELECTOR:6300
    private static func jump(_ selector: UInt8, call: Bool = false) -> [UInt8] {
        [call ? 0x9A : 0xEA, 0x00, 0x63, 0, 0, selector, 0]
    }

    /// Far JMP and CALL. Source: SDM volume 2, JMP and CALL; volume 3A, 5.8.
    static let transfers: [FaultRow] = [
        selector("JMP to a null selector", .protected, jump(0), 0, .null),
        selector("JMP to data", .protected, jump(0x10), 0x10, .notCode),
        selector(
            "JMP beyond the GDT", .protected, [0xEA, 0, 0x63, 0, 0, 0, 1], 0x100, .beyondTable(limit: 0xFF)),
        selector("JMP to code that is not present", .protected, jump(0x28), 0x28, .notPresent, vector: 11),
        selector(
            "CALL to code that is not present", .protected, jump(0x28, call: true), 0x28, .notPresent,
            vector: 11),
        selector("JMP to ring 3", .protected, jump(0x40), 0x40, .descriptorPrivilege(dpl: 3, rpl: 0, cpl: 0)),
        selector(
            "JMP to ring 0 from CPL 3", .protectedUser, jump(0x08), 0x08,
            .descriptorPrivilege(dpl: 0, rpl: 0, cpl: 3)),
        selector(
            "JMP with RPL 3 at CPL 0", .protected, jump(0x0B), 0x0B,
            .descriptorPrivilege(dpl: 0, rpl: 3, cpl: 0)),
        FaultRow(
            "JMP to code that is too short", .protected, jump(0xD0), 13, 0,
            .targetLimit(offset: 0x6300, limit: 0xFFF)),
        FaultRow(
            "JMP beyond 64 KiB in real mode", .real, [0x66, 0xEA, 0, 0, 1, 0, 0, 0], 13, nil,
            .targetLimit(offset: 0x10000, limit: 0xFFFF)),
        selector("JMP to an LDT", .protected, jump(0x60), 0x60, .notCode),
        selector("JMP to a busy TSS", .protected, jump(0x18), 0x18, .busyTask),
        selector("JMP to a TSS that is not present", .protected, jump(0x70), 0x70, .notPresent, vector: 11),
        selector(
            "JMP to a TSS that is too short", .protected, jump(0xA0), 0xA0, .shortTaskState(limit: 0x20),
            vector: 10),
        selector(
            "a call gate of ring 0 at CPL 3", .protectedUser, jump(0x78, call: true), 0x78,
            .descriptorPrivilege(dpl: 0, rpl: 0, cpl: 3)),
        selector("a call gate that is not present", .protected, jump(0x90), 0x90, .notPresent, vector: 11),
        FaultRow("a call gate to data", .protected, jump(0x88), 13, 0x10, .throughGate(0x10, .notCode)),
        FaultRow("a call gate to a null selector", .protected, jump(0xD8), 13, 0, .throughGate(0, .null)),
        FaultRow(
            "a call gate to ring 0 with no stack", .protectedUser, jump(0x80, call: true), 10, 0,
            .stackSelector(0, .null),
            // The handler is ring 0's, too.
            endsInShutdown: true
        ) {
            $0.put(0x3004, 0x0000_0000_7800)
        },
        FaultRow(
            "JMP by a call gate to another ring", .protectedUser, jump(0x80), 13, 0x08,
            .throughGate(0x08, .descriptorPrivilege(dpl: 0, rpl: 0, cpl: 3))),
        // jmp far [4000], in 64-bit mode: a pointer of 32 + 16 bits.
        selector("JMP to code with L and D", .long, [0xFF, 0x2C, 0x25, 0, 0x40, 0, 0], 0xA8, .notLong) {
            $0.put(0x4000, 0x00A8_0000_6300)
        },
        selector(
            "JMP to a TSS in 64-bit mode", .long, [0xFF, 0x2C, 0x25, 0, 0x40, 0, 0], 0xE0, .taskInLongMode
        ) {
            $0.put(0x4000, 0x00E0_0000_6300)
        },
    ]

    /// RETF and IRET. Source: SDM volume 2, RET and IRET.
    static let returns: [FaultRow] = [
        selector("RETF to a null selector", .protected, [0xCB], 0, .null) { $0.push([0x6300, 0], size: 4) },
        selector("RETF to data", .protected, [0xCB], 0x10, .notCode) { $0.push([0x6300, 0x10], size: 4) },
        selector("RETF to code that is not present", .protected, [0xCB], 0x28, .notPresent, vector: 11) {
            $0.push([0x6300, 0x28], size: 4)
        },
        selector("RETF to an inner ring", .protectedUser, [0xCB], 0x08, .requestedPrivilege(rpl: 0, cpl: 3)) {
            $0.push([0x6300, 0x08], size: 4)
        },
        selector(
            "RETF to code of another ring", .protected, [0xCB], 0x43,
            .descriptorPrivilege(dpl: 2, rpl: 3, cpl: 0), isMadeUpOnly: true
        ) {
            // Code of ring 2 with RPL 3.
            $0.put(0x2040, 0x00CF_DB00_0000_FFFF)
            $0.push([0x6300, 0x43, 0x7000, 0x23], size: 4)
        },
        FaultRow(
            "RETF beyond the limit", .protected, [0xCB], 13, 0, .targetLimit(offset: 0x6300, limit: 0xFFF)
        ) {
            $0.push([0x6300, 0xD0], size: 4)
        },
        selector("RETF to ring 3 with a null SS", .protected, [0xCB], 0, .null) {
            $0.push([0x6300, 0x43, 0x7000, 0], size: 4)
        },
        selector(
            "RETF to ring 3 with SS of ring 0", .protected, [0xCB], 0x10, .requestedPrivilege(rpl: 0, cpl: 3)
        ) {
            $0.push([0x6300, 0x43, 0x7000, 0x10], size: 4)
        },
        // retf 8
        selector(
            "RETF 8 finds SS after what it drops", .protected, [0xCA, 8, 0], 0x100, .beyondTable(limit: 0xFF)
        ) {
            $0.push([0x6300, 0x43, 1, 2, 0x7000, 0x100], size: 4)
        },
        FaultRow(
            "RETF beyond the stack's limit", .protected, [0xCB], 12, 0,
            .segmentLimit(.ss, offset: 0x7000, limit: 0x7003)
        ) {
            $0.special.ss.limit = 0x7003
            $0.special.ss.attributes.isPageGranular = false
        },
        selector("IRET to data", .protected, [0xCF], 0x10, .notCode) { $0.push([0x6300, 0x10, 2], size: 4) },
        selector(
            // #SS by the manual's operation, #NP by its list of exceptions.
            "IRET to ring 3 with SS that is not present", .protected, [0xCF], 0x3B, .notPresent, vector: 12,
            otherVector: 11
        ) {
            $0.put(0x2038, 0x00CF_7300_0000_FFFF)
            $0.push([0x6300, 0x43, 2, 0x7000, 0x3B], size: 4)
        },
        selector("IRET with NT to a TSS that is free", .protected, [0xCF], 0x68, .idleTask, vector: 10) {
            $0.registers.rflags.insert(.nt)
            $0.put(0x3000, 0x68, size: 2)
        },
        FaultRow("IRET with NT in 64-bit mode", .long, [0x48, 0xCF], 13, 0, .nestedTask) {
            $0.registers.rflags.insert(.nt)
        },
        FaultRow(
            "IRETQ to an address that is not canonical", .long, [0x48, 0xCF], 13, 0,
            .targetNonCanonical(1 << 47)
        ) {
            $0.push([1 << 47, 0x30, 2, 0x7000, 0], size: 8)
        },
        selector("IRETQ with a bad SS", .long, [0x48, 0xCF], 0x08, .notData) {
            $0.push([0x6300, 0x30, 2, 0x7000, 0x08], size: 8)
        },
        FaultRow(
            "IRET in real mode beyond 64 KiB", .real, [0x66, 0xCF], 13, nil,
            .targetLimit(offset: 0x10000, limit: 0xFFFF)
        ) {
            $0.push([0x10000, 0, 2], size: 4)
        },
        FaultRow(
            "IRET in real mode at the stack's end", .real, [0xCF], 12, nil,
            .segmentLimit(.ss, offset: 0xFFFB, limit: 0xFFFF), isMadeUpOnly: true
        ) {
            $0.registers.rsp = 0xFFFB
        },
        FaultRow(
            "IRETD to V86 mode beyond 64 KiB", .protected, [0xCF], 13, 0,
            .targetLimit(offset: 0x10000, limit: 0xFFFF), isMadeUpOnly: true
        ) {
            $0.push([0x10000, 0, 0x20002, 0x7000, 0, 0, 0, 0, 0], size: 4)
        },
    ]
}
