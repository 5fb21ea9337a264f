import DebugTarget
import Locking

/// The MC146818 real-time clock and its 128 bytes of CMOS memory, in the guest's time: ports 70h and 71h, line 8.
///
/// Source: Motorola MC146818A data sheet; the century at 32h is where PCs have it.
final class RealTimeClock: TimedDevice {
    private static let second: UInt64 = 1_000_000_000
    /// How long before a second's end UIP says that the time is about to change, in nanoseconds.
    private static let updateNotice: UInt64 = 244_000

    private enum Register {
        static let statusA = 0x0A
        static let statusB = 0x0B
        static let statusC = 0x0C
        static let statusD = 0x0D
        static let century = 0x32
    }

    private struct State {
        var memory = [UInt8](repeating: 0, count: 128)
        var index = 0
        /// What the clock showed when the guest's time was 0, in seconds since 1970.
        var origin: Int64
        /// The time that is being set, while SET holds the clock.
        var held: CalendarTime?
        /// Up to where flags were set, in nanoseconds.
        var seen: UInt64 = 0
    }

    private let state: Lock<State>
    private let clock: GuestClock
    private let line: any InterruptLine

    /// - Parameter origin: what the clock shows at first, in seconds since 1970, UTC.
    init(origin: Int64, clock: GuestClock, line: any InterruptLine) {
        self.clock = clock
        self.line = line
        state = Lock(Self.atReset(origin: origin, seen: 0))
    }

    private static func atReset(origin: Int64, seen: UInt64) -> State {
        var state = State(origin: origin)
        // A 32768 Hz crystal, 1024 Hz; 24 hours, BCD.
        state.memory[Register.statusA] = 0x26
        state.memory[Register.statusB] = 0x02
        state.seen = seen
        return state
    }

    // MARK: time

    func advance(to time: UInt64) { state.withLock { advance(&$0, time) } }

    private func advance(_ state: inout State, _ now: UInt64) {
        let before = state.seen
        guard now > before else { return }
        state.seen = now
        var flags: UInt8 = 0
        if let period = period(state), now / period != before / period { flags |= 0x40 }
        if state.held == nil, now / Self.second != before / Self.second {
            flags |= 0x10
            if isAlarmIn(state, before / Self.second + 1, now / Self.second) { flags |= 0x20 }
        }
        // Flags stay until they are read: one that is set already changes nothing.
        guard flags & ~state.memory[Register.statusC] != 0 else { return }
        state.memory[Register.statusC] |= flags
        update(&state)
    }

    /// Nanoseconds between two periodic interrupts; nil where there are none.
    private func period(_ state: State) -> UInt64? {
        let rate = state.memory[Register.statusA] & 0x0F
        guard rate != 0 else { return nil }
        // Rates 1 and 2 are those of 8 and 9.
        let shift = UInt64(rate <= 2 ? rate + 6 : rate - 1)
        return Self.second << shift / 32_768
    }

    /// Whether the alarm's time is among these seconds of the guest's time.
    private func isAlarmIn(_ state: State, _ first: UInt64, _ last: UInt64) -> Bool {
        // A day has each time of day.
        let first = last - first >= 86_400 ? last - 86_399 : first
        return (first...last).contains { second in
            let time = CalendarTime(seconds: state.origin &+ Int64(clamping: second))
            return [(1, time.second), (3, time.minute)].allSatisfy { place, value in
                let wanted = state.memory[place]
                return wanted >= 0xC0 || wanted == encoded(state, value)
            } && (state.memory[5] >= 0xC0 || state.memory[5] == encodedHour(state, time.hour))
        }
    }

    func nextInterrupt(after time: UInt64) -> UInt64? {
        guard line.isOpen else { return nil }
        return state.withLock { state in
            var next: UInt64?
            if state.memory[Register.statusB] & 0x40 != 0, let period = period(state) {
                next = (time / period + 1) * period
            }
            if state.memory[Register.statusB] & 0x30 != 0, state.held == nil {
                let second = (time / Self.second + 1) * Self.second
                next = min(next ?? second, second)
            }
            return next
        }
    }

    /// The line follows the flags that are enabled.
    private func update(_ state: inout State) {
        let isHigh = state.memory[Register.statusC] & state.memory[Register.statusB] & 0x70 != 0
        if isHigh {
            state.memory[Register.statusC] |= 0x80
        } else {
            state.memory[Register.statusC] &= 0x7F
        }
        line.set(isHigh)
    }

    // MARK: registers

    private func current(_ state: State) -> CalendarTime {
        state.held ?? CalendarTime(seconds: state.origin &+ Int64(clamping: state.seen / Self.second))
    }

    private func encoded(_ state: State, _ value: Int) -> UInt8 {
        let value = max(0, min(value, 99))
        // DM: binary.
        if state.memory[Register.statusB] & 4 != 0 { return UInt8(value) }
        return UInt8((value / 10) << 4 | value % 10)
    }

    private func encodedHour(_ state: State, _ hour: Int) -> UInt8 {
        guard state.memory[Register.statusB] & 2 == 0 else { return encoded(state, hour) }
        // 12 hours, the high bit for the afternoon.
        return encoded(state, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0)
    }

    private func decoded(_ state: State, _ value: UInt8) -> Int {
        if state.memory[Register.statusB] & 4 != 0 { return Int(value) }
        return Int(value >> 4) * 10 + Int(value & 0xF)
    }

