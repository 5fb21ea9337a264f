import Debugger
import X86

/// Shorthand for page walks that a row cannot have exactly.
extension FaultRow {
    /// Fetching, decoding, and the prefixes. Source: SDM volume 2A, 2.2 to 2.3; volume 3A, table 6-1.
    static let decoding: [FaultRow] = [
        FaultRow("UD2", .protected, [0x0F, 0x0B], 6, nil, .undefinedInstruction),
        FaultRow("UD1", .real, [0x0F, 0xB9, 0xC0], 6, nil, .undefinedInstruction),
        FaultRow("no instruction", .protected, [0x0F, 0x24, 0xC0], 6, nil, .undefinedInstruction),
        // lock mov eax, ecx; lock add eax, ecx
        FaultRow("LOCK before MOV", .protected, [0xF0, 0x89, 0xC8], 6, nil, .lockPrefix),
        FaultRow("LOCK before a register", .long, [0xF0, 0x01, 0xC8], 6, nil, .lockPrefix),
        FaultRow(
            "16 bytes", .protected, [UInt8](repeating: 0x2E, count: 15) + [0x90], 13, 0, .instructionTooLong),
        FaultRow(
            "16 bytes in real mode", .real, [UInt8](repeating: 0x66, count: 15) + [0x90], 13, nil,
            .instructionTooLong),
        // sldt ax; ltr ax; lar eax, eax
        FaultRow("SLDT in real mode", .real, [0x0F, 0x00, 0xC0], 6, nil, .wrongMode(.protectedOnly)),
        FaultRow("LTR in real mode", .real, [0x0F, 0x00, 0xD8], 6, nil, .wrongMode(.protectedOnly)),
        FaultRow("LAR in V86 mode", .virtual8086, [0x0F, 0x02, 0xC0], 6, nil, .wrongMode(.protectedOnly)),
        FaultRow("PUSHA in 64-bit mode", .long, [0x60], 6, nil, .wrongMode(.notBits64)),
        FaultRow("far JMP with a pointer", .long, [0xEA, 0, 0, 0, 0, 8, 0], 6, nil, .wrongMode(.notBits64)),
        FaultRow("INTO in 64-bit mode", .long, [0xCE], 6, nil, .wrongMode(.notBits64)),
        FaultRow("SWAPGS in 32-bit mode", .protected, [0x0F, 0x01, 0xF8], 6, nil, .wrongMode(.bits64Only)),
        FaultRow("RSM outside SMM", .protected, [0x0F, 0xAA], 6, nil, .wrongMode(.systemManagement)),
        FaultRow(
            "IP beyond the limit", .protected, [0x90], 13, 0, .codeLimit(offset: 0x5000, limit: 0xFFF)
        ) { stage in
            stage.special.cs.limit = 0xFFF
            stage.special.cs.attributes.isPageGranular = false
        },
        FaultRow(
            "an instruction that crosses the limit", .protected, [0xB8, 1, 0, 0, 0], 13, 0,
            .codeLimit(offset: 0x5004, limit: 0x5003)
        ) { stage in
            stage.special.cs.limit = 0x5003
            stage.special.cs.attributes.isPageGranular = false
        },
        FaultRow(
            "a RIP that is not canonical", .long, [0x90], 13, 0, .nonCanonical(0x8000_0000_0000_0000),
            isMadeUpOnly: true
        ) { $0.registers.rip = 0x8000_0000_0000_0000 },
        FaultRow("fetch from no page", .long, [0x90], 14, 0x10, page: .unmapped) { stage in
            stage.registers.rip = 0x4000_0000
        },
        FaultRow("fetch from no page, without XD and SMEP", .paged, [0x90], 14, 0, page: .unmapped) { stage in
            stage.registers.rip = 0x4000_0000
        },
        FaultRow("fetch from a page with XD", .long, [0x90], 14, 0x11, page: .noExecute) { stage in
            stage.put(0x12018, 0x8000_0000_0000_0083 | 3 << 21)
            stage.registers.rip = 0x60_0000
        },
        FaultRow("the user's code at CPL 0 with SMEP", .long, [0x90], 14, 0x11, page: .userCode) { stage in
            stage.special.cr4.insert(.smep)
            // The tables and handlers must be the supervisor's.
            stage.put(0x12000, 0x83)
            stage.put(0x12008, 1 << 21 | 0x87)
            stage.registers.rip = 0x20_0000
        },
        FaultRow("the supervisor's code at CPL 3", .longUser, [0x90], 14, 0x15, page: .supervisor) { stage in
            stage.registers.rip = 0x20_0000
        },
        FaultRow("a NOP", .protected, [0x90], nil),
        FaultRow("a long NOP of no address", .protected, [0x0F, 0x1F, 0x05, 0, 0, 0, 0xF0], nil),
    ]

