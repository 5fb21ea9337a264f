import KVMCore
import X86

/// What a vCPU is given before its first KVM_RUN.
enum VCPUSetup {
    /// The CPUID that KVM supports, made this vCPU's own: its APIC id where a leaf holds one.
    ///
    /// Without it 64-bit mode and SSE are missing.
    /// - Parameter hasLocalAPIC: without one the guest must not be told of one.
    static func cpuid(_ supported: [CPUIDEntry], id: Int, hasLocalAPIC: Bool) -> [CPUIDEntry] {
        let apicID = UInt32(truncatingIfNeeded: id)
        return supported.map { entry in
            var entry = entry
            switch entry.function {
            case 1:
                // Bits 24-31: the initial APIC id; an id over 255 does not fit, and leaf 0xB has it.
                entry.ebx = entry.ebx & 0x00FF_FFFF | min(apicID, 255) << 24
                if !hasLocalAPIC {
                    entry.edx &= ~(1 << 9)
                    // x2APIC and the TSC deadline timer.
                    entry.ecx &= ~(1 << 21 | 1 << 24)
                }
            case 0xB, 0x1F:
                entry.edx = apicID
            default: break
            }
            return entry
        }
    }

    /// Flat 4 GiB segments, as a boot loader leaves them.
    private static func flat(_ selector: UInt16, attributes: UInt32) -> Segment {
        Segment(
            base: 0, limit: 0xFFFF_FFFF, selector: selector,
            attributes: SegmentAttributes(rawValue: attributes))
    }

    /// The registers that `entry` asks for, from those at reset.
    static func registers(_ entry: GuestImage.Entry, reset: SpecialRegisters) -> (
        GeneralRegisters, SpecialRegisters
    ) {
        var general = GeneralRegisters()
        var special = reset
        switch entry {
        case .realMode(let segment, let offset):
            real(&special, code: segment)
            general.rip = UInt64(offset)
            general.rsp = GuestImage.bootAddress
        case .bootSector(let drive):
            real(&special, code: 0)
            general.rip = GuestImage.bootAddress
            // As SeaBIOS has it (src/boot.c, call_boot_entry): AX the mark, DL the drive, interrupts on, its stack
            // below 0x7000.
            general.rax = 0xAA55
            general.rdx = UInt64(drive)
            general.rsp = 0x6F00
            general.rflags.insert(.if)
        case .protectedMode(let address):
            special.cs = flat(0x08, attributes: 0xC09B)
            for name in [SegmentName.ds, .es, .fs, .gs, .ss] {
                special[name] = flat(0x10, attributes: 0xC093)
            }
            special.cr0.insert(.pe)
            general.rip = UInt64(address)
        case .prepared(let start): prepare(start, &general, &special)
        }
        return (general, special)
    }

    /// What a boot protocol promises.
    private static func prepare(
        _ start: Preparation, _ general: inout GeneralRegisters, _ special: inout SpecialRegisters
    ) {
        switch start.mode {
        case .real(let segments):
            real(&special, code: segments[.cs] ?? 0)
            for name in [SegmentName.ds, .es, .fs, .gs, .ss] { special[name] = .real(segments[name] ?? 0) }
        case .protected:
            special.cs = flat(start.code, attributes: 0xC09B)
            special.cr0.insert(.pe)
        case .long(let tables):
            special.cs = flat(start.code, attributes: 0xA09B)
            special.cr0.insert([.pe, .pg])
            special.cr3 = tables
            special.cr4.insert(.pae)
            special.efer.insert([.lme, .lma])
        }
        if case .real = start.mode {
        } else {
            for name in [SegmentName.ds, .es, .fs, .gs, .ss] {
                special[name] = flat(start.data, attributes: 0xC093)
            }
        }
        if let descriptors = start.descriptors { special.gdt = descriptors }
        general.rip = start.instruction
        for (register, value) in start.registers { general[register] = value }
    }

    /// Real mode, data and stack from address 0, and the interrupt table at 0, as a BIOS has it.
    private static func real(_ special: inout SpecialRegisters, code: UInt16) {
        special.cs = .real(code, code: true)
        for name in [SegmentName.ds, .es, .fs, .gs, .ss] { special[name] = .real(0) }
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        special.cr0.remove([.pe, .pg])
    }
}
