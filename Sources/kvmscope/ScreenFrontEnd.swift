import Commands
import DebugTarget
import Debugger
import Expressions
import GuestView
import Interface
import KVMCore
import Terminal
import X86

/// The screen: keys become commands of the session, and what is known after each becomes cells.
///
/// Data goes round one way: event, update, effect, gather, view, draw. Nothing draws from a callback.
final class ScreenFrontEnd {
    private let session: Session
    private let terminal: ScreenTerminal
    private let gatherer: Gatherer
    private var model: Model
    private var settings: ScreenSettings

    private var isOver = false
    private var isAdvancing = false
    private var status: Int32 = 0
    /// The panes' data is older than what is known.
    private var isStale = true
    private var nextTick: UInt64 = 0
    /// Text that a script has printed without the end of its line.
    private var unendedLine = ""
    private var nextProgress: UInt64 = 0

    /// The screen is drawn so often while the guest runs.
    private static let tick: UInt64 = 100_000_000
    /// A stop that comes sooner is shown at once, without a screen that says "running" before it.
    private static let briefly = Duration.milliseconds(15)

    /// Takes the terminal.
    /// - Parameter colours: false draws without, whatever the terminal has.
    /// - Parameter endsGuest: the guest ends with the session.
    init(session: Session, colours: Bool, endsGuest: Bool) throws(TerminalError) {
        self.session = session
        settings = .kept()
        terminal = try ScreenTerminal(prompt: "(kvmscope) ", colours: colours)
        gatherer = Gatherer(session: session)
        model = Model(size: terminal.display.size, layout: settings.layout, endsGuest: endsGuest)
        applyTheme()
        if !settings.usesMouse { terminal.setMouse(false) }
        session.screen = self
        session.frontEndLines = { [weak self] in self?.savedLines ?? [] }
        session.progress = { [weak self] elapsed in self?.showProgress(elapsed) }
        terminal.completion = { line, cursor in
            let found = session.complete(line, cursor: cursor)
            return LineCompletion(
                start: found.start, candidates: found.candidates.map(\.text), isFile: found.isFile)
        }
        session.cancelRequested = { [weak terminal] in terminal?.takeInterrupt() ?? false }
        terminal.showCandidates = { [weak self] candidates in self?.show(candidates: candidates) }
    }

    /// Runs until the user quits or a signal ends it, and gives the terminal back.
    /// - Parameter commands: done first.
    /// - Returns: the program's status.
    func run(_ commands: [StartCommand]) -> Int32 {
        defer { terminal.close() }
        if session.isRunning {
            // Of another program. One that does not exit has to be stopped to be read at all.
            let target = session.debugger.target
            let stood = (target as? any StandstillMeasuring)?.standstills.count ?? 0
            let words =
                stood == 0 ? "it runs and was not stopped" : "it runs, and was stopped only to be read"
            apply(.output([OutputLine("\(target.name): \(words); F12 stops it.")]))
        } else {
            if let greeting = session.greeting { apply(.output([OutputLine(greeting)])) }
            show(session.stopOutput(for: session.debugger.stop))
        }
        apply(.commandLine(terminal.commandLine))
        // For scripts that are done on a line console, too.
        try? session.debugger.setVariable("_screen", to: Value(truth: true))
        showNotices()
        session.enqueue(commands.map(\.commandLine), place: "command line")
        advance()
        while !isOver {
            if isStale {
                isStale = false
                apply(.guest(gatherer.gather(model.needs)))
                // What was shown first may ask for more, as the memory pane does once it knows where to look.
                if isStale {
                    isStale = false
                    apply(.guest(gatherer.gather(model.needs)))
                }
            }
            terminal.display.draw(model.view())
            let isRunning = session.isRunning
            for event in terminal.wait(
                descriptors: [isRunning ? session.debugger.stopDescriptor : -1, session.serviceDescriptor],
                milliseconds: isRunning ? untilTick() : session.hasQueuedLines ? 0 : nil)
            where !isOver { handle(event) }
        }
        return status
    }

    private func untilTick() -> Int {
        let now = monotonicTime()
        return now >= nextTick ? 0 : Int((nextTick - now + 999_999) / 1_000_000)
    }

    private func handle(_ event: TerminalEvent) {
        switch event {
        case .key(let key): apply(.key(key))
        case .interrupt: apply(.interrupt(at: monotonicTime() / 1_000_000))
        case .wheel(let x, let y, let lines): apply(.wheel(x: x, y: y, lines: lines))
        case .pressed(let x, let y): apply(.pressed(x: x, y: y))
        case .resized(let size): apply(.resized(size))
        case .terminate(let signal):
            status = kvmscope.status(ofSignal: signal)
            isOver = true
        case .ready:
            serve()
            collect(waiting: .zero)
        case .timeout:
            // Also where nothing has come: a step that never ends is noticed by who asks for its stop.
            if session.isRunning { collect(waiting: .zero) }
            advance()
        }
        if session.isRunning, monotonicTime() >= nextTick {
            nextTick = monotonicTime() + Self.tick
            isStale = true
        }
    }

