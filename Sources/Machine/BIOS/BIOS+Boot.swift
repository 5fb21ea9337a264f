import DebugTarget
import X86

/// INT 18h, INT 19h, and the start of a machine: loading a boot sector and going there.
extension BIOS {
    /// What is booted from a drive.
    package struct BootCode: Sendable, Hashable {
        package var bytes: [UInt8]
        package var segment: UInt16
        package var drive: UInt8
    }

    /// The first drive that has boot code: in the order of the drives.
    package var bootCode: BootCode? {
        for drive in hardware.drives {
            if let code = Self.bootCode(of: drive) { return code }
        }
        return nil
    }

    static func isBootable(_ drive: Drive) -> Bool { bootCode(of: drive) != nil }

    static func bootCode(of drive: Drive) -> BootCode? {
        if drive.kind == .cdrom {
            // One that stands for another drive is booted as that drive, which comes before it.
            guard let start = BootCatalog(drive), start.medium == 0,
                let bytes = drive.image.bytes(UInt64(start.sector) * 2048, count: Int(start.count) * 512)
            else { return nil }
            return BootCode(bytes: bytes, segment: start.segment, drive: drive.number)
        }
        guard let sector = drive.image.bytes(0, count: 512), sector.contains(where: { $0 != 0 }) else {
            return nil
        }
        // A BIOS asks for the mark of a disk; a debugger need not.
        return BootCode(bytes: sector, segment: 0x07C0, drive: drive.number)
    }

    /// Loads boot code and sets registers as SeaBIOS has them (src/boot.c, call_boot_entry).
    func start(
        _ code: BootCode, _ memory: BIOSMemory, _ general: inout GeneralRegisters,
        _ special: inout SpecialRegisters
    ) {
        memory.write(UInt64(code.segment) << 4, code.bytes)
        // A sector of a disk is at 0000:7C00.
        let isSector = code.segment == 0x07C0
        general = GeneralRegisters()
        general.rip = isSector ? 0x7C00 : 0
        general.rax = 0xAA55
        general.rdx = UInt64(code.drive)
        general.rdi = UInt64(BIOSROM.Place.plugAndPlay)
        general.rsp = 0x6F00
        general.rflags.insert(.if)
        special.cs = .real(isSector ? 0 : code.segment, code: true)
        for name in [SegmentName.ds, .es, .fs, .gs, .ss] { special[name] = .real(0) }
        special.es = .real(BIOSROM.segment)
    }

    /// INT 19h.
    func boot(_ call: inout BIOSCall) {
        guard let code = bootCode else { return noBoot(&call) }
        start(code, call.memory, &call.general, &call.special)
        call.ending = .jumps
    }

    /// INT 18h: says that nothing could be booted, and waits for ever with interrupts off.
    func noBoot(_ call: inout BIOSCall) {
        let screen = TextScreen(call.memory, hardware.screen)
        var cursor = screen.cursor(screen.page)
        for byte in "No bootable drive.\r\n".utf8 { screen.type(byte, nil, screen.page, &cursor) }
        screen.setCursor(screen.page, row: cursor.row, column: cursor.column)
        // The HLT after the reset entry's OUT.
        call.general.rip = UInt64(BIOSROM.Place.reset + 2)
        call.general.rflags.remove(.if)
        call.ending = .jumps
    }
}
