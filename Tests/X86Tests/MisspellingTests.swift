import Testing
import X86

@Suite struct MisspellingTests {
    @Test(
        arguments: [
            ("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 1), ("regs", "rges", 1),
        ])
    func distances(_ a: String, _ b: String, _ expected: Int) {
        for (text, name) in [(a, b), (b, a)] {
            var misspelling = Misspelling(text)
            #expect(misspelling.distance(to: name, limit: expected) == expected)
            #expect(misspelling.distance(to: name, limit: expected + 3) == expected)
            if expected > 0 { #expect(misspelling.distance(to: name, limit: expected - 1) == nil) }
        }
    }

    /// The table of the textbook, whole.
    private func plain(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var table = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count {
            for j in 0...b.count {
                guard i > 0, j > 0 else {
                    table[i][j] = i + j
                    continue
                }
                table[i][j] = min(
                    table[i - 1][j] + 1, table[i][j - 1] + 1,
                    table[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
                }
            }
        }
        return table[a.count][b.count]
    }

    @Test func isThatOfTheTextbook() {
        var random = Numbers(seed: 7)
        func word() -> String {
            String(
                (0..<Int(random.next() % 9)).map { _ in
                    Character(Unicode.Scalar(97 + UInt8(random.next() % 4)))
                })
        }
        for _ in 0..<3000 {
            let (a, b) = (word(), word())
            var misspelling = Misspelling(a)
            // One that was compared before leaves nothing behind.
            _ = misspelling.distance(to: word(), limit: 64)
            let expected = plain(Array(a.utf8), Array(b.utf8))
            #expect(misspelling.distance(to: b, limit: 64) == expected, "\(a), \(b)")
            #expect((misspelling.distance(to: b, limit: 2) != nil) == (expected <= 2), "\(a), \(b)")
        }
    }

    @Test func longTextsAreNobodysSlip() {
        let long = String(repeating: "a", count: 100_000)
        var misspelling = Misspelling(long)
        #expect(misspelling.distance(to: long, limit: .max) == nil)
        #expect(nearest(to: long, among: [long, "a"], limit: 3).isEmpty)
        #expect(nearest(to: "raz", among: ["rax", "rbx", long, "qqq"], limit: 3) == ["rax"])
    }
}
