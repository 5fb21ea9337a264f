/// The registers of one vCPU that can be read and edited by name.
public struct RegisterFile: Sendable, Hashable {
    /// General registers, RIP and RFLAGS.
    public var general: GeneralRegisters
    /// Segments, tables and control registers.
    public var special: SpecialRegisters
    /// DR0 to DR3, DR6 and DR7.
    public var debug: DebugRegisters

    /// - Parameters:
    ///   - general: general registers, RIP and RFLAGS.
    ///   - special: segments, tables and control registers.
    ///   - debug: debug registers.
    public init(
        general: GeneralRegisters = GeneralRegisters(), special: SpecialRegisters = SpecialRegisters(),
        debug: DebugRegisters = DebugRegisters()
    ) {
        self.general = general
        self.special = special
        self.debug = debug
    }

    /// The mode that they make.
    public var mode: CPUMode { CPUMode(general, special) }

    /// The value, extended with zeros.
    public subscript(name: RegisterName) -> UInt64 { self[name.field] >> UInt64(name.shift) & name.mask }

    /// Edits a register, as a debugger does: nothing but the named bits changes. In particular a write to
    /// `eax` keeps the upper half of `rax` (as GDB's does; the processor's own would clear it). Bit 1 of
    /// RFLAGS stays set, as in the processor.
    ///
    /// A write to `cs`, `ds`, ... loads the segment as the processor would: in real and virtual-8086 mode
    /// the base follows; in protected mode a null selector makes `ds`, `es`, `fs`, `gs` and `ldt` (in 64-bit
    /// mode `ss` too) unusable, and any other needs its descriptor: see ``load(_:selector:low:high:)``; `tr`
    /// and `ldt` need it in every mode. `cs.selector` and its
    /// siblings edit the cache itself, in any mode.
    ///
    /// Nothing is changed where it throws. Whether the result can be run is ``problems(physicalAddressBits:)``'s
    /// to say.
    public mutating func set(_ name: RegisterName, to value: UInt64) throws(RegisterEditError) {
        guard value <= name.mask else { throw .doesNotFit(name, value: value) }
        if case .segmentRegister(let segment) = name.field {
            let selector = UInt16(truncatingIfNeeded: value)
            guard loadWithoutDescriptor(segment, selector: selector) else {
                throw .needsDescriptor(segment, selector: selector)
            }
            return
        }
        let shift = UInt64(name.shift)
        self[name.field] = self[name.field] & ~(name.mask << shift) | value << shift
    }

    private subscript(field: RegisterField) -> UInt64 {
        get {
            field.value(general, special, debug)
        }
        set {
            switch field {
            case .general(let register): general[register] = newValue
            case .rflags:
                general.rflags = RFlags(rawValue: newValue).union(.reserved1)
            case .segmentRegister(let name), .segmentSelector(let name):
                special[name].selector = UInt16(truncatingIfNeeded: newValue)
            case .segmentBase(let name): special[name].base = newValue
            case .segmentLimit(let name): special[name].limit = UInt32(truncatingIfNeeded: newValue)
            case .segmentAttributes(let name):
                special[name].attributes.rawValue = UInt32(truncatingIfNeeded: newValue)
            case .gdtBase: special.gdt.base = newValue
            case .gdtLimit: special.gdt.limit = UInt16(truncatingIfNeeded: newValue)
            case .idtBase: special.idt.base = newValue
            case .idtLimit: special.idt.limit = UInt16(truncatingIfNeeded: newValue)
            case .cr0: special.cr0.rawValue = newValue
            case .cr2: special.cr2 = newValue
            case .cr3: special.cr3 = newValue
            case .cr4: special.cr4.rawValue = newValue
            case .cr8: special.cr8 = newValue
            case .efer: special.efer.rawValue = newValue
            case .apicBase: special.apicBase = newValue
            case .debugAddress(let number): debug[address: number] = newValue
            case .dr6: debug.dr6 = newValue
            case .dr7: debug.dr7 = newValue
            }
        }
    }
}

/// Why a register could not be edited.
public enum RegisterEditError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The value has bits beyond the register's width.
    case doesNotFit(RegisterName, value: UInt64)
    /// The segment is loaded from a descriptor in memory, which the caller has to read.
    case needsDescriptor(SegmentName, selector: UInt16)

    /// What was wrong and what is allowed: one line for people.
    public var description: String {
        switch self {
        case .doesNotFit(let name, let value):
            let largest = hexadecimal(name.mask)
            return "\(hexadecimal(value)) does not fit in \(name), which has \(name.width) bit"
                + "\(name.width == 1 ? "" : "s"); the largest value is \(largest)"
        case .needsDescriptor(let segment, let selector):
            return
                "\(segment) = \(hexadecimal(UInt64(selector))) is loaded from a descriptor in memory;"
                + " to edit the cached selector alone, set \(segment).selector"
        }
    }
}
