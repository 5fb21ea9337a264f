import X86

/// Where RAM is in guest-physical memory.
///
/// From 0 up; where there is more than 3 GiB, the rest continues at 4 GiB, because the last GiB below 4 GiB belongs
/// to devices (the APICs, and what KVM itself needs on VMX). 0xA0000 to 0xFFFFF, video memory and ROMs on a PC, is
/// RAM, too, as long as there is neither.
struct RAMLayout: Sendable, Hashable {
    static let holeStart: UInt64 = 3 << 30
    static let holeEnd: UInt64 = 4 << 30
    /// The most that is accepted: what an address of 46 bits reaches, far beyond any host.
    static let maximum: UInt64 = 1 << 46

    /// In bytes.
    let size: UInt64
    /// In order of address.
    let ranges: [Range<UInt64>]

    init(size: UInt64) throws(MachineError) {
        guard size > 0, size % 4096 == 0 else {
            throw MachineError(
                .configuration, "\(size) bytes of RAM cannot be made",
                remedy: "give a multiple of 4096 bytes, as 64M")
        }
        guard size <= Self.maximum else {
            throw MachineError(
                .configuration, "\(size) bytes of RAM are more than a guest can address",
                remedy: "give \(Self.maximum >> 40) TiB at most")
        }
        self.size = size
        if size <= Self.holeStart {
            ranges = [0..<size]
        } else {
            ranges = [0..<Self.holeStart, Self.holeEnd..<Self.holeEnd + (size - Self.holeStart)]
        }
    }

    /// How many bytes can be loaded at an address, up to the end of RAM or to the hole.
    ///
    /// - Parameter name: of what is to be loaded there, for errors.
    func room(for name: String, at address: UInt64) throws(MachineError) -> UInt64 {
        guard let range = ranges.first(where: { $0.contains(address) }) else {
            let isInHole = (Self.holeStart..<Self.holeEnd).contains(address)
            throw MachineError(
                .oversized, "\(name) is to be loaded at \(hex(address)), where no RAM is",
                remedy: isInHole
                    ? "\(hex(Self.holeStart)) to \(hex(Self.holeEnd - 1)) belongs to devices; give another address"
                    : "there are \(size) bytes of RAM; give more with -m, or a lower address")
        }
        return range.upperBound - address
    }

    /// What is to be loaded at an address is larger than the room there.
    ///
    /// - Parameter count: its bytes, nil where it has no end.
    func oversized(_ name: String, _ count: UInt64?, at address: UInt64) -> MachineError {
        let end = ranges.first { $0.contains(address) }?.upperBound ?? address
        return MachineError(
            .oversized,
            "\(name) has \(count.map { "\($0) bytes, and" } ?? "more bytes than fit:") from \(hex(address)) on "
                + "there are \(end - address) bytes of RAM",
            remedy: end == Self.holeStart
                ? "RAM ends at \(hex(end)), where devices begin; give a lower address"
                : "give more memory with -m")
    }
}
