import RecordedHosts
import Testing

@testable import Monitor

/// Pages of trace buffers, put together event by event as `events/header_event` describes them: a word with the kind in its
/// lowest five bits and the time since the event before above it, then what the kind has.
struct PageWriter {
    private(set) var events: [UInt8] = []
    var time: UInt64
    /// Of the commit counter, beside the length.
    var flags: UInt64 = 0
    /// What stands after the events.
    var tail: [UInt8] = []

    init(at time: UInt64) { self.time = time }

    static func word(_ value: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    }
    static func long(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    }

    mutating func put(kind: UInt32, after delta: UInt32, _ rest: [UInt8] = []) {
        events += Self.word(delta << 5 | kind) + rest
    }

    /// 1 to 28: the kind is the length in words.
    mutating func short(_ record: [UInt8], after delta: UInt32) {
        let words = (record.count + 3) / 4
        put(
            kind: UInt32(words), after: delta, record + [UInt8](repeating: 0, count: words * 4 - record.count)
        )
    }

    /// 0: the length is in the next word, which it counts.
    mutating func long(_ record: [UInt8], after delta: UInt32) {
        put(kind: 0, after: delta, Self.word(UInt32(record.count + 4)) + record)
    }

    /// 29, with a time: an event that was taken back.
    mutating func discarded(_ bytes: [UInt8]) {
        put(kind: 29, after: 1, Self.word(UInt32(bytes.count + 4)) + bytes)
    }

    /// 29 without a time: nothing follows.
    mutating func end() { put(kind: 29, after: 0) }

    /// 30: more time than 27 bits hold.
    mutating func extend(_ delta: UInt64) {
        put(kind: 30, after: UInt32(delta & 0x7FF_FFFF), Self.word(UInt32(delta >> 27)))
    }

    /// 31: the lowest 59 bits of a time.
    mutating func stamp(_ time: UInt64) {
        let low = time & ((1 << 59) - 1)
        put(kind: 31, after: UInt32(low & 0x7FF_FFFF), Self.word(UInt32(low >> 27)))
    }

    /// - Parameter size: of the whole page.
    func page(size: Int = 4096) -> [UInt8] {
        let bytes =
            Self.long(time) + Self.long(UInt64(events.count) &+ flags) + events + tail
        return bytes + [UInt8](repeating: 0, count: max(0, size - bytes.count))
    }
}

/// What a page tells.
struct ReadPage: Equatable {
    var times: [UInt64] = []
    var records: [[UInt8]] = []
    var isWhole = true
    var loss: TracePage.Loss?

    /// Nil for bytes that are no page.
    init?(_ bytes: [UInt8], _ layout: TracePage.Layout = TracePage.Layout()) {
        var read = self
        let isPage = bytes.withUnsafeBytes { bytes -> Bool in
            guard let page = TracePage(bytes, layout) else { return false }
            read.loss = page.loss
            read.isWhole = page.events { time, record in
                read.times.append(time)
                read.records.append(Array(record))
            }
            return true
        }
        guard isPage else { return nil }
        self = read
    }
}
