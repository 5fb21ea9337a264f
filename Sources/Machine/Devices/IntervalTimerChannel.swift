import KVMCore

/// One counter of an i8254. It is not counted down: what it holds follows from when it was loaded.
///
/// Times are ticks of its input clock since the machine was made. Source: Intel 82C54 data sheet, "Mode definitions".
struct IntervalTimerChannel: Sendable, Hashable {
    /// 1 to 65536.
    private(set) var reload: UInt64 = 65536
    private(set) var mode: UInt8 = 3
    /// 1 low byte, 2 high byte, 3 both.
    private(set) var access: UInt8 = 3
    private(set) var isBCD = false
    private(set) var gate: Bool
    /// When it began to count; nil before the first count.
    private(set) var loaded: UInt64?
    /// How far it had come when the gate closed; nil while it counts.
    private var held: UInt64?
    private var latch: UInt16?
    private var status: UInt8?
    /// The next read gives the high byte.
    private var readsHigh = false
    /// The low byte, while the high one is still to come.
    private var lowByte: UInt8?

    init(gate: Bool) { self.gate = gate }

    /// Counting, as far as the gate lets it.
    private var isCounting: Bool { loaded != nil && held == nil }

    private func elapsed(_ now: UInt64) -> UInt64 {
        if let held { return held }
        return loaded.map { now > $0 ? now - $0 : 0 } ?? 0
    }

    /// What is left of the count, as a read gives it.
    private func count(_ now: UInt64) -> UInt16 {
        guard loaded != nil else { return encoded(reload) }
        let done = elapsed(now)
        let left: UInt64
        switch mode {
        case 2: left = reload - done % reload
        case 3:
            // It counts down by two, twice a period.
            left = (reload - done * 2 % reload) & ~1
        default:
            let wrap: UInt64 = isBCD ? 10_000 : 65536
            left = (reload % wrap &+ wrap &- done % wrap) % wrap
        }
        return encoded(left)
    }

    private func encoded(_ count: UInt64) -> UInt16 {
        guard isBCD else { return UInt16(truncatingIfNeeded: count) }
        var rest = count % 10_000
        var digits: UInt16 = 0
        for place in 0..<UInt16(4) {
            digits |= UInt16(rest % 10) << (place * 4)
            rest /= 10
        }
        return digits
    }

    private func decoded(_ value: UInt16) -> UInt64 {
        guard isBCD else { return value == 0 ? 65536 : UInt64(value) }
        let count = (0..<UInt16(4)).reversed().reduce(UInt64(0)) { $0 * 10 + UInt64(value >> ($1 * 4) & 0xF) }
        return count == 0 || count > 10_000 ? 10_000 : count
    }

    /// The level of OUT.
    func output(_ now: UInt64) -> Bool {
        guard loaded != nil else { return mode != 0 }
        let done = elapsed(now)
        switch mode {
        case 0, 1: return done >= reload
        // While the gate is closed OUT is high.
        case 2: return held != nil || done % reload != reload - 1
        case 3: return held != nil || done % reload < (reload + 1) / 2
        default: return done != reload
        }
    }

    /// The first time after `now` at which OUT goes from low to high; nil where it never does by itself.
    func nextEdge(after now: UInt64) -> UInt64? {
        guard isCounting, let loaded else { return nil }
        switch mode {
        case 2, 3:
            guard now >= loaded else { return loaded &+ reload }
            // A count of 1 is illegal in mode 2, and has no low phase: it is taken as an edge at each tick.
            return loaded &+ ((now - loaded) / reload + 1) &* reload
        case 4, 5:
            let edge = loaded &+ reload &+ 1
            return edge > now ? edge : nil
        default:
            let edge = loaded &+ reload
            return edge > now ? edge : nil
        }
    }

    // MARK: programming

    /// A control word for this counter; the count comes later.
    mutating func control(_ word: UInt8, at now: UInt64) {
        let access = word >> 4 & 3
        guard access != 0 else {
            if latch == nil { latch = count(now) }
            return
        }
        self.access = access
        let mode = word >> 1 & 7
        self.mode = mode > 5 ? mode - 4 : mode
        isBCD = word & 1 != 0
        loaded = nil
        held = nil
        latch = nil
        status = nil
        readsHigh = false
        lowByte = nil
    }

