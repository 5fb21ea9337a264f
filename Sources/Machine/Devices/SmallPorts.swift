import Locking
import Synchronization

/// Port 80h: the codes by which firmware says how far it is. Nothing but the last ones is kept.
final class PostCodePort: Device {
    /// How many are kept.
    static let kept = 16

    private let codes = Lock<[UInt8]>([])

    /// The last codes, the oldest first.
    var last: [UInt8] { codes.withLock { $0 } }

    var name: String { "POST codes" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { codes.withLock { UInt64($0.last ?? 0) } }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        codes.withLock { codes in
            if codes.count == Self.kept { codes.removeFirst() }
            codes.append(UInt8(truncatingIfNeeded: value))
        }
        return .none
    }

    func reset() { codes.withLock { $0 = [] } }
    func save() -> (any Sendable)? { last }
    func restore(_ saved: any Sendable) {
        if let saved = saved as? [UInt8] { codes.withLock { $0 = saved } }
    }
}

/// Ports of hardware that this PC has not, as a floppy controller: they read all ones, by which programs know, and what is
/// written is gone.
struct AbsentDevice: Device {
    let name: String
    var width: Int { 4 }

    init(_ name: String) { self.name = "\(name), absent" }

    func read(_ offset: UInt64, size: Int) -> UInt64 { .max }
    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect { .none }
}
