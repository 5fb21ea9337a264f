import Commands
import DebugTarget
import Debugger
import X86

/// Memory as the vCPU sees it, or physical memory; without the patches of breakpoints.
extension RemoteSession {
    private func address(_ value: UInt64) -> Address { isPhysical ? .physical(value) : .linear(value) }

    private func range(
        _ reader: inout PacketReader, separator: StaticString = ","
    ) throws(RemoteFailure) -> (UInt64, UInt64) {
        guard let address = reader.number(), reader.skip(separator), let count = reader.number() else {
            throw .malformed("range of memory")
        }
        return (address, count)
    }

    /// The bytes from `place` on as far as they can be read: one at least, unless none is asked for.
    private func read(_ place: UInt64, _ count: UInt64, most: Int) throws(RemoteFailure) -> [UInt8] {
        guard count > 0 else { return [] }
        // Less than is asked for is an answer, too.
        let count = Int(min(count, UInt64(most)))
        let image = try attempt { () throws(DebuggerError) in
            try debugger.readMemory(address(place), count: count, vcpu: vcpu)
        }
        guard let gap = image.gaps.first else { return image.bytes }
        guard gap.range.lowerBound > 0 else {
            throw RemoteFailure(.unreadable, "\(address(place)) cannot be read: \(gap.reason)")
        }
        return Array(image.bytes[..<gap.range.lowerBound])
    }

    func readMemory(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let (place, count) = try range(&reader)
        guard reader.isAtEnd else { throw .malformed("request for memory") }
        do throws(RemoteFailure) {
            return .bytes(hexText(try read(place, count, most: Self.packetSize / 2)))
        } catch {
            // Words here would be taken for memory by older clients.
            return .text("E" + (error.code < 16 ? "0" : "") + hexNumber(error.code))
        }
    }

    /// GDB has a letter before the bytes, LLDB asks whether it is known with no bytes at all.
    func readBinary(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let (place, count) = try range(&reader)
        guard reader.isAtEnd else { throw .malformed("request for memory") }
        if client == .lldb, count == 0 { return .ok }
        do throws(RemoteFailure) {
            let bytes = try read(place, count, most: Self.packetSize / 2 - 1)
            return .binary(client == .lldb ? bytes : [UInt8(ascii: "b")] + bytes)
        } catch {
            return .text("E" + (error.code < 16 ? "0" : "") + hexNumber(error.code))
        }
    }

    func writeMemory(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let (place, count) = try range(&reader)
        guard reader.skip(":"), let bytes = hexBytes(reader.rest) else { throw .malformed("memory") }
        return try write(place, count, bytes)
    }

    func writeBinary(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let (place, count) = try range(&reader)
        guard reader.skip(":") else { throw .malformed("memory") }
        return try write(place, count, Array(reader.rest))
    }

    private func write(_ place: UInt64, _ count: UInt64, _ bytes: [UInt8]) throws(RemoteFailure)
        -> RemoteReply
    {
        guard UInt64(bytes.count) == count else {
            throw RemoteFailure(.malformed, "\(count) bytes are announced, and \(bytes.count) were sent")
        }
        guard count > 0 else { return .ok }
        try attempt { () throws(DebuggerError) in
            try debugger.writeMemory(address(place), bytes, vcpu: vcpu)
        }
        return .ok
    }

    /// Where bytes stand first.
    func search(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let (place, count) = try range(&reader, separator: ";")
        guard reader.skip(";"), !reader.isAtEnd else { throw .malformed("search") }
        let pattern = Array(reader.rest)
        let result = try attempt { () throws(DebuggerError) in
            try debugger.find(
                pattern, in: .range(address(place), count: count), limit: 1, vcpu: vcpu,
                shouldStop: { session.cancelRequested() })
        }
        guard result.end != .interrupted else { throw RemoteFailure(.io, "the search was interrupted") }
        switch result.matches.first {
        case .linear(let found)?, .virtual(let found)?, .physical(let found)?:
            return .text("1," + hexNumber(found))
        default: return .text("0")
        }
    }

    /// GDB's `compare-sections`: a CRC-32 with the highest bit first, which begins with all ones and is not inverted.
    func checksum(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let (start, count) = try range(&reader)
        guard reader.isAtEnd else { throw .malformed("checksum") }
        var sum = SectionChecksum()
        var place = start
        var left = count
        while left > 0 {
            guard !session.cancelRequested() else { throw RemoteFailure(.io, "the checksum was interrupted") }
            let part = Int(min(left, 1 << 20))
            let image = try attempt { () throws(DebuggerError) in
                try debugger.readMemory(address(place), count: part, vcpu: vcpu)
            }
            if let gap = image.gaps.first {
                throw RemoteFailure(.unreadable, "\(address(place)) cannot be read: \(gap.reason)")
            }
            sum.feed(image.bytes)
            place &+= UInt64(part)
            left -= UInt64(part)
        }
        return .text("C" + hexNumber(sum.value))
    }

    /// LLDB's: what is mapped at an address, and how far.
    func region(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard let place = reader.number(), reader.isAtEnd else { throw .malformed("address") }
        let walk = try attempt { () throws(DebuggerError) in
            try debugger.walk(.linear(place), vcpu: vcpu)
        }
        let size = walk.span
        let start = place & ~(size - 1)
        var text = "start:\(hexNumber(start));size:\(hexNumber(size));"
        if let mapping = walk.mapping, isBacked(mapping.gpa) {
            text += "permissions:r\(mapping.isWritable ? "w" : "")\(mapping.isExecutable ? "x" : "");"
        }
        return .text(text)
    }

    private func isBacked(_ gpa: UInt64) -> Bool {
        debugger.target.memory.regions.contains { gpa >= $0.gpa && gpa - $0.gpa < $0.size }
    }
}

extension PageWalk {
    /// How many bytes, from a multiple of that on, share this walk's end.
    fileprivate var span: UInt64 {
        switch outcome {
        case .mapped(let mapping): min(mapping.pageSize, 4096)
        case .nonCanonical: 1 << 47
        case .notPresent(let level), .reservedBits(let level, _), .unreadable(let level, _):
            switch level {
            case .map5: 1 << 48
            case .map4: 1 << 39
            case .directoryPointers: 1 << 30
            case .directory: 1 << 21
            case .table: 1 << 12
            }
        }
    }
}

/// The checksum of GDB's manual, "qCRC".
struct SectionChecksum {
    private(set) var value: UInt32 = 0xFFFF_FFFF

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index) << 24) { sum, _ in
            sum & 0x8000_0000 != 0 ? sum << 1 ^ 0x04C1_1DB7 : sum << 1
        }
    }

    mutating func feed(_ bytes: [UInt8]) {
        for byte in bytes { value = value << 8 ^ Self.table[Int(UInt8(value >> 24) ^ byte)] }
    }
}
