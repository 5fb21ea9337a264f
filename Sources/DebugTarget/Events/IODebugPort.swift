import Locking

/// Ports 0x8A00 and 0x8A01 as Bochs has them, by which a guest talks to its debugger.
///
/// Every access is a word. Nothing has an effect until the guest has written 0x8A00 to port 0x8A00, which then reads
/// as 0x8A00, before as 0. Source: Bochs' documentation, "I/O Interface to Bochs Debugger".
public final class IODebugPort: Sendable {
    /// What a guest asks its debugger for.
    public enum Request: Sendable, Hashable {
        /// 0x8AE0: stop.
        case stop
        /// 0x8A80: stop at accesses to this range of linear memory.
        case watch(Range<UInt64>)
        /// 0x8AFF: the ranges are watched no more, and nothing is traced.
        case unwatch
        /// 0x8AE3 and 0x8AE2, 0x8AE5 and 0x8AE4: what is traced from here on.
        case trace(Trace)
    }

    /// What Bochs prints of each instruction.
    public struct Trace: OptionSet, Sendable, Hashable {
        public var rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }
        public static let instructions = Trace(rawValue: 1 << 0)
        public static let registers = Trace(rawValue: 1 << 1)
    }

    public static let ports: ClosedRange<UInt16> = 0x8A00...0x8A01

    private struct State {
        var isEnabled = false
        var selected = 0
        /// The start of a range, inclusive, and its end, exclusive.
        var registers: (UInt32, UInt32) = (0, 0)
        var trace: Trace = []
    }
    private let state = Lock(State())

    public init() {}

    public var isEnabled: Bool { state.withLock { $0.isEnabled } }

    /// What an IN gives.
    public func read(_ port: UInt16) -> UInt16 {
        port == Self.ports.lowerBound && isEnabled ? 0x8A00 : 0
    }

    /// Takes a word that the guest wrote, and says what it asks for by that.
    public func write(_ port: UInt16, _ value: UInt16) -> Request? {
        state.withLock { state in
            guard port == Self.ports.lowerBound else {
                guard state.isEnabled else { return nil }
                // The word comes in from below.
                if state.selected == 0 {
                    state.registers.0 = state.registers.0 << 16 | UInt32(value)
                } else {
                    state.registers.1 = state.registers.1 << 16 | UInt32(value)
                }
                return nil
            }
            if value == 0x8A00 { state.isEnabled = true }
            guard state.isEnabled else { return nil }
            switch value {
            case 0x8A01: state.selected = 0
            case 0x8A02: state.selected = 1
            case 0x8A80:
                let (start, end) = state.registers
                state.registers = (0, 0)
                return start < end ? .watch(UInt64(start)..<UInt64(end)) : nil
            case 0x8AE0: return .stop
            case 0x8AFF:
                state = State()
                return .unwatch
            case 0x8AE2, 0x8AE4:
                state.trace.remove(value == 0x8AE2 ? .instructions : .registers)
                return .trace(state.trace)
            case 0x8AE3, 0x8AE5:
                state.trace.insert(value == 0x8AE3 ? .instructions : .registers)
                return .trace(state.trace)
            default: break
            }
            return nil
        }
    }
}

/// A target with Bochs' debugging ports among its devices.
public protocol IODebugProviding: Target {
    /// Its state. Words that the guest writes are not yet in it when ``RunController/exited(_:)`` is told of them.
    var ioDebug: IODebugPort { get }
}
