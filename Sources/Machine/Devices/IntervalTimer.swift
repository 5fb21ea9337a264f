import KVMCore
import Locking

/// The i8254 timer of a PC in the guest's time, with port 61h, which opens the third counter's gate and shows its output.
/// Counter 0 is line 0 of the interrupt controllers.
final class IntervalTimer: TimedDevice {
    /// Its input clock in Hz.
    static let frequency: UInt64 = 1_193_182

    private struct State {
        var channels = [
            IntervalTimerChannel(gate: true), IntervalTimerChannel(gate: true),
            IntervalTimerChannel(gate: false),
        ]
        /// Bits 0 and 1 of port 61h as written.
        var speaker: UInt8 = 0
        /// Up to where edges were given to the line, in ticks.
        var seen: UInt64 = 0
    }

    private let state = Lock(State())
    private let clock: GuestClock
    private let controllers: InterruptControllerPair

    init(clock: GuestClock, controllers: InterruptControllerPair) {
        self.clock = clock
        self.controllers = controllers
    }

    /// Ticks that are over after so many nanoseconds.
    static func ticks(_ nanoseconds: UInt64) -> UInt64 {
        let second: UInt64 = 1_000_000_000
        let product = nanoseconds.multipliedFullWidth(by: frequency)
        // 4,900 years are more than fit.
        guard product.high < second else { return .max }
        return second.dividingFullWidth(product).quotient
    }

    /// When a tick is over, in nanoseconds.
    static func nanoseconds(_ ticks: UInt64) -> UInt64 {
        let product = ticks.multipliedFullWidth(by: 1_000_000_000)
        guard product.high < frequency else { return .max }
        let (quotient, remainder) = frequency.dividingFullWidth(product)
        return quotient &+ (remainder == 0 ? 0 : 1)
    }

    private var now: UInt64 { Self.ticks(clock.now) }

    // MARK: time

    func advance(to nanoseconds: UInt64) {
        state.withLock { advance(&$0, Self.ticks(nanoseconds)) }
    }

    private func advance(_ state: inout State, _ now: UInt64) {
        guard now > state.seen else { return }
        if let edge = state.channels[0].nextEdge(after: state.seen), edge <= now {
            controllers.pulse(0)
        }
        state.seen = now
    }

    func nextInterrupt(after nanoseconds: UInt64) -> UInt64? {
        guard controllers.isOpen(0) else { return nil }
        let now = Self.ticks(nanoseconds)
        return state.withLock { $0.channels[0].nextEdge(after: now) }.map(Self.nanoseconds)
    }

    // MARK: ports 40h to 43h, as offsets 0 to 3, and 61h, as offset 4

    fileprivate func readPort(_ offset: UInt64) -> UInt8 {
        let now = now
        return state.withLock { state in
            switch offset {
            case 0...2: return state.channels[Int(offset)].read(at: now)
            case 4:
                // Bit 4 toggles with each refresh of memory, every 18 ticks; bit 5 is OUT of counter 2.
                return state.speaker | (now / 18 & 1 == 1 ? 0x10 : 0)
                    | (state.channels[2].output(now) ? 0x20 : 0)
            // The control word cannot be read.
            default: return 0xFF
            }
        }
    }

    fileprivate func writePort(_ offset: UInt64, _ value: UInt8) {
        let now = now
        state.withLock { state in
            // What was due before the change still comes.
            advance(&state, now)
            switch offset {
            case 0...2:
                state.channels[Int(offset)].write(value, at: now)
            case 4:
                state.speaker = value & 3
                state.channels[2].setGate(value & 1 != 0, at: now)
            default: control(&state, value, now)
            }
        }
    }

    private func control(_ state: inout State, _ value: UInt8, _ now: UInt64) {
        let channel = Int(value >> 6)
        guard channel == 3 else { return state.channels[channel].control(value, at: now) }
        for channel in 0..<3 where value >> UInt8(channel + 1) & 1 != 0 {
            // Both bits are low for "yes".
            state.channels[channel].readBack(count: value & 0x20 == 0, status: value & 0x10 == 0, at: now)
        }
    }

    // MARK: what others see

    var pitState: PITState {
        let now = now
        return state.withLock { state in
            var all = PITState()
            all.channels = state.channels.map { $0.state(now, nanoseconds: Self.nanoseconds) }
            if state.speaker & 2 != 0 { all.flags.insert(.speakerData) }
            return all
        }
    }

    func setPITState(_ new: PITState) {
        let now = now
        state.withLock { state in
            for (number, channel) in new.channels.prefix(3).enumerated() {
                let old = state.channels[number].state(now, nanoseconds: Self.nanoseconds)
                if old != channel { state.channels[number].set(channel, at: now) }
            }
        }
    }

    /// As a BIOS leaves it: counter 0 gives 18.2 edges a second, counter 1 refreshes memory.
    func initialiseAsBIOS() {
        for (word, channel, count) in [(UInt8(0x36), 0, 0), (0x54, 1, 18)] as [(UInt8, UInt64, UInt8)] {
            writePort(3, word)
            writePort(channel, count)
            if channel == 0 { writePort(channel, count) }
        }
    }

    // MARK: Device

    var name: String { "i8254 timer" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { UInt64(readPort(offset)) }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        writePort(offset, UInt8(truncatingIfNeeded: value))
        return .none
    }

    func reset() {
        let now = now
        state.withLock { state in
            state = State()
            state.seen = now
        }
    }

    func save() -> (any Sendable)? { state.withLock { $0 } }
    func restore(_ saved: any Sendable) {
        if let saved = saved as? State { state.withLock { $0 = saved } }
    }
}

/// Port 61h, system control port B: a part of the timer here.
struct SystemControlPort: Device {
    let timer: IntervalTimer

    var name: String { "timer gate and speaker" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { UInt64(timer.readPort(4)) }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        timer.writePort(4, UInt8(truncatingIfNeeded: value))
        return .none
    }
}
