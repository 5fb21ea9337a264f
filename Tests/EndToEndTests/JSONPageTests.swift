import Foundation
import Testing

/// What the manual promises to programs, held against the program.
@Suite(.enabled(if: Host.runsKVM, "needs /dev/kvm"))
struct JSONPageTests {
    private static let page = Markdown(path: "Sources/kvmscope/kvmscope.docc/JSON.md")

    /// A row of the table: commands that can be run, and the keys of what they give.
    struct Row: CustomTestStringConvertible {
        var command: String
        var keys: [String]
        var testDescription: String { command }
    }

    static let rows: [Row] = page.tables.flatMap(\.rows).compactMap { cells in
        guard cells.count == 2, let command = Markdown.spans(cells[0]).first else { return nil }
        return Row(
            command: command, keys: Markdown.spans(cells[1]).filter { $0 != "break" && $0 != "vcpu info" })
    }

    @Test func theTableIsThere() { #expect(Self.rows.count >= 15) }

    @Test(arguments: rows)
    func resultsHaveTheirKeys(_ row: Row) throws {
        let done = try run(
            Built.kvmscope,
            [
                "--json", "--batch", "-ex", "break 0x7c05", "-ex", "step", "-ex", row.command,
            ])
        #expect(done.status == 0)
        let line = try #require(
            done.output.split(separator: "\n").first { $0.contains("\"command\":\"\(row.command)\"") })
        let record = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let result = try #require(record["result"])
        for key in row.keys where !key.hasSuffix("?") {
            #expect(Self.has(result, key.split(separator: ".")[...]), "\(row.command) has no \(key): \(line)")
        }
    }

    private static func has(_ value: Any, _ path: ArraySlice<Substring>) -> Bool {
        guard let first = path.first else { return true }
        let isList = first.hasSuffix("[]")
        guard let object = value as? [String: Any],
            let next = object[String(isList ? first.dropLast(2) : first)]
        else { return false }
        guard isList else { return has(next, path.dropFirst()) }
        guard let element = (next as? [Any])?.first else { return false }
        return has(element, path.dropFirst())
    }

    /// The records that the page shows are the program's own.
    @Test func theRecordsShownAreReal() throws {
        let shown = Self.page.fences.filter { $0.language == "json" }.flatMap(\.lines)
        #expect(shown.count == 3)
        let done = try run(Built.kvmscope, ["--json", "--batch", "-ex", "set $ax = 1", "-ex", "foo"])
        #expect(done.output.split(separator: "\n").map(String.init) == shown)
        #expect(done.status == 1)
    }

    /// As a program speaks to it: each request is answered with its id, in order, and the stop comes as an event.
    @Test func requestsAreAnswered() throws {
        func fence(_ language: String) -> [String] {
            Self.page.fences.filter { $0.language == language }.flatMap(\.lines)
        }
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "requests")
        // A bad request, and what is no command, cost nothing.
        let more = [#"{"id":5}"#, "{", "print 1", #"{"id":6,"command":"shell sleep 0.5"}"#]
        try (fence("requests") + more).map { $0 + "\n" }.joined().write(
            to: file, atomically: true, encoding: .utf8)
        let done = try run("sh", ["-c", "\(Built.kvmscope) --json < \(file.path)"])
        var lines = done.output.split(separator: "\n").map(String.init)
        let event = try #require(lines.firstIndex { $0.contains(#""kind":"event""#) })
        #expect(
            lines[event].contains(#""event":"stopped""#) && lines[event].contains(#""command":"continue &""#))
        lines.remove(at: event)
        let answers = fence("answers")
        #expect(Array(lines.prefix(answers.count)) == answers)
        #expect(lines[answers.count].contains("the request is no object with"))
        #expect(lines[answers.count + 1].contains("the request is no object with"))
        #expect(lines[answers.count + 2].hasPrefix(#"{"command":"print 1""#))
        #expect(lines[answers.count + 3].contains(#""id":6"#))
    }
}
