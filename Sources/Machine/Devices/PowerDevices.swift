/// Port 0x64, the keyboard controller's status and command port: no keyboard yet, but the reset that old programs
/// ask it for.
struct KeyboardControllerReset: Device {
    var name: String { "keyboard reset" }

    /// The status: nothing to read, ready for a command.
    func read(_ offset: UInt64, size: Int) -> UInt64 { 0 }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        // Commands F0-FF pulse the output lines whose bit is 0; line 0 is the processor's reset.
        guard value & 0xF1 == 0xF0 else { return .none }
        return .powerOff(PowerOff(.keyboardReset, value: value))
    }
}

/// Port 0xCF9, reset control of Intel's chipsets: bit 2 resets. It lies within the 32-bit port 0xCF8 of PCI, whose
/// accesses are not for it.
struct ResetControl: Device {
    var name: String { "reset control" }
    var takesParts: Bool { false }

    func read(_ offset: UInt64, size: Int) -> UInt64 { 0 }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        guard value & 4 != 0 else { return .none }
        return .powerOff(PowerOff(.resetControl, value: value))
    }
}

/// Port 0xF4, QEMU's isa-debug-exit: any write ends the guest.
struct DebugExitDevice: Device {
    var name: String { "isa-debug-exit" }
    var width: Int { 4 }

    func read(_ offset: UInt64, size: Int) -> UInt64 { 0 }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        .powerOff(PowerOff(.debugExit, value: value))
    }
}

/// Port 0x604, ACPI's PM1a control where QEMU has it: SLP_EN (bit 13) with sleep type 0 is S5, off.
struct PowerControl: Device {
    var name: String { "ACPI power control" }
    var width: Int { 2 }

    func read(_ offset: UInt64, size: Int) -> UInt64 { 0 }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        guard offset == 0, value & 1 << 13 != 0 else { return .none }
        return .powerOff(PowerOff(.acpi, value: value))
    }
}
