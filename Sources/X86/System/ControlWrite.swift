/// Why a processor does not take a value for a control register or an MSR: each is a #GP.
/// Source: SDM volume 2B, MOV to control registers and WRMSR; volume 3A, 2.5, 4.1.2, 4.10.1 and 10.8.5.
public enum ControlWriteProblem: Error, Sendable, Hashable {
    /// Bits that are reserved, or that no processor has yet.
    case reservedBits(register: String, mask: UInt64)
    /// Bits that this processor does not have.
    case unsupported(register: String, mask: UInt64)
    /// CR0.PG is set without CR0.PE.
    case pagingWithoutProtection
    /// CR0.NW is set without CR0.CD.
    case notWriteThroughWithoutCacheDisable
    /// CR0.PG is set with EFER.LME and without CR4.PAE.
    case longModeWithoutPAE
    /// CR0.PG is set with EFER.LME while CS.L is set.
    case longModeFromLongCode
    /// CR0.PG is set with EFER.LME while TR holds a 16-bit TSS.
    case longModeWith16BitTask
    /// CR0.PG is cleared in 64-bit code.
    case pagingOffIn64BitCode
    /// CR0.PG is cleared with CR4.PCIDE.
    case pagingOffWithPCID
    /// CR0.WP is cleared with CR4.CET, or CR4.CET set without CR0.WP.
    case controlFlowWithoutWriteProtect
    /// CR4.PAE is cleared in IA-32e mode.
    case pageSizeExtensionInLongMode
    /// CR4.LA57 is changed in IA-32e mode.
    case linearWidthInLongMode
    /// CR4.PCIDE is set outside IA-32e mode.
    case pcidOutsideLongMode
    /// CR4.PCIDE is set while bits 11-0 of CR3 are not 0.
    case pcidWithRootBits
    /// A PDPTE of PAE paging that is loaded with the write has reserved bits set.
    case directoryPointer(index: Int, value: UInt64, mask: UInt64)
    /// CR8 is over 15.
    case taskPriority
    /// EFER.LME is changed with CR0.PG.
    case longModeWithPaging
    /// An address that must be canonical.
    case notCanonical(UInt64)
    /// IA32_APIC_BASE: x2APIC without the enable, or a step between modes that there is not.
    case apicMode
    /// A memory type that there is not.
    case memoryType(UInt8)
    /// Bits 63-32 of DR6 or DR7.
    case upperHalf(register: String)
}

extension ControlWriteProblem: CustomStringConvertible {
    /// A clause: `CR0.PG needs CR0.PE`.
    public var description: String {
        switch self {
        case .reservedBits(let register, let mask): "\(register) has reserved bits set: \(hexadecimal(mask))"
        case .unsupported(let register, let mask):
            "this processor does not have the bits \(hexadecimal(mask)) of \(register)"
        case .pagingWithoutProtection: "CR0.PG needs CR0.PE"
        case .notWriteThroughWithoutCacheDisable: "CR0.NW needs CR0.CD"
        case .longModeWithoutPAE: "CR0.PG with EFER.LME needs CR4.PAE"
        case .longModeFromLongCode: "CR0.PG cannot be set with EFER.LME while CS has L set"
        case .longModeWith16BitTask: "CR0.PG cannot be set with EFER.LME while TR holds a 16-bit TSS"
        case .pagingOffIn64BitCode: "CR0.PG cannot be cleared by 64-bit code"
        case .pagingOffWithPCID: "CR0.PG cannot be cleared while CR4.PCIDE is set"
        case .controlFlowWithoutWriteProtect: "CR4.CET needs CR0.WP"
        case .pageSizeExtensionInLongMode: "CR4.PAE cannot be cleared in IA-32e mode"
        case .linearWidthInLongMode: "CR4.LA57 cannot change in IA-32e mode"
        case .pcidOutsideLongMode: "CR4.PCIDE needs IA-32e mode"
        case .pcidWithRootBits: "CR4.PCIDE cannot be set while bits 11-0 of CR3 are not 0"
        case .directoryPointer(let index, let value, let mask):
            "PDPTE \(index), \(hexadecimal(value)), has reserved bits set: \(hexadecimal(mask))"
        case .taskPriority: "CR8 is over 15"
        case .longModeWithPaging: "EFER.LME cannot change while CR0.PG is set"
        case .notCanonical(let address): "\(hexadecimal(address)) is not canonical"
        case .apicMode: "IA32_APIC_BASE cannot go from this mode of the APIC to that"
        case .memoryType(let type): "there is no memory type \(type)"
        case .upperHalf(let register): "bits 63-32 of \(register) are not 0"
        }
    }
}

