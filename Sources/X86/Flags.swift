/// RFLAGS. Bits that have no name are kept. Source: SDM volume 1, 3.4.3.
public struct RFlags: OptionSet, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Carry.
    public static let cf = RFlags(rawValue: 1 << 0)
    /// Bit 1, which always reads as one.
    public static let reserved1 = RFlags(rawValue: 1 << 1)
    /// Parity of the result's low byte.
    public static let pf = RFlags(rawValue: 1 << 2)
    /// Carry out of bit 3.
    public static let af = RFlags(rawValue: 1 << 4)
    /// The result is zero.
    public static let zf = RFlags(rawValue: 1 << 6)
    /// The result is negative.
    public static let sf = RFlags(rawValue: 1 << 7)
    /// Trap: a debug exception after each instruction.
    public static let tf = RFlags(rawValue: 1 << 8)
    /// Interrupts are taken.
    public static let `if` = RFlags(rawValue: 1 << 9)
    /// Direction: string instructions go down.
    public static let df = RFlags(rawValue: 1 << 10)
    /// Overflow.
    public static let of = RFlags(rawValue: 1 << 11)
    /// Nested task.
    public static let nt = RFlags(rawValue: 1 << 14)
    /// Resume: instruction breakpoints are passed over once.
    public static let rf = RFlags(rawValue: 1 << 16)
    /// Virtual-8086 mode.
    public static let vm = RFlags(rawValue: 1 << 17)
    /// Alignment check, or access control with SMAP.
    public static let ac = RFlags(rawValue: 1 << 18)
    /// Virtual interrupt flag.
    public static let vif = RFlags(rawValue: 1 << 19)
    /// A virtual interrupt is pending.
    public static let vip = RFlags(rawValue: 1 << 20)
    /// CPUID is there if this can be changed.
    public static let id = RFlags(rawValue: 1 << 21)

    /// The I/O privilege level, 0 to 3.
    public var iopl: UInt8 {
        get { UInt8(truncatingIfNeeded: rawValue >> 12) & 3 }
        set { rawValue = rawValue & ~(3 << 12) | UInt64(newValue & 3) << 12 }
    }
}

/// CR0. Source: SDM volume 3A, 2.5.
public struct CR0: OptionSet, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Protected mode.
    public static let pe = CR0(rawValue: 1 << 0)
    /// WAIT heeds TS.
    public static let mp = CR0(rawValue: 1 << 1)
    /// There is no x87.
    public static let em = CR0(rawValue: 1 << 2)
    /// A task was switched: the next x87 or SSE instruction faults.
    public static let ts = CR0(rawValue: 1 << 3)
    /// Always set.
    public static let et = CR0(rawValue: 1 << 4)
    /// x87 errors are exceptions.
    public static let ne = CR0(rawValue: 1 << 5)
    /// Supervisors do not write read-only pages.
    public static let wp = CR0(rawValue: 1 << 16)
    /// RFLAGS.AC checks alignment.
    public static let am = CR0(rawValue: 1 << 18)
    /// Not write-through.
    public static let nw = CR0(rawValue: 1 << 29)
    /// Caches are off.
    public static let cd = CR0(rawValue: 1 << 30)
    /// Paging.
    public static let pg = CR0(rawValue: 1 << 31)
}

/// CR4. Source: SDM volume 3A, 2.5.
public struct CR4: OptionSet, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Virtual-8086 mode's extensions.
    public static let vme = CR4(rawValue: 1 << 0)
    /// Protected mode's virtual interrupts.
    public static let pvi = CR4(rawValue: 1 << 1)
    /// RDTSC is for CPL 0 alone.
    public static let tsd = CR4(rawValue: 1 << 2)
    /// Debugging extensions: I/O breakpoints, no DR4 and DR5.
    public static let de = CR4(rawValue: 1 << 3)
    /// Pages of 4 MiB.
    public static let pse = CR4(rawValue: 1 << 4)
    /// Entries of 64 bits.
    public static let pae = CR4(rawValue: 1 << 5)
    /// Machine checks.
    public static let mce = CR4(rawValue: 1 << 6)
    /// Global pages.
    public static let pge = CR4(rawValue: 1 << 7)
    /// RDPMC at any CPL.
    public static let pce = CR4(rawValue: 1 << 8)
    /// The system uses FXSAVE, and SSE is there.
    public static let osfxsr = CR4(rawValue: 1 << 9)
    /// The system takes SSE's exceptions.
    public static let osxmmexcpt = CR4(rawValue: 1 << 10)
    /// SGDT, SIDT, SLDT, SMSW and STR are for CPL 0 alone.
    public static let umip = CR4(rawValue: 1 << 11)
    /// Five-level paging.
    public static let la57 = CR4(rawValue: 1 << 12)
    /// VMX.
    public static let vmxe = CR4(rawValue: 1 << 13)
    /// SMX.
    public static let smxe = CR4(rawValue: 1 << 14)
    /// RDFSBASE and its like.
    public static let fsgsbase = CR4(rawValue: 1 << 16)
    /// Process-context identifiers.
    public static let pcide = CR4(rawValue: 1 << 17)
    /// The system uses XSAVE.
    public static let osxsave = CR4(rawValue: 1 << 18)
    /// Key Locker.
    public static let kl = CR4(rawValue: 1 << 19)
    /// Supervisors do not execute users' pages.
    public static let smep = CR4(rawValue: 1 << 20)
    /// Supervisors do not access users' pages.
    public static let smap = CR4(rawValue: 1 << 21)
    /// Protection keys for users' pages.
    public static let pke = CR4(rawValue: 1 << 22)
    /// Control-flow enforcement.
    public static let cet = CR4(rawValue: 1 << 23)
    /// Protection keys for supervisors' pages.
    public static let pks = CR4(rawValue: 1 << 24)
    /// User interrupts.
    public static let uintr = CR4(rawValue: 1 << 25)
    /// Supervisors' addresses may carry metadata.
    public static let lamSup = CR4(rawValue: 1 << 28)
}

/// IA32_EFER, MSR 0xC0000080. Source: SDM volume 3A, 2.2.1; APM volume 2, 3.1.7 for SVME to TCE.
public struct EFER: OptionSet, Sendable, Hashable {
    /// The register's 64 bits.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// SYSCALL and SYSRET.
    public static let sce = EFER(rawValue: 1 << 0)
    /// IA-32e mode, once paging is on.
    public static let lme = EFER(rawValue: 1 << 8)
    /// IA-32e mode is on.
    public static let lma = EFER(rawValue: 1 << 10)
    /// Pages may be not executable.
    public static let nxe = EFER(rawValue: 1 << 11)
    /// SVM.
    public static let svme = EFER(rawValue: 1 << 12)
    /// Segment limits in 64-bit mode.
    public static let lmsle = EFER(rawValue: 1 << 13)
    /// FXSAVE leaves XMM out at CPL 0.
    public static let ffxsr = EFER(rawValue: 1 << 14)
    /// INVLPG leaves the upper tables' entries in.
    public static let tce = EFER(rawValue: 1 << 15)
}
