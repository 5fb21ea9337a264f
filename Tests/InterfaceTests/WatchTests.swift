import Commands
import Monitor
import RecordedHosts
import Testing

@testable import Interface

@Suite struct WatchTests {
    static let sizes = [Size(width: 80, height: 24), Size(width: 200, height: 60)]

    /// The screen after some seconds of a busy host.
    private func model(
        _ size: Size, _ host: RecordedHost = .busy(), seconds: UInt64 = 30, only: Int32? = nil
    ) throws -> WatchModel {
        var model = WatchModel(size: size, names: host.names, badge: host.badge, only: only)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        for step in 0..<seconds {
            host.passBusily(step % 7)
            var sample = try monitor.sample()
            sample.wallTime = 1_800_000_000 + Double(step)
            #expect(model.update(.sample(sample)) == [])
        }
        return model
    }

    private func press(_ model: inout WatchModel, _ keys: Key...) -> [WatchEffect] {
        keys.flatMap { model.update(.key($0)) }
    }

    private func text(_ model: WatchModel) -> String {
        let screen = model.view()
        return (0..<screen.size.height).map { screen.text(row: $0) }.joined(separator: "\n")
    }

    @Test(arguments: sizes) func guests(_ size: Size) throws {
        expectRecorded(try model(size).view(), "watch-guests-\(size.width)x\(size.height)")
    }

    @Test(arguments: sizes) func vcpus(_ size: Size) throws {
        var model = try model(size)
        #expect(press(&model, .enter) == [])
        expectRecorded(model.view(), "watch-vcpus-\(size.width)x\(size.height)")
    }

    @Test(arguments: sizes) func reasons(_ size: Size) throws {
        var model = try model(size)
        _ = press(&model, .enter, .enter)
        expectRecorded(model.view(), "watch-reasons-\(size.width)x\(size.height)")
    }

    @Test(arguments: sizes) func details(_ size: Size) throws {
        var model = try model(size)
        // RIPs are counted for as long as they are looked at.
        #expect(press(&model, .enter, .enter, .enter) == [.countInstructionPointers(true)])
        expectRecorded(model.view(), "watch-details-\(size.width)x\(size.height)")
        #expect(press(&model, .escape) == [.countInstructionPointers(false)])
    }

    @Test(arguments: sizes) func help(_ size: Size) throws {
        var model = try model(size)
        _ = press(&model, .character("h"))
        expectRecorded(model.view(), "watch-help-\(size.width)x\(size.height)")
        _ = press(&model, .escape)
        #expect(!model.showsHelp)
    }

    @Test func everySizeIsDrawn() throws {
        var model = try model(Size(width: 80, height: 24))
        for width in stride(from: 1, through: 220, by: 7) {
            for height in stride(from: 1, through: 70, by: 5) {
                _ = model.update(.resized(Size(width: width, height: height)))
                #expect(model.view().size == Size(width: width, height: height))
            }
        }
    }

    @Test func escapeGoesOutTheWayThatEnterWentIn() throws {
        var model = try model(Size(width: 80, height: 24))
        _ = press(&model, .enter)
        #expect(model.selection == Selection(process: 1200))
        #expect(model.table == .vcpus)
        _ = press(&model, .enter)
        #expect(model.selection == Selection(process: 1200, thread: 1201))
        _ = press(&model, .enter)
        #expect(model.selection.reason == ReasonKey(.hardware, 1 << 32 | 30))
        _ = press(&model, .escape)
        #expect(model.table == .reasons)
        _ = press(&model, .escape, .escape)
        #expect(model.selection == Selection())
        #expect(model.table == .guests)
        #expect(press(&model, .escape) == [])
        // A single guest has nothing above it.
        var single = try self.model(Size(width: 80, height: 24), only: 1200)
        _ = press(&single, .escape)
        #expect(single.selection == Selection(process: 1200))
    }

