import Foundation
import Testing

/// A shell in a real terminal: tmux, on a server of its own that ends with this object.
final class RealTerminal {
    private let name = "kvmscope-\(UUID().uuidString)"
    let folder: TemporaryFolder

    init(columns: Int, rows: Int, environment: [String: String] = [:]) throws {
        folder = try TemporaryFolder()
        // A history of its own: the user's is not touched, and one test's lines are not another's.
        var settings = ["XDG_STATE_HOME": folder.url.path]
        settings.merge(environment) { $1 }
        let assignments = settings.flatMap { ["-e", "\($0.key)=\($0.value)"] }
        let prompt = folder.url.appending(path: "prompt").path
        try "PS1='ready> '\n".write(toFile: prompt, atomically: true, encoding: .utf8)
        try tmux(
            ["-f", "/dev/null", "new-session", "-d", "-s", "main", "-x", "\(columns)", "-y", "\(rows)"]
                + assignments + ["bash --noprofile --rcfile \(prompt)"])
        // A server is nobody's child.
        try tmux(["run-shell", "-b", "tail --pid=\(getpid()) -f /dev/null; tmux -L \(name) kill-server"])
        try waitFor("ready>")
    }

    deinit { try? close() }

    /// The terminal is gone, for whatever has it open.
    func close() throws { try tmux(["kill-server"]) }

    /// Keys by tmux's names: `F11`, `C-c`, `Enter`, `PageDown`.
    func press(_ keys: String...) throws { try press(contentsOf: keys) }

    func press(contentsOf keys: [String]) throws { try tmux(["send-keys", "-t", "main"] + keys) }

    func type(_ text: String) throws { try tmux(["send-keys", "-t", "main", "-l", text]) }

    func enter(_ line: String) throws {
        try type(line)
        try press("Enter")
    }

    func resize(columns: Int, rows: Int) throws {
        try tmux(["resize-window", "-t", "main", "-x", "\(columns)", "-y", "\(rows)"])
    }

    /// The lines on the screen, spaces at their ends removed.
    func screen() throws -> String { try tmux(["capture-pane", "-p", "-t", "main"]) }

    /// A property of the terminal as tmux sees it: `alternate_on`, `cursor_flag`, `mouse_any_flag`.
    func property(_ name: String) throws -> String {
        try tmux(["display-message", "-p", "-t", "main", "#{\(name)}"]).trimmingCharacters(
            in: .whitespacesAndNewlines)
    }

    /// Looks at the screen until `condition` holds; the screen as it then was. Fails the test after `seconds`.
    @discardableResult
    func wait(
        _ what: String, seconds: Double = 30, sourceLocation: SourceLocation = #_sourceLocation,
        _ condition: (String) -> Bool
    ) throws -> String {
        let end = Date(timeIntervalSinceNow: seconds)
        var last = ""
        repeat {
            last = try screen()
            if condition(last) { return last }
            usleep(30_000)
        } while Date() < end
        Issue.record("waited \(seconds) s for \(what); the screen:\n\(last)", sourceLocation: sourceLocation)
        throw Failed(what: what)
    }

    @discardableResult
    func waitFor(_ text: String, seconds: Double = 30, sourceLocation: SourceLocation = #_sourceLocation)
        throws
        -> String
    {
        try wait("\"\(text)\"", seconds: seconds, sourceLocation: sourceLocation) { $0.contains(text) }
    }

    struct Failed: Error { var what: String }

    @discardableResult
    private func tmux(_ arguments: [String]) throws -> String {
        let done = try run("tmux", ["-L", name] + arguments, environment: ["TMUX": ""])
        guard done.status == 0 else {
            throw Failed(what: "tmux \(arguments.joined(separator: " ")): \(done.errors)")
        }
        return done.output
    }
}
