import CNcurses
import Glibc
public import Interface

/// A terminal as a screen, a keyboard and a command line in one, and what is to be waited for.
///
/// One at a time in a process, for its main thread.
public final class ScreenTerminal {
    public let display: Display
    private let signals: SignalPipe
    private let editor: LineEditor
    /// Whether the terminal's background is light; nil where it does not say.
    public let hasLightBackground: Bool?
    /// What came while something else was done, for the next ``wait(descriptors:milliseconds:)``.
    private var waiting: [TerminalEvent] = []

    /// - Parameters:
    ///   - prompt: of the command line.
    ///   - colours: false draws without, whatever the terminal has.
    ///   - history: nil keeps nothing between runs.
    public init(
        prompt: String, colours: Bool = true, history: History? = .standard()
    ) throws(TerminalError) {
        // readline asks terminfo too, and leaves its answer current: before the screen, then.
        editor = LineEditor(place: .screen, history: history)
        let background = colours && History.variable("NO_COLOR")?.isEmpty ?? true ? Background.ask() : .init()
        hasLightBackground = background.isLight
        display = try Display(colours: colours)
        display.unget(background.typed)
        if background.isLight == true { display.choose(isLight: true) }
        signals = try SignalPipe([SIGINT] + SignalPipe.ending + [SIGWINCH, SIGCONT])
        editor.begin(prompt: prompt)
        // The terminal itself has nothing more to say of them.
        if !background.typed.isEmpty { waiting = Keyboard.read() }
    }

    /// Takes the colours for a light or a dark background, or none.
    public func choose(isLight: Bool, plain: Bool = false) { display.choose(isLight: isLight, plain: plain) }

    /// The terminal gives the mouse's wheel and presses to the screen, or keeps them.
    public func setMouse(_ isOn: Bool) { display.setMouse(isOn) }

    /// Gives the terminal back as it was found.
    public func close() {
        display.close()
        signals.cancel()
    }

    public var completion: (_ line: String, _ cursor: Int) -> LineCompletion {
        get { editor.completion }
        set { editor.completion = newValue }
    }

    /// Shows the candidates of a completion when there are several.
    public var showCandidates: ([String]) -> Void {
        get { editor.showCandidates }
        set { editor.showCandidates = newValue }
    }

    /// Types a key into the command line, and returns what was accepted by it.
    public func edit(_ key: Key) -> [LineInput] { editor.feed(Keyboard.bytes(for: key)) }

    /// Changes the prompt of the command line.
    public func set(prompt: String) { editor.set(prompt: prompt) }

    /// Drops the line typed so far.
    public func clearLine() { editor.clear() }

    public var commandLine: CommandLine {
        let state = editor.state
        return CommandLine(
            prompt: state.prompt, text: state.text, cursor: state.cursor, isVi: editor.isVi)
    }

    /// Whether the user asks to end what is being done, by Ctrl-C or F12. What else came is kept for
    /// ``wait(descriptors:milliseconds:)``. Never blocks.
    public func takeInterrupt() -> Bool {
        waiting += take(descriptors: [], milliseconds: 0).filter { $0 != .timeout }
        let before = waiting.count
        waiting.removeAll { $0 == .interrupt || $0 == .key(.function(12)) }
        return waiting.count < before
            || waiting.contains { if case .terminate = $0 { true } else { false } }
    }

    /// Waits for keys, signals, those of `descriptors` that are not negative, or the end of `milliseconds` (nil: for
    /// ever).
    public func wait(descriptors: [Int32], milliseconds: Int?) -> [TerminalEvent] {
        guard waiting.isEmpty else {
            defer { waiting = [] }
            return waiting
        }
        return take(descriptors: descriptors, milliseconds: milliseconds)
    }

    private func take(descriptors: [Int32], milliseconds: Int?) -> [TerminalEvent] {
        var waits = ([STDIN_FILENO, signals.descriptor] + descriptors).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        // SAFETY: the array lives through the call, which is told how many entries it has.
        let ready = unsafe poll(&waits, nfds_t(waits.count), Int32(clamping: milliseconds ?? -1))
        if ready == 0 { return [.timeout] }
        // A signal interrupted the wait: it stands in the pipe now.
        var events: [TerminalEvent] = []
        while let signal = signals.next() {
            switch signal {
            case SIGINT: events.append(.interrupt)
            case SIGWINCH, SIGCONT: events.append(.resized(display.resize()))
            default: events.append(.terminate(signal))
            }
        }
        guard ready > 0 else { return events }
        let typed = waits[0].revents & Int16(POLLIN) != 0 ? Keyboard.read() : []
        events += typed
        if typed.isEmpty, waits[0].revents & Int16(POLLHUP | POLLERR | POLLNVAL) != 0 {
            // The terminal is gone; SIGHUP need not reach a process that is not its session's leader.
            events.append(.terminate(SIGHUP))
        }
        if waits.dropFirst(2).contains(where: { $0.revents != 0 }) { events.append(.ready) }
        return events
    }
}
