import Debugger
import GuestView
import Interface
import Testing
import X86

@Suite struct ViewTests {
    static let sizes = [
        Size(width: 80, height: 24), Size(width: 120, height: 40), Size(width: 200, height: 60),
    ]

    @Test(arguments: sizes) func realMode(_ size: Size) {
        let model = MadeUp.model(size, MadeUp.guest())
        expectRecorded(model.view(), "real-\(size.width)x\(size.height)")
    }

    @Test(arguments: sizes) func longModeWithTwoVCPUs(_ size: Size) {
        let model = MadeUp.model(size, MadeUp.guest(vcpus: 3, long: true))
        expectRecorded(model.view(), "long-\(size.width)x\(size.height)")
    }

    @Test func help() {
        var model = MadeUp.model(Size(width: 80, height: 24), MadeUp.guest())
        _ = model.update(.key(.function(1)))
        expectRecorded(model.view(), "help-80x24")
        _ = model.update(.key(.pageDown))
        _ = model.update(.key(.pageDown))
        _ = model.update(.key(.pageDown))
        #expect((0..<24).contains { model.view().text(row: $0).contains("could not be read") })
        _ = model.update(.key(.escape))
        #expect((0..<24).allSatisfy { !model.view().text(row: $0).contains("could not be read") })
    }

    /// Names and words of others are shown and do nothing, wherever they are drawn.
    @Test(arguments: sizes) func hostileNamesAreHarmless(_ size: Size) {
        let hostile = "a\u{1B}[2J\u{9B}\u{7F}\u{202E}\u{2066}\u{FEFF}\u{2028}\u{E0001}b"
        var guest = MadeUp.guest(vcpus: 2, long: true)
        guest.name = hostile
        guest.console.name = hostile
        guest.console.bytes = Array(hostile.utf8)
        var model = MadeUp.model(size, guest)
        _ = model.update(.output([OutputLine(hostile)]))
        _ = model.update(.entered(hostile))
        _ = model.update(.commandLine(CommandLine(prompt: hostile, text: hostile, cursor: 3, isVi: false)))
        _ = model.update(.unresolved(hostile))
        let screen = model.view()
        for cell in screen.cells where cell.scalar != 0 {
            let category = Unicode.Scalar(cell.scalar)?.properties.generalCategory
            #expect(category != .control && category != .format && category != .lineSeparator)
        }
        #expect((0..<size.height).contains { screen.text(row: $0).contains("a\\x1b[2J\\x9b") })
    }

    @Test func runningIsSaid() {
        let model = MadeUp.model(Size(width: 80, height: 24), MadeUp.guest(running: true))
        #expect(model.view().text(row: 0).contains("running"))
        #expect(model.view().text(row: 1).contains("running"))
    }

    /// How long another program's guest was stopped, and how far apart its vCPUs stopped, as far as there is room.
    @Test func theSpreadIsInTheTitle() {
        func title(_ width: Int, _ name: String) -> String {
            var guest = MadeUp.guest(vcpus: 2)
            guest.name = name
            guest.standstill = .microseconds(637)
            guest.spread = .nanoseconds(21_300)
            return MadeUp.model(Size(width: width, height: width / 3), guest).view().text(row: 0)
        }
        let wide = title(132, "debian (QEMU, process 77)")
        #expect(wide.contains(" stopped for 637.0us, vCPUs stopped within 21.3us, stop 12 "), "\(wide)")
        let common = title(120, "debian (QEMU, process 77)")
        #expect(common.contains(" stopped 637.0us, within 21.3us, stop 12 "), "\(common)")
        #expect(title(80, "a").contains(" 637.0us, within 21.3us, stop 12 "), "\(title(80, "a"))")
        let long = title(80, "debian (QEMU, process 77)")
        // The name gives way, not the figures.
        #expect(long.contains(" de.., stepped 1 instruction ─"), "\(long)")
        let middle = title(90, "debian (QEMU, process 77)")
        #expect(middle.contains(" debian, stepped 1 instruction ─"), "\(middle)")
        #expect(middle.contains(" 637.0us, within 21.3us, stop 12 "), "\(middle)")
        #expect(long.contains(" 637.0us, within 21.3us, stop 12 "), "\(long)")
        for name in [
            "a-guest-of-a-long-name-and-more (QEMU, process 77)", String(repeating: "ä", count: 200),
        ] {
            let cut = title(80, name)
            #expect(cut.contains(".., stepped 1 instruction ─"), "\(cut)")
            #expect(cut.contains(" 637.0us, within 21.3us, stop 12 "), "\(cut)")
        }
        #expect(title(132, "debian (QEMU, process 77)").contains("debian (QEMU, process 77), stepped"))
        // One vCPU is alone.
        var guest = MadeUp.guest()
        guest.standstill = .microseconds(637)
        let screen = MadeUp.model(Size(width: 120, height: 40), guest).view()
        #expect(screen.text(row: 0).contains(" stopped for 637.0us, stop 12 "))
    }

