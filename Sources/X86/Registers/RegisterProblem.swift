/// A reason why a processor, or KVM, cannot take a set of registers.
public enum RegisterProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// Bits that the register does not have, those of `mask`.
    case reservedBits(register: String, mask: UInt64)
    /// CR0.PG without CR0.PE.
    case pagingWithoutProtection
    /// CR0.NW without CR0.CD.
    case notWriteThroughWithoutCacheDisable
    /// EFER.LME and CR0.PG without CR4.PAE.
    case longModeWithoutPAE
    /// LMA differs from what LME and CR0.PG make it.
    case longModeActive(is: Bool)
    /// CS.L outside IA-32e mode.
    case longCodeOutsideLongMode
    /// CS.L and CS.D both set in IA-32e mode.
    case longAndBigCode
    /// CR4.PCIDE outside IA-32e mode.
    case pcidOutsideLongMode
    /// CR4.LA57 changed in IA-32e mode.
    case linearWidthChanged
    /// RFLAGS.VM where it cannot be, and why.
    case virtual8086(why: String)
    /// An address whose bits from `bits` - 1 up are not all equal.
    case notCanonical(register: String, value: UInt64, bits: Int)
    /// More than 32 bits where the mode has 32.
    case beyond32Bits(register: String, value: UInt64)
    /// A limit that its granularity cannot give.
    case limitAndGranularity(SegmentName, limit: UInt32, isPageGranular: Bool)
    /// CR8 over 15.
    case taskPriority(UInt64)
    /// IA32_APIC_BASE with x2APIC and without the APIC itself.
    case apicMode

    /// What contradicts what: one line for people.
    public var description: String {
        switch self {
        case .reservedBits(let register, let mask):
            "\(register) has reserved bits set: \(hexadecimal(mask))"
        case .pagingWithoutProtection: "CR0.PG needs CR0.PE: paging is only there in protected mode"
        case .notWriteThroughWithoutCacheDisable: "CR0.NW needs CR0.CD"
        case .longModeWithoutPAE: "EFER.LME with CR0.PG needs CR4.PAE"
        case .longModeActive(let isActive):
            isActive
                ? "EFER.LMA is set, and needs both EFER.LME and CR0.PG"
                : "EFER.LMA is clear, and must be set with EFER.LME and CR0.PG"
        case .longCodeOutsideLongMode: "CS.L needs EFER.LMA: there is no 64-bit code outside IA-32e mode"
        case .longAndBigCode: "CS has both L and D set; 64-bit code needs D clear"
        case .pcidOutsideLongMode: "CR4.PCIDE needs IA-32e mode (EFER.LMA)"
        case .linearWidthChanged: "CR4.LA57 cannot change in IA-32e mode"
        case .virtual8086(let why): "RFLAGS.VM \(why)"
        case .notCanonical(let register, let value, let bits):
            "\(register) = \(hexadecimal(value)) is not canonical: bits 63 to \(bits - 1) differ"
        case .beyond32Bits(let register, let value):
            "\(register) = \(hexadecimal(value)) has more than 32 bits"
        case .limitAndGranularity(let segment, let limit, let isPageGranular):
            isPageGranular
                ? "\(segment).limit = \(hexadecimal(UInt64(limit))) with G set must end in 0xfff"
                : "\(segment).limit = \(hexadecimal(UInt64(limit))) has more than 20 bits, and needs G set"
        case .taskPriority(let value): "CR8 = \(hexadecimal(value)) is over 15"
        case .apicMode: "IA32_APIC_BASE has x2APIC mode (bit 10) set without the APIC's enable (bit 11)"
        }
    }
}

extension SpecialRegisters {
    /// What is wrong with these registers, by the processor's rules for its registers (SDM volume 3A, 2.5 and
    /// 4.1; volume 3C, 26.3.1) and the kernel's for KVM_SET_SREGS (`kvm_is_valid_sregs`). Empty if nothing is.
    /// - Parameter physicalAddressBits: MAXPHYADDR of the guest.
    public func problems(physicalAddressBits: Int = 52) -> [RegisterProblem] {
        modeProblems + reservedBitProblems(physicalAddressBits) + baseProblems
            + SegmentName.allCases.compactMap(limitProblem)
    }

    /// The problems that are not in `old`, and what may not change from there: LA57 in IA-32e mode. An edit
    /// is judged by these, so that what a guest brought along does not stand in its way.
    public func newProblems(
        since old: SpecialRegisters, physicalAddressBits: Int = 52
    ) -> [RegisterProblem] {
        let before = Set(old.problems(physicalAddressBits: physicalAddressBits))
        var found = problems(physicalAddressBits: physicalAddressBits).filter { !before.contains($0) }
        if old.efer.contains(.lma), efer.contains(.lma), old.cr4.contains(.la57) != cr4.contains(.la57) {
            found.append(.linearWidthChanged)
        }
        return found
    }

    private var modeProblems: [RegisterProblem] {
        var found: [RegisterProblem] = []
        if cr0.contains(.pg), !cr0.contains(.pe) { found.append(.pagingWithoutProtection) }
        if cr0.contains(.nw), !cr0.contains(.cd) { found.append(.notWriteThroughWithoutCacheDisable) }
        let isLong = efer.contains(.lme) && cr0.contains(.pg)
        if isLong, !cr4.contains(.pae) { found.append(.longModeWithoutPAE) }
        if efer.contains(.lma) != isLong { found.append(.longModeActive(is: efer.contains(.lma))) }
        if cs.attributes.isLong, !cs.attributes.isUnusable {
            if !efer.contains(.lma) {
                found.append(.longCodeOutsideLongMode)
            } else if cs.attributes.isBig {
                found.append(.longAndBigCode)
            }
        }
        if cr4.contains(.pcide), !efer.contains(.lma) { found.append(.pcidOutsideLongMode) }
        if cr8 > 15 { found.append(.taskPriority(cr8)) }
        if apicBase >> 10 & 3 == 1 { found.append(.apicMode) }
        return found
    }

