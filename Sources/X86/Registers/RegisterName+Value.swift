extension RegisterField {
    /// The whole of what a register is a part of.
    func value(
        _ general: GeneralRegisters, _ special: SpecialRegisters, _ debug: DebugRegisters
    ) -> UInt64 {
        switch self {
        case .general(let register): general[register]
        case .rflags: general.rflags.rawValue
        case .segmentRegister(let name), .segmentSelector(let name): UInt64(special[name].selector)
        case .segmentBase(let name): special[name].base
        case .segmentLimit(let name): UInt64(special[name].limit)
        case .segmentAttributes(let name): UInt64(special[name].attributes.rawValue)
        case .gdtBase: special.gdt.base
        case .gdtLimit: UInt64(special.gdt.limit)
        case .idtBase: special.idt.base
        case .idtLimit: UInt64(special.idt.limit)
        case .cr0: special.cr0.rawValue
        case .cr2: special.cr2
        case .cr3: special.cr3
        case .cr4: special.cr4.rawValue
        case .cr8: special.cr8
        case .efer: special.efer.rawValue
        case .apicBase: special.apicBase
        case .debugAddress(let number): debug[address: number]
        case .dr6: debug.dr6
        case .dr7: debug.dr7
        }
    }
}

extension RegisterName {
    /// The value, extended with zeros, without a ``RegisterFile`` being made of its parts.
    public func value(
        _ general: GeneralRegisters, _ special: SpecialRegisters, _ debug: DebugRegisters = DebugRegisters()
    ) -> UInt64 {
        field.value(general, special, debug) >> UInt64(shift) & mask
    }
}
