/// Reads a recording, frame by frame. Its bytes are not trusted.
package struct RecordingReader {
    /// How the recording ended.
    package enum Ending: Sendable, Hashable {
        /// As it should.
        case whole
        /// After a whole frame or inside of one, which is not read: the recorder was killed, or still writes.
        case cut(at: UInt64)
        /// A frame is not what was written: it and all after it are not read.
        case damaged(at: UInt64, why: String)
    }

    private let source: (_ count: Int) throws(MonitorError) -> [UInt8]
    private var at: UInt64 = 0
    /// Nil until the end was come to.
    package private(set) var ending: Ending?
    package let start: Recording.Start

    /// - Parameter source: the next bytes, as many as are asked for; fewer at the end.
    /// - Throws: where it is no recording, or of another version.
    package init(source: @escaping (_ count: Int) throws(MonitorError) -> [UInt8]) throws(MonitorError) {
        self.source = source
        let head = try source(Recording.magic.count + 2)
        guard head.starts(with: Recording.magic), head.count == Recording.magic.count + 2 else {
            throw MonitorError("this is no recording of kvmscope's")
        }
        let version = UInt16(head[Recording.magic.count]) | UInt16(head[Recording.magic.count + 1]) << 8
        guard version == Recording.version else {
            throw MonitorError(
                "the recording is of version \(version), and this kvmscope reads version \(Recording.version)",
                remedy: "use the kvmscope that recorded it, or a newer one")
        }
        at = UInt64(head.count)
        // Set before `self` is whole: a reader of its own looks at the first frame.
        var first = FrameReader(source: source, at: at)
        guard case .frame(.start, let content) = try first.next() else {
            throw MonitorError("the recording has no whole beginning")
        }
        var bytes = ByteReader(content)
        guard let start = bytes.start() else {
            throw MonitorError("the recording's beginning is damaged")
        }
        self.start = start
        at = first.at
    }

    /// The next frame; nil at the end, which ``ending`` then tells.
    package mutating func next() throws(MonitorError) -> Recording.Item? {
        while ending == nil {
            var frames = FrameReader(source: source, at: at)
            let begin = at
            let frame = try frames.next()
            at = frames.at
            switch frame {
            case .none: ending = .cut(at: begin)
            case .damaged(let why): ending = .damaged(at: begin, why: why)
            case .unknown: continue
            case .frame(let kind, let content):
                if let item = Self.item(kind: kind.rawValue, content) {
                    if case .end = item { ending = .whole }
                    return item
                }
                ending = .damaged(at: begin, why: "its content cannot be read")
            }
        }
        return nil
    }

    /// What a frame says.
    ///
    /// - Parameter kind: by its number.
    /// - Returns: nil for a content that no frame of its kind has.
    package static func item(kind: UInt8, _ content: [UInt8]) -> Recording.Item? {
        var bytes = ByteReader(content)
        switch Recording.Kind(rawValue: kind) {
        case nil: return nil
        case .start: return bytes.start().map { .start($0) }
        case .guests: return bytes.guests()
        case .lost:
            guard let time = bytes.next(), let count = bytes.next(), bytes.isAtEnd else { return nil }
            return .lost(time: time, count)
        case .end:
            guard let time = bytes.next(), bytes.isAtEnd else { return nil }
            return .end(time: time)
        case .events:
            var events: [ExitEvent] = []
            events.reserveCapacity(content.count / 5)
            let isWhole = content.withUnsafeBytes { EventCoding.decode($0) { events.append($0) } }
            return isWhole ? .events(events) : nil
        }
    }
}

/// Finds frames and checks their sums.
private struct FrameReader {
    enum Found {
        case frame(Recording.Kind, [UInt8])
        /// Of a kind that a later version may write.
        case unknown
        case damaged(String)
        /// No whole frame is left.
        case none
    }
    let source: (_ count: Int) throws(MonitorError) -> [UInt8]
    var at: UInt64

    mutating func next() throws(MonitorError) -> Found {
        let head = try source(Recording.frameHead)
        guard head.count == Recording.frameHead else { return .none }
        func number(_ from: Int) -> UInt32 {
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(head[from + $1]) << UInt32($1 * 8) }
        }
        let length = Int(number(1))
        guard length <= Recording.longestFrame else { return .damaged("it says that it has \(length) bytes") }
        let content = try source(length)
        guard content.count == length else { return .none }
        guard Checksum.crc32(content, after: Checksum.crc32(Array(head.prefix(5)))) == number(5) else {
            return .damaged("its checksum is wrong")
        }
        at &+= UInt64(Recording.frameHead + length)
        return Recording.Kind(rawValue: head[0]).map { .frame($0, content) } ?? .unknown
    }
}
