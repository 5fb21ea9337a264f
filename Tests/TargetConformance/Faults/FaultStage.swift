public import X86

/// A processor in front of one instruction, with tables that let each exception be delivered: what a row of
/// ``FaultRow`` begins from, made up or put into a VM.
///
/// IDT at 1000h, GDT at 2000h, TSS at 3000h, page tables from 10000h on, code at 5000h, a stack below 7000h. The handler
/// of vector V is a HLT at 6000h + V * 16.
public struct FaultStage: Sendable {
    public enum Mode: Sendable, Hashable {
        case real, virtual8086
        /// 32-bit protected mode without paging, at CPL 0 and at 3.
        case protected, protectedUser
        /// The same with 32-bit paging, 4 MiB pages one to one, all the user's; and with PAE paging.
        case paged, pagedUser, pae
        /// 64-bit mode with 2 MiB pages one to one, the first of them the user's.
        case long, longUser
    }

    public static let code: UInt64 = 0x5000
    public static let handlers: UInt64 = 0x6000
    public static let memorySize = 1 << 20

    public var registers = GeneralRegisters()
    public var special: SpecialRegisters
    public var memory = [UInt8](repeating: 0, count: memorySize)
    public var debug: DebugRegisters?
    public var fpu: FPURegisters?
    public var xcr0: UInt64?
    public var pkru: UInt32?
    public var msrs: [UInt32: UInt64] = [:]

    /// - Parameter special: those of a new vCPU; the rest of them is kept.
    public init(_ mode: Mode, special: SpecialRegisters = SpecialRegisters()) {
        self.special = special
        registers.rip = Self.code
        registers.rsp = 0x7000
        registers.rflags = .reserved1
        self.special.idt = DescriptorTable(base: 0x1000, limit: 0x7FF)
        self.special.gdt = DescriptorTable(base: 0x2000, limit: 0xFF)
        self.special.cr3 = 0x10000
        self.special.tr = Segment(
            base: 0x3000, limit: 0x67, selector: 0x18, attributes: SegmentAttributes(rawValue: 0x8B))
        self.special.ldt = Segment(attributes: SegmentAttributes(rawValue: 0x1_0000))
        putDescriptors()
        // ESP0 and SS0; the I/O map lies after the TSS.
        put(0x3004, 0x0010_0000_7800)
        put(0x3066, 0x68, size: 2)
        // Of the TSS that is free.
        put(0x3866, 0x68, size: 2)
        switch mode {
        case .real: enterReal()
        case .virtual8086:
            enterReal()
            enterProtected()
            registers.rflags.insert(.vm)
            for name in Self.dataNames + [.cs] {
                self.special[name] = Segment(
                    base: 0, limit: 0xFFFF, selector: 0, attributes: SegmentAttributes(rawValue: 0xF3))
            }
        case .protected: enterProtected()
        case .protectedUser:
            enterProtected()
            enterRing3(0x43, 0xC0FB)
        case .paged, .pagedUser:
            enterProtected()
            self.special.cr4.insert(.pse)
            self.special.cr0.formUnion([.pg, .wp])
            for page in UInt64(0)..<4 { put(0x10000 + page * 4, page << 22 | 0x87, size: 4) }
            if mode == .pagedUser { enterRing3(0x43, 0xC0FB) }
        case .pae:
            enterProtected()
            self.special.cr4.insert(.pae)
            self.special.cr0.formUnion([.pg, .wp])
            put(0x10000, 0x12001)
            for page in UInt64(0)..<4 { put(0x12000 + page * 8, page << 21 | 0x87) }
        case .long, .longUser:
            enterLong()
            if mode == .longUser { enterRing3(0xBB, 0xA0FB) }
        }
        for vector in UInt64(0)..<32 { put(Self.handlers + vector * 16, 0xF4, size: 1) }
    }

    static let dataNames: [SegmentName] = [.ss, .ds, .es, .fs, .gs]

