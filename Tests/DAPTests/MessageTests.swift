import Testing

@testable import DAP

@Suite struct MessageTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func piecesOfAnySizeMakeTheSameMessages() {
        let first: JSONValue = [
            "seq": 1, "type": "request", "command": "initialize", "text": "\u{e9}\u{1F600}\r\n",
        ]
        let second: JSONValue = ["a": [1, true, .null, "x"]]
        let stream =
            MessageDecoder.packet(first)
            + bytes("Content-Type: x\r\ncontent-length:  \(second.bytes.count)\r\n\r\n") + second.bytes
        for size in 1...stream.count {
            var decoder = MessageDecoder()
            var events: [MessageDecoder.Event] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                events += decoder.feed(stream[start..<min(start + size, stream.count)])
            }
            #expect(events == [.message(first), .message(second)], "in pieces of \(size)")
        }
    }

    @Test(
        arguments: [
            "\r\n\r\n", "X: 1\r\n\r\n", "Content-Length: x\r\n\r\n", "Content-Length: -1\r\n\r\n",
            "Content-Length: 99999999999\r\n\r\n", "Content-Length: 2\r\n\r\n{]",
            "Content-Length: 1\r\n\r\n\"",
            String(repeating: "a", count: 5000),
            "Content-Length: 200\r\n\r\n" + String(repeating: "[", count: 200),
        ])
    func whatIsNoMessageEndsIt(_ text: String) {
        var decoder = MessageDecoder()
        let events = decoder.feed(bytes(text))
        #expect(events.count == 1)
        if case .broken? = events.first {} else { Issue.record("\(events)") }
        let more = decoder.feed(MessageDecoder.packet(["a": 1]))
        #expect(more.isEmpty)
    }

    @Test func values() {
        let value: JSONValue = [
            "text": "a", "number": 3, "half": .number(0.5), "none": .null, "list": [1], "yes": true,
        ]
        #expect(JSONValue(value.bytes) == value)
        #expect(
            value["text"]?.text == "a" && value["number"]?.integer == 3 && value["yes"]?.truth == true)
        #expect(value["half"]?.integer == nil && value["none"] == nil && value["list"]?.list == [1])
        #expect(JSONValue(bytes("")) == nil)
    }
}
