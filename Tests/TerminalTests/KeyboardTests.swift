import CNcurses
import Interface
import Testing

@testable import Terminal

@Suite struct KeyboardTests {
    private static let cases: [(UInt32, TerminalEvent)] = [
        (3, TerminalEvent.interrupt), (9, .key(.tab)), (13, .key(.enter)), (10, .key(.enter)),
        (127, .key(.backspace)), (8, .key(.backspace)), (1, .key(.control("a"))), (15, .key(.control("o"))),
        (26, .key(.control("z"))), (31, .key(.control("_"))), (28, .terminate(3)),
        (0x41, .key(.character("A"))),
        (0x20AC, .key(.character("€"))), (0x1F600, .key(.character("😀"))),
    ]

    @Test(arguments: cases) func characters(_ value: UInt32, _ event: TerminalEvent) {
        #expect(Keyboard.event(character: value) == event)
    }

    @Test func everyKeyOfTheFenceIsKnown() {
        let codes = Int(CNCURSES_UP)...Int(CNCURSES_ALT_RIGHT)
        let keys = codes.compactMap(Keyboard.key(code:))
        #expect(keys.count == codes.count)
        #expect(Set(keys).count == keys.count)
        #expect(Keyboard.key(code: Int(CNCURSES_F0) + 12) == .function(12))
        #expect(Keyboard.key(code: Int(CNCURSES_F0) + 23) == .function(23))
        #expect(Keyboard.key(code: 0) == nil)
    }

    @Test(arguments: [
        (Key.up, "\u{1B}[A"), (.home, "\u{1B}[H"), (.delete, "\u{1B}[3~"), (.alt("b"), "\u{1B}b"),
        (.control("r"), "\u{12}"), (.control("_"), "\u{1F}"), (.character("é"), "é"), (.enter, "\r"),
        (.function(5), ""), (.controlLeft, "\u{1B}[1;5D"),
    ]) func bytesForReadline(_ key: Key, _ bytes: String) {
        #expect(Keyboard.bytes(for: key) == Array(bytes.utf8))
    }
}

@Suite struct DifferenceTests {
    private func screen(_ rows: [String], look: Look = Look()) -> [Cell] {
        rows.flatMap { $0.unicodeScalars.map { Cell($0 == "_" ? 0 : $0.value, look) } }
    }

    private func runs(_ new: [Cell], _ old: [Cell]?, _ size: Size) -> [[Int]] {
        var runs: [[Int]] = []
        Difference.forEachRun(new, old, size: size) { row, columns, _ in
            runs.append([row, columns.lowerBound, columns.upperBound])
        }
        return runs
    }

    @Test func nothingIsSentForTheSameScreen() {
        let cells = screen(["abc", "def"])
        #expect(runs(cells, cells, Size(width: 3, height: 2)).isEmpty)
    }

    @Test func allIsSentAtFirst() {
        #expect(runs(screen(["abc", "def"]), nil, Size(width: 3, height: 2)) == [[0, 0, 3], [1, 0, 3]])
    }

    @Test func oneCell() {
        let size = Size(width: 3, height: 2)
        #expect(runs(screen(["abc", "dXf"]), screen(["abc", "def"]), size) == [[1, 1, 3]])
    }

    @Test func looksBreakRuns() {
        var new = screen(["abcd"])
        new[1].look = Look(.error, .bold)
        #expect(runs(new, nil, Size(width: 4, height: 1)) == [[0, 0, 1], [0, 1, 2], [0, 2, 4]])
    }

    /// A blank's colour is not seen: it costs nothing where it is that of the text before it, or none.
    @Test func blanksTakeTheLookThatCostsLeast() {
        let size = Size(width: 18, height: 1)
        let dim = Look(.dim, .dim)
        var cells = screen(["a  b_c          d "])
        cells[0].look = dim
        for x in [3, 4] { cells[x].look = Look(.changed, .underline) }
        cells[16].look = dim
        cells[17].look = dim
        let before = cells
        Difference.settleBlanks(&cells, size: size)
        #expect(cells[1...2].allSatisfy { $0.look == dim }, "a short gap goes on as it began")
        #expect(cells[6...15].allSatisfy { $0.look == Look() }, "a long one is jumped over")
        #expect(cells[17].look == Look(), "the end of a row is cleared")
        for x in cells.indices where cells[x].scalar != 0x20 { #expect(cells[x] == before[x]) }
    }

    @Test func blanksThatAreSeenStay() {
        let size = Size(width: 5, height: 1)
        for seen: Look.Attributes in [.reverse, .underline] {
            var cells = screen(["a   b"])
            cells[0].look = Look(.plain, seen)
            cells[2].look = Look(.plain, seen)
            Difference.settleBlanks(&cells, size: size)
            #expect(cells[1].look == Look(), "what is before is seen on a blank")
            #expect(cells[2].look == Look(.plain, seen))
        }
    }

    @Test func aWideCharacterIsSentWhole() {
        let old = screen(["a字xb"])
        let new = screen(["a字_b"])
        #expect(runs(new, old, Size(width: 4, height: 1)) == [[0, 1, 4]])
    }

    /// Sending the runs makes the one screen of the other.
    @Test func runsAreEnough() {
        var generator = SystemRandomNumberGenerator()
        let size = Size(width: 17, height: 5)
        for _ in 0..<200 {
            func random() -> [Cell] {
                (0..<85).map { _ in
                    Cell(
                        UInt32.random(in: 0x61...0x63, using: &generator), Look(Bool.random() ? .plain : .dim)
                    )
                }
            }
            let (old, new) = (random(), random())
            var shown = old
            Difference.forEachRun(new, old, size: size) { row, columns, look in
                for x in columns { shown[row * 17 + x] = Cell(new[row * 17 + x].scalar, look) }
            }
            #expect(shown == new)
        }
    }
}

@Suite struct PaletteTests {
    @Test(arguments: [(-25, "xterm"), (-2, "nonsense"), (-95, "dumb"), (-5, "xterm"), (-2, "")])
    func errorsSayWhatIsWrong(_ code: Int32, _ term: String) {
        let text = Display.error(code, term: term).description
        #expect(text.contains(code == -25 ? "standard input" : "terminal"))
        #expect(!text.contains("\n"))
        if code != -25 { #expect(text.contains(term.isEmpty ? "TERM is not set" : "TERM=\(term)")) }
    }
}
