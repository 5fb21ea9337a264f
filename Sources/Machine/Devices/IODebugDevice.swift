import DebugTarget

/// Ports 0x8A00 and 0x8A01, Bochs' iodebug: words alone. What the guest writes is the debugger's to read from the exit.
struct IODebugDevice: Device {
    let port: IODebugPort

    var name: String { "iodebug" }
    var width: Int { 2 }

    func read(_ offset: UInt64, size: Int) -> UInt64 {
        size == 2 ? UInt64(port.read(IODebugPort.ports.lowerBound + UInt16(truncatingIfNeeded: offset))) : 0
    }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect { .none }
}
