extension Disassembler {
    /// The instructions that most plausibly stand before an address, `count` at most, the last of them ending
    /// exactly where `bytes` does.
    ///
    /// x86 code cannot be read backwards. Every byte of `bytes` is taken for the start of an instruction and
    /// followed forward; such chains soon fall into step with the real one, so of the instructions that end
    /// at a place the one that most chains run through is taken. The result depends on the bytes alone. Where
    /// nothing ends at a place, one `(bad)` byte stands before it.
    /// - Parameters:
    ///   - bytes: those before the place; 15 for each instruction wanted, and some 30 more to fall into step,
    ///     are enough.
    ///   - address: of the first of `bytes`, as the instruction pointer has it.
    public func decodeBackwards(
        _ bytes: [UInt8], at address: UInt64, _ mode: DecodeMode, count: Int
    ) -> [Instruction] {
        // ends[i]: where the instruction that begins at i ends; nil where it is bad or runs out of the bytes.
        let ends: [Int?] = bytes.indices.map { start in
            let instruction = decode(
                bytes[start...], at: mode.advance(address, by: start), mode, formatted: false)
            return instruction.validity == .valid ? start + instruction.length : nil
        }
        // weight[i]: how many chains come through i.
        var weight = [Int](repeating: 1, count: bytes.count + 1)
        var before: [Int: [Int]] = [:]
        for start in bytes.indices {
            guard let end = ends[start] else { continue }
            weight[end] += weight[start]
            before[end, default: []].append(start)
        }
        var found: [Instruction] = []
        var end = bytes.count
        while end > 0, found.count < count {
            // The nearest start wins between equals.
            if let start = before[end]?.max(by: { (weight[$0], $0) < (weight[$1], $1) }) {
                found.append(decode(bytes[start..<end], at: mode.advance(address, by: start), mode))
                end = start
            } else {
                end -= 1
                found.append(Self.undecoded([bytes[end]], .bad, mode.advance(address, by: end), mode))
            }
        }
        return found.reversed()
    }
}
