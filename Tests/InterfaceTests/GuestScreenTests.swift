import DebugTarget
import Debugger
import GuestView
import Testing

@testable import Interface

/// The guest's text screen in the console pane.
@Suite struct GuestScreenTests {
    private func guest() -> GuestView {
        var cells = [ScreenContents.Cell](
            repeating: .init(character: 0x20, attribute: 0x07), count: 80 * 25)
        for (index, byte) in "grub> ".utf8.enumerated() {
            cells[24 * 80 + index] = .init(character: byte, attribute: 0x07)
        }
        cells[23 * 80] = .init(character: 0xDB, attribute: 0x07)
        cells[23 * 80 + 1] = .init(character: 0x41, attribute: 0x1F)
        var guest = MadeUp.guest()
        guest.console = ConsoleText(
            name: "screen",
            screen: ScreenContents(columns: 80, rows: 25, cells: cells, cursor: 24 * 80 + 6))
        return guest
    }

    private func focused() -> Model {
        var model = MadeUp.model(Size(width: 170, height: 50), guest())
        for _ in 0..<20 where model.focus != .console { _ = model.update(.key(.function(4))) }
        return model
    }

    @Test func theRowsAroundTheCursorAreDrawn() throws {
        let model = focused()
        #expect(model.focus == .console)
        let screen = model.view()
        let content = try #require(model.layout.frame(of: .console)?.content)
        let rows = (0..<content.height).map { row in
            (0..<content.width).map { screen[content.x + $0, content.y + row] }
        }
        let texts = rows.map { row in String(row.compactMap { Unicode.Scalar($0.scalar).map(Character.init) })
        }
        let row = try #require(texts.firstIndex { $0.hasPrefix("grub>") })
        #expect(rows[row][6].look.attributes.contains(.underline))
        try #require(row > 0)
        #expect(rows[row - 1][0].scalar == 0x2588)
        #expect(rows[row - 1][1].look.attributes == [.reverse, .bold])
    }

    @Test(arguments: [
        (Key.character("r"), TypedKey.byte(0x72)), (.character(" "), .byte(0x20)),
        (.character("+"), .byte(0x2B)),
        (.enter, .named("enter")), (.escape, .named("esc")), (.tab, .named("tab")), (.up, .named("up")),
        (.pageDown, .named("pgdn")), (.control("a"), .byte(0x01)),
    ]) func keysGoToTheGuest(_ key: Key, _ typed: TypedKey) {
        var model = focused()
        #expect(model.update(.key(key)) == [.typeToGuest(typed)])
    }

    @Test func theFooterSaysWhatTheKeysDo() {
        let model = focused()
        let hints = model.view().text(row: 49)
        #expect(hints.hasPrefix("keysTo the guest  F4Leave  Alt-cNext console"), "\(hints)")
        // These are the guest's.
        for other in ["Esc", "+-<>", "Del", "?"] { #expect(!hints.contains(other), "\(hints)") }
    }

    @Test func thatAStoppedGuestGetsKeysLaterIsSaidOnce() {
        var model = focused()
        _ = model.update(.key(.character("a")))
        #expect(model.notice == "the guest is stopped: it gets the keys when it runs; F4 leaves")
        _ = model.update(.key(.character("b")))
        #expect(model.notice == nil)
        // At the next stop once more, and not while it runs.
        var running = guest()
        running.isRunning = true
        _ = model.update(.guest(running))
        _ = model.update(.key(.character("c")))
        #expect(model.notice == nil)
        _ = model.update(.guest(guest()))
        _ = model.update(.key(.character("d")))
        #expect(model.notice != nil)
    }

    @Test func f4LeavesAndTheCommandLineHasItsKeys() {
        var model = focused()
        while model.focus != nil { _ = model.update(.key(.function(4))) }
        #expect(model.update(.key(.character("r"))) == [.edit(.character("r"))])
    }
}
