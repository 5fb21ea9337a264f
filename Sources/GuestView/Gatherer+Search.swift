import Commands
import Debugger
import X86

/// What `/` and F3 look for in memory and in code.
extension Gatherer {
    /// Bytes looked at, and instructions: a search is the time of a key press.
    private static let reach = 64 << 20
    private static let instructions = 20_000

    /// The next place after `place` with the text, or with the bytes or the value that it spells.
    public func find(bytes text: String, after place: MemoryPlace) -> SearchOutcome {
        let pattern = Self.pattern(text)
        guard !pattern.isEmpty else { return .notFound("there is nothing to find") }
        let step = 1 << 20
        var at = place.moved(by: 1)
        var left = Self.reach
        while left > 0 {
            // The end of one part and the beginning of the next are looked at together.
            guard let image = try? debugger.readMemory(at.address, count: min(step, left) + pattern.count - 1)
            else { break }
            if let found = Self.first(pattern, in: image) {
                return .found(at.moved(by: found))
            }
            let next = at.moved(by: step)
            left -= step
            // An offset that wraps at its segment's end has been everywhere.
            if next.offset <= at.offset { break }
            at = next
        }
        let way = place.prefix + hex(place.offset, place.shownDigits)
        return .notFound("\(text) was not found in \(Self.reach >> 20) MiB from \(way) on")
    }

    /// The next instruction after the one at `address` whose text has `text` in it.
    public func find(instruction text: String, after address: UInt64) -> SearchOutcome {
        let wanted = text.lowercased()
        var at = address
        var seen = 0
        while seen < Self.instructions {
            guard let lines = try? debugger.disassemble(at: .linear(at), count: 512) else { break }
            if let found = lines.first(where: {
                $0.address != address && $0.instruction != nil && $0.text.lowercased().contains(wanted)
            }) {
                return .found(MemoryPlace(space: .linear, offset: found.address))
            }
            // The last line is where the next part begins; a single one cannot be read.
            guard let last = lines.last, lines.count > 1, last.instruction != nil else { break }
            at = last.address
            seen += lines.count - 1
        }
        return .notFound("no instruction with \"\(text)\" among the next \(seen)")
    }

    /// `55 aa` spells bytes, `0x7c00` a value of as many bytes as its digits need (lowest first), all else text.
    package static func pattern(_ text: String) -> [UInt8] {
        if text.hasPrefix("0x"), let value = UInt64(text.dropFirst(2), radix: 16) {
            let digits = text.utf8.count - 2
            let width = digits <= 2 ? 1 : digits <= 4 ? 2 : digits <= 8 ? 4 : 8
            return (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        }
        let words = text.split(separator: " ")
        let bytes = words.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
        if !words.isEmpty, bytes.count == words.count { return bytes }
        return Array(text.utf8)
    }

    /// Where the pattern first stands in what could be read.
    private static func first(_ pattern: [UInt8], in image: MemoryImage) -> Int? {
        let bytes = image.bytes
        var start = 0
        for gap in image.gaps.map(\.range) + [bytes.count..<bytes.count] {
            var place = start
            while let hit = bytes[place..<max(place, gap.lowerBound)].firstIndex(of: pattern[0]),
                hit + pattern.count <= gap.lowerBound
            {
                if bytes[hit..<hit + pattern.count].elementsEqual(pattern) { return hit }
                place = hit + 1
            }
            start = gap.upperBound
        }
        return nil
    }
}

/// What a search came to.
public enum SearchOutcome: Sendable, Hashable {
    case found(MemoryPlace)
    /// Why not, for people.
    case notFound(String)
}