    private func apply(_ event: Event) {
        for effect in model.update(event) { perform(effect) }
    }

    private func perform(_ effect: Effect) {
        switch effect {
        case .execute(let line, let echo):
            if echo { apply(.entered(line)) }
            execute(line, origin: .script)
        case .edit(let key):
            let accepted = terminal.edit(key)
            apply(.commandLine(terminal.commandLine))
            for input in accepted { enter(input) }
        case .clearLine:
            terminal.clearLine()
            session.abandonBlock()
            terminal.set(prompt: session.prompt)
            apply(.commandLine(terminal.commandLine))
        case .interrupt: session.interrupt()
        case .typeToGuest(let key):
            if let refusal = session.typeToGuest(key) { apply(.output([OutputLine(refusal)])) }
            isStale = true
        case .resolve(let text, let purpose): resolve(text, purpose)
        case .evaluate(let text):
            do throws(DebuggerError) {
                apply(.evaluated(text, .success(try session.debugger.preview(text).bits)))
            } catch {
                apply(.evaluated(text, .failure(Event.Refusal(error.message))))
            }
        case .revisit(let number):
            do {
                try session.debugger.revisit(number)
            } catch {
                apply(.unresolved(explained(error)))
            }
            isStale = true
        case .findBytes(let text, let place):
            apply(Event(gatherer.find(bytes: text, after: place), for: .memory))
        case .findCode(let text, let address):
            apply(Event(gatherer.find(instruction: text, after: address), for: .code))
        case .refresh: isStale = true
        case .redraw:
            terminal.display.forget()
            isStale = true
        case .suspend:
            terminal.display.suspend()
            apply(.resized(terminal.display.size))
        case .quit: isOver = true
        }
    }

    // MARK: Clients

    /// What a client can have changed of what is shown.
    private var shownState: [Int] {
        let debugger = session.debugger
        return [
            debugger.stop.number, debugger.stop.edits, debugger.breakpointCount, debugger.lastBreakpoint ?? 0,
        ]
    }

    /// Does what clients of the session ask; the guest may run afterwards.
    private func serve() {
        let wasRunning = session.isRunning
        let before = shownState
        if !wasRunning { gatherer.guestMayStart() }
        session.serve()
        showNotices()
        if session.isEnded { isOver = true }
        if !wasRunning, session.isRunning {
            gatherer.guestStarts()
            nextTick = monotonicTime() + Self.tick
        }
        if session.isRunning != wasRunning || shownState != before { isStale = true }
    }

    private func showNotices() {
        for notice in session.takeNotices() { show(notice) }
    }

    // MARK: Commands

    private func enter(_ input: LineInput) {
        switch input {
        case .line(let line):
            if line.contains(where: { !$0.isWhitespace }) {
                apply(.entered(line))
            } else if session.isRunning {
                // Enter as the stop comes, or to see whether it has: not to do the last command again.
                collect(waiting: .zero)
                guard session.isRunning else { return }
            }
            execute(line, origin: .interactive)
        case .woken: break
        case .endOfFile: apply(.leave)
        }
    }

    private func execute(_ line: String, origin: Session.Origin) {
        if !session.isRunning { gatherer.guestMayStart() }
        do {
            finish(try session.execute(line, origin: origin))
        } catch {
            show(error)
        }
        advance()
        terminal.set(prompt: session.prompt)
        apply(.commandLine(terminal.commandLine))
    }

    /// The lines that `source` queued, up to one that resumes the guest.
    ///
    /// A breakpoint's commands may resume the guest for ever: keys are looked at in between.
    private func advance() {
        guard !isAdvancing else { return }
        isAdvancing = true
        defer { isAdvancing = false }
        let end = monotonicTime() + Self.tick
        while !isOver, !session.isRunning, monotonicTime() < end {
            gatherer.guestMayStart()
            guard let next = session.advance() else { break }
            // What belongs to another command was not typed.
            if next.compound == nil { apply(.entered(next.line)) }
            switch next.result {
            case .success(let outcome): finish(outcome)
            case .failure(let error): show(error)
            }
        }
        if !session.hasQueuedLines { endLine() }
    }

    private func finish(_ outcome: Outcome) {
        isStale = true
        switch outcome {
        case .done(let output): show(output)
        case .quit: isOver = true
        case .running:
            gatherer.guestStarts()
            nextTick = monotonicTime() + Self.tick
            collect(waiting: Self.briefly)
        }
    }

    /// Takes the stop in, if there is one by then.
    private func collect(waiting: Duration) {
        do {
            guard let output = try session.collectStop(timeout: waiting) else { return }
            show(output)
            // Each stop is kept as it is shown, also one that the next line of a file leaves at once.
            _ = gatherer.gather(model.needs)
        } catch {
            show(error)
        }
        isStale = true
        advance()
    }

