/// Events in few bytes: some seven each. A list of the threads, then of each event the thread's place in it with what it is,
/// the time since the one before, and its codes.
enum EventCoding {
    /// In the low four bits of an event's first number; the thread's place is above.
    private enum Shape: UInt64 {
        case exit, exitWithPointer, entry, userspaceExit, count, begins, completed, timed
    }

    /// - Parameter events: in the order of time.
    static func encode(_ events: some Collection<ExitEvent>) -> [UInt8] {
        var bytes = ByteWriter()
        var places: [Int32: UInt64] = [:]
        var threads: [Int32] = []
        for event in events where places[event.thread] == nil {
            places[event.thread] = UInt64(threads.count)
            threads.append(event.thread)
        }
        var time = events.first?.time ?? 0
        var pointer: UInt64 = 0
        bytes.put(time)
        bytes.put(threads.count)
        for thread in threads { bytes.put(signed: Int64(thread)) }
        bytes.put(events.count)
        for event in events {
            let place = places[event.thread, default: 0]
            func begin(_ shape: Shape) {
                bytes.put(place << 4 | shape.rawValue)
                bytes.put(event.time >= time ? event.time - time : 0)
                time = max(time, event.time)
            }
            switch event.content {
            case .exit(let code, let rip):
                begin(rip == nil ? .exit : .exitWithPointer)
                bytes.put(code >> 32)
                bytes.put(code & 0xFFFF_FFFF)
                if let rip {
                    bytes.put(signed: Int64(bitPattern: rip &- pointer))
                    pointer = rip
                }
            case .entry: begin(.entry)
            case .userspaceExit(let code):
                begin(.userspaceExit)
                bytes.put(code)
            case .count(let kind, let code, let emulation):
                switch emulation {
                case nil: begin(.count)
                case .begins: begin(.begins)
                case .completed: begin(.completed)
                }
                bytes.put(UInt64(kind?.rawValue ?? 0))
                bytes.put(code >> 32)
                bytes.put(code & 0xFFFF_FFFF)
            case .timed(let kind, let code, let nanoseconds):
                begin(.timed)
                bytes.put(UInt64(kind.rawValue))
                bytes.put(code)
                bytes.put(nanoseconds)
            }
        }
        return bytes.bytes
    }

    /// Calls `body` with each event.
    ///
    /// - Returns: false for bytes that no events were encoded as; those before the wrong ones were given.
    static func decode(_ encoded: UnsafeRawBufferPointer, _ body: (ExitEvent) -> Void) -> Bool {
        var bytes = RawReader(encoded)
        guard var time = bytes.next(), let threadCount = bytes.count(atLeast: 1) else { return false }
        var threads: [Int32] = []
        threads.reserveCapacity(threadCount)
        for _ in 0..<threadCount {
            guard let thread = bytes.signed(), let thread = Int32(exactly: thread) else { return false }
            threads.append(thread)
        }
        guard let count = bytes.count(atLeast: 2) else { return false }
        var pointer: UInt64 = 0
        for _ in 0..<count {
            guard let head = bytes.next(), let step = bytes.next(), let shape = Shape(rawValue: head & 0xF),
                head >> 4 < UInt64(threads.count)
            else { return false }
            let (sum, isTooFar) = time.addingReportingOverflow(step)
            guard !isTooFar else { return false }
            time = sum
            let content: ExitEvent.Content
            switch shape {
            case .entry: content = .entry
            case .userspaceExit:
                guard let code = bytes.next() else { return false }
                content = .userspaceExit(code: code)
            case .exit, .exitWithPointer:
                guard let code = bytes.halves() else { return false }
                if shape == .exitWithPointer {
                    guard let step = bytes.signed() else { return false }
                    pointer = pointer &+ UInt64(bitPattern: step)
                }
                content = .exit(code: code, instructionPointer: shape == .exit ? nil : pointer)
            case .count, .begins, .completed:
                guard let number = bytes.next(), let code = bytes.halves() else { return false }
                let kind = UInt32(exactly: number).flatMap { CounterKind(rawValue: $0) }
                guard kind != nil || number == 0 else { return false }
                content = .count(
                    kind: kind, code: code,
                    emulation: shape == .count ? nil : shape == .begins ? .begins : .completed)
            case .timed:
                guard let number = bytes.next(), let code = bytes.next(), let nanoseconds = bytes.next(),
                    let kind = UInt32(exactly: number).flatMap({ CounterKind(rawValue: $0) })
                else { return false }
                content = .timed(kind: kind, code: code, nanoseconds: nanoseconds)
            }
            body(ExitEvent(time: time, thread: threads[Int(head >> 4)], content))
        }
        return bytes.isAtEnd
    }
}

/// ``ByteReader`` over bytes that are lent.
struct RawReader {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    /// - Returns: nil past the end and for a number beyond 64 bits.
    @inline(__always)
    mutating func next() -> UInt64? {
        guard at < bytes.count else { return nil }
        let first = bytes[at]
        at += 1
        return first < 0x80 ? UInt64(first) : rest(UInt64(first & 0x7F))
    }

    private mutating func rest(_ low: UInt64) -> UInt64? { bytes.number(&at, low, shift: 7) }

    mutating func signed() -> Int64? {
        next().map { Int64(bitPattern: $0 >> 1) ^ -Int64(bitPattern: $0 & 1) }
    }

    /// The upper 32 bits, then the lower ones.
    mutating func halves() -> UInt64? {
        guard let high = next(), let low = next(), high <= 0xFFFF_FFFF, low <= 0xFFFF_FFFF else { return nil }
        return high << 32 | low
    }

    mutating func count(atLeast size: Int) -> Int? {
        guard let count = next(), count <= UInt64(bytes.count - at) / UInt64(size) else { return nil }
        return Int(count)
    }
}
