import Debugger
import GuestView
import Interface
import Testing
import X86

@Suite struct UpdateTests {
    private func model(_ guest: GuestView = MadeUp.guest()) -> Model {
        MadeUp.model(Size(width: 120, height: 50), guest)
    }

    private func press(_ model: inout Model, _ keys: [Key]) -> [Effect] {
        keys.flatMap { model.update(.key($0)) }.filter { $0 != .refresh }
    }

    @Test(arguments: [
        (5, "continue"), (8, "next"), (10, "next"), (9, "step"), (11, "step"),
    ]) func functionKeys(_ number: Int, _ command: String) {
        var model = model()
        #expect(press(&model, [.function(number)]) == [.execute(command, echo: false)])
    }

    @Test func keysGoToTheCommandLineUntilAPaneIsFocused() {
        var model = model()
        #expect(press(&model, [.character("s")]) == [.edit(.character("s"))])
        #expect(press(&model, [.up, .tab]) == [.edit(.up), .edit(.tab)])
        // A word that is typed goes there from a pane, too, and destroys nothing.
        let typed = "x/4xb".unicodeScalars.map(Key.character)
        let before = model.layout
        #expect(press(&model, [.function(4)] + typed) == typed.map(Effect.edit))
        #expect(model.focus == nil)
        #expect(model.layout == before)
        #expect(press(&model, [.escape, .character("s")]) == [.edit(.character("s"))])
    }

    @Test func theFooterSaysWhatF6Does() {
        var model = model()
        #expect(model.view().text(row: 49).contains("F6Break"))
        for _ in 0..<20 where model.focus != .exits { _ = press(&model, [.function(4)]) }
        #expect(model.focus == .exits)
        #expect(model.view().text(row: 49).contains("F6Sort"))
        #expect(press(&model, [.function(6)]) == [])
        // Elsewhere it is the code's.
        _ = press(&model, [.escape])
        guard case .execute(let command, _)? = press(&model, [.function(6)]).first else {
            Issue.record("no breakpoint")
            return
        }
        #expect(command.hasPrefix("break ") || command.hasPrefix("delete "))
    }

    @Test func focusGoesThroughEveryPaneAndBack() {
        var model = model()
        var seen: [Pane] = []
        for _ in 0..<20 {
            _ = press(&model, [.function(4)])
            guard let focus = model.focus else { break }
            seen.append(focus)
            #expect(model.layout.frame(of: focus) != nil, "a focused pane is shown")
        }
        #expect(model.focus == nil)
        #expect(Set(seen) == Set(Pane.allCases).subtracting([.peers]))
        #expect(seen.count == Set(seen).count)
    }

    @Test func aRegisterIsEditedInPlace() {
        var model = model()
        _ = press(&model, [.character("2")])
        // Typed at the command line: nothing is focused by it.
        #expect(model.focus == nil)
        _ = press(&model, [.function(4), .function(4)])
        #expect(model.focus == .registers)
        let effects = press(
            &model, [.down, .down, .enter] + "deadbeef".unicodeScalars.map(Key.character) + [.enter])
        #expect(effects == [.execute("set $ecx = 0xdeadbeef", echo: true)])
    }

    @Test func anEditIsLeftWithEscape() {
        var model = model()
        _ = press(&model, [.function(4), .function(4), .enter, .character("f")])
        let drawn = model.view()
        #expect(drawn.cursor != nil)
        #expect(press(&model, [.escape]).isEmpty)
        #expect(model.focus == .registers)
        #expect(press(&model, [.escape]).isEmpty)
        #expect(model.focus == nil)
    }

    @Test func anExpressionIsAskedForAndShownBeforeItIsSet() {
        var model = model()
        _ = press(&model, [.function(4), .function(4), .enter])
        #expect(press(&model, "$ebx".unicodeScalars.map(Key.character)).last == .evaluate("$ebx"))
        _ = model.update(.evaluated("$eb", .success(1)))
        #expect(!model.view().text(row: 48).contains("Enter sets"))
        _ = model.update(.evaluated("$ebx", .success(0x1234)))
        #expect(model.view().text(row: 48).contains("$eax = $ebx   Enter sets 0x00001234"))
        #expect(press(&model, [.enter]) == [.execute("set $eax = $ebx", echo: true)])
        // What cannot be evaluated is not set.
        _ = press(&model, [.enter] + "$nix".unicodeScalars.map(Key.character))
        _ = model.update(.evaluated("$nix", .failure(Event.Refusal("there is no $nix"))))
        #expect(press(&model, [.enter]).isEmpty)
        #expect(model.view().text(row: 49).contains("$nix: there is no $nix"))
        #expect(press(&model, [.escape]).isEmpty)
    }