    private func reservedBitProblems(_ physicalAddressBits: Int) -> [RegisterProblem] {
        let width = UInt64(min(max(physicalAddressBits, 32), 52))
        let beyond = ~((1 << width) - 1) as UInt64
        // CR3 bits 61 and 62 are linear-address masking's; KVM knows whether the processor has it.
        let cr3Mask: UInt64 =
            efer.contains(.lma) ? beyond & ~(3 << 61) : cr0.contains(.pg) ? ~0xFFFF_FFFF : beyond
        let checks: [(String, UInt64)] = [
            // The processor ignores the reserved bits 31-0 of CR0; the upper half must be zero.
            ("CR0", cr0.rawValue & ~0xFFFF_FFFF),
            ("CR3", cr3 & cr3Mask),
            ("CR4", cr4.unknownBits),
            ("EFER", efer.unknownBits),
            // Bits 0-7 and 9; 8 is "bootstrap processor", 10 x2APIC, 11 enable.
            ("IA32_APIC_BASE", apicBase & (beyond | 0x2FF)),
        ]
        return checks.compactMap { $0.1 == 0 ? nil : .reservedBits(register: $0.0, mask: $0.1) }
    }

    private var baseProblems: [RegisterProblem] {
        let bits = canonicalBits
        func wide(_ name: String, _ base: UInt64) -> RegisterProblem? {
            isCanonical(base, bits: bits) ? nil : .notCanonical(register: name, value: base, bits: bits)
        }
        // The processor wants these canonical in every mode, and uses the low half outside IA-32e mode.
        var found = [wide("GDTR.base", gdt.base), wide("IDTR.base", idt.base)].compactMap(\.self)
        for name in SegmentName.allCases {
            let segment = self[name]
            let isUsable = !segment.attributes.isUnusable
            switch name {
            case .fs, .gs, .tr, .ldt:
                // FS and GS have a base in 64-bit mode even when the selector is null.
                guard isUsable || name == .fs || name == .gs else { continue }
                found += [wide("\(name).base", segment.base)].compactMap(\.self)
            case .cs, .ds, .es, .ss:
                guard isUsable, segment.base >> 32 != 0 else { continue }
                found.append(.beyond32Bits(register: "\(name).base", value: segment.base))
            }
        }
        return found
    }

    private func limitProblem(_ name: SegmentName) -> RegisterProblem? {
        let segment = self[name]
        guard !segment.attributes.isUnusable else { return nil }
        let isPageGranular = segment.attributes.isPageGranular
        let isConsistent = isPageGranular ? segment.limit & 0xFFF == 0xFFF : segment.limit >> 20 == 0
        return isConsistent
            ? nil : .limitAndGranularity(name, limit: segment.limit, isPageGranular: isPageGranular)
    }
}

extension RegisterFile {
    /// What is wrong with the special registers, the debug registers (KVM_SET_DEBUGREGS takes no bit of the
    /// upper halves of DR6 and DR7), RIP and RFLAGS. Empty if nothing is.
    public func problems(physicalAddressBits: Int = 52) -> [RegisterProblem] {
        special.problems(physicalAddressBits: physicalAddressBits) + ownProblems
    }

    /// The problems that are not in `old`; see ``SpecialRegisters/newProblems(since:physicalAddressBits:)``.
    public func newProblems(
        since old: RegisterFile, physicalAddressBits: Int = 52
    ) -> [RegisterProblem] {
        let before = Set(old.ownProblems)
        return special.newProblems(since: old.special, physicalAddressBits: physicalAddressBits)
            + ownProblems.filter { !before.contains($0) }
    }

    private var ownProblems: [RegisterProblem] {
        var found: [RegisterProblem] = []
        let bits = special.canonicalBits
        for number in 0...3 where !isCanonical(debug[address: number], bits: bits) {
            found.append(.notCanonical(register: "DR\(number)", value: debug[address: number], bits: bits))
        }
        if debug.dr6 >> 32 != 0 { found.append(.beyond32Bits(register: "DR6", value: debug.dr6)) }
        if debug.dr7 >> 32 != 0 { found.append(.beyond32Bits(register: "DR7", value: debug.dr7)) }
        if mode == .long64 {
            if !isCanonical(general.rip, bits: bits) {
                found.append(.notCanonical(register: "RIP", value: general.rip, bits: bits))
            }
        } else if general.rip >> 32 != 0 {
            found.append(.beyond32Bits(register: "RIP", value: general.rip))
        }
        if general.rflags.unknownBits != 0 {
            found.append(.reservedBits(register: "RFLAGS", mask: general.rflags.unknownBits))
        }
        if general.rflags.contains(.vm) {
            if special.efer.contains(.lma) {
                found.append(.virtual8086(why: "is not there in IA-32e mode"))
            } else if !special.cr0.contains(.pe) {
                found.append(.virtual8086(why: "needs protected mode (CR0.PE)"))
            }
        }
        return found
    }
}
