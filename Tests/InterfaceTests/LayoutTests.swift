import Commands
import Debugger
import GuestView
import Testing
import X86

@testable import Interface

/// The user's layouts, at the sizes that terminals have.
@Suite struct LayoutTests {
    static let sizes = [
        Size(width: 80, height: 24), Size(width: 100, height: 30), Size(width: 120, height: 40),
        Size(width: 200, height: 60), Size(width: 40, height: 12), Size(width: 165, height: 20),
    ]

    private func frames(
        _ layout: ScreenLayout, _ size: Size, vcpus: Int = 1, raised: Pane? = nil
    ) -> Layout {
        var wishes = LayoutWishes(layout)
        if let raised { wishes.raise(raised) }
        return Layout(size: size, vcpus: vcpus, isLong: true, wishes: wishes)
    }

    /// Each pane has a place, and is shown once it is wanted; no two lie on each other.
    @Test(arguments: ScreenLayout.allCases, sizes) func everyPaneHasItsPlace(
        _ layout: ScreenLayout, _ size: Size
    ) {
        for vcpus in [1, 4] {
            let panes = Pane.allCases.filter { vcpus > 1 || $0 != .peers }
            let whole = frames(layout, size, vcpus: vcpus)
            for frame in whole.frames {
                #expect(
                    frame.rect.x >= 0 && frame.rect.maxX <= size.width && frame.rect.maxY <= whole.commandRow)
                #expect(frame.rect.height >= 2 && frame.rect.width >= 10, "\(layout) \(size) \(frame)")
            }
            var cells: Set<Int> = []
            for rect in whole.frames.map(\.rect) {
                for y in rect.y..<rect.maxY {
                    for x in rect.x..<rect.maxX {
                        #expect(
                            cells.insert(y * size.width + x).inserted, "\(layout) \(size): \(x) \(y) twice")
                    }
                }
            }
            guard size.height >= 20 else { continue }
            for pane in panes {
                let shown = frames(layout, size, vcpus: vcpus, raised: pane)
                #expect(shown.frame(of: pane) != nil, "\(layout) \(size): \(pane)")
            }
        }
    }

    /// What each layout is for has the room.
    @Test(arguments: sizes.prefix(4)) func theNamedPaneHasTheRoom(_ size: Size) {
        func rows(_ layout: ScreenLayout, _ pane: Pane) -> Int {
            frames(layout, size).frame(of: pane)?.content.height ?? 0
        }
        #expect(rows(.kernel, .code) > rows(.boot, .code))
        #expect(rows(.exits, .exits) > rows(.boot, .exits))
        #expect(rows(.wide, .output) > rows(.boot, .output))
        #expect(
            rows(.boot, .stack) >= (size.height >= 40 ? 6 : size.height >= 30 ? 2 : 0),
            "\(rows(.boot, .stack))")
        // Output has the whole width, whatever stands above it.
        for layout in ScreenLayout.allCases {
            #expect(frames(layout, size).frame(of: .output)?.content.width == size.width)
        }
    }

    @Test(arguments: ScreenLayout.allCases) func theModelTakesIt(_ layout: ScreenLayout) {
        var model = MadeUp.model(Size(width: 120, height: 40), MadeUp.guest())
        _ = model.update(.key(.alt("z")))
        #expect(model.update(.layout(layout)) == [.refresh])
        #expect(model.wishes == LayoutWishes(layout))
    }

    @Test func altLGoesToTheNext() {
        var model = MadeUp.model(Size(width: 120, height: 40), MadeUp.guest())
        _ = model.update(.commandLine(CommandLine(prompt: "> ", text: "", cursor: 0)))
        #expect(model.update(.key(.alt("l"))) == [.execute("layout next", echo: false)])
        #expect(model.update(.key(.alt("s"))) == [.execute("save screen", echo: true)])
        // With something typed it is the line editor's own.
        _ = model.update(.commandLine(CommandLine(prompt: "> ", text: "ABC", cursor: 1)))
        #expect(model.update(.key(.alt("l"))) == [.edit(.alt("l"))])
    }

    // MARK: Leaving

    @Test func aGuestThatHasRunIsNotLostUnasked() {
        var model = Model(size: Size(width: 80, height: 24), endsGuest: true)
        _ = model.update(.guest(MadeUp.guest()))
        #expect(model.update(.interrupt(at: 0)) == [.clearLine])
        #expect(model.update(.interrupt(at: 100)).isEmpty)
        #expect(model.view().text(row: 22).contains("quit? (y or n)"))
        #expect(model.update(.key(.character("n"))).isEmpty)
        #expect(!model.view().text(row: 22).contains("quit?"))
        _ = model.update(.interrupt(at: 200))
        _ = model.update(.interrupt(at: 300))
        #expect(model.update(.key(.character("y"))) == [.quit])
        // Ctrl-D asks, too; the second one is an answer.
        #expect(model.update(.leave).isEmpty)
        #expect(model.view().text(row: 22).contains("quit? (y or n)"))
        #expect(model.update(.leave) == [.quit])
        // Another program's guest goes on.
        var attached = Model(size: Size(width: 80, height: 24))
        _ = attached.update(.guest(MadeUp.guest()))
        _ = attached.update(.interrupt(at: 0))
        #expect(attached.update(.interrupt(at: 100)) == [.quit])
    }

    // MARK: Exits

    private func exits(_ size: Size = Size(width: 120, height: 40), kinds: Int = 3) -> Model {
        var guest = MadeUp.guest()
        guest.exits = ExitTable(total: 60, rate: 12, recent: [])
        guest.exits.rows = (0..<kinds).map { index in
            var row = ExitTable.Row(
                name: "IO 0x\(index)", count: UInt64(60 - index), rate: 1, total: UInt64(index * 1000),
                maximum: 9000)
            (row.median, row.high) = (1000, 5000)
            return row
        }
        return MadeUp.model(size, guest)
    }

    private func text(_ model: Model) -> [String] {
        let screen = model.view()
        return (0..<screen.size.height).map { screen.text(row: $0) }
    }

    @Test func f6SortsTheExits() {
        var model = exits()
        while model.focus != .exits { _ = model.update(.key(.function(4))) }
        #expect(model.exitOrder == .count)
        for order in [ExitOrder.time, .name, .count] {
            #expect(model.update(.key(.function(6))).isEmpty)
            #expect(model.exitOrder == order)
        }
        _ = model.update(.key(.function(6)))
        #expect(model.exitOrder.sorted(model.guest?.exits.rows ?? []).first?.name == "IO 0x2")
        #expect(text(model).contains { $0.contains("by time") })
    }

    @Test func percentilesAreShownWhereThereIsRoom() {
        let wide = text(exits(Size(width: 200, height: 60))).joined(separator: "\n")
        for word in ["p50", "p99", "Max", "1.0us", "5.0us", "9.0us"] {
            #expect(wide.contains(word), "\(word)")
        }
    }

    /// Columns that have no room are left out, and none is drawn over another.
    @Test func aNarrowPaneHasFewerColumns() {
        var model = exits(Size(width: 40, height: 12))
        while model.focus != .exits { _ = model.update(.key(.function(4))) }
        #expect(
            text(model).contains { $0.contains("Exit") && $0.contains("Count") && !$0.contains("Rate/s") })
    }

    @Test func thatThereAreMoreKindsIsSaid() {
        let model = exits(Size(width: 100, height: 30), kinds: 40)
        #expect(text(model).contains { $0.contains("more kinds") })
    }

    @Test func theRatesCourseIsDrawn() {
        var model = exits()
        var guest = MadeUp.guest(running: true)
        for rate in [1.0, 2, 4, 8] {
            guest.exits.rate = rate
            _ = model.update(.guest(guest))
        }
        #expect(text(model).contains { $0.contains("Rate") && $0.contains("\u{2588}") })
        for _ in 0..<200 { _ = model.update(.guest(guest)) }
        #expect(model.exitRates.count == Model.longestRates)
    }

    // MARK: What has no room

    /// Nothing ends at a pane's edge as though it ended there.
    @Test(arguments: sizes) func whatIsCutIsMarked(_ size: Size) {
        var brush = Brush(Screen(size: size), Rect(x: 0, y: 0, width: 10, height: 1))
        brush.put("0123456789")
        #expect(brush.cell(onScreen: 9, 0).scalar == 0x39)
        brush.go(0, 0)
        brush.put("0123456789a")
        #expect(brush.cell(onScreen: 9, 0).scalar == Brush.cut)
        brush.go(0, 0)
        brush.put("012345678   ")
        #expect(brush.cell(onScreen: 8, 0).scalar == 0x38)
        _ = brush.finish()
    }
}
