import Foundation
import Testing

/// The completions for shells, asked of the shells themselves.
@Suite struct CompletionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var words: String
        var offers: [String]
        var testDescription: String { words }
    }

    static let cases = [
        Case(words: "kvmscope l", offers: ["launch", "list"]),
        Case(words: "kvmscope att", offers: ["attach"]),
        Case(words: "kvmscope disk", offers: ["disk.img"]),
        Case(words: "kvmscope --batch disk", offers: ["disk.img"]),
        Case(words: "kvmscope --examp", offers: ["--example", "--examples"]),
        Case(words: "kvmscope --example trip", offers: ["triplefault"]),
        Case(words: "kvmscope list --thr", offers: ["--threads"]),
        Case(words: "kvmscope attach --wai", offers: ["--wait"]),
        Case(words: "kvmscope attach --color al", offers: ["always"]),
    ]

    /// A folder with a file that may be an image, and the script.
    private final class Place {
        let folder: TemporaryFolder
        let script: String
        var environment: [String: String] {
            ["PATH": folder.url.path + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")]
        }

        init(shell: String) throws {
            folder = try TemporaryFolder()
            try Data(count: 512).write(to: folder.url.appending(path: "disk.img"))
            try FileManager.default.createSymbolicLink(
                atPath: folder.url.appending(path: "kvmscope").path, withDestinationPath: Built.kvmscope)
            let done = try EndToEndTests.run(Built.kvmscope, ["--generate-completion-script", shell])
            #expect(done.status == 0 && done.errors.isEmpty)
            script = folder.url.appending(path: "_kvmscope").path
            try done.output.write(toFile: script, atomically: true, encoding: .utf8)
        }

        func run(_ shell: String, _ options: [String], _ text: String) throws -> [String] {
            let done = try EndToEndTests.run(
                shell, options + ["-c", "cd '\(folder.url.path)'\n\(text)"], environment: environment)
            #expect(done.errors.isEmpty, "\(done.errors)")
            return done.output.split(separator: "\n").map(String.init)
        }
    }

    @Test(arguments: cases)
    func bash(_ one: Case) throws {
        let place = try Place(shell: "bash")
        let words = one.words.split(separator: " ").map(String.init)
        let offers = try place.run(
            "bash", ["--norc"],
            """
            source '\(place.script)'
            COMP_WORDS=(\(one.words)) COMP_CWORD=\(words.count - 1) COMP_LINE='\(one.words)'
            COMP_POINT=${#COMP_LINE}
            _kvmscope kvmscope '\(words[words.count - 1])' '\(words[words.count - 2])'
            printf '%s\\n' "${COMPREPLY[@]}"
            """)
        #expect(Set(offers) == Set(one.offers))
    }

    /// But for `attach`, where the script asks the program by way of the terminal's line.
    @Test(
        .enabled(if: Host.has("fish"), "needs fish"),
        arguments: cases.filter { !$0.words.contains("attach ") })
    func fish(_ one: Case) throws {
        let place = try Place(shell: "fish")
        let offers = try place.run(
            "fish", ["--no-config"], "source '\(place.script)'; complete -C '\(one.words)'")
        // Each is followed by a tab and its description.
        #expect(Set(offers.map { $0.split(separator: "\t").first.map(String.init) ?? "" }) == Set(one.offers))
    }

    /// zsh completes only in a terminal: where one word is meant the line has it after Tab, else all are listed.
    @Test(.enabled(if: Host.has("zsh", "tmux"), "needs zsh and tmux"), arguments: cases)
    func zsh(_ one: Case) throws {
        let place = try Place(shell: "zsh")
        let terminal = try RealTerminal(columns: 100, rows: 30)
        let folder = place.folder.url.path
        try terminal.enter("cd '\(folder)' && PATH='\(folder)':$PATH exec zsh -f")
        try terminal.enter(
            "fpath=('\(folder)' $fpath); PS1='zsh> '; autoload -Uz compinit; compinit -u -D; clear")
        try terminal.wait("zsh") { $0.hasPrefix("zsh>") }
        try terminal.type(one.words)
        try terminal.press("Tab")
        // The first goes as far as all agree, the second lists.
        if one.offers.count > 1 { try terminal.press("Tab") }
        let parts = one.words.split(separator: " ").dropLast().joined(separator: " ")
        try terminal.wait("\(one.offers)") { screen in
            one.offers.count == 1
                ? screen.contains("zsh> \(parts) \(one.offers[0])")
                : one.offers.allSatisfy { offer in
                    screen.split(separator: "\n").dropFirst().contains { $0.hasPrefix(offer) }
                }
        }
    }

    /// The guests of the host are offered to `attach`; what is offered comes from the program itself.
    @Test func attachAsksTheProgram() throws {
        let place = try Place(shell: "bash")
        let script = try String(contentsOfFile: place.script, encoding: .utf8)
        #expect(script.contains("---completion attach -- positional@0"))
        let done = try run(
            Built.kvmscope,
            ["---completion", "attach", "--", "positional@0", "2", "0", "kvmscope", "attach", ""])
        #expect(done.status == 0 && done.errors.isEmpty, "\(done.errors)")
    }

    /// README's lines, but for those that build.
    @Test func readmeInstallsThem() throws {
        let place = try Place(shell: "bash")
        let lines = try #require(
            Markdown(path: "README.md").fences.first { $0.section == "Install" && $0.language == "sh" }
        ).lines.filter { !$0.contains("swift ") }
        let text = "set -e\nHOME='\(place.folder.url.path)'\n" + lines.joined(separator: "\n")
        #expect(try place.run("bash", ["--norc"], text).isEmpty)
        let files = [
            "bash-completion/completions/kvmscope", "zsh/site-functions/_kvmscope",
            "fish/vendor_completions.d/kvmscope.fish",
        ]
        for file in files {
            let path = place.folder.url.appending(path: ".local/share/\(file)").path
            let script = try String(contentsOfFile: path, encoding: .utf8)
            #expect(script.contains("attach") && script.contains("memory"), "\(file)")
        }
    }

    @Test func anUnknownShellIsNamed() throws {
        let done = try run(Built.kvmscope, ["--generate-completion-script", "tcsh"])
        #expect(done.status == 64 && done.errors.contains("tcsh") && done.errors.contains("bash"))
    }
}
