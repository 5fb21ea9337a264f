/// A page of a trace buffer as tracefs' `trace_pipe_raw` gives it: when it begins, how much of it is filled, and its events
/// one after the other. The bytes are lent, and are not trusted.
///
/// Source: `events/header_page` and `events/header_event` of tracefs; `enum ring_buffer_type` of <linux/ring_buffer.h>.
package struct TracePage {
    /// Where a page has what, as the kernel's `header_page` says.
    package struct Layout: Sendable, Hashable {
        fileprivate var timestamp = 0
        fileprivate var commit = 8
        fileprivate var data = 16

        /// Of every 64-bit kernel so far.
        package init() {}

        /// - Parameter headerPage: the file's text.
        package init(_ headerPage: String) throws(TracepointFormat.Problem) {
            let fields = try TracepointFormat.fields(in: headerPage)
            func offset(_ name: String, _ sizes: Set<Int>) throws(TracepointFormat.Problem) -> Int {
                guard let field = fields.first(where: { $0.name == name }),
                    sizes.isEmpty || sizes.contains(field.size)
                else { throw TracepointFormat.Problem(description: "a page of trace buffers has no \(name)") }
                return field.offset
            }
            timestamp = try offset("timestamp", [8])
            // The counter is a long of the kernel's; its low half has all that is looked at.
            commit = try offset("commit", [4, 8])
            data = try offset("data", [])
        }
    }

    /// Events that had no room before this page.
    package enum Loss: Sendable, Hashable {
        case count(UInt64)
        /// The page had no room for their number either.
        case unknown
    }

    /// Of the page, on the buffer's clock: its first event is counted from it.
    package let time: UInt64
    package let loss: Loss?
    private let data: UnsafeRawBufferPointer

    /// Bits of the commit counter: RB_MISSED_EVENTS and RB_MISSED_STORED of the kernel's ring_buffer.c.
    private enum Flag {
        static let missed: UInt32 = 1 << 31
        static let stored: UInt32 = 1 << 30
    }

    /// - Returns: nil for bytes that are no page.
    package init?(_ bytes: UnsafeRawBufferPointer, _ layout: Layout) {
        // An offset is at most TracepointFormat.longestRecord: no sum runs over.
        guard layout.timestamp + 8 <= bytes.count, layout.commit + 4 <= bytes.count,
            layout.data <= bytes.count
        else { return nil }
        // SAFETY: both end inside the page.
        time = bytes.loadUnaligned(fromByteOffset: layout.timestamp, as: UInt64.self)
        let commit = bytes.loadUnaligned(fromByteOffset: layout.commit, as: UInt32.self)
        let length = Int(commit & ~(Flag.missed | Flag.stored))
        guard length <= bytes.count - layout.data else { return nil }
        data = UnsafeRawBufferPointer(rebasing: bytes[layout.data..<layout.data + length])
        guard commit & Flag.missed != 0 else {
            loss = nil
            return
        }
        // The number stands after the events.
        let end = layout.data + length
        loss =
            commit & Flag.stored != 0 && bytes.count - end >= 8
            ? .count(bytes.loadUnaligned(fromByteOffset: end, as: UInt64.self)) : .unknown
    }

    /// The lowest five bits of an event's header, beyond those that are a length in words.
    private enum Kind {
        static let long: UInt32 = 0
        static let padding: UInt32 = 29
        static let timeExtend: UInt32 = 30
        static let timeStamp: UInt32 = 31
    }

    /// Calls `body` with each event's time and record.
    ///
    /// - Parameter body: the bytes are lent for the call. A short record has up to three bytes more at its end, as the buffer
    ///   counts in words.
    /// - Returns: false where the rest of the page makes no sense; what came before has been told.
    package func events(_ body: (_ time: UInt64, _ record: UnsafeRawBufferPointer) -> Void) -> Bool {
        var time = time
        var at = 0
        // SAFETY of each load: four bytes at `place`, which are inside `data`.
        func word(_ place: Int) -> UInt32 { data.loadUnaligned(fromByteOffset: place, as: UInt32.self) }
        while at < data.count {
            guard data.count - at >= 4 else { return false }
            let header = word(at)
            let (kind, delta) = (header & 0x1F, UInt64(header >> 5))
            at += 4
            // In words, or in the word that follows.
            var length = Int(kind) * 4
            var next: UInt32 = 0
            if kind == Kind.long || kind >= Kind.padding {
                // Nothing but padding follows to the page's end.
                if kind == Kind.padding, delta == 0 { return true }
                guard data.count - at >= 4 else { return false }
                next = word(at)
            }
            switch kind {
            case Kind.padding:
                // An event that was taken back. The kernel's reader does not count its time either.
                guard Int(next) <= data.count - at else { return false }
                at += Int(next)
                continue
            case Kind.timeExtend:
                time &+= UInt64(next) << 27 &+ delta
                at += 4
                continue
            case Kind.timeStamp:
                time = Self.absolute(UInt64(next) << 27 | delta, after: time)
                at += 4
                continue
            case Kind.long:
                // The length counts its own word.
                guard next >= 4 else { return false }
                length = Int(next) - 4
                at += 4
            default: break
            }
            time &+= delta
            guard length <= data.count - at else { return false }
            body(time, UnsafeRawBufferPointer(rebasing: data[at..<at + length]))
            at += length
        }
        return true
    }

    /// A time stamp has 59 bits: the highest five are those of the time before, or one more where it ran over in between.
    private static func absolute(_ stamp: UInt64, after before: UInt64) -> UInt64 {
        let high = before & ~((1 << 59) - 1)
        guard high != 0 else { return stamp }
        let time = high | stamp
        return time < before ? time &+ 1 << 59 : time
    }
}

/// What `per_cpu/cpuN/stats` of a buffer tells of events that are in no page.
package struct TraceStatistics: Sendable, Hashable {
    /// Written over before they were read; the next page tells of them, too.
    package var overrun: UInt64 = 0
    /// Not written at all.
    package var dropped: UInt64 = 0

    /// Lines that are not known are passed over.
    package init(_ text: String) {
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":"),
                let value = UInt64(line[line.index(after: colon)...].drop { $0 == " " })
            else { continue }
            switch line[..<colon] {
            case "overrun": overrun = value
            case "commit overrun", "dropped events": dropped &+= value
            default: break
            }
        }
    }
}