    @Test func theCursorMovesAllTables() throws {
        var model = try model(Size(width: 80, height: 24))
        let now = try #require(model.report?.sample.number)
        _ = press(&model, .left, .left, .left)
        #expect(model.report?.sample.number == now - 3)
        #expect(text(model).contains("looking at -3"))
        // Of the second with number 26 of 30, whose step was 26 % 7.
        _ = press(&model, .tab)
        #expect(
            model.reasonRows.first { $0.name == "IO_INSTRUCTION" }?.count == 300 + UInt64((now - 4) % 7) * 10)
        _ = press(&model, .end)
        #expect(model.cursor == nil)
        _ = press(&model, .home)
        #expect(model.report?.sample.number == model.history.numbers.lowerBound)
        _ = press(&model, .left)
        #expect(model.report?.sample.number == model.history.numbers.lowerBound)
    }

    @Test func frozenStandsAndSortingGoesOn() throws {
        let host = RecordedHost.busy()
        var model = WatchModel(size: Size(width: 80, height: 24), names: host.names, badge: host.badge)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.passBusily(1)
        _ = model.update(.sample(try monitor.sample()))
        _ = press(&model, .character(" "))
        let before = model.report?.sample.number
        host.passBusily(5)
        _ = model.update(.sample(try monitor.sample()))
        #expect(model.report?.sample.number == before)
        #expect(text(model).contains("FROZEN"))
        #expect(model.guestRows.map(\.process) == [1200, 1300, 1400])
        for _ in 0..<7 { _ = press(&model, .character("o")) }
        #expect(model.order(.guests).name == "PID")
        _ = press(&model, .character("o"))
        #expect(model.order(.guests).name == "exits/s")
        _ = press(&model, .character(" "))
        #expect(model.report?.sample.number != before)
        #expect(!text(model).contains("FROZEN"))
    }

    @Test func guestsAreFoundByNameAndDelaysAreChecked() throws {
        var model = try model(Size(width: 80, height: 24))
        _ = press(&model, .character("g"))
        for scalar in "1300".unicodeScalars { _ = press(&model, .character(scalar)) }
        _ = press(&model, .enter)
        #expect(model.selection.process == 1300)
        _ = press(&model, .character("g"), .character("w"), .enter)
        #expect(model.selection.process == 1200)
        _ = press(&model, .character("g"), .character("\u{1B}"), .character("z"), .enter)
        #expect(model.message == #"no guest here is called "\x1bz" or has that process id"#)
        _ = press(&model, .character("s"), .control("u"), .character("0"), .enter)
        #expect(model.message == #"a delay is from 0.1 to 3600 seconds, not "0""#)
        #expect(press(&model, .character("s"), .control("u"), .character("5"), .enter) == [.setDelay(5)])
        #expect(press(&model, .character("q")) == [.quit])
    }

    @Test func hostileNamesAreHarmless() throws {
        for size in Self.sizes {
            var model = try model(size)
            _ = model.update(.problem("a\u{1B}[2J\nb"))
            for cell in model.view().cells where cell.scalar != 0 {
                let category = Unicode.Scalar(cell.scalar)?.properties.generalCategory
                #expect(category != .control && category != .format && category != .lineSeparator)
            }
            #expect(text(model).contains("db \"primary\"\\x"))
        }
    }

    @Test func whatNoSourceTellsIsADash() throws {
        let host = RecordedHost(way: .proc)
        host.add(1200, "web")
        var model = WatchModel(
            size: Size(width: 80, height: 24), names: host.names,
            badge: SourceBadge(.proc, missing: ["no BPF: it is refused; run kvmscope as root"]))
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass()
        _ = model.update(.sample(try monitor.sample()))
        let text = text(model)
        #expect(text.contains("source /proc"))
        #expect(text.contains("no BPF: it is refused; run kvmscope as root"))
        #expect(text.contains("exits are not known"))
        #expect(model.guestRows[0].exitsPerSecond == nil)
        _ = press(&model, .tab)
        #expect(self.text(model).contains("exits: - (no source tells them"))
    }

    @Test func lossesStayInTheTitle() throws {
        let host = RecordedHost.busy()
        var model = WatchModel(size: Size(width: 80, height: 24), names: host.names, badge: host.badge)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.losses.unkept = 5
        host.passBusily()
        _ = model.update(.sample(try monitor.sample()))
        host.passBusily()
        _ = model.update(.sample(try monitor.sample()))
        #expect(text(model).contains("no room 5"))
        _ = press(&model, .character("r"))
        #expect(text(model).contains("nothing lost"))
        #expect(model.history.count == 0)
    }

    @Test func aTableThatIsLongerThanTheScreenScrolls() throws {
        let host = RecordedHost()
        for number in 0..<50 as Range<Int32> { host.add(1000 + number * 10, "guest \(number)") }
        var model = WatchModel(size: Size(width: 80, height: 24), names: host.names, badge: host.badge)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        host.pass()
        _ = model.update(.sample(try monitor.sample()))
        #expect(text(model).contains("more"))
        for _ in 0..<60 { _ = press(&model, .down) }
        #expect(text(model).contains("guest 49"))
        _ = press(&model, .enter)
        #expect(model.selection.process == 1490)
    }

    @Test func brailleFillsFromBelow() {
        #expect(WatchModel.braille(left: 0, right: 0) == 0)
        #expect(WatchModel.braille(left: 1, right: 0) == 0x40)
        #expect(WatchModel.braille(left: 4, right: 4) == 0xFF)
        #expect(WatchModel.braille(left: 9, right: -3) == 0x47)
        #expect(Sparkline.text([nil, 0, 1, 8], width: 4) == "- \u{2581}\u{2588}")
        #expect(WatchModel.shade(0).digit == 0x30)
        #expect(WatchModel.shade(999).digit == 0x33)
    }
}
