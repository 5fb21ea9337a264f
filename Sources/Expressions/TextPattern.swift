/// A regular expression that takes time in proportion to the text, whatever the two are: all ways to match go on side by
/// side, byte by byte.
///
/// POSIX's extended syntax with Perl's `\d \w \s` and their opposites: `. [] () | * + ? {M,N} ^ $`. No references back.
package struct TextPattern: Sendable, Hashable {
    enum Step: Sendable, Hashable {
        case byte(ByteSet)
        /// Both ways.
        case fork(Int, Int)
        case jump(Int)
        case start, end
        case match
    }

    /// Steps of the longest pattern: repeats are written out.
    static let most = 4096

    let steps: [Step]

    /// - Throws: with the place of what is wrong, in bytes of the pattern.
    package init(_ pattern: [UInt8]) throws(PatternError) {
        var parser = PatternParser(bytes: pattern)
        steps = try parser.steps()
    }

    /// Whether a text begins with what the pattern describes, as Python's `re.match` has it.
    package func matchesStart(of text: [UInt8]) -> Bool {
        var now = Threads(count: steps.count)
        var next = Threads(count: steps.count)
        add(0, at: 0, of: text, to: &now)
        for place in 0...text.count {
            if now.hasMatch { return true }
            guard place < text.count, !now.list.isEmpty else { return false }
            next.clear()
            for step in now.list {
                if case .byte(let set) = steps[step], set.contains(text[place]) {
                    add(step + 1, at: place + 1, of: text, to: &next)
                }
            }
            swap(&now, &next)
        }
        return false
    }

    /// Where a step leads without taking a byte.
    private func add(_ first: Int, at place: Int, of text: [UInt8], to threads: inout Threads) {
        var waiting = [first]
        while let step = waiting.popLast() {
            guard threads.insert(step) else { continue }
            switch steps[step] {
            case .byte: threads.list.append(step)
            case .fork(let one, let other): waiting += [other, one]
            case .jump(let target): waiting.append(target)
            case .start: if place == 0 { waiting.append(step + 1) }
            case .end: if place == text.count { waiting.append(step + 1) }
            case .match: threads.hasMatch = true
            }
        }
    }

    /// The steps that wait for the next byte, each once.
    private struct Threads {
        var list: [Int] = []
        var hasMatch = false
        private var seen: [Bool]
        private var marked: [Int] = []

        init(count: Int) { seen = [Bool](repeating: false, count: count) }

        mutating func insert(_ step: Int) -> Bool {
            guard !seen[step] else { return false }
            seen[step] = true
            marked.append(step)
            return true
        }

        mutating func clear() {
            for step in marked { seen[step] = false }
            marked.removeAll(keepingCapacity: true)
            list.removeAll(keepingCapacity: true)
            hasMatch = false
        }
    }
}

/// What is wrong with a pattern, and where, in bytes of it.
package struct PatternError: Error, Sendable, Hashable {
    package var message: String
    package var place: Int
}

/// A set of bytes.
struct ByteSet: Sendable, Hashable {
    private var words: [UInt64] = [0, 0, 0, 0]

    init() {}
    init(_ bytes: some Sequence<UInt8>) { for byte in bytes { insert(byte) } }

    mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
    mutating func formUnion(_ other: ByteSet) {
        for index in words.indices { words[index] |= other.words[index] }
    }
    func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }
    var inverted: ByteSet {
        var result = self
        result.words = words.map { ~$0 }
        return result
    }

    static let digits = ByteSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
    static let letters = ByteSet(
        Array(UInt8(ascii: "a")...UInt8(ascii: "z")) + Array(UInt8(ascii: "A")...UInt8(ascii: "Z")))
    static let word: ByteSet = {
        var set = digits
        set.formUnion(letters)
        set.insert(UInt8(ascii: "_"))
        return set
    }()
    static let spaces = ByteSet([0x20, 9, 10, 11, 12, 13])
    static let notNewline = ByteSet([10]).inverted
}

/// Reads a pattern by recursive descent, and writes its steps.
private struct PatternParser {
    let bytes: [UInt8]
    private var place = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// Parentheses inside each other.
    private static let deepest = 50
    private static let mostRepeats = 255

    private typealias Steps = [TextPattern.Step]

    mutating func steps() throws(PatternError) -> [TextPattern.Step] {
        let steps = try alternatives()
        guard place == bytes.count else { throw error("`)` closes nothing") }
        return try bounded(steps + [.match])
    }

    private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

    private func error(_ message: String) -> PatternError { PatternError(message: message, place: place) }

    private func bounded(_ steps: Steps) throws(PatternError) -> Steps {
        guard steps.count <= TextPattern.most else { throw error("the pattern is too large") }
        return steps
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        place += 1
        return true
    }

    // Jumps are relative while a part is put together: a part may be copied and moved.

    private mutating func alternatives() throws(PatternError) -> Steps {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else {
            throw error("parentheses are nested more than \(Self.deepest) deep")
        }
        var result = try sequence()
        while take("|") {
            let other = try sequence()
            result =
                [.fork(1, result.count + 2)] + moved(result, by: 1) + [.jump(result.count + other.count + 2)]
                + moved(other, by: result.count + 2)
            result = try bounded(result)
        }
        return result
    }

