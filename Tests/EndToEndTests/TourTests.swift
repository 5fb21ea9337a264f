import Foundation
import Testing

/// The boot loader of the tour.
private enum TourLoader {
    static let isInstalled =
        Host.isCI || FileManager.default.fileExists(atPath: "/usr/lib/grub/x86_64-pc/stage1")
}

/// README's tour, done as it is written.
@Suite(
    .serialized,
    .enabled(if: Host.runsKVM, "needs /dev/kvm"),
    .enabled(if: TourLoader.isInstalled, "needs grub-legacy"))
struct TourTests {
    private static let section = "A tour"
    private static let readme = Markdown(path: "README.md")

    /// A folder in which the program has its name, as one that was installed has.
    private final class Installed {
        private let folder: TemporaryFolder
        init() throws {
            folder = try TemporaryFolder()
            try FileManager.default.createSymbolicLink(
                atPath: folder.url.appending(path: "kvmscope").path, withDestinationPath: Built.kvmscope)
        }
        var path: String { folder.url.path }
        var environment: [String: String] {
            ["PATH": path + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")]
        }
    }

    /// A step: keys and lines, and what the screen then shows.
    private struct Step {
        var inputs: [String]
        var shown: [String]
        init?(_ cells: [String]) {
            guard cells.count == 3 else { return nil }
            inputs = Markdown.spans(cells[0])
            shown = Markdown.spans(cells[2])
        }
        static func isKey(_ input: String) -> Bool { input.wholeMatch(of: /F\d+|C-.|Enter|Tab|Esc/) != nil }
    }

    @Test(.enabled(if: Host.has("tmux"), "needs tmux"))
    func theTourOnTheScreen() throws {
        let starts = try Self.starts
        let table = try #require(Self.readme.tables.first { $0.section == Self.section })
        let steps = table.rows.compactMap(Step.init)
        #expect(steps.count == table.rows.count && steps.count > 6)

        let installed = try Installed()
        let terminal = try RealTerminal(columns: 120, rows: 40)
        try terminal.enter("PATH='\(installed.path)':$PATH")
        try terminal.enter("cd '\(installed.path)'")
        for line in starts { try terminal.enter(line) }
        try terminal.wait("what README says of the start") { screen in
            ["0000:7c00", "real", "edx 00000000", " IF ", "(kvmscope)"].allSatisfy(screen.contains)
        }
        for step in steps {
            #expect(!step.inputs.isEmpty && !step.shown.isEmpty, "\(step)")
            for input in step.inputs {
                if Step.isKey(input) {
                    try terminal.press(input)
                } else {
                    try terminal.enter(input)
                }
            }
            let screen = try terminal.wait("\(step.inputs) to show \(step.shown)") { screen in
                step.shown.allSatisfy(screen.contains)
            }
            if step.inputs.last == "F5" {
                // What the step shows may be there before all of the screen is drawn.
                let whole = try? terminal.wait("README's screen") {
                    (try? missing(from: $0).isEmpty) ?? false
                }
                try compareWithReadme(whole ?? screen)
            }
        }
        try terminal.enter("quit")
        try terminal.wait("the end") { _ in (try? terminal.property("alternate_on")) == "0" }
    }

    /// The lines that make the image and start kvmscope.
    private static var starts: [String] {
        get throws {
            let fence = readme.fences.first { $0.section == section && $0.language == "sh" }
            let lines = try #require(fence?.lines)
            #expect(lines.count == 2)
            return lines
        }
    }

    /// README's screen is the program's of today: each word of it is on the screen. Numbers may differ with the host.
    ///
    /// With KVMSCOPE_RECORD=1 in the environment the screen is put into README, and the test fails all the same.
    private func compareWithReadme(_ screen: String) throws {
        if ProcessInfo.processInfo.environment["KVMSCOPE_RECORD"] != nil {
            let file = Built.packageRoot.appending(path: "README.md")
            let text = try String(contentsOf: file, encoding: .utf8)
            let begin = try #require(text.range(of: "<!-- screen -->\n```text\n"))
            let end = try #require(text.range(of: "```\n<!-- /screen -->"))
            let lines = screen.split(separator: "\n", omittingEmptySubsequences: false).prefix(40)
            let new =
                text[..<begin.upperBound] + lines.joined(separator: "\n") + "\n" + text[end.lowerBound...]
            try String(new).write(to: file, atomically: true, encoding: .utf8)
            Issue.record("put the screen into README; run again without KVMSCOPE_RECORD")
            return
        }
        let missing = try missing(from: screen)
        #expect(
            missing.isEmpty,
            "README's screen shows \(missing.sorted()); KVMSCOPE_RECORD=1 swift test --filter TourTests takes it anew"
        )
    }

    /// The words of README's screen that another has not.
    private func missing(from screen: String) throws -> Set<String> {
        let shown = try #require(Self.readme.fences.first { $0.language == "text" })
        #expect(shown.lines.count >= 24)
        let words = Set(words(of: shown.lines.joined(separator: " ")))
        #expect(words.count > 30)
        return words.subtracting(self.words(of: screen))
    }

    private func words(of text: String) -> [String] {
        text.split { !$0.isLetter }.map(String.init).filter { $0.count > 3 }
    }

    /// The same without a screen: README shows what is printed, but for times.
    @Test func theTourWithoutAScreen() throws {
        let lines = try #require(
            Self.readme.fences.first { $0.section == Self.section && $0.language == "console" }
        ).lines
        let installed = try Installed()
        let starts = lines.indices.filter { lines[$0].hasPrefix("$ ") }
        #expect(starts.first == 0)
        for (start, end) in zip(starts, starts.dropFirst() + [lines.endIndex]) {
            let command = String(lines[start].dropFirst(2))
            let done = try run(
                "bash", ["-c", "cd '\(installed.path)' && \(try Self.starts[0]) && \(command)"],
                environment: installed.environment)
            #expect(done.status == 0, "\(command): \(done.errors)")
            let printed = done.output.split(separator: "\n").map { Self.withoutTimes(String($0)) }
            #expect(printed == lines[(start + 1)..<end].map(Self.withoutTimes), "\(command)")
        }
    }

    private static func withoutTimes(_ line: String) -> String {
        line.replacing(/[0-9.]+ (ns|us|ms|s)\b/, with: "TIME")
    }

    /// What the manual gives as commands for the built-in guests can be run.
    @Test func theExamplesOfTheManualRun() throws {
        let page = Markdown(path: "Sources/kvmscope/kvmscope.docc/Debugging.md")
        let commands = page.fences.flatMap(\.lines).filter { $0.contains("--example ") }
        #expect(commands.count == 2)
        let installed = try Installed()
        for command in commands {
            let done = try run("bash", ["-c", command], environment: installed.environment)
            #expect(done.status == 0, "\(command): \(done.errors)")
            #expect(
                done.output.contains("mode switch") || done.output.contains("died of a triple fault"),
                "\(done.output)")
        }
    }
}
