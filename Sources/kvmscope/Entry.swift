import ArgumentParser
import Attach
import CLinux
import Debugger
import Glibc
import Monitor
import Symbols
import Terminal

/// Where every run begins: the program itself, one of its subcommands, or, when it has started itself for that,
/// the tracer of an attached guest, the reader of a file's symbols or the keeper of a trace instance.
@main
enum Entry {
    static func main() {
        // Before anything opens a file: one that got the number of a standard descriptor would be printed into.
        clinux_fill_standard_descriptors()
        // A file that may not grow further (RLIMIT_FSIZE) is an error of the write, as a full disk is, and not the end.
        signal(SIGXFSZ, SIG_IGN)
        var arguments = Array(CommandLine.arguments.dropFirst())
        switch arguments.first {
        case TracerProcess.argument, SymbolReader.argument, TraceInstanceKeeper.argument:
            CrashReport.disable()
        default: CrashReport.install()
        }
        switch arguments.first {
        case TracerProcess.argument: TracerProcess.main()
        case SymbolReader.argument: SymbolReader.main(path: arguments.dropFirst().first ?? "")
        case TraceInstanceKeeper.argument: TraceInstanceKeeper.main(arguments.dropFirst().first ?? "")
        case _ where SavedSession.isAsked(arguments):
            arguments = SavedSession.expanded(arguments)
            start(arguments)
        default: start(arguments)
        }
    }

    private static func start(_ arguments: [String]) {
        switch arguments.first {
        case "help": Program.help(about: Array(arguments.dropFirst()))
        default:
            if let word = arguments.first, Program.subcommand(named: word) != nil {
                SubcommandTree.main(arguments)
            } else if CompletionTree.isAsked(arguments) {
                CompletionTree.answer(arguments)
            } else {
                Program.run(arguments)
            }
        }
    }
}