    /// A part that is put so many steps after where it was.
    private func moved(_ steps: Steps, by distance: Int) -> Steps {
        steps.map { step in
            switch step {
            case .fork(let one, let other): .fork(one + distance, other + distance)
            case .jump(let target): .jump(target + distance)
            default: step
            }
        }
    }

    private mutating func sequence() throws(PatternError) -> Steps {
        var result: Steps = []
        while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            let part = try repeated(try atom())
            result = try bounded(result + moved(part, by: result.count))
        }
        return result
    }

    private mutating func repeated(_ atom: Steps) throws(PatternError) -> Steps {
        var part = atom
        while true {
            if take("*") {
                part = many(part)
            } else if take("+") {
                part = part + moved(many(part), by: part.count)
            } else if take("?") {
                part = [.fork(1, part.count + 1)] + moved(part, by: 1)
            } else if next == UInt8(ascii: "{"), let (least, most) = try bounds() {
                part = try repeated(part, least, most)
            } else {
                return part
            }
            part = try bounded(part)
        }
    }

    /// None, or any number of them. One that can be empty goes round once: a step is done once for each byte.
    private func many(_ part: Steps) -> Steps {
        [.fork(1, part.count + 2)] + moved(part, by: 1) + [.jump(0)]
    }

    private func repeated(_ part: Steps, _ least: Int, _ most: Int?) throws(PatternError) -> Steps {
        var result: Steps = []
        for _ in 0..<least { result = try bounded(result + moved(part, by: result.count)) }
        guard let most else { return result + moved(many(part), by: result.count) }
        // Each of those that may be left out leads to the end.
        let end = result.count + (most - least) * (part.count + 1)
        for _ in least..<most {
            let start = result.count
            result = try bounded(result + [.fork(start + 1, end)] + moved(part, by: start + 1))
        }
        return result
    }

    /// `{M}`, `{M,}` or `{M,N}`; nil, with nothing taken, for a brace that is meant as it is.
    private mutating func bounds() throws(PatternError) -> (Int, Int?)? {
        let start = place
        place += 1
        guard let least = number() else {
            place = start
            // Taken as it is by who asks for an atom.
            throw error("`{` needs a number; `\\{` is the character")
        }
        var most: Int? = least
        if take(",") { most = number() }
        guard take("}") else { throw error("`}` is expected") }
        guard least <= Self.mostRepeats, (most ?? least) <= Self.mostRepeats, least <= most ?? least else {
            throw error("a repeat is from 0 to \(Self.mostRepeats), the smaller number first")
        }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let byte = next, ByteSet.digits.contains(byte), (value ?? 0) < 10_000 {
            value = (value ?? 0) * 10 + Int(byte - UInt8(ascii: "0"))
            place += 1
        }
        return value
    }

    private mutating func atom() throws(PatternError) -> Steps {
        guard let byte = next else { throw error("something is expected here") }
        place += 1
        switch Unicode.Scalar(byte) {
        case "(":
            let inside = try alternatives()
            guard take(")") else { throw error("`)` is expected") }
            return inside
        case "[": return [.byte(try set())]
        case ".": return [.byte(.notNewline)]
        case "^": return [.start]
        case "$": return [.end]
        case "*", "+", "?":
            place -= 1
            throw error("there is nothing to repeat")
        case "\\": return [.byte(try escape())]
        default: return [.byte(ByteSet([byte]))]
        }
    }

    private mutating func escape() throws(PatternError) -> ByteSet {
        guard let byte = next else { throw error("`\\` needs a character after it") }
        place += 1
        switch Unicode.Scalar(byte) {
        case "d": return .digits
        case "D": return ByteSet.digits.inverted
        case "w": return .word
        case "W": return ByteSet.word.inverted
        case "s": return .spaces
        case "S": return ByteSet.spaces.inverted
        case "n": return ByteSet([10])
        case "r": return ByteSet([13])
        case "t": return ByteSet([9])
        default:
            guard !ByteSet.word.contains(byte) else {
                place -= 1
                throw error("there is no escape \\\(Unicode.Scalar(byte))")
            }
            return ByteSet([byte])
        }
    }

    /// `[a-z_]`, `[^...]`; a `]` that comes first is one of them.
    private mutating func set() throws(PatternError) -> ByteSet {
        var result = ByteSet()
        let isInverted = take("^")
        var isFirst = true
        while let byte = next, isFirst || byte != UInt8(ascii: "]") {
            isFirst = false
            place += 1
            guard byte != UInt8(ascii: "\\") else {
                result.formUnion(try escape())
                continue
            }
            guard next == UInt8(ascii: "-"), place + 1 < bytes.count, bytes[place + 1] != UInt8(ascii: "]")
            else {
                result.insert(byte)
                continue
            }
            let last = bytes[place + 1]
            guard byte <= last else { throw error("the range ends before it begins") }
            result.formUnion(ByteSet(byte...last))
            place += 2
        }
        guard take("]") else { throw error("`]` is expected") }
        return isInverted ? result.inverted : result
    }
}