extension SpecialRegisters {
    /// Why MOV to CR0 of `value` faults; nil where it does not.
    ///
    /// - Parameters:
    ///   - features: MAXPHYADDR is the one that counts here.
    ///   - read: eight bytes of guest-physical memory; the four PDPTEs of PAE paging are loaded with the write.
    public func problem(
        writingCR0 value: UInt64, features: PagingFeatures, read: (UInt64) -> UInt64?
    ) -> ControlWriteProblem? {
        let new = CR0(rawValue: value)
        guard value >> 32 == 0 else {
            return .reservedBits(register: "CR0", mask: value & ~0xFFFF_FFFF)
        }
        if new.contains(.pg), !new.contains(.pe) { return .pagingWithoutProtection }
        if new.contains(.nw), !new.contains(.cd) { return .notWriteThroughWithoutCacheDisable }
        if !new.contains(.wp), cr4.contains(.cet) { return .controlFlowWithoutWriteProtect }
        let turnsOn = new.contains(.pg) && !cr0.contains(.pg)
        if turnsOn, efer.contains(.lme) {
            if !cr4.contains(.pae) { return .longModeWithoutPAE }
            if cs.attributes.isLong { return .longModeFromLongCode }
            if [1, 3].contains(tr.attributes.type), !tr.attributes.isCodeOrData, !tr.attributes.isUnusable {
                return .longModeWith16BitTask
            }
        }
        if cr0.contains(.pg), !new.contains(.pg) {
            if efer.contains(.lma), cs.attributes.isLong { return .pagingOffIn64BitCode }
            if cr4.contains(.pcide) { return .pagingOffWithPCID }
        }
        // Loaded where one of these changes (SDM volume 3A, 4.4.1).
        let loads: CR0 = [.pg, .cd, .nw]
        guard new.contains(.pg), cr4.contains(.pae), !efer.contains(.lme),
            !new.symmetricDifference(cr0).isDisjoint(with: loads)
        else { return nil }
        return directoryPointers(cr3: cr3, features: features, read: read)
    }

    /// Why MOV to CR3 of `value` faults; nil where it does not.
    ///
    /// - Parameters:
    ///   - features: MAXPHYADDR is the one that counts here.
    ///   - read: eight bytes of guest-physical memory; in PAE paging the four PDPTEs are loaded with the write.
    public func problem(
        writingCR3 value: UInt64, features: PagingFeatures, read: (UInt64) -> UInt64?
    ) -> ControlWriteProblem? {
        if efer.contains(.lma) {
            // Bit 63 says that the TLB is kept, with PCIDs; 62 and 61 are linear-address masking's.
            var reserved = Self.beyond(features) & ~(3 << 61)
            if cr4.contains(.pcide) { reserved &= ~(1 << 63) }
            let mask = value & reserved
            return mask == 0 ? nil : .reservedBits(register: "CR3", mask: mask)
        }
        guard cr0.contains(.pg), cr4.contains(.pae) else { return nil }
        return directoryPointers(cr3: value, features: features, read: read)
    }

