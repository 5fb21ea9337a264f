import Debugger
import X86

extension FaultRow {
    private static func control(
        _ name: String, _ mode: FaultStage.Mode, _ code: [UInt8], _ value: UInt64,
        _ problem: ControlWriteProblem,
        isMadeUpOnly: Bool = false, _ change: @escaping @Sendable (inout FaultStage) -> Void = { _ in }
    ) -> FaultRow {
        FaultRow(name, mode, code, 13, mode == .real ? nil : 0, .control(problem), isMadeUpOnly: isMadeUpOnly)
        { stage in
            stage.registers.rax = value
            change(&stage)
        }
    }

    private static func msr(
        _ name: String, _ index: UInt64, _ value: UInt64, _ problem: ControlWriteProblem,
        isMadeUpOnly: Bool = false
    ) -> FaultRow {
        FaultRow(name, .long, [0x0F, 0x30], 13, 0, .control(problem), isMadeUpOnly: isMadeUpOnly) { stage in
            stage.registers.rcx = index
            stage.registers.rax = value & 0xFFFF_FFFF
            stage.registers.rdx = value >> 32
        }
    }

    // mov cr0, eax; mov cr3, eax; mov cr4, eax
    private static let cr0: [UInt8] = [0x0F, 0x22, 0xC0]
    private static let cr3: [UInt8] = [0x0F, 0x22, 0xD8]
    private static let cr4: [UInt8] = [0x0F, 0x22, 0xE0]

