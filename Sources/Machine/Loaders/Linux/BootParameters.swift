/// Linux's `struct boot_params`, the "zero page", as a boot loader fills it.
///
/// Source: Linux, Documentation/arch/x86/zero-page.rst and boot.rst.
struct BootParameters {
    static let size: UInt64 = 4096
    /// Where the e820 map begins, and how many rows it has room for.
    private static let memoryMap = 0x2D0
    private static let mostRows = 128

    private(set) var bytes = [UInt8](repeating: 0, count: 4096)

    /// - Parameter header: the file's bytes from 0x1F1 on up to the header's end; nil for a kernel without one.
    init(header: ArraySlice<UInt8>?) {
        if let header {
            bytes.replaceSubrange(LinuxHeader.start..<LinuxHeader.start + header.count, with: header)
        } else {
            bytes.put(UInt16(0xAA55), at: 0x1FE)
            bytes.put(UInt32(0x5372_6448), at: 0x202)
            bytes.put(UInt16(0x20C), at: 0x206)
            bytes.put(UInt32(0x100_0000), at: 0x230)
        }
        // A loader without a number of its own; and text mode as a BIOS leaves it: mode 3, 80 by 25, 16 lines a
        // character, a VGA.
        bytes[0x210] = 0xFF
        bytes[0x06] = 3
        bytes[0x07] = 80
        bytes[0x0E] = 25
        bytes[0x0F] = 1
        bytes.put(UInt16(16), at: 0x10)
    }

    mutating func set(commandLine address: UInt64) {
        bytes.put(UInt32(truncatingIfNeeded: address), at: 0x228)
    }

    mutating func patch(_ number: UInt32, at offset: Int) { bytes.put(number, at: offset) }

    mutating func set(initrd address: UInt64, size: UInt64) {
        bytes.put(UInt32(truncatingIfNeeded: address), at: 0x218)
        bytes.put(UInt32(truncatingIfNeeded: size), at: 0x21C)
    }

    /// Physical, of the ACPI RSDP.
    mutating func set(rsdp address: UInt64) { bytes.put(address, at: 0x70) }

    mutating func set(memory map: [(range: Range<UInt64>, type: UInt32)]) {
        let rows = map.prefix(Self.mostRows)
        bytes[0x1E8] = UInt8(rows.count)
        for (index, row) in rows.enumerated() {
            let place = Self.memoryMap + index * 20
            bytes.put(row.range.lowerBound, at: place)
            bytes.put(row.range.upperBound - row.range.lowerBound, at: place + 8)
            bytes.put(row.type, at: place + 16)
        }
        // The fields of old: KiB above 1 MiB.
        let above = map.filter { $0.type == 1 && $0.range.lowerBound == 0x10_0000 }
            .reduce(0) { $0 + ($1.range.upperBound - $1.range.lowerBound) >> 10 }
        bytes.put(UInt16(clamping: above), at: 0x02)
        bytes.put(UInt32(clamping: above), at: 0x1E0)
    }
}
