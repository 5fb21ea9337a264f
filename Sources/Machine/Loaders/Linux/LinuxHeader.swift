/// The setup header of a Linux kernel, at 0x1F1 of its file.
///
/// Source: Linux, Documentation/arch/x86/boot.rst.
struct LinuxHeader: Sendable, Hashable {
    /// Where the header begins in the file and in `boot_params`.
    static let start = 0x1F1

    /// Major in the upper byte: 0x020F is 2.15.
    let version: UInt16
    /// Sectors of setup code after the first sector.
    let setupSectors: Int
    /// Units of 16 bytes that protected-mode code has in the file; 32 bits from version 2.04 on.
    let systemSize: UInt64
    let loadFlags: UInt8
    /// The header's own end, from the jump over it at 0x200.
    let end: Int
    let alignment: UInt32
    let isRelocatable: Bool
    let extendedLoadFlags: UInt16
    /// Without the terminating 0.
    let longestCommandLine: Int
    /// Up to which address an initial RAM disk may lie.
    let highestInitrd: UInt64
    let preferredAddress: UInt64
    /// What the kernel needs from where it runs, until it knows its own memory.
    let initSize: UInt64

    /// Nil for what is no kernel with a header of version 2.00 or later.
    init?(_ head: [UInt8]) {
        guard head.long(at: 0x202) == 0x5372_6448, head.word(at: 0x1FE) == 0xAA55,
            let version = head.word(at: 0x206), version >= 0x200, version < 0x300,
            let sectors = head.byte(at: 0x1F1), let flags = head.byte(at: 0x211),
            let jump = head.byte(at: 0x201)
        else { return nil }
        self.version = version
        // 0 means 4, of old.
        setupSectors = sectors == 0 ? 4 : Int(sectors)
        let size = head.long(at: 0x1F4) ?? 0
        systemSize = UInt64(version >= 0x204 ? size : size & 0xFFFF)
        loadFlags = flags
        end = min(0x202 + Int(jump), 0x290)
        alignment = version >= 0x205 ? head.long(at: 0x230) ?? 0 : 0
        isRelocatable = version >= 0x205 && (head.byte(at: 0x234) ?? 0) != 0
        extendedLoadFlags = version >= 0x20C ? head.word(at: 0x236) ?? 0 : 0
        longestCommandLine = version >= 0x206 ? Int(head.long(at: 0x238) ?? 255) : 255
        highestInitrd = UInt64(version >= 0x203 ? head.long(at: 0x22C) ?? 0x37FF_FFFF : 0x37FF_FFFF)
        preferredAddress = version >= 0x20A ? head.quad(at: 0x258) ?? 0x10_0000 : 0x10_0000
        initSize = UInt64(version >= 0x20A ? head.long(at: 0x260) ?? 0 : 0)
    }

    /// LOAD_HIGH: the protected-mode code goes to 1 MiB or wherever it likes, not to 0x10000.
    var isLoadedHigh: Bool { loadFlags & 1 != 0 }
    /// XLF_KERNEL_64: there is an entry for 64-bit mode 0x200 bytes after the start.
    var has64BitEntry: Bool { extendedLoadFlags & 1 != 0 }
    /// Bytes of the file before the protected-mode code.
    var setupSize: Int { (setupSectors + 1) * 512 }
}
