import X86

/// The machine that an image is loaded into, and what was asked of the loader.
struct LoadContext: Sendable {
    var layout: RAMLayout
    /// How many vCPUs there are; their APIC ids are 0 and up.
    var vcpus: Int
    /// The machine has local APICs and an I/O APIC.
    var hasAPICs: Bool
    var entry: EntryMode?
    var commandLine: String?
    /// A file's path.
    var initrd: String?

    /// The end of the RAM below 4 GiB.
    var lowEnd: UInt64 { layout.ranges[0].upperBound }

    /// Memory as a PC's firmware describes it: type 1 is RAM, 2 is reserved.
    var memoryMap: [(range: Range<UInt64>, type: UInt32)] {
        var map: [(Range<UInt64>, UInt32)] = []
        let base = min(lowEnd, Self.firmwareStart)
        map.append((0..<base, 1))
        if lowEnd > Self.firmwareStart { map.append((Self.firmwareStart..<min(lowEnd, 0x10_0000), 2)) }
        if lowEnd > 0x10_0000 { map.append((0x10_0000..<lowEnd, 1)) }
        for range in layout.ranges.dropFirst() { map.append((range, 1)) }
        return map
    }

    /// The last KiB of base memory and what is above it belong to firmware.
    static let firmwareStart: UInt64 = 0x9FC00
}

/// In which mode an image's first instruction runs.
public enum EntryMode: String, Sendable, Hashable, CaseIterable {
    /// 16-bit real mode.
    case real
    /// 32-bit protected mode without paging.
    case prot
    /// 64-bit mode, the first 4 GiB mapped as they are.
    case long
}

/// Finds room for what a loader puts beside an image's own parts.
struct RoomFinder {
    private let end: UInt64
    private var taken: [Range<UInt64>]

    /// - Parameter taken: where the image's own parts are, zeroed memory included.
    init(_ context: LoadContext, taken: [Range<UInt64>]) {
        end = context.lowEnd
        // The vectors and the BIOS's data, the boot sector's place, and video memory and firmware.
        self.taken = taken + [0..<0x1000, LoadContext.firmwareStart..<0x10_0000]
    }

    /// Takes `size` bytes, the lowest that are free.
    /// - Parameter name: for the error.
    mutating func take(_ name: String, _ size: UInt64, alignment: UInt64 = 4096) throws(MachineError)
        -> UInt64
    {
        let sorted = taken.sorted { $0.lowerBound < $1.lowerBound }
        var place: UInt64 = 0
        for range in sorted where !range.isEmpty {
            let start = aligned(place, alignment)
            if start <= range.lowerBound, range.lowerBound - start >= size { break }
            place = max(place, range.upperBound)
        }
        let start = aligned(place, alignment)
        guard start < end, end - start >= size else { throw full(name, size) }
        taken.append(start..<start + size)
        return start
    }

    /// Takes `size` bytes, the highest that are free and end below `limit`.
    mutating func takeHigh(_ name: String, _ size: UInt64, below limit: UInt64) throws(MachineError) -> UInt64
    {
        let sorted = taken.sorted { $0.lowerBound > $1.lowerBound }
        var top = min(end, limit)
        for range in sorted where !range.isEmpty && range.lowerBound < top {
            if top >= size, (top - size) & ~4095 >= range.upperBound { break }
            top = range.lowerBound
        }
        guard top >= size, (top - size) & ~4095 >= 0x1000 else { throw full(name, size) }
        let start = (top - size) & ~4095
        taken.append(start..<start + size)
        return start
    }

    private func full(_ name: String, _ size: UInt64) -> MachineError {
        MachineError(
            .oversized, "there is no room in the guest's memory for \(name), \(size) bytes",
            remedy: "give more memory with -m")
    }

    private func aligned(_ value: UInt64, _ alignment: UInt64) -> UInt64 {
        let (sum, overflow) = value.addingReportingOverflow(alignment - 1)
        return overflow ? .max : sum & ~(alignment - 1)
    }
}
