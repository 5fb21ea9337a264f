/// A text that may be a slip of the fingers, to be compared with many names.
///
/// The distance is that of optimal string alignment: insertions, deletions, replacements and swaps of neighbours, in
/// bytes. Most names are told apart from the text by their length or their letters, without a table.
public struct Misspelling {
    /// Longer texts and names are nobody's slip, and the distance costs the product of their lengths.
    public static let longest = 64

    private let bytes: [UInt8]
    private let letters: UInt64
    /// Three rows of the table: before last, last, this.
    private var rows: [Int]

    /// - Parameter text: what was typed.
    public init(_ text: String) {
        bytes = Array(text.utf8.prefix(Self.longest + 1))
        letters = Self.letters(bytes)
        rows = [Int](repeating: 0, count: 3 * (Self.longest + 1))
    }

    /// A bit for each byte value that occurs; several share one.
    private static func letters(_ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 | 1 << UInt64($1 & 63) }
    }

    /// How many edits make `name` of the text; nil for more than `limit`.
    public mutating func distance(to name: String, limit: Int) -> Int? {
        let count = name.utf8.count
        guard bytes.count <= Self.longest, count <= Self.longest, abs(count - bytes.count) <= limit else {
            return nil
        }
        // A letter that only one of them has is an edit each; a replacement may be one of each.
        let others = Self.letters(name.utf8)
        guard (letters & ~others).nonzeroBitCount <= limit, (others & ~letters).nonzeroBitCount <= limit
        else { return nil }
        let distance = fullDistance(Array(name.utf8))
        return distance <= limit ? distance : nil
    }

    private mutating func fullDistance(_ name: [UInt8]) -> Int {
        let width = Self.longest + 1
        var (beforeLast, last, row) = (0, width, 2 * width)
        for column in 0...name.count { rows[last + column] = column }
        for i in bytes.indices {
            rows[row] = i + 1
            for j in name.indices {
                let replaced = rows[last + j] + (bytes[i] == name[j] ? 0 : 1)
                var best = min(rows[row + j] + 1, rows[last + j + 1] + 1, replaced)
                if i > 0, j > 0, bytes[i] == name[j - 1], bytes[i - 1] == name[j] {
                    best = min(best, rows[beforeLast + j - 1] + 1)
                }
                rows[row + j + 1] = best
            }
            (beforeLast, last, row) = (last, row, beforeLast)
        }
        return rows[last + name.count]
    }
}

/// The candidates within a third of `text`'s length in edits (two at least for texts of four or more), best
/// first, in the candidates' order where two are as near.
public func nearest(to text: String, among candidates: [String], limit: Int) -> [String] {
    let length = text.utf8.count
    guard length > 0, length <= 32 else { return [] }
    let allowed = length <= 3 ? 1 : max(2, length / 3)
    var misspelling = Misspelling(text)
    var scored: [(distance: Int, index: Int)] = []
    for (index, candidate) in candidates.enumerated() {
        // Where every letter differs nothing of the name is left.
        guard let distance = misspelling.distance(to: candidate, limit: allowed),
            distance < max(length, candidate.utf8.count)
        else { continue }
        scored.append((distance, index))
    }
    return scored.sorted { ($0.distance, $0.index) < ($1.distance, $1.index) }.prefix(max(limit, 0))
        .map { candidates[$0.index] }
}

extension String {
    /// The text for a message: of one that is very long, its beginning.
    package var shortened: String {
        let most = 80
        return utf8.count > most && count > most ? prefix(most - 1) + "…" : self
    }
}
