import Foundation
import Testing

/// The words after `kvmscope`: subcommands, help, and what is nearly one.
@Suite struct SubcommandTests {
    @Test(arguments: [["--help"], ["-h"], ["help"]])
    func helpListsOptionsAndSubcommands(_ arguments: [String]) throws {
        let done = try run(Built.kvmscope, arguments)
        #expect(done.status == 0 && done.errors.isEmpty)
        let words = [
            "USAGE: kvmscope [<options>] [<image>]", "kvmscope <subcommand>", "<image>", "--memory",
            "SUBCOMMANDS:", "attach", "launch", "list", "--generate-completion-script", "generate-manual",
        ]
        for word in words { #expect(done.output.contains(word), "no \(word) in \(done.output)") }
    }

    @Test(arguments: ["attach", "launch", "list"])
    func helpExplainsASubcommand(_ name: String) throws {
        let first = try run(Built.kvmscope, [name, "--help"])
        let second = try run(Built.kvmscope, ["help", name])
        #expect(first.status == 0 && second.status == 0)
        #expect(first.output.contains("USAGE: kvmscope \(name) "), "\(first.output)")
        #expect(!first.output.contains("SUBCOMMANDS"))
        #expect(first.output == second.output)
    }

    struct Slip: Sendable, CustomTestStringConvertible {
        var arguments: [String]
        var says: String
        var testDescription: String { arguments.joined(separator: " ") }
    }

    /// None is taken for an image, and none starts a guest.
    @Test(arguments: [
        Slip(arguments: ["lists"], says: "did you mean `kvmscope list`?"),
        Slip(arguments: ["lsit"], says: "did you mean `kvmscope list`?"),
        Slip(arguments: ["atach", "--json"], says: "did you mean `kvmscope attach`?"),
        Slip(arguments: ["launhc"], says: "did you mean `kvmscope launch`?"),
        Slip(arguments: ["--batch", "hepl"], says: "did you mean `kvmscope help`?"),
        Slip(arguments: ["help", "lists"], says: "did you mean `list`?"),
        Slip(arguments: ["help", "regs"], says: "there are attach, launch, list"),
        Slip(arguments: ["help", "a", "b"], says: "one subcommand"),
        Slip(arguments: ["/dev/null", "list"], says: "only as the first word"),
        Slip(arguments: ["--batch", "/dev/null", "list", "--json"], says: "only as the first word"),
        Slip(arguments: ["list", "--jsno"], says: "See 'kvmscope list --help'"),
        Slip(arguments: ["attach"], says: "Usage: kvmscope attach <guest>"),
    ])
    func slipsAreRefused(_ slip: Slip) throws {
        let done = try run(Built.kvmscope, slip.arguments)
        #expect(done.status == 64, "\(done.errors)")
        #expect(done.errors.contains(slip.says), "\(done.errors)")
        #expect(done.output.isEmpty)
    }

    /// A file with such a name is an image; without one an image that is missing is what is said.
    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func filesAreImagesWhateverTheirName() throws {
        let folder = try TemporaryFolder()
        var sector = Data(count: 512)
        sector.replaceSubrange(510..<512, with: [0x55, 0xAA])
        for name in ["lists", "list"] { try sector.write(to: folder.url.appending(path: name)) }
        func kvmscope(_ image: String) throws -> Finished {
            try run(
                "bash",
                ["-c", "cd '\(folder.url.path)' && '\(Built.kvmscope)' --batch -ex 'print/x $ip' \(image)"])
        }
        for image in ["lists", "./list"] {
            let done = try kvmscope(image)
            #expect(done.status == 0, "\(done.errors)")
            #expect(done.output == "$1 = 0x7c00\n")
        }
        for image in ["./lsit", "boot.img"] {
            let done = try kvmscope(image)
            #expect(done.status == 2 && done.errors.contains("No such file"), "\(done.errors)")
        }
    }

    /// A guest that runs is no image; how it is attached to is said.
    @Test(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
    func aGuestIsNoImage() throws {
        let guest = try TinyGuest([])
        let done = try run(Built.kvmscope, ["--batch", "\(guest.pid)"])
        #expect(done.status == 64, "\(done.errors)")
        #expect(done.errors.contains("`kvmscope attach \(guest.pid)`"), "\(done.errors)")
    }

    /// What the manual page is made from.
    @Test func theManualPageHasAllCommands() throws {
        let done = try run(Built.kvmscope, ["--experimental-dump-help"])
        #expect(done.status == 0)
        let dump = try #require(
            try JSONSerialization.jsonObject(with: Data(done.output.utf8)) as? [String: Any])
        let command = try #require(dump["command"] as? [String: Any])
        let names = (command["subcommands"] as? [[String: Any]])?.compactMap { $0["commandName"] as? String }
        #expect(names?.starts(with: ["attach", "launch", "list"]) == true, "\(names ?? [])")
        let values =
            (command["arguments"] as? [[String: Any]])?.compactMap { $0["valueName"] as? String } ?? []
        for name in ["image", "memory", "ex", "json"] {
            #expect(values.contains(name) || done.output.contains("\"name\" : \"\(name)\""), "\(name)")
        }
    }
}
