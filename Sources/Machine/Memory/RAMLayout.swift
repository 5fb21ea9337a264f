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
        if size <= Self.holeStart {
            ranges = [0..<size]
        } else {
            ranges = [0..<Self.holeStart, Self.holeEnd..<Self.holeEnd + (size - Self.holeStart)]
        }
    }
}
