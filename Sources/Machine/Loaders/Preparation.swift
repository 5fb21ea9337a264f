public import X86

/// How the processor is set where a loader's image starts: what a boot protocol promises to a kernel.
public struct Preparation: Sendable, Hashable {
    public enum Mode: Sendable, Hashable {
        /// Real mode; the segment of each register that is not 0.
        case real([SegmentName: UInt16])
        /// Flat segments of 4 GiB, without paging.
        case protected
        /// 64-bit code, with the page tables at this address.
        case long(pageTables: UInt64)
    }
    public var mode: Mode
    /// Where the first instruction is; in real mode the offset into CS.
    public var instruction: UInt64
    /// In protected and 64-bit mode.
    public var code: UInt16 = 0x08
    public var data: UInt16 = 0x10
    /// Where the descriptors of those are; nil where none are behind the caches.
    public var descriptors: DescriptorTable?
    public var registers: [GeneralRegister: UInt64] = [:]

    public init(_ mode: Mode, at instruction: UInt64) {
        self.mode = mode
        self.instruction = instruction
    }

    /// The linear address of the first instruction.
    public var address: UInt64 {
        guard case .real(let segments) = mode else { return instruction }
        return UInt64(segments[.cs] ?? 0) << 4 + instruction
    }
}

/// The tables that a processor needs for flat segments and for 64-bit mode.
enum FlatTables {
    /// A GDT with flat code and data of 4 GiB at these selectors, both of CPL 0.
    static func descriptors(code: UInt16, data: UInt16, isLong: Bool) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(max(code, data)) + 8)
        // Base 0, limit FFFFF in pages; code execute/read with L or D, data read/write with B; both accessed.
        bytes.put(isLong ? UInt64(0x00AF_9B00_0000_FFFF) : 0x00CF_9B00_0000_FFFF, at: Int(code))
        bytes.put(UInt64(0x00CF_9300_0000_FFFF), at: Int(data))
        return bytes
    }

    /// How many bytes ``pageTables(at:)`` gives.
    static let pageTableSize: UInt64 = 6 * 4096

    /// Tables that map the first 4 GiB as they are, by pages of 2 MiB; the first of them is what CR3 holds.
    /// - Parameter address: where they will be, a multiple of 4096.
    static func pageTables(at address: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(pageTableSize))
        // Present and writable.
        bytes.put(address + 4096 | 3, at: 0)
        for gibibyte in 0..<4 {
            bytes.put(address + UInt64(gibibyte + 2) * 4096 | 3, at: 4096 + gibibyte * 8)
            for page in 0..<512 {
                // PS: a page of 2 MiB.
                bytes.put(
                    UInt64(gibibyte) << 30 | UInt64(page) << 21 | 0x83, at: (gibibyte + 2) * 4096 + page * 8)
            }
        }
        return bytes
    }
}
