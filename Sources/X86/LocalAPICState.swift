/// The registers of a local APIC, as KVM_GET_LAPIC gives them: 1,024 bytes, a register at each multiple of 16.
/// Source: SDM volume 3A, 11.4.1, table 11-1.
public struct LocalAPICState: Sendable, Hashable {
    /// KVM_APIC_REG_SIZE, in bytes.
    public static let size = 1024
    /// Always ``size`` bytes.
    public private(set) var bytes: [UInt8]

    /// Nil unless `bytes` has ``size`` bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    /// The 32-bit register at `offset` (0x20 is the APIC id). Offsets beyond the page read as 0 and are not
    /// written.
    public subscript(offset: Int) -> UInt32 {
        get {
            guard offset >= 0, offset + 4 <= Self.size else { return 0 }
            return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32($1 * 8) }
        }
        set {
            guard offset >= 0, offset + 4 <= Self.size else { return }
            for i in 0..<4 { bytes[offset + i] = UInt8(truncatingIfNeeded: newValue >> UInt32(i * 8)) }
        }
    }
}