    private static let movups: [UInt8] = [0x0F, 0x10, 0x05, 0, 0x40, 0, 0]

    /// By CR0, CR4, XCR0 and the x87. Source: SDM volume 3A, tables 2-3, 13-1 and 13-2; volume 2A, 2.4.
    static let units: [FaultRow] = [
        FaultRow("SSE without OSFXSR", .protected, movups, 6, nil, .disabled(.osfxsr)),
        FaultRow("SSE with EM", .protected, movups, 6, nil, .disabled(.emulation)) { stage in
            stage.special.cr4.insert(.osfxsr)
            stage.special.cr0.insert(.em)
        },
        FaultRow("SSE with TS", .protected, movups, 7, nil, .disabled(.taskSwitched)) { stage in
            stage.special.cr4.insert(.osfxsr)
            stage.special.cr0.insert(.ts)
        },
        FaultRow("SSE", .protected, movups, nil) { $0.special.cr4.insert(.osfxsr) },
        FaultRow(
            "LDMXCSR without OSFXSR", .protected, [0x0F, 0xAE, 0x15, 0, 0x40, 0, 0], 6, nil,
            .disabled(.osfxsr)),
        // sfence; movnti [4000], eax
        FaultRow("SFENCE needs no OSFXSR", .protected, [0x0F, 0xAE, 0xF8], nil),
        FaultRow("MOVNTI needs no OSFXSR", .protected, [0x0F, 0xC3, 0x05, 0, 0x40, 0, 0], nil),
        // fninit; fld1
        FaultRow("x87 with EM", .protected, [0xDB, 0xE3], 7, nil, .disabled(.emulation)) {
            $0.special.cr0.insert(.em)
        },
        FaultRow("x87 with TS", .real, [0xD9, 0xE8], 7, nil, .disabled(.taskSwitched)) {
            $0.special.cr0.insert(.ts)
        },
        FaultRow("FWAIT with MP and TS", .protected, [0x9B], 7, nil, .disabled(.monitoredTaskSwitched)) {
            $0.special.cr0.formUnion([.mp, .ts])
        },
        FaultRow("FWAIT with TS alone", .protected, [0x9B], nil) {
            $0.special.cr0.remove(.mp)
            $0.special.cr0.insert(.ts)
        },
        FaultRow(
            "an x87 exception that waits", .protected, [0xD9, 0xE8], 16, nil,
            .pendingX87(statusWord: 0x8081)
        ) { stage in
            stage.special.cr0.insert(.ne)
            var fpu = FPURegisters()
            // Invalid operation, not masked; ES and B.
            (fpu.controlWord, fpu.statusWord) = (0x37E, 0x8081)
            stage.fpu = fpu
        },
        FaultRow("FNINIT takes no exception that waits", .protected, [0xDB, 0xE3], nil) { stage in
            stage.special.cr0.insert(.ne)
            var fpu = FPURegisters()
            (fpu.controlWord, fpu.statusWord) = (0x37E, 0x8081)
            stage.fpu = fpu
        },
        FaultRow("EMMS with EM", .protected, [0x0F, 0x77], 6, nil, .disabled(.emulation)) {
            $0.special.cr0.insert(.em)
        },
        FaultRow("EMMS with TS", .protected, [0x0F, 0x77], 7, nil, .disabled(.taskSwitched)) {
            $0.special.cr0.insert(.ts)
        },
        FaultRow(
            "FXSAVE with TS", .protected, [0x0F, 0xAE, 0x05, 0, 0x40, 0, 0], 7, nil, .disabled(.taskSwitched)
        ) {
            $0.special.cr0.insert(.ts)
        },
        FaultRow(
            "FXSAVE to 4004h", .protected, [0x0F, 0xAE, 0x05, 4, 0x40, 0, 0], 13, 0, .alignment(0x4004, 16)
        ) {
            $0.special.cr4.insert(.osfxsr)
        },
        FaultRow("XGETBV without OSXSAVE", .protected, [0x0F, 0x01, 0xD0], 6, nil, .disabled(.osxsave)),
        FaultRow(
            "XSAVE without OSXSAVE", .protected, [0x0F, 0xAE, 0x25, 0, 0x40, 0, 0], 6, nil,
            .disabled(.osxsave)),
        FaultRow("XSETBV of XCR7", .long, [0x0F, 0x01, 0xD1], 13, 0, .extendedControl(index: 7, value: 3)) {
            stage in
            stage.special.cr4.insert(.osxsave)
            (stage.registers.rcx, stage.registers.rax) = (7, 3)
        },
        FaultRow(
            "XSETBV without x87", .long, [0x0F, 0x01, 0xD1], 13, 0, .extendedControl(index: 0, value: 2)
        ) { stage in
            stage.special.cr4.insert(.osxsave)
            stage.registers.rax = 2
        },
        FaultRow(
            "XSETBV of AVX without SSE", .long, [0x0F, 0x01, 0xD1], 13, 0,
            .extendedControl(index: 0, value: 5)
        ) {
            $0.special.cr4.insert(.osxsave)
            $0.registers.rax = 5
        },
        // vzeroupper; vmovups xmm0, xmm0
        FaultRow(
            "AVX in real mode", .real, [0xC5, 0xF8, 0x77], 6, nil, .wrongMode(.protectedOnly),
            isMadeUpOnly: true),
        FaultRow("AVX without OSXSAVE", .long, [0xC5, 0xF8, 0x10, 0xC0], 6, nil, .disabled(.osxsave)),
        FaultRow(
            "AVX without XCR0", .long, [0xC5, 0xF8, 0x10, 0xC0], 6, nil,
            .disabled(.vectorState(xcr0: 1, needed: 6)), isMadeUpOnly: true
        ) { stage in
            stage.special.cr4.insert(.osxsave)
            stage.xcr0 = 1
        },
        FaultRow(
            "AVX with TS", .long, [0xC5, 0xF8, 0x10, 0xC0], 7, nil, .disabled(.taskSwitched),
            isMadeUpOnly: true
        ) {
            $0.special.cr4.insert(.osxsave)
            $0.special.cr0.insert(.ts)
            $0.xcr0 = 7
        },
        FaultRow("SYSCALL without SCE", .long, [0x0F, 0x05], 6, nil, .disabled(.systemCall)) {
            $0.special.efer.remove(.sce)
        },
        FaultRow(
            "RDFSBASE without FSGSBASE", .long, [0xF3, 0x48, 0x0F, 0xAE, 0xC0], 6, nil, .disabled(.fsgsbase)),
        FaultRow("RDPKRU without PKE", .long, [0x0F, 0x01, 0xEE], 6, nil, .disabled(.protectionKeys)),
        FaultRow("VMXOFF without VMXE", .protected, [0x0F, 0x01, 0xC4], 6, nil, .disabled(.vmxe)),
        FaultRow("CLGI without SVME", .protected, [0x0F, 0x01, 0xDD], 6, nil, .disabled(.svme)),
        FaultRow("MOV from DR4 with DE", .protected, [0x0F, 0x21, 0xE0], 6, nil, .disabled(.debugExtensions))
        {
            $0.special.cr4.insert(.de)
        },
        FaultRow(
            "SSE arithmetic, not masked", .long, [0x0F, 0x5E, 0xC1], 19, nil,
            .vectorArithmetic(mxcsr: 0x1D80), isMadeUpOnly: true
        ) {
            $0.special.cr4.formUnion([.osfxsr, .osxmmexcpt])
            var fpu = FPURegisters()
            fpu.mxcsr = 0x1D80
            $0.fpu = fpu
        },
        FaultRow(
            "SSE arithmetic, not masked, without OSXMMEXCPT", .long, [0x0F, 0x5E, 0xC1], 6, nil,
            .disabled(.osxmmexcpt), isMadeUpOnly: true
        ) {
            $0.special.cr4.insert(.osfxsr)
            var fpu = FPURegisters()
            fpu.mxcsr = 0x1D80
            $0.fpu = fpu
        },
        FaultRow("no ENDBR64 with IBT", .long, [0x90], 21, 3, .noEndBranch, isMadeUpOnly: true) { stage in
            stage.special.cr4.insert(.cet)
            // ENDBR_EN, and the tracker waits.
            stage.msrs[0x6A2] = 0x804
        },
        FaultRow("ENDBR64 with IBT", .long, [0xF3, 0x0F, 0x1E, 0xFA], nil, isMadeUpOnly: true) { stage in
            stage.special.cr4.insert(.cet)
            stage.msrs[0x6A2] = 0x804
        },
    ]
}