    @Test func whatIsTypedReplacesWhatWasThere() {
        var model = model()
        _ = press(&model, [.function(4), .function(4), .enter])
        // The first key clears the field, and digits come in from the right.
        #expect(
            press(&model, [.character("1"), .character("2"), .enter]) == [
                .execute("set $eax = 0x00000012", echo: true)
            ])
        // Nothing typed, nothing set.
        #expect(press(&model, [.enter, .enter]).isEmpty)
        // More digits than the register has are said, and not cut; the edit goes on.
        let tooMany = "123456789".unicodeScalars.map(Key.character)
        #expect(press(&model, [.enter] + tooMany + [.enter]).isEmpty)
        #expect(model.view().text(row: 49).contains("123456789: it has more than 8 digits"))
        #expect(press(&model, [.backspace, .enter]) == [.execute("set $eax = 0x12345678", echo: true)])
    }

    @Test func aFlagIsFlipped() {
        var model = model()
        _ = press(&model, [.function(4), .function(4)])
        let downs = [Key](repeating: .down, count: 9)
        #expect(press(&model, downs + [.left, .character(" ")]) == [.execute("set $cf = 1", echo: true)])
        #expect(press(&model, [.right, .enter]) == [.execute("set $pf = 0", echo: true)])
    }

    @Test func aHiddenPartOfASegmentIsEdited() {
        var model = MadeUp.model(Size(width: 120, height: 60), MadeUp.guest())
        while model.focus != .system { _ = press(&model, [.function(4)]) }
        let effects = press(&model, [.right, .enter, .character("1"), .enter])
        #expect(effects == [.execute("sregs set cs.base = 0x00000001", echo: true)])
    }

    @Test func aByteIsEditedAndTheNextFollows() {
        var model = model()
        while model.focus != .memory { _ = press(&model, [.function(4)]) }
        let effects = press(
            &model, [.enter] + "9090".unicodeScalars.map(Key.character) + [.escape])
        #expect(
            effects == [
                .execute("set *(u8*)0x7c00 = 0x90", echo: true),
                .execute("set *(u8*)0x7c01 = 0x90", echo: true),
            ])
    }

    @Test func aPhysicalByteIsWrittenAsOne() {
        var model = model()
        _ = model.update(
            .resolved(.memory, MemoryPlace(space: .physical, offset: 0xB8000, prefix: "p:", digits: 16)))
        while model.focus != .memory { _ = press(&model, [.function(4)]) }
        let effects = press(&model, [.enter, .character("4"), .character("1"), .escape])
        #expect(effects == [.execute("setpmem 0xb8000 1 0x41", echo: true)])
    }

    @Test func aStackSlotIsFollowed() {
        var model = model()
        _ = press(&model, [.function(2), .down, .enter])
        #expect(model.needs.memory == MemoryPlace(space: .linear, offset: 0x41, digits: 8))
    }

    @Test func breakpointsAreToggledAtTheCursor() {
        var model = model()
        #expect(press(&model, [.function(6)]) == [.execute("break 0x7c02", echo: true)])
        while model.focus != .code { _ = press(&model, [.function(4)]) }
        #expect(press(&model, [.down, .down, .enter]) == [.execute("delete 1", echo: true)])
    }

    /// An earlier stop: said in every title, and left with Esc; nothing of it is edited.
    @Test func thePastIsSaidAndNotEdited() {
        var guest = MadeUp.guest()
        guest.latest = 15
        guest.kept = 10...15
        var model = model(guest)
        let rows = (0..<50).map(model.view().text(row:))
        #expect(rows[0].contains("PAST: stop 12 of 15"))
        let high = MadeUp.model(Size(width: 120, height: 60), guest).view()
        #expect((0..<60).contains { high.text(row: $0).contains("System PAST") })
        for title in ["Registers PAST", "Code 16-bit, PAST", "Stack PAST", "Memory PAST"] {
            #expect(rows.contains { $0.contains(title) }, "\(title)")
        }
        #expect(press(&model, [.altLeft]) == [.revisit(11)])
        #expect(press(&model, [.altRight]) == [.revisit(13)])
        #expect(press(&model, [.escape]) == [.revisit(15)])
        _ = press(&model, [.function(4), .function(4)])
        #expect(press(&model, [.enter]).isEmpty)
        #expect(model.view().text(row: 49).contains("past"))
        #expect(press(&model, [.down, .enter, .character(" ")]).isEmpty)
        #expect(press(&model, [.character("["), .character("]")]) == [.revisit(11), .revisit(13)])
        #expect(press(&model, [.character("{"), .character("}")]) == [.revisit(10), .revisit(15)])
    }

    @Test func thePastEndsSomewhere() {
        var model = model()
        #expect(press(&model, [.altRight]).isEmpty)
        #expect(model.view().text(row: 49).contains("where the guest stands"))
        #expect(press(&model, [.altLeft]).isEmpty)
        #expect(model.view().text(row: 49).contains("no stop before"))
        var running = self.model(MadeUp.guest(running: true))
        #expect(press(&running, [.altLeft]).isEmpty)
        #expect(running.view().text(row: 49).contains("the guest runs"))
    }

    @Test func eachPaneIsSearchedInItsWay() {
        var model = model()
        func search(_ pane: Pane, _ text: String) -> [Effect] {
            while model.focus != pane { _ = press(&model, [.function(4)]) }
            return press(&model, [.character("/")] + text.unicodeScalars.map(Key.character) + [.enter])
        }
        #expect(
            search(.memory, "55 aa") == [
                .findBytes("55 aa", after: MemoryPlace(space: .linear, offset: 0x7C00))
            ])
        #expect(search(.code, "int") == [.findCode("int", after: 0x7C02)])
        #expect(press(&model, [.alt("n")]) == [.findCode("int", after: 0x7C02)])
        #expect(search(.registers, "$esi").isEmpty)
        #expect(
            press(&model, [.enter, .character("f"), .enter]) == [
                .execute("set $esi = 0x0000000f", echo: true)
            ])
        // By value, and on to the next with it.
        #expect(search(.registers, "0x7").isEmpty)
        #expect(press(&model, [.alt("n")]).isEmpty)
        #expect(search(.registers, "zf").isEmpty)
        #expect(press(&model, [.character(" ")]) == [.execute("set $zf = 0", echo: true)])
        _ = search(.registers, "nonsense")
        #expect(model.view().text(row: 49).contains("no register \"nonsense\""))
    }

    @Test func controlC() {
        var running = model(MadeUp.guest(running: true))
        #expect(running.update(.interrupt(at: 0)) == [.interrupt])
        #expect(running.update(.interrupt(at: 10)) == [.interrupt])
        var stopped = model()
        #expect(stopped.update(.interrupt(at: 5_000)) == [.clearLine])
        #expect(stopped.update(.interrupt(at: 6_500)) == [.clearLine])
        // A key in between begins anew.
        #expect(press(&stopped, [.character("s")]) == [.edit(.character("s"))])
        #expect(stopped.update(.interrupt(at: 6_900)) == [.clearLine])
        #expect(stopped.update(.interrupt(at: 7_000)) == [.quit])
    }

    @Test func stopKeyOnlyWhileRunning() {
        var stopped = model()
        #expect(press(&stopped, [.function(12)]).isEmpty)
        var running = model(MadeUp.guest(running: true))
        #expect(press(&running, [.function(12)]) == [.interrupt])
    }

    @Test func memoryIsPointedElsewhere() {
        var model = model()
        let keys: [Key] = [.function(7)] + "ds:si".unicodeScalars.map(Key.character) + [.enter]
        #expect(press(&model, keys) == [.resolve("ds:si", for: .memory)])
        let place = MemoryPlace(space: .segmented(base: 0x100), offset: 0xFFF0, prefix: "0010:", digits: 4)
        #expect(model.update(.resolved(.memory, place)) == [.refresh])
        #expect(model.needs.memory == place)
        while model.focus != .memory { _ = press(&model, [.function(4)]) }
        _ = model.update(.wheel(x: 80, y: model.layout.frame(of: .memory)?.content.y ?? 0, lines: 2))
        #expect(model.needs.memory?.offset == 0, "an offset wraps at its segment's end")
    }

    @Test func codeScrollsAndComesBack() {
        var model = model()
        while model.focus != .code { _ = press(&model, [.function(4)]) }
        _ = press(&model, [.pageDown])
        #expect(model.needs.codeScroll > 0)
        #expect(model.needs.codePinnedAt == 12)
        _ = press(&model, [.character(".")])
        #expect(model.needs.codeScroll == 0)
        #expect(model.needs.codeStart == nil)
    }

    @Test func panesHideZoomAndResize() throws {
        var model = model()
        while model.focus != .stack { _ = press(&model, [.function(4)]) }
        let before = try #require(model.layout.frame(of: .stack)).rect.height
        _ = press(&model, [.character("+")])
        #expect(try #require(model.layout.frame(of: .stack)).rect.height == before + 1)
        _ = press(&model, [.alt("z")])
        #expect(model.layout.frames.map(\.front) == [.vcpus, .stack])
        _ = press(&model, [.alt("z"), .delete])
        #expect(model.layout.frame(holding: .stack) == nil)
        #expect(model.focus == nil)
        #expect(model.view().text(row: 49).contains("Stack is hidden: Insert brings it back"))
        _ = press(&model, [.insert])
        #expect(model.layout.frame(of: .stack) != nil)
        _ = press(&model, [.function(4), .character("2"), .character(">")])
        let wide = try #require(model.layout.frame(of: .registers)).rect.width
        _ = press(&model, [.character("<"), .character("<")])
        #expect(try #require(model.layout.frame(of: .registers)).rect.width == wide - 2)
    }

    /// Answers have the full width, and say where more of them is.
    @Test(arguments: [
        Size(width: 80, height: 24), Size(width: 100, height: 30), Size(width: 120, height: 40),
    ])
    func aLongAnswerIsReadOnTheWholeScreen(_ size: Size) throws {
        var model = MadeUp.model(size, MadeUp.guest())
        let frame = try #require(model.layout.frame(of: .output))
        #expect(frame.rect.width == size.width)
        #expect(frame.content.height >= 6)
        _ = model.update(.entered("help"))
        _ = model.update(.output((0..<50).map { OutputLine("line \($0)") }))
        let above = 50 - frame.content.height
        #expect(model.view().text(row: size.height - 1).contains("\(above) more lines are above"))
        #expect(model.view().text(row: frame.rect.y).contains("Output \(above) lines above"))
        _ = press(&model, [.alt("z")])
        #expect(try #require(model.layout.frame(of: .output)).content.height > size.height - 6)
        #expect(press(&model, [.escape]).isEmpty)
        #expect(model.layout.frame(of: .code) != nil)
        // A short answer has nothing above it, whatever stood there before.
        _ = model.update(.entered("p 1"))
        _ = model.update(.output([OutputLine("$1 = 1")]))
        #expect(!model.view().text(row: frame.rect.y).contains("above"))
    }

    @Test func outputWrapsScrollsAndIsSearched() {
        var model = model()
        _ = model.update(.output((0..<200).map { OutputLine("line \($0)" + ($0 == 50 ? " needle" : "")) }))
        func shown() -> [String] { (0..<50).map { model.view().text(row: $0) } }
        #expect(shown().contains { $0.hasSuffix("line 199") })
        _ = press(&model, [.pageUp])
        #expect(!shown().contains { $0.hasSuffix("line 199") })
        _ = press(&model, [.function(3)] + "NEEDLE".unicodeScalars.map(Key.character) + [.enter])
        #expect(shown().contains { $0.hasSuffix("line 50 needle") })
        _ = model.update(.output([OutputLine("newest")]))
        #expect(shown().contains { $0.hasSuffix("newest") })
    }

    /// Long lines break after a blank, long words anywhere; nothing of them is lost.
    @Test(arguments: [20, 33, 66, 67, 68, 100, 150]) func longLinesAreShownWhole(_ length: Int) {
        var model = model()
        let words = (0..<length).map { $0 % 9 == 8 ? " " : "x" }.joined()
        _ = model.update(
            .output([
                OutputLine("("), OutputLine(words), OutputLine(String(repeating: "y", count: length)),
                OutputLine(")"),
            ]))
        let width = model.layout.frame(of: .output)?.content.width ?? 0
        let rows = (0..<50).map { model.view().text(row: $0) }
        let x = rows.filter { $0.contains("xx") }.map { $0.split(separator: "│").last ?? "" }
        let y = rows.filter { $0.contains("yy") }
        #expect(x.reduce(0) { $0 + $1.count { $0 == "x" } } == words.count { $0 == "x" })
        #expect(y.count == (length + width - 1) / width)
        for row in x.dropLast() { #expect(row.hasSuffix("xxxxxxxx"), "a word was broken") }
    }

    @Test func outputIsBounded() {
        var model = model()
        for _ in 0..<3 {
            _ = model.update(.output((0..<4_000).map { OutputLine("\($0)") }))
        }
        #expect(model.output.count == Model.outputLimit)
        #expect(model.output.last?.text == "3999")
    }

    @Test func aLongLineShowsItsCursor() throws {
        var model = model()
        let text = String(repeating: "a", count: 300) + "END"
        _ = model.update(.commandLine(CommandLine(prompt: "> ", text: text, cursor: 303)))
        let screen = model.view()
        let cursor = try #require(screen.cursor)
        #expect(cursor.x < 120)
        #expect(screen.text(row: 48).hasSuffix("END"))
    }

    @Test func onlyWhatIsShownIsNeeded() {
        let small = MadeUp.model(Size(width: 80, height: 24), MadeUp.guest())
        #expect(small.needs.memoryBytes == 0)
        #expect(!small.needs.debugRegisters)
        #expect(small.needs.codeLines > 5)
        let large = MadeUp.model(Size(width: 200, height: 60), MadeUp.guest())
        #expect(large.needs.memoryBytes % 16 == 0)
        #expect(large.needs.memoryBytes > 0)
        #expect(large.needs.debugRegisters)
    }
}
