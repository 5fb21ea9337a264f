import Commands
import DebugTarget
import Debugger
import Foundation
import Testing

/// What is below the commands does not speak of them: it names an act, and each front end says how it is done there.
@Suite struct RemedyTests {
    @Test func anActIsToldInCommands() {
        let refusal = DebuggerError(.refused, "it cannot be done", advice: .stopGuest)
        #expect(explained(refusal) == "it cannot be done; `stop` stops the guest")
        let both = DebuggerError(
            .refused, "it cannot be done", remedy: "think", advice: .returnToPresent(stop: 7))
        #expect(explained(both) == "it cannot be done; think; `revisit now` goes back to stop 7")
        #expect(explained(DebuggerError(.refused, "it cannot be done")) == "it cannot be done")
    }

    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Command names in backquotes, in what a lower layer may say to a user.
    @Test(
        .enabled(if: FileManager.default.fileExists(atPath: root.appending(path: "Package.swift").path)),
        arguments: [
            "KVMCore", "X86", "Host", "Symbols", "Expressions", "DebugTarget", "Machine", "Attach",
            "Debugger", "Monitor",
        ])
    func noCommandIsNamedBelow(target: String) throws {
        let base = Self.root.appending(path: "Sources/\(target)")
        let names = CommandTable.standard.commands.flatMap { [$0.name] + $0.aliases }.filter { $0.count > 2 }
        #expect(names.count > 50)
        let words = Set(names.compactMap { $0.split(separator: " ").first.map(String.init) } + ["kvmscope"])
        var files = 0
        for path in try FileManager.default.subpathsOfDirectory(atPath: base.path)
        where path.hasSuffix(".swift") {
            files += 1
            let text = try String(contentsOf: base.appending(path: path), encoding: .utf8)
            for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                guard !line.drop(while: { $0 == " " }).hasPrefix("//"), line.contains("\"") else { continue }
                // `command arguments` within a string.
                for quoted in line.split(separator: "`").dropFirst().enumerated().filter({
                    $0.offset % 2 == 0
                }) {
                    let word = quoted.element.split(separator: " ").first.map(String.init) ?? ""
                    #expect(
                        !words.contains(word),
                        "\(target)/\(path):\(index + 1) names the command `\(quoted.element)`")
                }
            }
        }
        #expect(files > 2)
    }
}