    private func decodedHour(_ state: State, _ value: UInt8) -> Int {
        guard state.memory[Register.statusB] & 2 == 0 else { return min(decoded(state, value), 23) }
        return decoded(state, value & 0x7F) % 12 + (value & 0x80 != 0 ? 12 : 0)
    }

    private func readRegister(_ state: inout State) -> UInt8 {
        let time = current(state)
        switch state.index {
        case 0: return encoded(state, time.second)
        case 2: return encoded(state, time.minute)
        case 4: return encodedHour(state, time.hour)
        case 6: return encoded(state, time.weekday)
        case 7: return encoded(state, time.day)
        case 8: return encoded(state, time.month)
        case 9: return encoded(state, time.year % 100)
        case Register.century: return encoded(state, time.year / 100)
        case Register.statusA:
            let isUpdating =
                state.held == nil && state.seen % Self.second >= Self.second - Self.updateNotice
            return state.memory[Register.statusA] & 0x7F | (isUpdating ? 0x80 : 0)
        case Register.statusC:
            let flags = state.memory[Register.statusC]
            state.memory[Register.statusC] = 0
            line.set(false)
            return flags
        // The battery is good.
        case Register.statusD: return 0x80
        default: return state.memory[state.index]
        }
    }

    private func writeRegister(_ state: inout State, _ value: UInt8) {
        switch state.index {
        case 0, 2, 4, 6, 7, 8, 9, Register.century: setTime(&state, value)
        case Register.statusA: state.memory[Register.statusA] = value & 0x7F
        case Register.statusB:
            state.memory[Register.statusB] = value
            if value & 0x80 != 0 {
                if state.held == nil { state.held = current(state) }
            } else if let held = state.held {
                state.held = nil
                setOrigin(&state, held)
            }
            update(&state)
        case Register.statusC, Register.statusD: break
        default: state.memory[state.index] = value
        }
    }

    private func setOrigin(_ state: inout State, _ time: CalendarTime) {
        state.origin = time.seconds &- Int64(clamping: state.seen / Self.second)
    }

    private func setTime(_ state: inout State, _ value: UInt8) {
        var time = current(state)
        switch state.index {
        case 0: time.second = min(decoded(state, value), 59)
        case 2: time.minute = min(decoded(state, value), 59)
        case 4: time.hour = decodedHour(state, value)
        case 7: time.day = max(1, min(decoded(state, value), 31))
        case 8: time.month = max(1, min(decoded(state, value), 12))
        case 9: time.year = time.year / 100 * 100 + min(decoded(state, value), 99)
        case Register.century: time.year = min(decoded(state, value), 99) * 100 + time.year % 100
        // The day of the week follows from the date.
        default: return
        }
        if state.held != nil { state.held = time } else { setOrigin(&state, time) }
    }

    // MARK: what others use

    /// Bytes of the CMOS memory beyond the clock, as a BIOS finds them.
    func setMemory(_ values: [Int: UInt8]) {
        state.withLock { state in
            for (place, value) in values where (0x0E..<128).contains(place) { state.memory[place] = value }
        }
    }

    /// The time that it shows.
    var time: CalendarTime {
        state.withLock { state in
            advance(&state, clock.now)
            return current(state)
        }
    }

    /// Sets its date and time of day.
    func setTime(_ time: CalendarTime) {
        state.withLock { state in
            advance(&state, clock.now)
            if state.held != nil { state.held = time } else { setOrigin(&state, time) }
        }
    }

    /// Bit 6 of register B: 1,024 interrupts a second, unless register A says another rate.
    func setPeriodicInterrupt(_ isOn: Bool) {
        state.withLock { state in
            advance(&state, clock.now)
            let bit: UInt8 = 0x40
            if isOn {
                state.memory[Register.statusB] |= bit
            } else {
                state.memory[Register.statusB] &= ~bit
            }
            update(&state)
        }
    }

    var clockState: RealTimeClockState {
        state.withLock { state in
            let time = current(state)
            return RealTimeClockState(
                seconds: time.seconds, statusA: state.memory[Register.statusA],
                statusB: state.memory[Register.statusB], statusC: state.memory[Register.statusC],
                alarm: [5, 3, 1].map { state.memory[$0] }, index: UInt8(state.index), memory: state.memory)
        }
    }

    // MARK: Device

    var name: String { "MC146818 clock and CMOS" }

    func read(_ offset: UInt64, size: Int) -> UInt64 {
        state.withLock { state in
            advance(&state, clock.now)
            // The index register cannot be read.
            return UInt64(offset == 0 ? 0xFF : readRegister(&state))
        }
    }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        let value = UInt8(truncatingIfNeeded: value)
        state.withLock { state in
            advance(&state, clock.now)
            if offset == 0 {
                // Bit 7 masks NMI, of which there is none here.
                state.index = Int(value & 0x7F)
            } else {
                writeRegister(&state, value)
            }
        }
        return .none
    }

    /// The battery keeps time and memory.
    func reset() {
        state.withLock { state in
            state.memory[Register.statusB] &= 0x87
            state.memory[Register.statusC] = 0
            state.index = 0
        }
        line.set(false)
    }

    func save() -> (any Sendable)? { state.withLock { $0 } }
    func restore(_ saved: any Sendable) {
        if let saved = saved as? State { state.withLock { $0 = saved } }
    }
}
