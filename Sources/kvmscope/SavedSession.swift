import ArgumentParser
import Commands
import Glibc
import Machine

/// `--session FILE`: the command line that a saved session starts its guest with, with what was typed beside it.
enum SavedSession {
    private static let option = "--session"

    /// The file that the arguments name; nil for none. What stands after `--` is a VMM's.
    private static func file(_ arguments: [String]) -> String? {
        let own = arguments.prefix { $0 != "--" }
        for (index, argument) in own.enumerated() {
            if argument.hasPrefix(option + "=") { return String(argument.dropFirst(option.count + 1)) }
            if argument == option { return own.dropFirst(index + 1).first }
        }
        return nil
    }

    static func isAsked(_ arguments: [String]) -> Bool { file(arguments) != nil }

    /// Ends the program where the file is none.
    static func expanded(_ arguments: [String]) -> [String] {
        guard let path = file(arguments) else { return arguments }
        do throws(CommandError) {
            return expanded(arguments, with: try SessionFile.arguments(of: path))
        } catch {
            tell(error.description)
            exit(2)
        }
    }

    /// The guest's arguments first, as a subcommand is the first word; before its `--` those that were typed.
    static func expanded(_ arguments: [String], with guest: [String]) -> [String] {
        let head = guest.prefix { $0 != "--" }
        return head + arguments + guest.dropFirst(head.count)
    }
}

extension Options {
    /// The arguments that start this guest, wherever the program is started.
    var guestArguments: [String] {
        var result: [String] = []
        func add(_ name: String, _ value: String?) {
            if let value { result += [name, value] }
        }
        if let image { result.append(absolutePath(image)) }
        add("--kind", kind?.rawValue)
        add("--flat", flat.map { "\($0.value)" })
        switch entry {
        case .at(let address)?: add("--entry", "\(address)")
        case .mode(let mode)?: add("--entry", mode.rawValue)
        case nil: break
        }
        // An option's value that begins with a dash is one only after a sign.
        if let append { result.append("--append=\(append)") }
        add("--initrd", initrd.map(absolutePath))
        add("--example", example)
        add("--memory", "\(memory.value)")
        add("--vcpus", vcpus.map(String.init))
        add("--irqchip", irqchip?.rawValue)
        add("--bios", bios?.rawValue)
        if a20 == .off { add("--a20", a20.rawValue) }
        for file in disk { add("--disk", absolutePath(file)) }
        for file in floppy { add("--floppy", absolutePath(file)) }
        for file in cdrom { add("--cdrom", absolutePath(file)) }
        return result
    }
}
