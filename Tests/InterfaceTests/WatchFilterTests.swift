import Commands
import Monitor
import RecordedHosts
import Testing

@testable import Interface

/// Filters, orders and the clock of the screen that watches the host.
@Suite struct WatchFilterTests {
    /// The screen after some seconds of a busy host.
    private func model(width: Int = 80, filter: ReasonFilter? = nil) throws -> WatchModel {
        let host = RecordedHost.busy()
        var model = WatchModel(
            size: Size(width: width, height: 24), names: host.names, badge: host.badge, filter: filter)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        for step in 0..<30 as Range<UInt64> { try pass(&model, host, monitor, step) }
        return model
    }

    private func pass(_ model: inout WatchModel, _ host: RecordedHost, _ monitor: Monitor, _ step: UInt64)
        throws
    {
        host.passBusily(step % 7)
        var sample = try monitor.sample()
        sample.wallTime = 1_800_000_000 + Double(step)
        _ = model.update(.sample(sample))
    }

    private func press(_ model: inout WatchModel, _ keys: Key...) -> [WatchEffect] {
        keys.flatMap { model.update(.key($0)) }
    }

    private func filter(_ model: inout WatchModel, _ text: String, by key: Key = .function(4)) {
        _ = press(&model, key, .control("u"))
        for scalar in text.unicodeScalars { _ = press(&model, .character(scalar)) }
        _ = press(&model, .enter)
    }

    private func text(_ model: WatchModel) -> String {
        let screen = model.view()
        return (0..<screen.size.height).map { screen.text(row: $0) }.joined(separator: "\n")
    }

    private func rate(_ model: WatchModel) -> Double? { model.series[model.shown ?? 0]?.exitsPerSecond }

    @Test func guestsAreFilteredByNameAndTheGraphIsOfThem() throws {
        var model = try model()
        let all = try #require(rate(model))
        let other = try #require(model.guestRows.first { $0.process == 1300 }?.exitsPerSecond)
        _ = press(&model, .function(4))
        #expect(text(model).contains("Filter guests (regular expression over name or PID):"))
        _ = press(&model, .escape)
        filter(&model, "DB .prim")
        #expect(model.guestRows.map(\.process) == [1300])
        #expect(other < all)
        #expect(rate(model) == other)
        #expect(text(model).contains("Host  filter of guests: DB .prim"))
        #expect(text(model).contains("Esc no filter"))
        // In another table it is not in force, and not said to be.
        _ = press(&model, .tab)
        #expect(!text(model).contains("filter of"))
        #expect(rate(model) == all)
        _ = press(&model, .backTab, .enter)
        #expect(model.selection.process == 1300)
        #expect(!text(model).contains("filter of"))
        _ = press(&model, .escape)
        #expect(text(model).contains("filter of guests: DB .prim"))
        // Escape takes it off, as there is nothing above.
        _ = press(&model, .escape)
        #expect(model.guestRows.count == 3)
        #expect(rate(model) == all)
        #expect(!text(model).contains("filter of"))
    }

    @Test func exitsAreFilteredInEveryTable() throws {
        var model = try model()
        let all = try #require(rate(model))
        _ = press(&model, .tab, .function(3))
        #expect(text(model).contains("Filter exits (regular expression over kvm_exit(HLT)):"))
        _ = press(&model, .escape)
        filter(&model, "hlt", by: .character("f"))
        #expect(model.reasonRows.map(\.name) == ["HLT"])
        #expect(all > 500)
        #expect(rate(model) == 40)
        _ = press(&model, .backTab)
        #expect(rate(model) == 40)
        #expect(model.guestRows.first?.exitsPerSecond == 40)
        #expect(text(model).contains("filter of exits: hlt"))
        // One that is none leaves the one before.
        _ = press(&model, .tab)
        filter(&model, "(")
        #expect(model.filters[.reasons]?.pattern == "hlt")
        #expect(text(model).contains("is no regular expression"))
        // As the table writes it.
        filter(&model, "to user")
        #expect(!model.reasonRows.isEmpty)
        #expect(model.reasonRows.allSatisfy { $0.key.level == .userspace })
        // Out of a guest only after the filter is off.
        _ = press(&model, .backTab, .enter)
        let inside = try #require(model.selection.process)
        _ = press(&model, .escape)
        #expect(model.selection.process == inside)
        #expect(model.filters.isEmpty)
        _ = press(&model, .escape)
        #expect(model.selection.process == nil)
        #expect(rate(model) == all)
    }

    @Test func vcpusAndPortsAreFiltered() throws {
        var model = try model()
        _ = press(&model, .enter)
        let all = try #require(rate(model))
        #expect(model.vcpuRows.count == 2)
        filter(&model, "vCPU 1")
        #expect(model.vcpuRows.map(\.id) == [1])
        let one = try #require(model.vcpuRows.first?.exitsPerSecond)
        #expect(rate(model) == one)
        #expect(one < all)
        _ = press(&model, .character("c"))
        #expect(rate(model) == all)
        _ = press(&model, .enter, .enter)
        #expect(model.table == .details)
        #expect(model.detailRows.count == 2)
        filter(&model, "3fd")
        #expect(model.detailRows.map(\.name) == ["port 0x3fd in"])
        #expect(text(model).contains("filter of where: 3fd"))
        // What was looked for there is nowhere else.
        _ = press(&model, .character("b"))
        #expect(model.filters.isEmpty)
        _ = press(&model, .character("c"))
        #expect(text(model).contains("no filter is in force here"))
    }