    /// A byte of the count.
    mutating func write(_ value: UInt8, at now: UInt64) {
        switch access {
        case 1: load(UInt16(value), at: now)
        case 2: load(UInt16(value) << 8, at: now)
        default:
            if let low = lowByte {
                lowByte = nil
                load(UInt16(value) << 8 | UInt16(low), at: now)
            } else {
                lowByte = value
                // In mode 0 the first byte stops the count and lowers OUT.
                if mode == 0 { loaded = nil }
            }
        }
    }

    private mutating func load(_ value: UInt16, at now: UInt64) {
        reload = decoded(value)
        // A one-shot waits for its trigger.
        if mode == 1 || mode == 5 { return }
        loaded = now
        held = gate ? nil : 0
    }

    mutating func read(at now: UInt64) -> UInt8 {
        if let status {
            self.status = nil
            return status
        }
        let value = latch ?? count(now)
        switch access {
        case 1:
            latch = nil
            return UInt8(truncatingIfNeeded: value)
        case 2:
            latch = nil
            return UInt8(truncatingIfNeeded: value >> 8)
        default:
            defer { readsHigh.toggle() }
            guard readsHigh else { return UInt8(truncatingIfNeeded: value) }
            latch = nil
            return UInt8(truncatingIfNeeded: value >> 8)
        }
    }

    /// The read-back command.
    mutating func readBack(count wantsCount: Bool, status wantsStatus: Bool, at now: UInt64) {
        if wantsCount, latch == nil { latch = count(now) }
        if wantsStatus, status == nil { status = statusByte(now) }
    }

    private func statusByte(_ now: UInt64) -> UInt8 {
        // OUT, "no count yet", and what the control word had.
        (output(now) ? 0x80 : 0) | (loaded == nil ? 0x40 : 0) | access << 4 | mode << 1 | (isBCD ? 1 : 0)
    }

    mutating func setGate(_ open: Bool, at now: UInt64) {
        guard open != gate else { return }
        gate = open
        switch mode {
        case 0, 4:
            guard let loaded else { return }
            if open {
                self.loaded = now &- (held ?? 0)
                held = nil
            } else {
                held = now > loaded ? now - loaded : 0
            }
        case 2, 3:
            guard loaded != nil else { return }
            // It begins anew when the gate opens.
            if open { loaded = now }
            held = open ? nil : 0
        default:
            if open { loaded = now }
        }
    }

    // MARK: as KVM has it

    func state(_ now: UInt64, nanoseconds: (UInt64) -> UInt64) -> PITState.Channel {
        var channel = PITState.Channel()
        channel.count = UInt32(reload)
        channel.latchedCount = latch ?? count(now)
        channel.countLatched = latch == nil ? 0 : access
        channel.statusLatched = status == nil ? 0 : 1
        channel.status = statusByte(now)
        channel.readState = access == 3 ? (readsHigh ? 4 : 3) : access
        channel.writeState = access == 3 ? (lowByte == nil ? 3 : 4) : access
        channel.writeLatch = lowByte ?? 0
        channel.accessMode = access
        channel.mode = mode
        channel.isBCD = isBCD
        channel.gate = gate ? 1 : 0
        channel.loadTime = Int64(clamping: nanoseconds(loaded ?? 0))
        return channel
    }

    /// Takes on what was edited of the state that it gave; it then counts from `now`.
    mutating func set(_ new: PITState.Channel, at now: UInt64) {
        reload = (1...65536).contains(new.count) ? UInt64(new.count) : 65536
        mode = min(new.mode, 5)
        access = (1...3).contains(new.accessMode) ? new.accessMode : 3
        isBCD = new.isBCD
        loaded = now
        held = nil
        gate = new.gate != 0
        if !gate, mode != 1, mode != 5 { held = 0 }
    }
}
