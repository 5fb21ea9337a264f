import Commands
import Glibc
import SystemPackage

/// Where results go: standard output as lines or as JSON, and standard error.
struct Output {
    var json: Bool
    var color: Bool
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

    /// The result of a command.
    func show(_ result: any CommandOutput, of command: String) {
        if json {
            sink(JSONRecord.line(command: command, result: result) + "\n", .standardOutput)
        } else {
            show(result.lines(width: width))
        }
    }

    /// A command's failure: on standard error or, as JSON, where the results are.
    func show(_ error: CommandError, of command: String) {
        if json {
            sink(JSONRecord.line(command: command, error: error) + "\n", .standardOutput)
        } else {
            let colorsErrors = color && isTerminal(STDERR_FILENO)
            let text = error.lines(width: width).map { $0.rendered(color: colorsErrors) + "\n" }.joined()
            sink(text, .standardError)
        }
    }

    func show(_ lines: [StyledLine]) {
        sink(lines.map { $0.rendered(color: color) + "\n" }.joined(), .standardOutput)
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