    private func resolve(_ text: String, _ purpose: Purpose) {
        do {
            apply(.resolved(purpose, try session.debugger.place(text)))
        } catch {
            apply(.unresolved("\(text): \(error.message)"))
        }
    }

    // MARK: The screen itself

    private func applyTheme() {
        terminal.choose(isLight: usedTheme == .light, plain: usedTheme == .none)
    }

    private func keepSettings() {
        if let failure = settings.keep() { session.notify(failure) }
    }

    /// The layout, in a session that is saved; a line console has none.
    private var savedLines: [String] {
        ["if !$_isvoid($_screen)", "  layout \(settings.layout.rawValue)", "end"]
    }

    /// A command takes long: what is shown says so, and how it ends.
    private func showProgress(_ elapsed: Duration) {
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        let now = monotonicTime()
        guard now >= nextProgress else { return }
        nextProgress = now + Self.tick
        apply(
            .unresolved("working for \(Int(seconds * 10) / 10).\(Int(seconds * 10) % 10) s; Ctrl-C ends it"))
        terminal.display.draw(model.view())
        apply(.unresolved(""))
    }

    // MARK: Output

    private var width: Int { model.layout.frame(holding: .output)?.content.width ?? model.size.width }

    private func show(_ output: any CommandOutput) {
        if session.log.isOn {
            if let failure = session.log.record(output, width: width) {
                apply(.output([OutputLine(failure)]))
            }
            if session.log.isRedirected { return }
        }
        guard let printed = output as? PrintedText else {
            endLine()
            return apply(.output(output.lines(width: width).map(OutputLine.init)))
        }
        // A line is shown once it is whole.
        var lines = (unendedLine + printed.text).split(separator: "\n", omittingEmptySubsequences: false)
        unendedLine = String(lines.removeLast())
        if !lines.isEmpty { apply(.output(lines.map { OutputLine(String($0)) })) }
    }

    /// Shows text that has not ended its line.
    private func endLine() {
        guard !unendedLine.isEmpty else { return }
        apply(.output([OutputLine(unendedLine)]))
        unendedLine = ""
    }

    private func show(_ error: CommandError) {
        isStale = true
        endLine()
        if let failure = session.log.record(error, width: width) { apply(.output([OutputLine(failure)])) }
        apply(.output(error.lines(width: width).map(OutputLine.init)))
    }

    private func show(candidates: [String]) {
        // The first column's width is every column's.
        let column = (candidates.map(\.columns).max() ?? 0) + 2
        let columns = max(1, width / max(1, column))
        let rows = (candidates.count + columns - 1) / columns
        let lines = (0..<rows).map { row in
            stride(from: row, to: candidates.count, by: rows).map { index in
                candidates[index] + String(repeating: " ", count: column - candidates[index].columns)
            }.joined()
        }
        apply(.output(lines.map { OutputLine($0) }))
    }
}

extension ScreenFrontEnd: ScreenControl {
    var screenLayout: ScreenLayout {
        get { settings.layout }
        set {
            settings.layout = newValue
            apply(.layout(newValue))
            keepSettings()
        }
    }

    var theme: ScreenTheme {
        get { settings.theme }
        set {
            settings.theme = newValue
            applyTheme()
            keepSettings()
        }
    }

    var usedTheme: ScreenTheme {
        guard settings.theme == .auto else { return settings.theme }
        return terminal.hasLightBackground == true ? .light : .dark
    }

    var usesMouse: Bool {
        get { settings.usesMouse }
        set {
            settings.usesMouse = newValue
            terminal.setMouse(newValue)
            keepSettings()
        }
    }

    func screenText() -> String {
        let screen = model.view()
        return (0..<screen.size.height).map { screen.text(row: $0) + "\n" }.joined()
    }
}

extension Debugger {
    /// Where the memory and code panes look for an address as the user wrote it.
    fileprivate func place(_ text: String) throws(DebuggerError) -> MemoryPlace {
        let address = try address(text)
        switch address {
        case .linear(let value): return MemoryPlace(space: .linear, offset: value)
        case .virtual(let value): return MemoryPlace(space: .linear, offset: value, prefix: "v:")
        case .physical(let value): return MemoryPlace(space: .physical, offset: value, prefix: "p:")
        case .segmented(let segment, let offset):
            let base = try linear(address) &- offset
            let name =
                switch segment {
                case .selector(let selector): hexDigits(UInt64(selector), digits: 4)
                case .register(let name): name.rawValue
                }
            return MemoryPlace(
                space: .segmented(base: base), offset: offset, prefix: name + ":",
                digits: offset > 0xFFFF || selected.mode.codeWidth != 16 ? 8 : 4)
        }
    }
}
