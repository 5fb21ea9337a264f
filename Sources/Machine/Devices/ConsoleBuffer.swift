import DebugTarget
import Locking
import Synchronization

/// What a guest wrote to one console, the last part of it, raw. Safe from any thread.
package final class ConsoleBuffer: Sendable {
    /// How many bytes are kept.
    static let capacity = 64 * 1024

    private let bytes = Lock<[UInt8]>([])
    private let written = Atomic<UInt64>(0)

    package init() {}

    /// How many bytes there were in all.
    var total: UInt64 { written.load(ordering: .acquiring) }

    func append(_ byte: UInt8) {
        bytes.withLock { bytes in
            // Dropping a whole capacity at a time makes it rare.
            if bytes.count == 2 * Self.capacity { bytes.removeFirst(Self.capacity) }
            bytes.append(byte)
            written.wrappingAdd(1, ordering: .releasing)
        }
    }

    var output: ConsoleOutput {
        bytes.withLock { ConsoleOutput(total: total, bytes: Array($0.suffix(Self.capacity))) }
    }
}

/// Port 0xE9 of Bochs: each byte written is printed; a read gives 0xE9, by which guests find it.
struct DebugConsole: Device {
    let output: ConsoleBuffer

    var name: String { "debug console" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { 0xE9 }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        output.append(UInt8(truncatingIfNeeded: value))
        return .none
    }
}
