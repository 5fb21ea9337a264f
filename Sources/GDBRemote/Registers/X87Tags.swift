import X86

/// FTW in its full form, two bits a register, which no instruction but FSTENV and FNSAVE gives: made of FXSAVE's form
/// and of the registers. Source: SDM volume 1, 8.1.7 and 10.5.1.1.
enum X87Tags {
    static func full(_ registers: FPURegisters) -> UInt16 {
        let top = Int(registers.statusWord >> 11 & 7)
        var tags: UInt16 = 0
        for physical in 0..<8 {
            var tag: UInt16 = 3
            if registers.tagWord >> UInt8(physical) & 1 == 1 {
                tag = kind(registers.st[(physical - top) & 7])
            }
            tags |= tag << UInt16(physical * 2)
        }
        return tags
    }

    static func abridged(_ full: UInt16) -> UInt8 {
        (0..<8).reduce(0) { $0 | (full >> UInt16($1 * 2) & 3 == 3 ? 0 : 1 << UInt8($1)) }
    }

    /// 0 a number, 1 zero, 2 anything else.
    private static func kind(_ slot: FPURegisters.Slot) -> UInt16 {
        let exponent = (UInt16(slot[9]) << 8 | UInt16(slot[8])) & 0x7FFF
        let mantissa = (0..<8).reduce(UInt64(0)) { $0 | UInt64(slot[$1]) << UInt64($1 * 8) }
        if exponent == 0 { return mantissa == 0 ? 1 : 2 }
        return exponent == 0x7FFF || mantissa >> 63 == 0 ? 2 : 0
    }
}
