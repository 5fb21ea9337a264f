import ArgumentParser
import Commands
import Glibc
import Host
import SystemPackage

/// The words after `kvmscope` that are no image.
///
/// They are looked for before the parser runs: to it the first word is IMAGE.
extension Program {
    /// The subcommand of this name.
    static func subcommand(named word: String) -> (any ParsableCommand.Type)? {
        configuration.subcommands.first { $0.configuration.commandName == word }
    }

    private static var words: [String] {
        configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
    }

    /// Runs a command line that begins with no subcommand.
    static func run(_ arguments: [String]) {
        do {
            var command = try parseAsRoot(arguments)
            // The parser takes one after IMAGE, too, and IMAGE would be forgotten.
            if configuration.subcommands.contains(where: { $0 == type(of: command) }) {
                let word = type(of: command).configuration.commandName ?? ""
                throw ValidationError("`\(word)` is a subcommand only as the first word: kvmscope \(word)")
            }
            try command.run()
        } catch {
            exit(withError: error)
        }
    }

    /// `kvmscope help [SUBCOMMAND]`.
    static func help(about words: [String]) {
        guard let word = words.first else { return write(helpMessage() + "\n", to: .standardOutput) }
        guard words.count == 1 else {
            exit(withError: ValidationError("`help` explains one subcommand, not \(words.count)"))
        }
        guard let command = subcommand(named: word) else {
            let all = Self.words.dropLast().joined(separator: ", ")
            let meant =
                nearest(to: word, in: Self.words).map { "did you mean `\($0)`?" } ?? "there are \(all)"
            exit(
                withError: ValidationError(
                    "there is no subcommand `\(word.printable)`; \(meant) (`help` in a session explains its commands)"
                ))
        }
        write(helpMessage(for: command) + "\n", to: .standardOutput)
    }

    /// A word that is no file, and nearly a subcommand, is no image.
    static func refuseSlip(_ word: String) throws(ValidationError) {
        guard access(word, F_OK) != 0, errno == ENOENT else { return }
        if let guest = try? GuestFinder().guest(matching: word) {
            throw ValidationError(
                "there is no image `\(word.printable)`, but a guest that runs: `kvmscope attach \(guest.process)` debugs "
                    + "it, `kvmscope top \(guest.process)` shows why it exits"
            )
        }
        guard let meant = nearest(to: word, in: words) else { return }
        throw ValidationError(
            "there is no subcommand `\(word.printable)`, and no image of that name; did you mean `kvmscope \(meant)`?"
        )
    }
}

/// The program as a line that begins with a subcommand has it: nothing else is read before that word.
struct SubcommandTree: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvmscope", version: Program.configuration.version,
        subcommands: Program.configuration.subcommands)
}

/// The program as shells complete it: its options, its subcommands and theirs.
///
/// It lacks IMAGE: where a command has an argument of its own the parser's scripts offer no subcommand. What files IMAGE
/// may be is put into them here.
struct CompletionTree: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvmscope", abstract: Program.configuration.abstract,
        version: Program.configuration.version, subcommands: Program.configuration.subcommands)

    @OptionGroup var options: Options

    private static let request = "--generate-completion-script"

    /// Whether a script is asked for, or a script asks.
    static func isAsked(_ arguments: [String]) -> Bool {
        guard let first = arguments.first else { return false }
        return first == "---completion" || first == request || first.hasPrefix(request + "=")
    }

    static func answer(_ arguments: [String]) {
        let words = arguments.flatMap { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        // Without a shell, or with one that is unknown, the parser finds it or says so.
        guard words.first == request, words.count == 2, let shell = CompletionShell(rawValue: words[1]) else {
            return main(arguments)
        }
        write(script(for: shell), to: .standardOutput)
    }

    /// The parser's script, with files beside the subcommands.
    static func script(for shell: CompletionShell) -> String {
        let script = completionScript(for: shell) + "\n"
        switch shell {
        case .bash:
            return script.inserting(
                "            __kvmscope_add_completions -f\n", after: "# Offer subcommand completions\n")
        case .zsh:
            return script.inserting(
                "        _files && ret=0\n", after: "_describe -V subcommand subcommands && ret=0\n")
        default:
            return script
                + "complete -c 'kvmscope' -n '__kvmscope_should_offer_completions_for_positional \"kvmscope\" -eq 1' -F\n"
        }
    }
}

extension String {
    /// With `text` after the first `line`; the outermost command comes first in the parser's scripts.
    fileprivate func inserting(_ text: String, after line: String) -> String {
        guard let found = firstRange(of: line) else { return self }
        return self[..<found.upperBound] + text + self[found.upperBound...]
    }
}