    private mutating func putDescriptors() {
        let descriptors: [UInt64: UInt64] = [
            // Code and data of 32 bits, ring 0; the TSS, busy; data, ring 3.
            0x08: 0x00CF_9B00_0000_FFFF, 0x10: 0x00CF_9300_0000_FFFF, 0x18: 0x0000_8B00_3000_0067,
            0x20: 0x00CF_F300_0000_FFFF,
            // Code that is not present; 64-bit code; data that is not present; code, ring 3.
            0x28: 0x00CF_1B00_0000_FFFF, 0x30: 0x00AF_9B00_0000_FFFF, 0x38: 0x00CF_1300_0000_FFFF,
            0x40: 0x00CF_FB00_0000_FFFF,
            // Conforming code; code that is not readable; data that is not writable; an LDT; a free TSS.
            0x48: 0x00CF_9F00_0000_FFFF, 0x50: 0x00CF_9900_0000_FFFF, 0x58: 0x00CF_9100_0000_FFFF,
            0x60: 0x0000_8200_4000_000F, 0x68: 0x0000_8900_3800_0067,
            // A TSS that is not present; call gates to 08:6000 for ring 0 and 3, to data, and one not present.
            0x70: 0x0000_0900_3800_0067, 0x78: 0x0000_8C00_0008_6000, 0x80: 0x0000_EC00_0008_6000,
            0x88: 0x0000_8C00_0010_6000, 0x90: 0x0000_0C00_0008_6000,
            // A short TSS; code with L and D; an LDT that is not present; 64-bit code, ring 3.
            0xA0: 0x0000_8900_3800_0020, 0xA8: 0x00EF_9B00_0000_FFFF, 0xB0: 0x0000_0200_4000_000F,
            0xB8: 0x00AF_FB00_0000_FFFF,
            // Data that expands down, above 8FFFh; code of 4 KiB; a call gate to a null selector.
            0xC8: 0x0040_9700_0000_8FFF, 0xD0: 0x0040_9B00_0000_0FFF, 0xD8: 0x0000_8C00_0000_6000,
        ]
        for (selector, value) in descriptors { put(0x2000 + selector, value) }
    }

    private mutating func enterReal() {
        special.cr0.remove([.pe, .pg, .cd, .nw])
        for name in Self.dataNames { special[name] = .real(0) }
        special.cs = .real(0, code: true)
        for vector in UInt64(0)..<32 { put(0x1000 + vector * 4, Self.handlers + vector * 16, size: 4) }
    }

    private mutating func enterProtected() {
        special.cr0.remove([.cd, .nw])
        special.cr0.formUnion([.pe, .et])
        special.cs = Self.segment(0x08, 0xC09B)
        for name in Self.dataNames { special[name] = Self.segment(0x10, 0xC093) }
        for vector in UInt64(0)..<32 {
            // Interrupt gates to 08, present, DPL 0.
            put(0x1000 + vector * 8, Self.handlers + vector * 16 | 0x08 << 16 | 0x8E << 40)
        }
    }

    private mutating func enterRing3(_ code: UInt16, _ attributes: UInt32) {
        special.cs = Self.segment(code, attributes)
        for name in Self.dataNames { special[name] = Self.segment(0x23, 0xC0F3) }
    }

    private mutating func enterLong() {
        enterProtected()
        special.cr0.formUnion([.pg, .wp])
        special.cr4.insert(.pae)
        special.efer.formUnion([.lme, .lma, .nxe, .sce])
        special.cs = Self.segment(0x30, 0xA09B)
        put(0x10000, 0x11007)
        put(0x11000, 0x12007)
        put(0x12000, 0x87)
        for page in UInt64(1)..<4 { put(0x12000 + page * 8, page << 21 | 0x83) }
        // RSP0; the I/O map is the same.
        put(0x3004, 0x7800)
        for vector in UInt64(0)..<32 {
            put(0x1000 + vector * 16, Self.handlers + vector * 16 | 0x30 << 16 | 0x8E << 40)
            put(0x1008 + vector * 16, 0)
        }
        // In 16 bytes: a free TSS at E0, a call gate to 30:6000 at F0.
        put(0x20E0, 0x0000_8900_3800_0067)
        put(0x20E8, 0)
        put(0x20F0, 0x0000_8C00_0030_6000)
        put(0x20F8, 0)
    }

    public static func segment(_ selector: UInt16, _ attributes: UInt32) -> Segment {
        Segment(
            base: 0, limit: 0xFFFF_FFFF, selector: selector,
            attributes: SegmentAttributes(rawValue: attributes))
    }

    /// Writes a little-endian value.
    public mutating func put(_ gpa: UInt64, _ value: UInt64, size: Int = 8) {
        for i in 0..<size { memory[Int(gpa) + i] = UInt8(truncatingIfNeeded: value >> UInt64(i * 8)) }
    }

    /// Words of the stack, the topmost first.
    public mutating func push(_ words: [UInt64], size: Int) {
        for (place, word) in words.enumerated() {
            put(registers.rsp + UInt64(place * size), word, size: size)
        }
    }
}