    /// Why MOV to CR4 of `value` faults; nil where it does not. Bits that a processor may lack are taken for good.
    ///
    /// - Parameters:
    ///   - features: MAXPHYADDR is the one that counts here.
    ///   - read: eight bytes of guest-physical memory; in PAE paging the four PDPTEs may be loaded with the write.
    public func problem(
        writingCR4 value: UInt64, features: PagingFeatures, read: (UInt64) -> UInt64?
    ) -> ControlWriteProblem? {
        let new = CR4(rawValue: value)
        guard new.unknownBits == 0 else { return .reservedBits(register: "CR4", mask: new.unknownBits) }
        if efer.contains(.lma) {
            if !new.contains(.pae) { return .pageSizeExtensionInLongMode }
            if new.contains(.la57) != cr4.contains(.la57) { return .linearWidthInLongMode }
        }
        if new.contains(.pcide), !cr4.contains(.pcide) {
            if !efer.contains(.lma) { return .pcidOutsideLongMode }
            if cr3 & 0xFFF != 0 { return .pcidWithRootBits }
        }
        if new.contains(.cet), !cr0.contains(.wp) { return .controlFlowWithoutWriteProtect }
        let loads: CR4 = [.pae, .pge, .pse, .smep]
        guard cr0.contains(.pg), new.contains(.pae), !efer.contains(.lma),
            !new.symmetricDifference(cr4).isDisjoint(with: loads)
        else { return nil }
        return directoryPointers(cr3: cr3, features: features, read: read)
    }

    /// The bits above a physical address.
    private static func beyond(_ features: PagingFeatures) -> UInt64 {
        let inside: UInt64 = 1 << UInt64(features.physicalAddressBits) - 1
        return ~inside
    }

    /// Why MOV to CR8 of `value` faults; nil where it does not.
    public func problem(writingCR8 value: UInt64) -> ControlWriteProblem? {
        value > 15 ? .taskPriority : nil
    }

    /// The four PDPTEs of PAE paging, as a load of CR3 takes them. Source: SDM volume 3A, 4.4.1.
    private func directoryPointers(
        cr3: UInt64, features: PagingFeatures, read: (UInt64) -> UInt64?
    ) -> ControlWriteProblem? {
        let beyond = Self.beyond(features)
        let reserved = beyond | 0b1_1110_0110
        for index in 0..<4 {
            guard let value = read(cr3 & 0xFFFF_FFE0 &+ UInt64(index * 8)), value & 1 == 1,
                value & reserved != 0
            else { continue }
            return .directoryPointer(index: index, value: value, mask: value & reserved)
        }
        return nil
    }

    /// Why WRMSR of `value` faults, by what the architecture says of the index; nil where it says nothing against it.
    /// Source: SDM volume 4, and volume 3A, 12.12.4 (PAT) and 12.11.2 (MTRRs).
    public func problem(
        writingMSR index: UInt32, _ value: UInt64, features: PagingFeatures
    ) -> ControlWriteProblem? {
        let beyond = Self.beyond(features)
        switch index {
        case 0xC000_0080:
            let new = EFER(rawValue: value)
            guard new.unknownBits == 0 else {
                return .reservedBits(register: "EFER", mask: new.unknownBits)
            }
            return new.contains(.lme) != efer.contains(.lme) && cr0.contains(.pg) ? .longModeWithPaging : nil
        // SYSENTER's ESP and EIP; LSTAR, CSTAR; the bases of FS and GS, and the other GS's.
        case 0x175, 0x176, 0xC000_0082, 0xC000_0083, 0xC000_0100...0xC000_0102:
            return isCanonical(value, bits: canonicalBits) ? nil : .notCanonical(value)
        case 0x1B:
            let mask = value & (beyond | 0x2FF)
            guard mask == 0 else { return .reservedBits(register: "IA32_APIC_BASE", mask: mask) }
            // Bits 11 and 10: off, xAPIC, x2APIC. Source: SDM volume 3A, figure 11-27.
            let (old, new) = (apicBase >> 10 & 3, value >> 10 & 3)
            let isStep = new != 1 && !(old == 0 && new == 3) && !(old == 3 && new == 2)
            return isStep ? nil : .apicMode
        case 0x277:
            let types = (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
            return types.first { ![0, 1, 4, 5, 6, 7].contains($0) }.map { .memoryType($0) }
        case 0x200...0x20F where index & 1 == 0, 0x2FF:
            let type = UInt8(truncatingIfNeeded: value)
            return [0, 1, 4, 5, 6].contains(type) ? nil : .memoryType(type)
        default: return nil
        }
    }
}
