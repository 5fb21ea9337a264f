public import Commands
import DebugTarget
package import Debugger
import KVMCore
import Monitor
import X86

/// Puts together what the panes show, no more than they ask for.
///
/// The one part of the screen that asks the debugger: it goes between ``Model/update(_:)``, which says what is
/// needed, and ``Model/view()``, which shows it. For the session's thread.
public final class Gatherer {
    package let session: Session
    package var debugger: Debugger { session.debugger }
    package let exits: ExitRates
    private var threads = ThreadShares()

    /// What a stop's panes showed that the debugger does not keep: its last stops' by number.
    private struct Shown {
        var vcpus: [VCPULine]
        var exits: ExitTable
        var console: ConsoleText
    }
    private var shown: [Int: Shown] = [:]

    /// The stop that ``reason`` is about.
    private var number = -1
    private var reason = ""
    /// The vCPUs as they were last looked at while the guest runs, and when those of the list were.
    private var live: [Int: VCPUSnapshot] = [:]
    private var linesLookedAt: UInt64 = 0

    /// A vCPU of which no more is shown than its line is looked at so often.
    private static let lineInterval: UInt64 = 500_000_000

    public init(session: Session) {
        self.session = session
        exits = ExitRates(log: session.debugger.target.exits)
    }

    /// The next command may let the guest go: if it does, rates are counted from here.
    public func guestMayStart() { exits.guestMayStart() }
    /// The guest was resumed.
    public func guestStarts() {
        exits.guestStarts()
        live = [:]
        linesLookedAt = 0
    }

    /// What `needs` asks for, as it is now; a running guest is sampled. What is read of a stop is kept with it.
    public func gather(_ needs: Needs) -> GuestView { debugger.keeping { view(needs) } }

    private func view(_ needs: Needs) -> GuestView {
        let isRunning = session.isRunning
        noticeStop()
        let stop = isRunning ? sampled(needs) : debugger.stop
        var view = GuestView(name: debugger.target.name, stop: stop, selected: debugger.selectedVCPU)
        view.isRunning = isRunning
        view.previous = debugger.previousStop
        view.latest = debugger.latestStop.number
        view.kept = (debugger.history.first?.number ?? view.latest)...view.latest
        view.reason = reason
        let standstills = debugger.standstills
        view.standstill = isRunning ? standstills?.last : stop.standstill
        view.spread = isRunning ? standstills.flatMap { $0.commonStops > 0 ? $0.spread : nil } : stop.spread
        if view.isPast {
            let then = shown[stop.number]
            view.vcpus = then?.vcpus ?? lines(stop, nil)
            view.exits = then?.exits ?? ExitTable()
            view.console = then?.console ?? ConsoleText(name: "not kept")
        } else {
            let statistics = exits.take(isRunning: isRunning)
            threads.look(at: debugger.target.vcpus, isRunning: isRunning)
            view.vcpus = lines(stop, statistics)
            view.exits = table(statistics, needs)
            noticeHostExits(&view)
            view.console = text(needs.console ?? 0)
            if !isRunning { keep(view) }
        }
        noticeSources(&view)
        if needs.debugRegisters { readDebugRegisters(&view) }
        if needs.chains { view.chains = registerChains(stop) }
        if needs.codeLines > 0 { view.code = code(needs, stop) }
        if needs.stackSlots > 0 { view.stack = slots(needs) }
        if let place = needs.memory, needs.memoryBytes > 0 { view.memory = window(place, needs.memoryBytes) }
        return view
    }

    private func noticeStop() {
        guard debugger.stop.number != number else { return }
        number = debugger.stop.number
        let text = (session.stopOutput(for: debugger.stop) as? StopOutput)?.reason.text ?? ""
        reason = Self.title(text)
    }

    /// The first sentence, as a part of a title: names such as KVM keep their capitals.
    package static func title(_ text: String) -> String {
        let sentence = text.prefix { $0 != "." }
        let isName = sentence.dropFirst().first?.isUppercase == true
        return isName ? String(sentence) : sentence.prefix(1).lowercased() + sentence.dropFirst()
    }

    private func keep(_ view: GuestView) {
        var kept = Shown(vcpus: view.vcpus, exits: view.exits, console: view.console)
        // What a console pane shows of it, at most.
        kept.console.bytes = kept.console.bytes.suffix(4_096)
        shown[view.stop.number] = kept
        if shown.count > Debugger.historyLimit { shown = shown.filter { view.kept.contains($0.key) } }
    }

    // MARK: A guest that runs

    /// The last stop with the vCPUs that are shown as they are while they run. One that is looked at is taken out
    /// of KVM_RUN for a moment, so no more are than are shown.
    private func sampled(_ needs: Needs) -> Stop {
        var stop = debugger.stop
        let now = monotonicTime()
        let areLinesDue = now &- linesLookedAt >= Self.lineInterval
        if areLinesDue { linesLookedAt = now }
        for index in stop.vcpus.indices {
            let id = stop.vcpus[index].id
            let isDue = needs.registersOf?.contains(id) ?? true || areLinesDue && needs.linesOf.contains(id)
            if isDue, let seen = try? debugger.liveSnapshot(vcpu: id) { live[id] = seen }
            if let seen = live[id] { stop.vcpus[index] = seen }
        }
        return stop
    }

