import Debugger
import X86

/// `find`.
public struct FindOutput: CommandOutput, Hashable {
    /// As pairs of digits.
    public var pattern: String
    public var matches: [String]
    /// Bytes looked at.
    public var searched: UInt64
    /// Bytes of the range that could not be read.
    public var unreadable: UInt64
    /// "complete", "limit" or "interrupted".
    public var end: String

    init(_ pattern: [UInt8], _ result: SearchResult) {
        self.pattern = Hex.bytes(pattern)
        matches = result.matches.map(\.description)
        searched = result.searched
        unreadable = result.unreadable
        end = result.end.rawValue
    }

    public func lines(width: Int) -> [StyledLine] {
        var result = matches.map { StyledLine($0, .address) }
        switch end {
        case LookEnd.limit.rawValue:
            result.append(
                StyledLine("There are more: `find/N` lists N of them.", .warning))
        case LookEnd.interrupted.rawValue:
            result.append(StyledLine("Interrupted after \(readableSize(searched)).", .warning))
        default:
            let count = matches.isEmpty ? "Not found" : "\(counted(matches.count, "match", "matches"))"
            result.append(StyledLine("\(count) in \(readableSize(searched)).", .dim))
        }
        if unreadable > 0 {
            result.append(StyledLine("\(readableSize(unreadable)) of the range cannot be read.", .warning))
        }
        return result
    }

    /// Whole units, the rest cut off: nobody counts the bytes of a gigabyte.
    private func readableSize(_ bytes: UInt64) -> String {
        for (shift, unit) in [(UInt64(30), "GiB"), (20, "MiB"), (10, "KiB")] where bytes >= 10 << shift {
            return "\(bytes >> shift) \(unit)"
        }
        return shortSize(bytes)
    }
}

/// `crc`.
public struct ChecksumOutput: CommandOutput, Hashable {
    public var address: String
    public var bytes: UInt64
    public var crc32: Hex

    public func lines(width: Int) -> [StyledLine] {
        var line = StyledLine("CRC-32 of \(counted(bytes, "byte")) at ")
        line.append(address, .address)
        line.append(": ")
        line.append(Hex.padded(crc32.value, width: 8), .value)
        return [line]
    }
}

/// `hexdump`.
public struct HexdumpOutput: CommandOutput, Hashable {
    public var address: String
    /// As pairs of digits; `??` where a byte cannot be read.
    public var bytes: String
    /// Why some of it cannot be read.
    public var unreadable: [String]
    private var start: Address
    private var values: [UInt8?]

    /// Bytes that were asked for and are not here: Ctrl-C ended it before.
    public var missing: Int?

    private enum CodingKeys: String, CodingKey { case address, bytes, unreadable, missing }

    /// So many bytes are made between two looks at whether to go on; whole rows.
    private static let slice = 16 << 10

    init(_ image: MemoryImage, isOver: () -> Bool = { false }) {
        address = image.address.description
        start = image.address
        values = []
        bytes = ""
        let count = image.bytes.count
        while values.count < count, values.isEmpty || !isOver() {
            for index in values.count..<min(values.count + Self.slice, count) {
                values.append(image[index])
                bytes += image[index].map { Hex.digits($0, width: 2) } ?? "??"
            }
        }
        if values.count < count { missing = count - values.count }
        unreadable = image.gaps.map {
            let first = image.address.advanced(by: $0.range.lowerBound)
            return "\(first), \(counted($0.range.count, "byte")): \($0.reason)"
        }
    }

    public func lines(width: Int) -> [StyledLine] {
        var result: [StyledLine] = []
        let labels = start.advanced(by: values.count).description.count
        var isRepeating = false
        for row in stride(from: 0, to: values.count, by: 16) {
            let part = values[row..<min(row + 16, values.count)]
            let isLast = row + 16 >= values.count
            if row >= 16, !isLast, part.elementsEqual(values[(row - 16)..<row]) {
                if !isRepeating { result.append(StyledLine("*", .dim)) }
                isRepeating = true
                continue
            }
            isRepeating = false
            var line = StyledLine(start.advanced(by: row).description.padded(labels), .address)
            line.append("  ")
            for index in 0..<16 {
                if index == 8 { line.append(" ") }
                guard row + index < values.count else {
                    line.append("   ")
                    continue
                }
                let byte = values[row + index]
                line.append(
                    (byte.map { Hex.digits($0, width: 2) } ?? "??") + " ", byte == nil ? .error : .value)
            }
            let text = part.map { byte -> Character in
                guard let byte else { return "?" }
                return (0x20..<0x7F).contains(byte) ? Character(Unicode.Scalar(byte)) : "."
            }
            line.append(" |" + String(text) + "|", .dim)
            result.append(line)
        }
        result += unreadable.map { StyledLine("cannot be read: \($0)", .warning) }
        if let missing {
            result.append(StyledLine("Ended before \(counted(missing, "more byte")).", .warning))
        }
        return result
    }
}
