import ArgumentParser
import GDBRemote

/// The options that say how kvmscope talks to its user, whatever the guest is.
struct FrontEndOptions: ParsableArguments {
    @Flag(name: .customLong("no-tui"), help: "The line console in place of the screen.")
    var noTUI = false

    @Flag(help: "Do the commands of -x and -ex, and end; the first that fails ends it with status 1.")
    var batch = false

    @Option(
        name: .customShort("x"),
        help: ArgumentHelp(
            "Do the commands of a file first. Repeatable; with -ex, in the order given.", valueName: "file"),
        completion: .file())
    var files: [String] = []

    @Option(
        name: .customLong("ex", withSingleDash: true),
        help: ArgumentHelp("Do a command first. Repeatable.", valueName: "command"))
    var commands: [String] = []

    @Option(
        help: ArgumentHelp(
            "Go on with a session that `save session FILE` has written: its guest, breakpoints and all else.",
            valueName: "file"), completion: .file())
    var session: String?

    @Flag(
        name: .customLong("no-init"),
        help: "Do not do the commands of $XDG_CONFIG_HOME/kvmscope/init (~/.config/kvmscope/init) first.")
    var noInit = false

    @Flag(help: "One JSON object a line for each command: command, ok, and result or error.")
    var json = false

    @Option(
        name: .customLong("gdb"),
        help: ArgumentHelp(
            "Serve GDB and LLDB: HOST:PORT, :PORT (this host alone), unix:PATH, or stdio, for `target remote | kvmscope ...`. "
                + "Without a terminal nothing else is done after the commands of -x and -ex.",
            valueName: "addr"))
    var gdb: String?

    @Option(
        name: .customLong("gdb-arch"),
        help: "The registers that clients see: auto goes with the guest's mode; x86-64 is one layout for all."
    )
    var gdbArchitecture = LayoutChoice.automatic

    @Option(help: "Colours: auto looks at the terminal and at NO_COLOR.")
    var color = ColorChoice.auto
}

/// A command that was asked for on the command line.
enum StartCommand: Equatable {
    case line(String)
    case file(String)

    /// As it would be typed.
    var commandLine: String {
        switch self {
        case .line(let line): line
        case .file(let path): "source \"\(path)\""
        }
    }
}

extension FrontEndOptions {
    /// The commands of -x and -ex in the order given. The parser keeps two lists; the order is found again in
    /// the arguments themselves, where no other option's value can start with a dash.
    func startCommands(in arguments: some Sequence<String>) -> [StartCommand] {
        var (lines, paths) = (commands[...], files[...])
        var result: [StartCommand] = []
        var isValue = false
        for argument in arguments {
            if isValue {
                isValue = false
                continue
            }
            if argument == "--" { break }
            if argument == "-ex" || argument.hasPrefix("-ex="), let line = lines.popFirst() {
                result.append(.line(line))
                isValue = argument == "-ex"
            } else if argument == "-x" || argument.hasPrefix("-x="), let path = paths.popFirst() {
                result.append(.file(path))
                isValue = argument == "-x"
            }
        }
        let first = session.map { [StartCommand.file($0)] } ?? []
        return first + result + paths.map { .file($0) } + lines.map { .line($0) }
    }
}

extension LayoutChoice: ExpressibleByArgument {}

enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, always, never
}

extension Options {
    func startCommands(in arguments: some Sequence<String>) -> [StartCommand] {
        frontEnd.startCommands(in: arguments)
    }
}
