import DebugTarget
import Synchronization

/// One thing that came into the guest from outside. In their order, with the state before the first of them, they are all
/// that a run depends on.
enum GuestInput: Sendable, Hashable {
    /// What an IN gave.
    case port(UInt16, value: UInt64)
    /// What an INS with REP gave.
    case portString(UInt16, bytes: [UInt8])
    /// What a read of MMIO gave.
    case memory(UInt64, value: UInt64)
    /// An external interrupt was delivered.
    case interrupt(vector: UInt8)
    /// The guest's time stands there, in nanoseconds.
    case time(UInt64)
}

/// The one place through which everything passes that comes into a guest: counted here, and the place for who logs or
/// replays it.
final class GuestInputs: Sendable {
    private let portReads = Atomic<UInt64>(0)
    private let memoryReads = Atomic<UInt64>(0)
    private let interrupts = Atomic<UInt64>(0)
    private let time = Atomic<UInt64>(0)

    /// On the vCPU's thread, before it sees any of it.
    func pass(_ input: GuestInput) {
        switch input {
        case .port: portReads.wrappingAdd(1, ordering: .relaxed)
        case .portString(_, let bytes): portReads.wrappingAdd(UInt64(bytes.count), ordering: .relaxed)
        case .memory: memoryReads.wrappingAdd(1, ordering: .relaxed)
        case .interrupt: interrupts.wrappingAdd(1, ordering: .relaxed)
        case .time(let now): time.store(now, ordering: .relaxed)
        }
    }

    var counts: InputCounts {
        var counts = InputCounts()
        counts.portReads = portReads.load(ordering: .relaxed)
        counts.memoryReads = memoryReads.load(ordering: .relaxed)
        counts.interrupts = interrupts.load(ordering: .relaxed)
        counts.time = time.load(ordering: .relaxed)
        return counts
    }
}