    /// Of when the values of a guest are that another program runs.
    private func noticeSources(_ view: inout GuestView) {
        guard let target = debugger.target as? any SourceProviding, !view.isPast else { return }
        let sources = target.valueSources
        func source(_ kind: ValueSource.Kind) -> ValueSource? {
            sources.first { $0.kind == kind && ($0.vcpu ?? view.selected) == view.selected }
        }
        if let registers = source(.registers) { view.registersFrom = registers.shortText }
        if let memory = source(.memory) {
            let map = source(.memoryMap)
            let unchecked = map?.isChecked == false || map?.way == ValueSource.Way.none
            view.memoryFrom = memory.shortText + (unchecked ? ", map not checked" : "")
        }
        if view.exitsFrom.isEmpty, let exits = source(.exits) { view.exitsFrom = exits.shortText }
        if view.isRunning {
            for index in view.vcpus.indices {
                view.vcpus[index].age = target.registersAge(vcpu: view.vcpus[index].id).shortText
            }
        }
    }

    // MARK: vCPUs and exits

    /// - Parameter statistics: nil gives lines without what is counted.
    private func lines(_ stop: Stop, _ statistics: ExitStatistics?) -> [VCPULine] {
        debugger.target.vcpus.map { identity in
            let snapshot = stop[identity.id]
            var line = VCPULine(
                id: identity.id, isBoot: identity.isBoot, state: snapshot?.activity.rawValue ?? "new",
                mode: snapshot?.mode, location: snapshot.map(location) ?? "??")
            guard let statistics else { return line }
            line.exits = statistics.vcpu(identity.id)?.total.count ?? 0
            line.exitsPerSecond = exits.rate(of: nil, vcpu: identity.id)
            line.lastExit = debugger.target.exits.last(vcpu: identity.id)?.name ?? ""
            line.share = threads.share(of: identity)
            return line
        }
    }

    private func table(_ statistics: ExitStatistics, _ needs: Needs) -> ExitTable {
        var table = ExitTable(total: statistics.overall.count, rate: exits.rate(of: nil, vcpu: nil))
        table.rows = statistics.rows.map { row in
            ExitTable.Row(
                name: row.key.name, count: row.count.count, rate: exits.rate(of: row.key, vcpu: nil),
                total: row.count.handling, maximum: row.count.maximumHandling)
        }
        guard needs.recentExits > 0 else { return table }
        let last = debugger.target.exits.recent(limit: max(needs.recentExits, Self.exitSample))
        addPercentiles(of: last, statistics, to: &table)
        let recent = last.suffix(needs.recentExits)
        let newest = recent.last?.end ?? 0
        table.recent = recent.reversed().map { record in
            ExitTable.Recent(
                number: record.number, vcpu: record.vcpu, age: newest &- record.end, text: record.text)
        }
        return table
    }

    /// So many of the last exits tell what is usual.
    private static let exitSample = 500

    private func addPercentiles(
        of last: [ExitRecord], _ statistics: ExitStatistics, to table: inout ExitTable
    ) {
        var times: [ExitKey: [UInt64]] = [:]
        for record in last {
            if let handling = record.handling { times[record.key, default: []].append(handling) }
        }
        for (index, row) in statistics.rows.enumerated() {
            guard var some = times[row.key] else { continue }
            some.sort()
            table.rows[index].median = some[(some.count - 1) / 2]
            table.rows[index].high = some[(some.count - 1) * 99 / 100]
        }
    }

    private func readDebugRegisters(_ view: inout GuestView) {
        // Not while the guest runs: the ones it has then are the debugger's as well.
        guard !view.isRunning else { return }
        view.debug = try? debugger.debugRegisters()
        view.previousDebug = debugger.earlierDebugRegisters()
    }

    private func text(_ index: Int) -> ConsoleText {
        guard let target = debugger.target as? any ConsoleProviding else {
            return ConsoleText(name: "none")
        }
        // Those that were written to; the first one while none was.
        let all = target.consoles
        let used = all.filter { target.consoleOutput($0)?.total ?? 0 > 0 }
        // The screen comes first, where there is one.
        if let screen = (target as? any ScreenProviding)?.textScreen {
            let count = used.count + 1
            guard index % count > 0 else {
                return ConsoleText(
                    name: count > 1 ? "screen 1/\(count)" : "screen", consoles: count, screen: screen)
            }
            let name = used[index % count - 1]
            return ConsoleText(
                bytes: target.consoleOutput(name)?.bytes ?? [],
                name: name.rawValue + " \(index % count + 1)/\(count)", consoles: count)
        }
        let shown = used.isEmpty ? Array(all.prefix(1)) : used
        guard !shown.isEmpty else { return ConsoleText(name: "none") }
        let name = shown[index % shown.count]
        let position = shown.count > 1 ? " \(index % shown.count + 1)/\(shown.count)" : ""
        return ConsoleText(
            bytes: target.consoleOutput(name)?.bytes ?? [], name: name.rawValue + position,
            consoles: shown.count)
    }
}

extension ValueSource {
    /// Age and source in few words, as `at last exit 0.3s ago, kvm_run`.
    var shortText: String {
        let place =
            switch way {
            case .syncRegisters: "kvm_run"
            case .injectedCalls: "ioctls"
            case .processMemory: "VMM's mapping"
            case .watchedCalls: "VMM's calls"
            case .kernelMemory: "memory slots"
            case .largestMapping: "largest mapping"
            case .tracedExits: "traced"
            default: way.rawValue
            }
        return age == .unknown ? "unknown" : "\(age.shortText), \(place)"
    }
}

extension ValueAge {
    var shortText: String {
        func ago(_ duration: Duration) -> String { time(duration.wholeNanoseconds) + " ago" }
        return switch self {
        case .live: "live"
        case .lastExit(nil): "at last exit"
        case .lastExit(let unchanged?): "at last exit \(ago(unchanged))"
        case .lastStop(let duration): "at last stop \(ago(duration))"
        case .read(let duration): "read \(ago(duration))"
        case .unknown: "unknown"
        }
    }
}
