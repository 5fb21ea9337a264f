package import DebugTarget

/// Where a BIOS keeps what programs look at, from 400h on. Source: IBM PC AT Technical Reference, "Data areas".
enum BIOSData {
    static let serialPorts: UInt64 = 0x400
    static let extendedArea: UInt64 = 0x40E
    static let equipment: UInt64 = 0x410
    static let memorySize: UInt64 = 0x413
    static let shiftFlags: UInt64 = 0x417
    static let moreShiftFlags: UInt64 = 0x418
    static let keyHead: UInt64 = 0x41A
    static let keyTail: UInt64 = 0x41C
    static let keyBuffer: UInt64 = 0x41E
    static let floppyStatus: UInt64 = 0x441
    static let videoMode: UInt64 = 0x449
    static let columns: UInt64 = 0x44A
    static let pageSize: UInt64 = 0x44C
    static let pageStart: UInt64 = 0x44E
    static let cursors: UInt64 = 0x450
    static let cursorShape: UInt64 = 0x460
    static let page: UInt64 = 0x462
    static let videoPort: UInt64 = 0x463
    static let ticks: UInt64 = 0x46C
    static let midnight: UInt64 = 0x470
    static let disks: UInt64 = 0x475
    static let diskStatus: UInt64 = 0x474
    static let keyBufferStart: UInt64 = 0x480
    static let keyBufferEnd: UInt64 = 0x482
    static let lastRow: UInt64 = 0x484
    static let characterHeight: UInt64 = 0x485
    static let videoControl: UInt64 = 0x487
    static let keyboardFlags: UInt64 = 0x496
    static let lights: UInt64 = 0x497
    /// Of INT 15h AH=83h: where its byte is, microseconds, and whether it waits.
    static let eventFlag: UInt64 = 0x498
    static let eventTime: UInt64 = 0x49C
    static let eventActive: UInt64 = 0x4A0

    /// The extended data area's segment: the last KiB below 640.
    static let extendedSegment: UInt16 = 0x9FC0
    /// KiB of memory that programs may use from 0 on.
    static let conventionalSize: UInt16 = 639

    /// The memory of the text screen.
    static let screen: UInt64 = 0xB8000
}

/// Fills a machine's memory as a BIOS leaves it when it starts a boot sector.
package struct BIOSSetup {
    let rom: BIOSROM
    let drives: [Drive]
    /// The time of day that ticks count from, in seconds.
    let secondOfDay: Int

    package init(rom: BIOSROM, drives: [Drive], secondOfDay: Int) {
        self.rom = rom
        self.drives = drives
        self.secondOfDay = secondOfDay
    }

    /// - Throws: where the guest has less than the first MiB.
    package func write(to memory: any PhysicalMemory) throws(MachineError) {
        do throws(MemoryFault) {
            try put(memory, BIOSROM.base, rom.bytes)
            try writeVectors(memory)
            try writeData(memory)
        } catch {
            throw MachineError(
                .configuration, "the BIOS needs 1 MiB of RAM: \(error)", advice: .withoutBIOS)
        }
    }

    private func put(
        _ memory: any PhysicalMemory, _ gpa: UInt64, _ bytes: [UInt8]
    ) throws(MemoryFault) {
        do {
            try bytes.withUnsafeBytes { try memory.write(gpa, $0) }
        } catch let error as MemoryFault {
            throw error
        } catch {
            throw MemoryFault(gpa: gpa)
        }
    }

    private func word(
        _ memory: any PhysicalMemory, _ gpa: UInt64, _ value: UInt16
    ) throws(MemoryFault) {
        try put(memory, gpa, [UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8)])
    }

    private func writeVectors(_ memory: any PhysicalMemory) throws(MemoryFault) {
        for vector in UInt8.min...UInt8.max {
            let target = BIOSROM.target(of: vector)
            try word(memory, UInt64(vector) * 4, target ?? 0)
            try word(memory, UInt64(vector) * 4 + 2, target == nil ? 0 : BIOSROM.segment)
        }
    }

    private func writeData(_ memory: any PhysicalMemory) throws(MemoryFault) {
        try put(memory, 0x400, [UInt8](repeating: 0, count: 0x100))
        try put(
            memory, UInt64(BIOSData.extendedSegment) << 4, [1] + [UInt8](repeating: 0, count: 1023))
        try word(memory, BIOSData.serialPorts, 0x3F8)
        try word(memory, BIOSData.extendedArea, BIOSData.extendedSegment)
        let floppies = drives.filter { $0.kind == .floppy }.count
        // Bit 0 and 6-7 floppies, 1 a coprocessor, 2 a mouse port (none), 4-5 80x25 colour, 9-11 serial ports.
        let equipment = (floppies > 0 ? 1 | UInt16(floppies - 1) << 6 : 0) | 0x22 | 1 << 9
        try word(memory, BIOSData.equipment, equipment)
        try word(memory, BIOSData.memorySize, BIOSData.conventionalSize)
        for place in [BIOSData.keyHead, BIOSData.keyTail, BIOSData.keyBufferStart] {
            try word(memory, place, 0x1E)
        }
        try word(memory, BIOSData.keyBufferEnd, 0x3E)
        try put(memory, BIOSData.keyboardFlags, [0x10])
        try put(memory, BIOSData.disks, [UInt8(clamping: drives.filter { $0.kind == .disk }.count)])
        // 1573040 ticks are a day.
        let ticks = UInt64(secondOfDay) * 1_573_040 / 86_400
        try word(memory, BIOSData.ticks, UInt16(truncatingIfNeeded: ticks))
        try word(memory, BIOSData.ticks + 2, UInt16(truncatingIfNeeded: ticks >> 16))
        try put(memory, BIOSData.videoMode, [3])
        try word(memory, BIOSData.columns, 80)
        try word(memory, BIOSData.pageSize, 0x1000)
        try word(memory, BIOSData.cursorShape, 0x0607)
        try word(memory, BIOSData.videoPort, 0x3D4)
        try put(memory, BIOSData.lastRow, [24, 16, 0])
        try put(memory, BIOSData.videoControl, [0x60, 0xF9, 0x51])
        try put(
            memory, BIOSData.screen,
            (0..<0x4000).map { $0 % 2 == 0 ? 0x20 : 0x07 })
    }
}