    /// A list that does not fit says so.
    @Test func moreVCPUsThanRowsAreSaid() {
        let size = Size(width: 80, height: 24)
        #expect(MadeUp.model(size, MadeUp.guest(vcpus: 20)).view().text(row: 0).contains("of 20 shown"))
        #expect(!MadeUp.model(size, MadeUp.guest(vcpus: 1)).view().text(row: 0).contains("shown"))
    }

    /// Whatever the size, a screen has its cells, and nothing traps.
    @Test(
        arguments: [1, 2, 9, 10, 11, 17, 24, 33, 60, 200], [1, 20, 39, 40, 41, 79, 80, 118, 165, 200, 400])
    func anySize(_ height: Int, _ width: Int) {
        let size = Size(width: width, height: height)
        for vcpus in [1, 2, 64] {
            var model = MadeUp.model(size, MadeUp.guest(vcpus: vcpus, long: vcpus == 2))
            for key: Key in [
                .function(4), .down, .enter, .escape, .function(2), .enter, .alt("z"), .character("6"),
                .down, .enter, .character("f"), .escape, .delete, .function(1),
            ] {
                _ = model.update(.key(key))
                #expect(model.view().cells.count == width * height)
            }
        }
    }

    /// Frames cover the body without overlap.
    @Test(arguments: [10, 17, 24, 40, 60], [40, 80, 120, 170, 250])
    func framesDoNotOverlap(_ height: Int, _ width: Int) {
        for vcpus in [1, 4] {
            let layout = Layout(size: Size(width: width, height: height), vcpus: vcpus)
            var owners: [Int: Int] = [:]
            for rect in layout.frames.map(\.rect) + layout.separators {
                for y in rect.y..<rect.maxY {
                    for x in rect.x..<rect.maxX { owners[y * width + x, default: 0] += 1 }
                }
            }
            #expect(owners.count == width * (height - 2))
            #expect(owners.values.allSatisfy { $0 == 1 })
        }
    }

    @Test func unreadIsNeverZero() throws {
        var guest = MadeUp.guest()
        guest.debug = nil
        guest.memory.bytes = Array(repeating: nil, count: 320)
        guest.stack = [StackLine(offset: 0, linear: 0, width: 2, value: nil)]
        let screen = MadeUp.model(Size(width: 200, height: 60), guest).view()
        let rows = (0..<60).map(screen.text(row:))
        #expect(rows.contains { $0.contains("dr0-dr7 ??") })
        #expect(rows.contains { $0.contains("?? ?? ?? ??") })
        #expect(rows.contains { $0.contains("> 0000  ??") })
    }

    @Test func setFlagsAreUpperCaseAndBold() throws {
        let screen = MadeUp.model(Size(width: 80, height: 24), MadeUp.guest()).view()
        let row = try #require((0..<24).first { screen.text(row: $0).contains("cf PF af ZF sf tf IF df of") })
        let text = Array(screen.text(row: row).unicodeScalars)
        let zf = try #require(text.indices.first { text[$0] == "Z" })
        #expect(screen[zf, row].look.attributes == [.bold, .underline])
        #expect(screen[zf - 6, row].look.attributes == [.bold])
        #expect(screen[1, row].look.attributes == [.dim])
    }

    @Test func consoleIsATerminalsText() {
        var guest = MadeUp.guest()
        guest.console.bytes = Array("ab\rX\nlong\u{8}G\n\tT\u{1B}[31mred\u{7}\n".utf8) + [0x80]
        let model = MadeUp.model(Size(width: 200, height: 60), guest)
        let screen = model.view()
        let rows = (0..<60).map(screen.text(row:))
        for wanted in ["Xb", "lonG", "        Tred", "."] {
            #expect(rows.contains { $0.hasSuffix("│" + wanted) }, "\(wanted)")
        }
    }
}
