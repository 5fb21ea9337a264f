/// A model-specific register that has a name.
public struct ModelSpecificRegister: Sendable, Hashable {
    /// Its number: ECX of RDMSR.
    public var index: UInt32
    /// The manual's, as `IA32_EFER`; the kernel's for KVM's own, as `KVM_SYSTEM_TIME_NEW`.
    public var name: String

    init(_ index: UInt32, _ name: String) {
        self.index = index
        self.name = name
    }

    /// The name of an index; nil where none is known.
    public static func name(of index: UInt32) -> String? { byIndex[index] }

    /// The index that a name stands for: in any case, with or without `IA32_` or `MSR_` before it.
    public static func index(named text: some StringProtocol) -> UInt32? { byName[key(text)] }

    /// The names nearest to `text`.
    public static func suggestions(for text: some StringProtocol, limit: Int = 3) -> [String] {
        nearest(to: key(text), among: all.map { key($0.name) }, limit: limit)
    }

    private static func key(_ text: some StringProtocol) -> String {
        var key = text.lowercased()
        for prefix in ["$", "msr_", "ia32_", "amd64_", "k7_"] where key.hasPrefix(prefix) {
            key.removeFirst(prefix.count)
        }
        return key
    }

    private static let byIndex = Dictionary(
        all.map { ($0.index, $0.name) }, uniquingKeysWith: { first, _ in first })
    private static let byName = Dictionary(
        all.map { (key($0.name), $0.index) }, uniquingKeysWith: { first, _ in first })

    /// By index. Source: SDM volume 4; APM volume 2, appendix A; the kernel's asm/kvm_para.h.
    public static let all: [ModelSpecificRegister] = {
        var all = named.map { ModelSpecificRegister($0.0, $0.1) }
        for number: UInt32 in 0..<10 {
            all.append(.init(0x200 + number * 2, "IA32_MTRR_PHYSBASE\(number)"))
            all.append(.init(0x201 + number * 2, "IA32_MTRR_PHYSMASK\(number)"))
        }
        for number: UInt32 in 0..<8 {
            all.append(.init(0xC1 + number, "IA32_PMC\(number)"))
            all.append(.init(0x186 + number, "IA32_PERFEVTSEL\(number)"))
        }
        for bank: UInt32 in 0..<32 {
            for (offset, part) in ["CTL", "STATUS", "ADDR", "MISC"].enumerated() {
                all.append(.init(0x400 + bank * 4 + UInt32(offset), "IA32_MC\(bank)_\(part)"))
            }
        }
        for number: UInt32 in 0..<4 {
            all.append(.init(0x309 + number, "IA32_FIXED_CTR\(number)"))
            all.append(.init(0xC001_0000 + number, "PERFEVTSEL\(number)"))
            all.append(.init(0xC001_0004 + number, "PERFCTR\(number)"))
        }
        for register in LocalAPICRegister.all where register.offset != 0x310 {
            // In x2APIC mode the registers are MSRs; the two words of ICR are one.
            let name = register.offset == 0x300 ? "ICR" : register.name
            all.append(
                .init(
                    0x800 + UInt32(register.offset >> 4),
                    "IA32_X2APIC_" + String(name.map { $0 == " " ? "_" : $0 }).uppercased()))
        }
        return all.sorted { $0.index < $1.index }
    }()

