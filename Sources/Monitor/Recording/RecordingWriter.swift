/// Writes a recording, frame by frame.
package struct RecordingWriter {
    private let sink: ([UInt8]) throws(MonitorError) -> Void
    private var pending: [ExitEvent] = []
    private var guests: [MonitoredGuest] = []
    private var owners: [Int32: Int32] = [:]
    package private(set) var eventCount: UInt64 = 0
    package private(set) var lostCount: UInt64 = 0
    package private(set) var byteCount: UInt64 = 0

    /// A frame has so many events at most.
    private static let eventsInFrame = 1 << 15

    /// - Parameter sink: takes whole frames.
    package init(
        _ start: Recording.Start, sink: @escaping ([UInt8]) throws(MonitorError) -> Void
    ) throws(MonitorError) {
        self.sink = sink
        var head = Recording.magic
        head += [UInt8(truncatingIfNeeded: Recording.version), UInt8(Recording.version >> 8)]
        try put(head)
        var bytes = ByteWriter()
        bytes.put(start)
        try put(.start, bytes.bytes)
    }

    private mutating func put(_ bytes: [UInt8]) throws(MonitorError) {
        try sink(bytes)
        byteCount &+= UInt64(bytes.count)
    }

    private mutating func put(_ kind: Recording.Kind, _ content: [UInt8]) throws(MonitorError) {
        var frame: [UInt8] = [kind.rawValue]
        frame.reserveCapacity(content.count + Recording.frameHead)
        let count = UInt32(clamping: content.count)
        for place in 0..<4 as Range<UInt32> { frame.append(UInt8(truncatingIfNeeded: count >> (place * 8))) }
        let sum = Checksum.crc32(content, after: Checksum.crc32(frame))
        for place in 0..<4 as Range<UInt32> { frame.append(UInt8(truncatingIfNeeded: sum >> (place * 8))) }
        try put(frame + content)
    }

    /// - Parameter event: not older than the one before.
    package mutating func add(_ event: ExitEvent) throws(MonitorError) {
        pending.append(event)
        eventCount &+= 1
        if pending.count >= Self.eventsInFrame { try flush() }
    }

    package mutating func lost(_ count: UInt64, at time: UInt64) throws(MonitorError) {
        try flush()
        lostCount &+= count
        var bytes = ByteWriter()
        bytes.put(time)
        bytes.put(count)
        try put(.lost, bytes.bytes)
    }

    /// The guests from here on; written where they differ from those before.
    package mutating func guests(
        _ guests: [MonitoredGuest], owners: [Int32: Int32], at time: UInt64
    ) throws(MonitorError) {
        guard guests != self.guests || owners != self.owners else { return }
        try flush()
        self.guests = guests
        self.owners = owners
        var bytes = ByteWriter()
        bytes.put(guests, owners, at: time)
        try put(.guests, bytes.bytes)
    }

    /// What has come so far is in the file after this.
    package mutating func flush() throws(MonitorError) {
        guard !pending.isEmpty else { return }
        try put(.events, EventCoding.encode(pending))
        pending.removeAll(keepingCapacity: true)
    }

    package mutating func end(at time: UInt64) throws(MonitorError) {
        try flush()
        var bytes = ByteWriter()
        bytes.put(time)
        try put(.end, bytes.bytes)
    }
}