    /// What CR0, CR3, CR4, CR8, EFER and MSRs do not take. Source: SDM volume 2B, MOV to control registers; volume 3A, 2.5.
    static let system: [FaultRow] = [
        control("PG without PE", .real, cr0, 0x8000_0010, .pagingWithoutProtection),
        control("NW without CD", .protected, cr0, 0x2000_0011, .notWriteThroughWithoutCacheDisable),
        control(
            "the upper half of CR0", .long, cr0, 0x1_8001_0011, .reservedBits(register: "CR0", mask: 1 << 32)),
        control("PG with LME without PAE", .protected, cr0, 0x8000_0011, .longModeWithoutPAE) {
            $0.special.efer.insert(.lme)
        },
        control("PG off in 64-bit code", .long, cr0, 0x0001_0011, .pagingOffIn64BitCode),
        control(
            "PG with LME and a 16-bit TSS", .protected, cr0, 0x8000_0011, .longModeWith16BitTask,
            isMadeUpOnly: true
        ) {
            $0.special.efer.insert(.lme)
            $0.special.cr4.insert(.pae)
            $0.special.tr.attributes.type = 3
        },
        control(
            "PG with LME and CS.L", .protected, cr0, 0x8000_0011, .longModeFromLongCode, isMadeUpOnly: true
        ) {
            $0.special.efer.insert(.lme)
            $0.special.cr4.insert(.pae)
            $0.special.cs.attributes.isLong = true
        },
        control("PG off with PCIDE", .long, cr0, 0x0001_0011, .pagingOffWithPCID, isMadeUpOnly: true) {
            $0.special.cr4.insert(.pcide)
            $0.special.cs = FaultStage.segment(0x08, 0xC09B)
        },
        control("WP off with CET", .protected, cr0, 0x11, .controlFlowWithoutWriteProtect, isMadeUpOnly: true)
        {
            $0.special.cr4.insert(.cet)
        },
        control("CR3 with reserved bits", .long, cr3, 1 << 60, .reservedBits(register: "CR3", mask: 1 << 60)),
        control(
            "CR3 of PAE paging, whose PDPTE has reserved bits", .pae, cr3, 0x14000,
            .directoryPointer(index: 1, value: 0x12003, mask: 2)
        ) {
            $0.put(0x14000, 0x12001)
            $0.put(0x14008, 0x12003)
        },
        control(
            "PG with PAE, whose PDPTE has reserved bits", .protected, cr0, 0x8000_0011,
            .directoryPointer(index: 0, value: 0x12003, mask: 2), isMadeUpOnly: true
        ) {
            $0.special.cr4.insert(.pae)
            $0.put(0x10000, 0x12003)
        },
        control(
            "CR4 with reserved bits", .protected, cr4, 1 << 15, .reservedBits(register: "CR4", mask: 1 << 15)),
        control("PAE off in 64-bit mode", .long, cr4, 0, .pageSizeExtensionInLongMode),
        control("LA57 in 64-bit mode", .long, cr4, 0x1020, .linearWidthInLongMode),
        control("PCIDE outside IA-32e mode", .protected, cr4, 1 << 17, .pcidOutsideLongMode),
        control("PCIDE with bits in CR3", .long, cr4, 1 << 17 | 0x20, .pcidWithRootBits, isMadeUpOnly: true) {
            $0.special.cr3 = 0x10018
        },
        control("CET without WP", .protected, cr4, 1 << 23, .controlFlowWithoutWriteProtect),
        // mov cr8, rax
        control("CR8 of 16", .long, [0x44, 0x0F, 0x22, 0xC0], 16, .taskPriority),
        // mov dr7, rax
        control(
            "the upper half of DR7", .long, [0x0F, 0x23, 0xF8], 1 << 32 | 0x400, .upperHalf(register: "DR7")),
        FaultRow("MOV to CR0 of what it holds", .protected, cr0, nil) { $0.registers.rax = 0x11 },
        // lmsw ax
        FaultRow("LMSW", .protected, [0x0F, 0x01, 0xF0], nil) { $0.registers.rax = 1 },
        msr("EFER with reserved bits", 0xC000_0080, 0xD02, .reservedBits(register: "EFER", mask: 2)),
        msr("LME off with paging", 0xC000_0080, 0xC01, .longModeWithPaging),
        msr("LSTAR that is not canonical", 0xC000_0082, 1 << 47, .notCanonical(1 << 47)),
        msr("GS.base that is not canonical", 0xC000_0101, 1 << 47, .notCanonical(1 << 47)),
        msr("a memory type of PAT", 0x277, 0x0007_0406_0007_0402, .memoryType(2)),
        msr("x2APIC without the APIC", 0x1B, 0xFEE0_0400, .apicMode, isMadeUpOnly: true),
        FaultRow("an MSR that is not there", .long, [0x0F, 0x32], 13, 0, .msr(0x1234_5678)) {
            $0.registers.rcx = 0x1234_5678
        },
        FaultRow(
            "CR4 with bits that this processor lacks", .protected, cr4, 13, 0,
            .control(.unsupported(register: "CR4", mask: 1 << 13)), isMadeUpOnly: true
        ) {
            $0.registers.rax = 1 << 13
        },
        FaultRow(
            "LIDT of a base that is not canonical", .long, [0x0F, 0x01, 0x1C, 0x25, 0, 0x40, 0, 0], 13, 0,
            .targetNonCanonical(1 << 47)
        ) {
            $0.put(0x4002, 1 << 47)
        },
        FaultRow("SYSENTER in real mode", .real, [0x0F, 0x34], 13, nil, .wrongMode(.protectedOnly)),
        FaultRow("SYSENTER without a segment", .protected, [0x0F, 0x34], 13, 0, .noSystemEntry) {
            $0.msrs[0x174] = 0
        },
        FaultRow("SYSEXIT without a segment", .protected, [0x0F, 0x35], 13, 0, .noSystemEntry) {
            $0.msrs[0x174] = 0
        },
        FaultRow(
            "SYSRET to an address that is not canonical", .long, [0x48, 0x0F, 0x07], 13, 0,
            .targetNonCanonical(1 << 47), isMadeUpOnly: true
        ) {
            $0.registers.rcx = 1 << 47
        },
        // invpcid rax, [4000]
        FaultRow(
            "INVPCID of a type that there is not", .long,
            [0x66, 0x0F, 0x38, 0x82, 0x04, 0x25, 0, 0x40, 0, 0], 13, 0, .invalidationType(9)
        ) {
            $0.registers.rax = 9
        },
    ]

    /// INT n, gates, TF and the guest's debug registers. Source: SDM volume 3A, 6.12; volume 3B, 17.3.
    static let traps: [FaultRow] = [
        FaultRow("INT3", .protected, [0xCC], 3, nil, .softwareInterrupt),
        FaultRow("INT1", .protected, [0xF1], 1, nil, .softwareInterrupt),
        FaultRow("INT n", .real, [0xCD, 0x15], 0x15, nil, .softwareInterrupt),
        FaultRow(
            "INT n of an exception's vector pushes no error code", .protected, [0xCD, 13], 13, nil,
            .softwareInterrupt),
        FaultRow("TF", .protected, [0x90], 1, nil, .singleStep) { $0.registers.rflags.insert(.tf) },
        FaultRow("DR0 at the instruction", .protected, [0x90], 1, nil, .debugRegister(0)) {
            var debug = DebugRegisters()
            (debug.dr0, debug.dr7) = (FaultStage.code, 0x402)
            $0.debug = debug
        },
        FaultRow("DR0 at the instruction with RF", .protected, [0x90], nil) {
            var debug = DebugRegisters()
            (debug.dr0, debug.dr7) = (FaultStage.code, 0x402)
            $0.debug = debug
            $0.registers.rflags.insert(.rf)
        },
    ]
}