    private static let named: [(UInt32, String)] = [
        (0x0, "IA32_P5_MC_ADDR"), (0x1, "IA32_P5_MC_TYPE"), (0x6, "IA32_MONITOR_FILTER_SIZE"),
        (0x10, "IA32_TSC"),
        (0x17, "IA32_PLATFORM_ID"), (0x1B, "IA32_APIC_BASE"), (0x2A, "EBL_CR_POWERON"),
        (0x33, "TEST_CTRL"), (0x34, "SMI_COUNT"), (0x3A, "IA32_FEATURE_CONTROL"),
        (0x3B, "IA32_TSC_ADJUST"), (0x48, "IA32_SPEC_CTRL"), (0x49, "IA32_PRED_CMD"),
        (0x79, "IA32_BIOS_UPDT_TRIG"), (0x8B, "IA32_BIOS_SIGN_ID"), (0x9B, "IA32_SMM_MONITOR_CTL"),
        (0x9E, "IA32_SMBASE"), (0xCD, "FSB_FREQ"), (0xCE, "PLATFORM_INFO"),
        (0xCF, "IA32_CORE_CAPABILITIES"), (0xE1, "IA32_UMWAIT_CONTROL"), (0xE7, "IA32_MPERF"),
        (0xE8, "IA32_APERF"), (0xFE, "IA32_MTRRCAP"), (0x10A, "IA32_ARCH_CAPABILITIES"),
        (0x10B, "IA32_FLUSH_CMD"), (0x11E, "BBL_CR_CTL3"), (0x122, "IA32_TSX_CTRL"),
        (0x140, "MISC_FEATURES_ENABLES"), (0x174, "IA32_SYSENTER_CS"), (0x175, "IA32_SYSENTER_ESP"),
        (0x176, "IA32_SYSENTER_EIP"), (0x179, "IA32_MCG_CAP"), (0x17A, "IA32_MCG_STATUS"),
        (0x17B, "IA32_MCG_CTL"), (0x198, "IA32_PERF_STATUS"), (0x199, "IA32_PERF_CTL"),
        (0x19A, "IA32_CLOCK_MODULATION"), (0x19B, "IA32_THERM_INTERRUPT"), (0x19C, "IA32_THERM_STATUS"),
        (0x1A0, "IA32_MISC_ENABLE"), (0x1A2, "TEMPERATURE_TARGET"), (0x1A4, "MISC_FEATURE_CONTROL"),
        (0x1C4, "IA32_XFD"), (0x1C5, "IA32_XFD_ERR"), (0x1C9, "LASTBRANCH_TOS"), (0x1D9, "IA32_DEBUGCTL"),
        (0x1DB, "LASTBRANCHFROMIP"), (0x1DC, "LASTBRANCHTOIP"), (0x1DD, "LASTINTFROMIP"),
        (0x1DE, "LASTINTTOIP"), (0x250, "IA32_MTRR_FIX64K_00000"), (0x258, "IA32_MTRR_FIX16K_80000"),
        (0x259, "IA32_MTRR_FIX16K_A0000"), (0x268, "IA32_MTRR_FIX4K_C0000"),
        (0x269, "IA32_MTRR_FIX4K_C8000"), (0x26A, "IA32_MTRR_FIX4K_D0000"),
        (0x26B, "IA32_MTRR_FIX4K_D8000"), (0x26C, "IA32_MTRR_FIX4K_E0000"),
        (0x26D, "IA32_MTRR_FIX4K_E8000"), (0x26E, "IA32_MTRR_FIX4K_F0000"),
        (0x26F, "IA32_MTRR_FIX4K_F8000"), (0x277, "IA32_PAT"), (0x2FF, "IA32_MTRR_DEF_TYPE"),
        (0x345, "IA32_PERF_CAPABILITIES"), (0x38D, "IA32_FIXED_CTR_CTRL"),
        (0x38E, "IA32_PERF_GLOBAL_STATUS"), (0x38F, "IA32_PERF_GLOBAL_CTRL"),
        (0x390, "IA32_PERF_GLOBAL_OVF_CTRL"), (0x3F1, "IA32_PEBS_ENABLE"), (0x480, "IA32_VMX_BASIC"),
        (0x481, "IA32_VMX_PINBASED_CTLS"), (0x482, "IA32_VMX_PROCBASED_CTLS"),
        (0x483, "IA32_VMX_EXIT_CTLS"), (0x484, "IA32_VMX_ENTRY_CTLS"), (0x485, "IA32_VMX_MISC"),
        (0x486, "IA32_VMX_CR0_FIXED0"), (0x487, "IA32_VMX_CR0_FIXED1"), (0x488, "IA32_VMX_CR4_FIXED0"),
        (0x489, "IA32_VMX_CR4_FIXED1"), (0x48A, "IA32_VMX_VMCS_ENUM"), (0x48B, "IA32_VMX_PROCBASED_CTLS2"),
        (0x48C, "IA32_VMX_EPT_VPID_CAP"), (0x48D, "IA32_VMX_TRUE_PINBASED_CTLS"),
        (0x48E, "IA32_VMX_TRUE_PROCBASED_CTLS"), (0x48F, "IA32_VMX_TRUE_EXIT_CTLS"),
        (0x490, "IA32_VMX_TRUE_ENTRY_CTLS"), (0x491, "IA32_VMX_VMFUNC"), (0x4D0, "IA32_MCG_EXT_CTL"),
        (0x570, "IA32_RTIT_CTL"), (0x571, "IA32_RTIT_STATUS"), (0x600, "IA32_DS_AREA"),
        (0x6A0, "IA32_U_CET"), (0x6A2, "IA32_S_CET"), (0x6A4, "IA32_PL0_SSP"), (0x6A5, "IA32_PL1_SSP"),
        (0x6A6, "IA32_PL2_SSP"), (0x6A7, "IA32_PL3_SSP"), (0x6A8, "IA32_INTERRUPT_SSP_TABLE"),
        (0x6E0, "IA32_TSC_DEADLINE"), (0x6E1, "IA32_PKRS"), (0xDA0, "IA32_XSS"),
        (0x4000_0000, "HV_X64_GUEST_OS_ID"), (0x4000_0001, "HV_X64_HYPERCALL"),
        (0x4000_0002, "HV_X64_VP_INDEX"), (0x4000_0003, "HV_X64_RESET"), (0x4000_0010, "HV_X64_VP_RUNTIME"),
        (0x4000_0020, "HV_X64_TIME_REF_COUNT"), (0x4000_0021, "HV_X64_REFERENCE_TSC"),
        (0x4000_0073, "HV_X64_VP_ASSIST_PAGE"), (0x4000_0080, "HV_X64_SCONTROL"),
        (0x4B56_4D00, "KVM_WALL_CLOCK_NEW"), (0x4B56_4D01, "KVM_SYSTEM_TIME_NEW"),
        (0x4B56_4D02, "KVM_ASYNC_PF_EN"), (0x4B56_4D03, "KVM_STEAL_TIME"), (0x4B56_4D04, "KVM_PV_EOI_EN"),
        (0x4B56_4D05, "KVM_POLL_CONTROL"), (0x4B56_4D06, "KVM_ASYNC_PF_INT"),
        (0x4B56_4D07, "KVM_ASYNC_PF_ACK"), (0x4B56_4D08, "KVM_MIGRATION_CONTROL"), (0x11, "KVM_WALL_CLOCK"),
        (0x12, "KVM_SYSTEM_TIME"), (0xC000_0080, "IA32_EFER"), (0xC000_0081, "IA32_STAR"),
        (0xC000_0082, "IA32_LSTAR"), (0xC000_0083, "IA32_CSTAR"), (0xC000_0084, "IA32_FMASK"),
        (0xC000_0100, "IA32_FS_BASE"), (0xC000_0101, "IA32_GS_BASE"), (0xC000_0102, "IA32_KERNEL_GS_BASE"),
        (0xC000_0103, "IA32_TSC_AUX"), (0xC000_0104, "AMD64_TSC_RATIO"), (0xC001_0010, "AMD64_SYSCFG"),
        (0xC001_0015, "K7_HWCR"), (0xC001_001A, "TOP_MEM"), (0xC001_001D, "TOP_MEM2"),
        (0xC001_001F, "AMD64_NB_CFG"), (0xC001_0055, "AMD64_INT_PENDING"), (0xC001_0111, "SMBASE"),
        (0xC001_0112, "SMM_ADDR"), (0xC001_0113, "SMM_MASK"), (0xC001_0114, "AMD64_VM_CR"),
        (0xC001_0117, "AMD64_VM_HSAVE_PA"), (0xC001_011F, "AMD64_VIRT_SPEC_CTRL"),
        (0xC001_0130, "AMD64_SEV_ES_GHCB"), (0xC001_0131, "AMD64_SEV"), (0xC001_0140, "AMD64_OSVW_ID_LENGTH"),
        (0xC001_0141, "AMD64_OSVW_STATUS"), (0xC001_1020, "AMD64_LS_CFG"), (0xC001_1022, "AMD64_DC_CFG"),
        (0xC001_1029, "AMD64_DE_CFG"), (0xC001_102A, "AMD64_BU_CFG2"),
    ]
}
