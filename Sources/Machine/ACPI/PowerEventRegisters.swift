import Locking

/// ACPI's PM1a event block, ports 600h to 603h: a status that never says anything, because this machine has no power
/// button and no timer of ACPI's, and the enable bits that a kernel sets.
///
/// Source: ACPI 6.5, 4.8.3.1.
final class PowerEventRegisters: Device {
    private let enabled = Lock<UInt16>(0)

    var name: String { "ACPI power events" }
    var width: Int { 2 }

    func read(_ offset: UInt64, size: Int) -> UInt64 {
        guard offset >= 2 else { return 0 }
        return UInt64(enabled.withLock { $0 }) >> ((offset - 2) * 8)
    }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        guard offset >= 2 else { return .none }
        let shift = (offset - 2) * 8
        let mask = UInt16(truncatingIfNeeded: (size >= 2 ? 0xFFFF : 0xFF) << shift)
        enabled.withLock { $0 = $0 & ~mask | UInt16(truncatingIfNeeded: value << shift) & mask }
        return .none
    }

    func reset() { enabled.withLock { $0 = 0 } }
}
