/// What interrupt vectors are for.
public enum InterruptVector {
    /// The exception's mnemonic and name, as `#PF page fault`; nil from 32 on and for reserved ones.
    /// Source: SDM volume 3A, table 6-1; APM volume 2, table 8-1 for #HV, #VC and #SX.
    public static func exception(_ vector: UInt8) -> String? {
        switch vector {
        case 0: "#DE divide error"
        case 1: "#DB debug"
        case 2: "NMI"
        case 3: "#BP breakpoint"
        case 4: "#OF overflow"
        case 5: "#BR BOUND range exceeded"
        case 6: "#UD invalid opcode"
        case 7: "#NM no x87"
        case 8: "#DF double fault"
        case 9: "coprocessor segment overrun"
        case 10: "#TS invalid TSS"
        case 11: "#NP segment not present"
        case 12: "#SS stack fault"
        case 13: "#GP general protection"
        case 14: "#PF page fault"
        case 16: "#MF x87 error"
        case 17: "#AC alignment check"
        case 18: "#MC machine check"
        case 19: "#XM SIMD error"
        case 20: "#VE virtualization"
        case 21: "#CP control protection"
        case 28: "#HV hypervisor injection"
        case 29: "#VC VMM communication"
        case 30: "#SX security"
        default: nil
        }
    }

    /// Whether a processor raises exceptions by this vector, so that it is more than an interrupt's number.
    ///
    /// Real mode has no tables to find wrong and no pages: vectors 10, 11, 14, 17 and those from 20 on are interrupts
    /// there and nothing else. Source: SDM volume 3A, tables 6-1 and 21-1.
    public static func isException(_ vector: UInt8, inRealMode isReal: Bool) -> Bool {
        guard exception(vector) != nil else { return false }
        return !isReal || [0...8, 12...13, 16...16, 18...19].contains { $0.contains(vector) }
    }

    /// What a vector of a PC in real mode serves; nil where nothing has settled.
    /// Source: IBM PC/AT technical reference, BIOS; the PIC's inputs as a BIOS programs them.
    public static func realMode(_ vector: UInt8) -> String? {
        switch vector {
        case 0x05: "print screen, BOUND"
        case 0x08: "IRQ0 timer"
        case 0x09: "IRQ1 keyboard"
        case 0x0A: "IRQ2 cascade"
        case 0x0B: "IRQ3 COM2"
        case 0x0C: "IRQ4 COM1"
        case 0x0D: "IRQ5 LPT2"
        case 0x0E: "IRQ6 floppy"
        case 0x0F: "IRQ7 LPT1"
        case 0x10: "BIOS video"
        case 0x11: "BIOS equipment list"
        case 0x12: "BIOS memory size"
        case 0x13: "BIOS disk"
        case 0x14: "BIOS serial"
        case 0x15: "BIOS system services"
        case 0x16: "BIOS keyboard"
        case 0x17: "BIOS printer"
        case 0x18: "no boot device"
        case 0x19: "boot load"
        case 0x1A: "BIOS time, PCI"
        case 0x1B: "Ctrl-Break"
        case 0x1C: "timer tick, user's"
        case 0x1D: "video parameters (data)"
        case 0x1E: "floppy parameters (data)"
        case 0x1F: "character table (data)"
        case 0x20: "DOS program end"
        case 0x21: "DOS"
        case 0x41: "disk 0 parameters (data)"
        case 0x46: "disk 1 parameters (data)"
        case 0x67: "EMS"
        case 0x70: "IRQ8 real-time clock"
        case 0x71: "IRQ9"
        case 0x72: "IRQ10"
        case 0x73: "IRQ11"
        case 0x74: "IRQ12 mouse"
        case 0x75: "IRQ13 x87"
        case 0x76: "IRQ14 disk"
        case 0x77: "IRQ15 disk"
        case 0...7: exception(vector)
        default: nil
        }
    }
}