    @Test(arguments: [[], [.tab], [.enter], [.enter, .enter, .enter]] as [[Key]])
    func whatMatchesNothingSaysSo(_ keys: [Key]) throws {
        var model = try model()
        for key in keys { _ = press(&model, key) }
        filter(&model, "no such thing")
        #expect(text(model).contains("nothing matches `no such thing`; c takes the filter off"))
        #expect(model.rowCount(model.table) == 0)
        // Nothing to go into.
        let selection = model.selection
        _ = press(&model, .enter, .down)
        #expect(model.selection == selection)
        _ = press(&model, .character("c"))
        #expect(model.rowCount(model.table) > 0)
        #expect(!text(model).contains("nothing matches"))
    }

    @Test func theFilterOfTheCommandLineIsOverExits() throws {
        let model = try model(filter: ReasonFilter("nothing of the kind"))
        #expect(model.guestRows.map(\.process) == [1200, 1300, 1400])
        #expect(text(model).contains("filter of exits: nothing of the kind"))
        #expect(text(model).contains("nothing matches `nothing of the kind`; c takes the filter off"))
        #expect(!text(model).contains("no times yet"))
    }

    @Test(arguments: [20, 40, 60, 80]) func whatIsTypedIsInSight(_ width: Int) throws {
        var model = try model(width: width)
        _ = press(&model, .function(4))
        for scalar in "abcdefghijklmnop".unicodeScalars { _ = press(&model, .character(scalar)) }
        let last = model.view().text(row: 23)
        #expect(width < Layout.minimum.width || last.contains("nop"), "\(last)")
    }

    // MARK: Orders

    @Test func theSortedColumnIsMarked() throws {
        var model = try model()
        #expect(text(model).contains("Exits/s\u{25BC}"))
        _ = press(&model, .character("I"))
        #expect(text(model).contains("Exits/s\u{25B2}"))
        #expect(model.guestRows.map(\.process) == [1400, 1300, 1200])
        // Another order begins the way it is meant.
        _ = press(&model, .character("P"))
        #expect(model.order(.guests).name == "CPU time")
        #expect(text(model).contains("Gst%\u{25BC} Krn%\u{25BC} Usr%\u{25BC}"))
        _ = press(&model, .character("N"))
        #expect(text(model).contains("PID\u{25B2}"))
        _ = press(&model, .character(">"))
        #expect(model.order(.guests).name == "exits/s")
        _ = press(&model, .character("<"), .character("<"))
        #expect(model.order(.guests).name == "name")
        #expect(text(model).contains("Guest\u{25B2}"))
        _ = press(&model, .character("M"))
        #expect(model.guestRows.map(\.process) == [1300, 1200, 1400])
        #expect(text(model).contains("RAM\u{25BC}"))
    }

    @Test func aLetterWithoutMeaningSaysWhatThereIs() throws {
        var model = try model()
        _ = press(&model, .character("T"))
        #expect(model.order(.guests).name == "exits/s")
        #expect(model.message.hasPrefix("no time here; F6 > < go through exits/s, CPU time, "))
        _ = press(&model, .tab, .character("T"))
        #expect(model.order(.reasons).name == "time")
        #expect(text(model).contains("Time\u{25BC}"))
        _ = press(&model, .character("M"))
        #expect(
            model.message == "no memory here; F6 > < go through count, time, mean, p99, max, name; I inverts")
    }

    // MARK: The rest

    @Test func f10QuitsTheHelpAsWellAndQClosesIt() throws {
        var model = try model()
        _ = press(&model, .character("h"))
        #expect(text(model).contains("q closes, F10 quits"))
        #expect(press(&model, .character("q")) == [])
        #expect(!model.showsHelp)
        #expect(press(&model, .function(1), .function(10)) == [.quit])
    }

    @Test(arguments: ["lost", "no room", "unpaired", "restarted"])
    func theHelpExplainsEachLoss(_ word: String) throws {
        for isPrecise in [false, true] {
            let lines = WatchHelp.lines(isPrecise: isPrecise)
            #expect(lines.contains { $0.key == word })
            #expect(lines.allSatisfy { $0.text.columns <= 60 || $0.key.isEmpty })
        }
        var losses = Losses()
        losses.records = 1
        losses.unkept = 1
        losses.unpaired = 1
        losses.restarted = 1
        #expect(losses.lostText?.contains(word) == true)
    }

    @Test func theFrozenClockDoesNotMove() throws {
        let host = RecordedHost.busy()
        var model = WatchModel(size: Size(width: 80, height: 24), names: host.names, badge: host.badge)
        let monitor = Monitor(source: host, directory: host)
        try monitor.begin()
        for step in 0..<5 as Range<UInt64> { try pass(&model, host, monitor, step) }
        _ = press(&model, .character(" "))
        #expect(model.view().text(row: 0).contains("FROZEN at 08:00:04 UTC"))
        _ = press(&model, .left, .left)
        let before = model.view().text(row: 0)
        #expect(before.contains("FROZEN, looking at -2  08:00:02 UTC"))
        for step in 5..<9 as Range<UInt64> { try pass(&model, host, monitor, step) }
        #expect(model.view().text(row: 0) == before)
        _ = model.update(.resized(Size(width: 120, height: 24)))
        #expect(
            model.view().text(row: 0).contains("FROZEN at 08:00:04 UTC, looking at -2  08:00:02 UTC"))
        _ = model.update(.resized(Size(width: 60, height: 24)))
        #expect(model.view().text(row: 0).contains("FROZEN"))
    }

    @Test(arguments: [40, 80, 200]) func theKeysThatMatterMostAreAlwaysThere(_ width: Int) throws {
        var model = try model(width: width)
        let keys = model.view().text(row: 23)
        #expect(keys.hasPrefix("h help  q quit"), "\(keys)")
        // None is cut.
        #expect(!keys.contains("\u{2026}"))
        model.filters[.guests] = try ReasonFilter("x")
        #expect(!model.view().text(row: 23).contains("\u{2026}"))
    }
}
