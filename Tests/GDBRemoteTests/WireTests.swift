import Testing

@testable import GDBRemote

@Suite struct WireTests {
    private func decoder(limit: Int = 1 << 16, runs: Bool = false) -> PacketDecoder {
        PacketDecoder(limit: limit, expandsRuns: runs)
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(arguments: [true, false]) func whatIsPackedComesOutAgain(_ countsRuns: Bool) {
        let all: [[UInt8]] = [
            [], bytes("OK"), Array(0...255), [UInt8](repeating: UInt8(ascii: "0"), count: 1000),
            bytes("}}}}}}}}####$$$$****"), bytes("aaa"), bytes("aaaa"),
        ]
        for data in all {
            let packet = PacketEncoder.packet(data, countsRuns: countsRuns)
            // Nothing in it ends or begins a packet, or reads as an acknowledgement in a count.
            #expect(!packet.dropFirst().dropLast(3).contains { $0 == 0x23 || $0 == 0x24 })
            var decoder = decoder(runs: countsRuns)
            let events = decoder.feed(packet)
            #expect(events == [.packet(data)], "\(data.prefix(20))")
        }
    }

    /// Each length of a run, so each count.
    @Test(arguments: 1...300) func runsOfEveryLength(_ count: Int) {
        let data = [UInt8](repeating: UInt8(ascii: "0"), count: count)
        let packet = PacketEncoder.packet(data, countsRuns: true)
        #expect(packet.allSatisfy { (0x20...0x7E).contains($0) })
        #expect(count < 4 || packet.count < count + 4)
        var decoder = decoder(runs: true)
        #expect(decoder.feed(packet) == [.packet(data)])
    }

    @Test func piecesOfAnySizeMakeTheSameEvents() {
        let stream = bytes("+$g#67-\u{3}$m0,4#fd") + PacketEncoder.packet([0x7D, 0x23, 1])
        let expected: [WireEvent] = [
            .acknowledged, .packet(bytes("g")), .resend, .interrupt, .packet(bytes("m0,4")),
            .packet([0x7D, 0x23, 1]),
        ]
        for size in 1...stream.count {
            var decoder = decoder()
            var events: [WireEvent] = []
            for start in stride(from: 0, to: stream.count, by: size) {
                events += decoder.feed(stream[start..<min(start + size, stream.count)])
            }
            #expect(events == expected, "in pieces of \(size)")
        }
    }

    @Test(
        arguments: [
            "$g#00", "$g#zz", "$g#6", "$a}#de", "$#01",
        ])
    func whatIsDamagedIsNoPacket(_ text: String) {
        var decoder = decoder()
        let events = decoder.feed(bytes(text))
        #expect(events == (text == "$g#6" ? [] : [.damaged]))
        // The next one is whole again.
        #expect(decoder.feed(bytes(text == "$g#6" ? "7" : "$g#67")) == [.packet(bytes("g"))])
    }

    @Test func aPacketThatBeginsWithinAnotherTakesItsPlace() {
        var decoder = decoder()
        #expect(decoder.feed(bytes("$m0,4$g#67")) == [.packet(bytes("g"))])
    }

    @Test func withoutAcknowledgementsNoSumIsLookedAt() {
        var decoder = decoder()
        decoder.checks = false
        #expect(decoder.feed(bytes("$g#00")) == [.packet(bytes("g"))])
    }

    /// What is longer than the limit is dropped as it comes, however long it gets.
    @Test func nothingGrows() {
        var decoder = decoder(limit: 100)
        #expect(decoder.feed(bytes("$")) == [])
        for _ in 0..<1000 {
            let events = decoder.feed([UInt8](repeating: 0x61, count: 1000))
            #expect(events == [])
        }
        #expect(decoder.feed(bytes("#00$g#67")) == [.tooLong, .packet(bytes("g"))])
    }

    @Test(arguments: ["0*", "*0", "0*\u{1}", "0*~0*~"]) func runsWithoutAnEndOrABeginning(_ text: String) {
        var decoder = decoder(limit: 150, runs: true)
        var packet = bytes("$" + text)
        let sum = bytes(text).reduce(UInt8(0), &+)
        packet += bytes("#") + [hexDigit(sum >> 4), hexDigit(sum)]
        #expect(decoder.feed(packet) == [.damaged])
    }

    @Test(arguments: ["GET / HTTP/1.1\r\n\r\n$k#6b", "POST /$k#6b", "\u{16}\u{3}\u{1}", "quit\n"])
    func aProgramThatSpeaksSomethingElseIsNotListenedTo(_ text: String) {
        var decoder = decoder()
        #expect(decoder.feed(bytes(text)) == [.stranger])
    }

    @Test func numbers() {
        for (text, value) in [("0", 0), ("ff", 255), ("FFFFFFFFFFFFFFFF", UInt64.max), ("00010", 16)]
            as [(String, UInt64)]
        {
            var reader = PacketReader(bytes(text + ","))
            #expect(reader.number() == value)
            let isNext = reader.skip(",")
            #expect(isNext)
        }
        for text in ["", ",", "x", "10000000000000000", "-1"] {
            var reader = PacketReader(bytes(text))
            #expect(reader.number() == nil, "\(text)")
        }
    }

    @Test func threads() {
        for (text, choice) in [
            ("-1", .all), ("0", .any), ("1f", .one(31)), ("p1.2", .one(2)), ("p1.-1", .all), ("p1", .all),
            ("p-1", .all),
        ] as [(String, ThreadChoice)] {
            var reader = PacketReader(bytes(text))
            #expect(reader.thread() == choice, "\(text)")
            #expect(reader.isAtEnd)
        }
        for text in ["", "x", "p", "-2", "ffffffffffffffff"] {
            var reader = PacketReader(bytes(text))
            #expect(reader.thread() == nil, "\(text)")
        }
    }

    @Test func hexadecimal() {
        #expect(hexBytes(bytes("00fFa5")) == [0, 255, 0xA5])
        #expect(hexBytes(bytes("0")) == nil)
        #expect(hexBytes(bytes("0g")) == nil)
        #expect(hexText([0, 255, 0xA5]) == bytes("00ffa5"))
    }

    @Test(
        arguments: [
            (":1234", ServerAddress.tcp(host: "", port: 1234), true),
            ("localhost:0", .tcp(host: "localhost", port: 0), true),
            ("0.0.0.0:65535", .tcp(host: "0.0.0.0", port: 65535), false),
            ("[::1]:80", .tcp(host: "::1", port: 80), true), ("unix:/tmp/a b", .unix(path: "/tmp/a b"), true),
            ("stdio", .standard, true),
        ])
    func addresses(_ text: String, _ address: ServerAddress, _ isLocal: Bool) throws {
        #expect(try ServerAddress(text) == address)
        #expect(address.isLocal == isLocal)
    }

    @Test(arguments: ["", "1234", ":", ":65536", ":-1", ":+1", "host:", "a b:1", "unix:", ":0x10"])
    func addressesThatAreNone(_ text: String) {
        #expect(throws: RemoteServerError.self) { try ServerAddress(text) }
    }
}
