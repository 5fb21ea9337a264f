import DebugTarget
import KVMCore
import X86

extension OwnedMachine {
    /// Opens the drives, fills memory as a BIOS does, and sets the chips up.
    static func makeBIOS(
        _ configuration: MachineConfiguration, _ devices: BoardDevices, _ serialPort: UART,
        _ screen: TextAdapter,
        _ layout: RAMLayout, _ memory: MachineMemory
    ) throws -> BIOS {
        let drives = try Drive.opened(configuration.drives)
        let bios = BIOS(
            BIOS.Hardware(
                drives: drives, devices: devices, serialPort: serialPort, ramSize: layout.size,
                ranges: layout.ranges, tables: try tables(configuration, layout), screen: screen))
        try bios.setUp(memory)
        return bios
    }

    /// What a kernel finds its processors by, where there are APICs.
    private static func tables(
        _ configuration: MachineConfiguration, _ layout: RAMLayout
    ) throws(MachineError) -> [GuestImage.Part] {
        guard configuration.interruptController == .kernel else { return [] }
        return try FirmwareTables(
            LoadContext(layout: layout, vcpus: configuration.vcpus, hasAPICs: true)
        ).parts
    }

    /// Sets interrupt controllers and timer up as a BIOS leaves them, wherever they are.
    static func initialiseAsBIOS(_ chips: MachineChips?, _ vm: MachineVM) throws(KVMError) {
        if let chips { return chips.initialiseAsBIOS() }
        // The kernel's are given the state that ours would have.
        let made = MachineChips(origin: 0)
        made.initialiseAsBIOS()
        for chip in [PIC.master, .slave] {
            try vm.vm.setPICState(chip, made.controllers.picState(chip))
        }
        try vm.vm.setPITState(made.timer.pitState)
    }

    /// Sets the boot processor to the boot code of the first drive that has some.
    func boot(_ bios: BIOS) throws {
        guard let code = bios.bootCode else { throw bios.noBootCode }
        let memory = parts.memory
        try withVCPU(0) { vcpu in
            var general = try vcpu.registers()
            var special = try vcpu.specialRegisters()
            special.idt = DescriptorTable(base: 0, limit: 0x3FF)
            special.cr0.remove([.pe, .pg])
            bios.start(code, BIOSMemory(memory, special, isA20On: true), &general, &special)
            try vcpu.setSpecialRegisters(special)
            try vcpu.setRegisters(general)
        }
    }
}

extension BIOS {
    /// Fills memory and sets the chips up as a BIOS has them when it starts a boot sector.
    func setUp(_ memory: MachineMemory) throws(MachineError) {
        let devices = hardware.devices
        let time = devices.realTimeClock.time
        try BIOSSetup(
            rom: rom, drives: hardware.drives,
            secondOfDay: time.hour * 3600 + time.minute * 60 + time.second
        ).write(to: memory)
        for part in hardware.tables {
            do {
                try part.bytes.withUnsafeBytes { try memory.write(part.address, $0) }
            } catch {
                throw MachineError(
                    .configuration, "there is no room for the ACPI tables: \(error)", advice: .withoutBIOS)
            }
        }
        restart()
        memory.rom?.reset()
        devices.realTimeClock.setMemory(clockMemory)
    }

    var noBootCode: MachineError {
        let paths = hardware.drives.map(\.image.path).joined(separator: ", ")
        return MachineError(
            .empty, paths.isEmpty ? "there is no drive to boot from" : "no drive can be booted: \(paths)",
            remedy: "give an image with a boot sector, or an ISO file with an El Torito catalog")
    }

    /// What is loaded first, as an image: the boot code of the first drive that has some.
    func bootImage(
        _ configuration: MachineConfiguration, _ identity: ImageIdentity?
    ) throws(MachineError) -> GuestImage {
        guard let code = bootCode else { throw noBootCode }
        let isSector = code.segment == 0x07C0
        return GuestImage(
            name: configuration.name,
            parts: [.init("boot code", at: UInt64(code.segment) << 4, code.bytes)],
            entry: isSector ? .bootSector(drive: code.drive) : .realMode(segment: code.segment, offset: 0),
            identity: identity)
    }

    /// What a BIOS keeps in the clock's memory: drives and sizes.
    private var clockMemory: [Int: UInt8] {
        let drives = hardware.drives
        let floppies = drives.filter { $0.kind == .floppy }
        let disks = drives.filter { $0.kind == .disk }
        var memory: [Int: UInt8] = [:]
        // 1.44 MB each, the first in the high half.
        memory[0x10] = (floppies.isEmpty ? 0 : 0x40) | (floppies.count > 1 ? 0x04 : 0)
        memory[0x12] = (disks.isEmpty ? 0 : 0xF0) | (disks.count > 1 ? 0x0F : 0)
        memory[0x14] = 0x02 | (floppies.isEmpty ? 0 : 1) | (floppies.count > 1 ? 0x40 : 0)
        func word(_ place: Int, _ value: UInt64) {
            let value = UInt16(clamping: value)
            memory[place] = UInt8(truncatingIfNeeded: value)
            memory[place + 1] = UInt8(truncatingIfNeeded: value >> 8)
        }
        word(0x15, UInt64(BIOSData.conventionalSize) + 1)
        let end = hardware.ranges.first?.upperBound ?? 0
        let extended = end > 1 << 20 ? (end - 1 << 20) >> 10 : 0
        word(0x17, extended)
        word(0x30, extended)
        // In pieces of 64 KiB above 16 MiB.
        word(0x34, end > 16 << 20 ? (end - 16 << 20) >> 16 : 0)
        return memory
    }
}
