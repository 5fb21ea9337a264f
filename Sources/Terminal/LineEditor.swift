import CNcurses
import CReadline
import Glibc

/// What the word before the cursor can become.
public struct LineCompletion: Sendable, Hashable {
    /// Where the word begins that the candidates replace, in UTF-8 bytes of the line.
    public var start: Int
    public var candidates: [String]
    /// The candidates are file names: no blank follows a directory.
    public var isFile: Bool

    public init(start: Int, candidates: [String], isFile: Bool = false) {
        self.start = start
        self.candidates = candidates
        self.isFile = isFile
    }
}

/// What ``LineEditor/readLine(prompt:waking:milliseconds:)`` came back with.
public enum LineInput: Sendable, Hashable {
    case line(String)
    /// One of the given descriptors polled readable, or the time was over, before a line was accepted. What was typed so
    /// far stays.
    case woken
    case endOfFile
}

/// readline: the user's inputrc, history and completion, on a plain terminal or as the screen's command line.
///
/// One in a process, for its main thread.
public final class LineEditor {
    /// Where the bytes come from and who draws.
    public enum Place: Sendable {
        /// readline reads and draws on the terminal itself.
        case terminal
        /// Keys are fed, and the text and cursor are asked for.
        case screen
    }

    private let place: Place
    private let history: History?
    private var accepted: [LineInput] = []
    /// A line is being typed on the terminal, which has readline's modes.
    private var isReading = false

    /// Completes the line before the cursor (in UTF-8 bytes).
    public var completion: (_ line: String, _ cursor: Int) -> LineCompletion = { _, cursor in
        LineCompletion(start: cursor, candidates: [])
    }
    /// In the screen: shows the candidates when there are several.
    public var showCandidates: ([String]) -> Void = { _ in }

    /// - Parameters:
    ///   - name: for `$if` lines of the inputrc.
    ///   - history: nil keeps nothing between runs.
    public init(name: String = "kvmscope", place: Place = .terminal, history: History? = .standard()) {
        self.place = place
        self.history = history
        // SAFETY: the handlers use the context only inside calls into the fence, all of which this editor makes,
        // so it lives while they run.
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        let handlers = unsafe creadline_handlers(
            context: context,
            line: { context, line in
                // SAFETY: the context is the editor above; `line` is a C string or null.
                unsafe LineEditor.from(context)?.accept(line.map { unsafe String(cString: $0) })
            },
            complete: { context, line, point in
                // SAFETY: as above; `line` is readline's buffer, a C string that `point` lies within.
                guard let editor = unsafe LineEditor.from(context), let line else { return point }
                let completion = unsafe editor.completion(String(cString: line), Int(point))
                for candidate in completion.candidates { creadline_add_candidate(candidate) }
                if completion.isFile { creadline_candidates_are_files() }
                return Int32(clamping: max(0, min(completion.start, Int(point))))
            },
            show: { context, candidates, count in
                // SAFETY: as above; `candidates` has `count` C strings.
                guard let editor = unsafe LineEditor.from(context), let candidates else { return }
                // SAFETY: the index is below `count`, and a null entry is skipped.
                let texts = (0..<Int(count)).compactMap {
                    unsafe candidates[$0].map { unsafe String(cString: $0) }
                }
                editor.showCandidates(texts)
            })
        // SAFETY: the fence copies the name's pointer; it must live for ever, so it is duplicated and never freed.
        let kept = unsafe strdup(name)
        unsafe creadline_open(kept, handlers, place == .screen ? 1 : 0)
        creadline_history_limit(Int32(History.limit))
        history?.load()
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> LineEditor? {
        // SAFETY: only pointers made by passUnretained in init are given, while the editor lives.
        unsafe context.map { unsafe Unmanaged<LineEditor>.fromOpaque($0).takeUnretainedValue() }
    }

    private func accept(_ line: String?) {
        guard let line else {
            accepted.append(.endOfFile)
            return
        }
        if !line.allSatisfy(\.isWhitespace) {
            creadline_history_add(line)
            history?.append(1)
        }
        accepted.append(.line(line))
    }

    // MARK: On the terminal

    /// Reads one line, drawn by readline, or goes on with the one that is being typed. Blocks until it is accepted, one of
    /// `descriptors` polls readable, or `milliseconds` (nil: for ever) are over.
    ///
    /// From its call on, and after ``LineInput/woken``, the terminal has readline's modes: ``hide()`` or ``drop()`` comes
    /// before anything is written to it. However the process ends, they are taken back.
    public func readLine(
        prompt: String, waking descriptors: [Int32] = [], milliseconds: Int? = nil
    ) -> LineInput {
        accepted.removeAll()
        if !isReading {
            isReading = true
            cncurses_guard_line(creadline_pastes())
            creadline_begin(prompt)
        }
        while accepted.isEmpty {
            var waits = ([STDIN_FILENO] + descriptors).map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            // SAFETY: the array lives through the call, which is told how many entries it has.
            let ready = unsafe poll(&waits, nfds_t(waits.count), Int32(clamping: milliseconds ?? -1))
            if ready <= 0 || waits.dropFirst().contains(where: { $0.revents != 0 }) { return .woken }
            creadline_read()
        }
        // readline has taken its modes back.
        isReading = false
        cncurses_unguard_line()
        return accepted.removeFirst()
    }

    /// Takes the line that is being typed off the terminal, for other output. The next ``readLine`` shows it again.
    public func hide() {
        guard isReading else { return }
        creadline_hide()
        stopReading()
    }

    /// Forgets the line that is being typed; what it shows stays, and output begins on a line of its own.
    public func drop() {
        guard isReading else { return }
        creadline_end()
        stopReading()
    }

    private func stopReading() {
        isReading = false
        cncurses_unguard_line()
    }

    // MARK: In the screen

    /// The line as it stands.
    struct State: Sendable, Hashable {
        var prompt: String
        var text: String
        /// In UTF-8 bytes of `text`.
        var cursor: Int
    }

    /// Begins the first line; the ones after begin by themselves.
    func begin(prompt: String) { creadline_begin(prompt) }

    /// Changes the prompt of the line at hand and those after it.
    func set(prompt: String) { creadline_set_prompt(prompt) }

    /// Types `bytes`, and returns the lines that they accepted.
    func feed(_ bytes: [UInt8]) -> [LineInput] {
        accepted.removeAll()
        // SAFETY: the array lives through the call, which copies it; the fence takes 256 bytes at once.
        bytes.withUnsafeBufferPointer { unsafe creadline_feed($0.baseAddress, Int32(min($0.count, 256))) }
        return accepted
    }

    /// Drops the line typed so far.
    func clear() { creadline_clear() }

    var state: State {
        // SAFETY: the fence gives C strings that stay until its next call; they are copied at once.
        unsafe State(
            prompt: String(cString: creadline_prompt()), text: String(cString: creadline_text()),
            cursor: Int(creadline_point()))
    }

    /// Escape belongs to the line editor.
    var isVi: Bool { creadline_is_vi() != 0 }
}
