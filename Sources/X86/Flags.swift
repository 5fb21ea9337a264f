/// RFLAGS. Bits that have no name are kept. Source: SDM volume 1, 3.4.3.
public struct RFlags: OptionSet, Sendable, Hashable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let cf = RFlags(rawValue: 1 << 0)
    /// Bit 1, which always reads as one.
    public static let reserved1 = RFlags(rawValue: 1 << 1)
    public static let pf = RFlags(rawValue: 1 << 2)
    public static let af = RFlags(rawValue: 1 << 4)
    public static let zf = RFlags(rawValue: 1 << 6)
    public static let sf = RFlags(rawValue: 1 << 7)
    public static let tf = RFlags(rawValue: 1 << 8)
    public static let `if` = RFlags(rawValue: 1 << 9)
    public static let df = RFlags(rawValue: 1 << 10)
    public static let of = RFlags(rawValue: 1 << 11)
    public static let nt = RFlags(rawValue: 1 << 14)
    public static let rf = RFlags(rawValue: 1 << 16)
    public static let vm = RFlags(rawValue: 1 << 17)
    public static let ac = RFlags(rawValue: 1 << 18)
    public static let vif = RFlags(rawValue: 1 << 19)
    public static let vip = RFlags(rawValue: 1 << 20)
    public static let id = RFlags(rawValue: 1 << 21)

    /// The I/O privilege level, 0 to 3.
    public var iopl: UInt8 {
        get { UInt8(truncatingIfNeeded: rawValue >> 12) & 3 }
        set { rawValue = rawValue & ~(3 << 12) | UInt64(newValue & 3) << 12 }
    }
}

/// CR0. Source: SDM volume 3A, 2.5.
public struct CR0: OptionSet, Sendable, Hashable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let pe = CR0(rawValue: 1 << 0)
    public static let mp = CR0(rawValue: 1 << 1)
    public static let em = CR0(rawValue: 1 << 2)
    public static let ts = CR0(rawValue: 1 << 3)
    public static let et = CR0(rawValue: 1 << 4)
    public static let ne = CR0(rawValue: 1 << 5)
    public static let wp = CR0(rawValue: 1 << 16)
    public static let am = CR0(rawValue: 1 << 18)
    public static let nw = CR0(rawValue: 1 << 29)
    public static let cd = CR0(rawValue: 1 << 30)
    public static let pg = CR0(rawValue: 1 << 31)
}

/// CR4. Source: SDM volume 3A, 2.5.
public struct CR4: OptionSet, Sendable, Hashable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let vme = CR4(rawValue: 1 << 0)
    public static let pvi = CR4(rawValue: 1 << 1)
    public static let tsd = CR4(rawValue: 1 << 2)
    public static let de = CR4(rawValue: 1 << 3)
    public static let pse = CR4(rawValue: 1 << 4)
    public static let pae = CR4(rawValue: 1 << 5)
    public static let mce = CR4(rawValue: 1 << 6)
    public static let pge = CR4(rawValue: 1 << 7)
    public static let pce = CR4(rawValue: 1 << 8)
    public static let osfxsr = CR4(rawValue: 1 << 9)
    public static let osxmmexcpt = CR4(rawValue: 1 << 10)
    public static let umip = CR4(rawValue: 1 << 11)
    public static let la57 = CR4(rawValue: 1 << 12)
    public static let vmxe = CR4(rawValue: 1 << 13)
    public static let smxe = CR4(rawValue: 1 << 14)
    public static let fsgsbase = CR4(rawValue: 1 << 16)
    public static let pcide = CR4(rawValue: 1 << 17)
    public static let osxsave = CR4(rawValue: 1 << 18)
    public static let kl = CR4(rawValue: 1 << 19)
    public static let smep = CR4(rawValue: 1 << 20)
    public static let smap = CR4(rawValue: 1 << 21)
    public static let pke = CR4(rawValue: 1 << 22)
    public static let cet = CR4(rawValue: 1 << 23)
    public static let pks = CR4(rawValue: 1 << 24)
    public static let uintr = CR4(rawValue: 1 << 25)
    public static let lamSup = CR4(rawValue: 1 << 28)
}

/// IA32_EFER, MSR 0xC0000080. Source: SDM volume 3A, 2.2.1; APM volume 2, 3.1.7 for SVME to TCE.
public struct EFER: OptionSet, Sendable, Hashable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let sce = EFER(rawValue: 1 << 0)
    public static let lme = EFER(rawValue: 1 << 8)
    public static let lma = EFER(rawValue: 1 << 10)
    public static let nxe = EFER(rawValue: 1 << 11)
    public static let svme = EFER(rawValue: 1 << 12)
    public static let lmsle = EFER(rawValue: 1 << 13)
    public static let ffxsr = EFER(rawValue: 1 << 14)
    public static let tce = EFER(rawValue: 1 << 15)
}
