/// Takes the bytes of a connection apart: a header with `Content-Length`, an empty line, and so many bytes of JSON.
///
/// Source: the Debug Adapter Protocol's overview, "Base Protocol".
package struct MessageDecoder: Sendable {
    package enum Event: Sendable, Hashable {
        case message(JSONValue)
        /// What came is no message, and where the next one begins is not known: the connection is of no use.
        case broken(String)
    }

    static let longestHeader = 4096
    package static let longestMessage = 16 << 20

    private var bytes: [UInt8] = []
    /// Of the message whose header was read.
    private var length: Int?
    private var isBroken = false

    package init() {}

    package mutating func feed(_ part: some Sequence<UInt8>) -> [Event] {
        guard !isBroken else { return [] }
        bytes += part
        var events: [Event] = []
        var start = 0
        while !isBroken {
            if let length {
                guard bytes.count - start >= length else { break }
                let body = bytes[start..<start + length]
                start += length
                self.length = nil
                if let value = JSONValue(body) {
                    events.append(.message(value))
                } else {
                    events.append(fail("a message is no JSON"))
                }
            } else {
                guard let event = takeHeader(&start) else { break }
                if let event { events.append(event) }
            }
        }
        bytes.removeFirst(isBroken ? bytes.count : start)
        return events
    }

    private mutating func fail(_ words: String) -> Event {
        isBroken = true
        return .broken(words)
    }

    /// Nil where the header is not whole yet.
    private mutating func takeHeader(_ start: inout Int) -> Event?? {
        let end: [UInt8] = [13, 10, 13, 10]
        let window = bytes[start...].prefix(Self.longestHeader + end.count)
        var place = window.startIndex
        while place + end.count <= window.endIndex, !window[place...].starts(with: end) { place += 1 }
        guard place + end.count <= window.endIndex else {
            return window.count > Self.longestHeader ? .some(fail("a header has no end")) : nil
        }
        let text = String(decoding: window[..<place], as: UTF8.self)
        start = place + end.count
        for line in text.split(separator: "\r\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "content-length" else { continue }
            guard let count = Int(parts[1].drop { $0 == " " }), (0...Self.longestMessage).contains(count)
            else {
                return .some(fail("a message has 0 to \(Self.longestMessage) bytes"))
            }
            length = count
            return .some(nil)
        }
        return .some(fail("a header has no Content-Length"))
    }

    /// A message as it is sent.
    package static func packet(_ value: JSONValue) -> [UInt8] {
        let body = value.bytes
        return Array("Content-Length: \(body.count)\r\n\r\n".utf8) + body
    }
}
