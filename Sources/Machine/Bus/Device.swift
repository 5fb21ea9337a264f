import DebugTarget

/// Something on a bus. It knows offsets into its own range, never addresses.
///
/// Called from any vCPU's thread, several at a time: a device locks for itself.
protocol Device: Sendable {
    /// What it is, for people.
    var name: String { get }
    /// The widest access it takes, in bytes: 1, 2, 4 or 8. The bus splits wider ones, the lowest address first, as
    /// an ISA bus does.
    var width: Int { get }
    /// Whether it answers a wider access that begins below it. Most do, as a byte of it.
    var takesParts: Bool { get }
    /// `size` bytes at `offset`; both within the range the device is on the bus with.
    func read(_ offset: UInt64, size: Int) -> UInt64
    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect
    /// As it is when the power comes on.
    func reset()
    /// All that it holds, for ``restore(_:)``; nil where it holds nothing.
    func save() -> (any Sendable)?
    /// Takes on what ``save()`` of the same device gave.
    func restore(_ saved: any Sendable)
}

extension Device {
    var width: Int { 1 }
    var takesParts: Bool { true }
    func reset() {}
    func save() -> (any Sendable)? { nil }
    func restore(_ saved: any Sendable) {}
}

/// What a write means for the machine beyond the device.
enum DeviceEffect: Sendable, Hashable {
    case none
    /// The guest switches the machine off, or asks for a reset, which is an end, too, until there is a firmware to
    /// start again; an exit device says with which value.
    case powerOff(PowerOff)
}

/// How a guest switched itself off.
public struct PowerOff: Sendable, Hashable {
    public enum Cause: String, Sendable, Hashable {
        /// The value 0xFE (pulse the reset line) at port 0x64, the keyboard controller's command port.
        case keyboardReset
        /// Bit 0 at port 0x92, the system control port.
        case systemControl
        /// The guest went to the BIOS's reset vector.
        case firmwareReset
        /// Bit 2 at port 0xCF9, the chipset's reset control.
        case resetControl
        /// A write to port 0xF4, QEMU's isa-debug-exit.
        case debugExit
        /// 0x2000 at port 0x604, the ACPI power control of QEMU's q35: S5.
        case acpi
        /// KVM_EXIT_SYSTEM_EVENT.
        case systemEvent
    }
    /// The guest wants to go on after this, from the start.
    var reset: GuestReset? {
        switch cause {
        case .keyboardReset: GuestReset(.keyboardController, value: value)
        case .systemControl: GuestReset(.systemControl, value: value)
        case .firmwareReset: GuestReset(.firmware, value: value)
        case .resetControl: GuestReset(.resetControl, value: value)
        // KVM_SYSTEM_EVENT_RESET.
        case .systemEvent: value == 2 ? GuestReset(.systemEvent, value: value) : nil
        case .debugExit, .acpi: nil
        }
    }
    public var cause: Cause
    /// What the guest wrote, or the event's type.
    public var value: UInt64
    public init(_ cause: Cause, value: UInt64) {
        self.cause = cause
        self.value = value
    }
}
