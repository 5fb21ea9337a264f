import Commands
import Glibc
import SystemPackage

/// Where results go: standard output as lines or as JSON, and standard error.
struct Output {
    var json: Bool
    var color: Bool
    /// Where the output goes as well; nil for nowhere.
    var log: OutputLog?
    private let state = State()

    /// What one output leaves for the next.
    private final class State {
        /// The text printed last has not ended its line.
        var isMidLine = false
        /// As JSON a command and all that belongs to it is one line.
        var compound = CompoundOutput()
        /// The request that is being done: all that comes of it is one line.
        var answer: JSONAnswer?
    }
    /// Where the text goes.
    var sink: (String, FileDescriptor) -> Void = write

    init(json: Bool, color choice: ColorChoice) {
        self.json = json
        switch choice {
        case .always: color = true
        case .never: color = false
        case .auto:
            color =
                isTerminal(STDOUT_FILENO) && environmentValue("NO_COLOR")?.isEmpty ?? true
                && environmentValue("TERM") != "dumb"
        }
    }

    /// The first line of a JSON stream.
    func begin() {
        guard json else { return }
        print(JSONStream.header(program: "kvmscope", version: programVersion) + "\n")
    }

    /// A request begins; what comes of it is gathered.
    func begin(_ request: JSONRequest) { state.answer = JSONAnswer(request) }

    /// The request is done.
    func endRequest() {
        guard let answer = state.answer else { return }
        state.answer = nil
        state.compound = CompoundOutput()
        print(answer.line + "\n")
    }

    /// The stop of a guest that nobody waited for.
    func show(stop: any CommandOutput, of command: String) {
        guard json else { return show(stop, of: command) }
        print(JSONStream.stopped(stop, of: command) + "\n")
    }

    /// That stop could not be taken.
    func show(stopFailure error: CommandError, of command: String) {
        guard json else { return show(error, of: command) }
        print(JSONStream.failed(error, of: command) + "\n")
    }

    /// What a service, or the session, has to say.
    func show(notice: any CommandOutput) {
        guard json else { return show(notice, of: "") }
        print(JSONStream.notice(notice.lines(width: width).map(\.text).joined(separator: "\n")) + "\n")
    }

    /// The result of a command.
    func show(_ result: any CommandOutput, of command: String) {
        if json {
            guard state.answer == nil else {
                state.answer?.append(command, result)
                return
            }
            print(JSONRecord.line(command: command, result: result) + "\n")
        } else if let printed = result as? PrintedText {
            if isLogged(result), !printed.text.isEmpty {
                state.isMidLine = printed.text.last != "\n"
                sink(printed.text, .standardOutput)
            }
        } else if isLogged(result) {
            print(result.lines(width: width).map { $0.rendered(color: color) + "\n" }.joined())
        }
    }

    /// The result of a command that belongs to another one: as JSON that one has it.
    func show(_ result: any CommandOutput, of command: String, in compound: String?) {
        guard json, compound != nil else { return show(result, of: command) }
        state.compound.append(command, result)
    }

    /// A command with others in it has come to its end.
    func end(compound: String) {
        guard json else { return }
        show(state.compound, of: compound)
        state.compound = CompoundOutput()
    }

    /// A command's failure: on standard error or, as JSON, where the results are.
    func show(_ error: CommandError, of command: String, in compound: String? = nil) {
        if json {
            var done: CompoundOutput?
            if compound != nil {
                done = state.compound
                state.compound = CompoundOutput()
            }
            guard state.answer == nil else {
                if let done, let compound { state.answer?.append(compound, done) }
                state.answer?.fail(error)
                return
            }
            print(JSONRecord.line(command: compound ?? command, error: error, after: done) + "\n")
        } else {
            if let failure = log?.record(error, width: width) { tell(failure) }
            let colorsErrors = color && isTerminal(STDERR_FILENO)
            let text = error.lines(width: width).map { $0.rendered(color: colorsErrors) + "\n" }.joined()
            endLine()
            sink(text, .standardError)
        }
    }

    /// Writes it to the log. False where it is to go there alone.
    private func isLogged(_ result: any CommandOutput) -> Bool {
        guard let log, log.isOn else { return true }
        if let failure = log.record(result, width: width) { tell(failure) }
        return !log.isRedirected
    }

    private func print(_ text: String) {
        guard !text.isEmpty else { return }
        endLine()
        sink(text, .standardOutput)
    }

    private func endLine() {
        if state.isMidLine { sink("\n", .standardOutput) }
        state.isMidLine = false
    }

    /// The terminal's columns; 100 where there is no terminal, so that files look alike everywhere.
    var width: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 100 }
        return Int(size.ws_col)
    }
}

/// Writes all of `text`. Nobody can be told of results that cannot be written: the program ends.
func write(_ text: String, to file: FileDescriptor) {
    guard !text.isEmpty else { return }
    do {
        try file.writeAll(text.utf8)
    } catch {
        if file != .standardError {
            write("kvmscope: cannot write the output: \(error)\n", to: .standardError)
        }
        exit(1)
    }
}

/// Says on standard error what there is to say before a session and beside it.
func tell(_ text: String) { write("kvmscope: \(text.printable)\n", to: .standardError) }

func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

func environmentValue(_ name: String) -> String? {
    // SAFETY: getenv gives nil or a terminated string, copied at once; nothing here changes the environment.
    getenv(name).map { String(cString: $0) }
}
