import Glibc
import Interface
import SystemPackage
import Testing

@testable import Terminal

/// readline has one state for the process: one editor, and one test of it at a time, on the main thread.
@MainActor @Suite(.serialized) struct LineEditorTests {
    private static let folder = FilePath("/tmp/kvmscope-test-\(getpid())")
    private static let file = folder.appending("state").appending("history")
    private static let editor: LineEditor = {
        // The user's inputrc must not decide a test.
        setenv("INPUTRC", "/dev/null", 1)
        // The closure is C's: it finds the files again by itself.
        atexit {
            let folder = "/tmp/kvmscope-test-\(getpid())"
            unlink(folder + "/state/history")
            rmdir(folder + "/state")
            rmdir(folder)
        }
        let editor = LineEditor(place: .screen, history: History(path: file))
        editor.begin(prompt: "> ")
        return editor
    }()

    private var editor: LineEditor { Self.editor }

    private func type(_ keys: Key...) -> [LineInput] {
        keys.flatMap { editor.feed(Keyboard.bytes(for: $0)) }
    }

    private func type(_ text: String) -> [LineInput] {
        text.unicodeScalars.flatMap { editor.feed(Keyboard.bytes(for: .character($0))) }
    }

    private var state: LineEditor.State { editor.state }

    @Test func typesAndMoves() {
        editor.clear()
        #expect(type("stpe") == [])
        #expect(state == .init(prompt: "> ", text: "stpe", cursor: 4))
        _ = type(.left, .left, .delete, .right, .character("p"))
        #expect(state.text == "step")
        _ = type(.home)
        #expect(state.cursor == 0)
        _ = type(.end, .backspace)
        #expect(state == .init(prompt: "> ", text: "ste", cursor: 3))
        #expect(type(.character("p"), .enter) == [.line("step")])
        #expect(state.text == "")
    }

    @Test func isUnicode() {
        editor.clear()
        _ = type("load é字")
        #expect(state.text == "load é字")
        #expect(state.cursor == 10)
        _ = type(.backspace)
        #expect(state.text == "load é")
        editor.clear()
    }

    @Test func historyIsWalkedAndSearched() {
        editor.clear()
        _ = type("break 0x7c00")
        _ = type(.enter)
        _ = type("continue")
        _ = type(.enter)
        _ = type(.up, .up)
        #expect(state.text == "break 0x7c00")
        _ = type(.down)
        #expect(state.text == "continue")
        editor.clear()
        _ = type(.control("r"))
        _ = type("7c")
        #expect(state.prompt.contains("reverse-i-search"))
        #expect(state.text == "break 0x7c00")
        editor.clear()
        #expect(state == .init(prompt: "> ", text: "", cursor: 0))
    }

    @Test func completesTheWord() {
        editor.clear()
        editor.completion = { line, cursor in
            let words = ["continue", "info breakpoints", "info exits"]
            let start = line.hasPrefix("info ") ? 5 : 0
            let typed = String(decoding: Array(line.utf8)[start..<cursor], as: UTF8.self)
            let found = words.compactMap { word -> String? in
                let tail = start == 5 ? word.hasPrefix("info ") ? String(word.dropFirst(5)) : "" : word
                return tail.hasPrefix(typed) && !tail.isEmpty ? tail : nil
            }
            return LineCompletion(start: start, candidates: found)
        }
        _ = type("con")
        _ = type(.tab)
        #expect(state.text == "continue ")
        editor.clear()
        _ = type("info e")
        _ = type(.tab)
        #expect(state.text == "info exits ")
        editor.clear()
        var shown: [String] = []
        editor.showCandidates = { shown = $0 }
        _ = type("info ")
        _ = type(.tab, .tab)
        #expect(shown.sorted() == ["breakpoints", "exits"])
        #expect(state.text == "info ")
        editor.clear()
        _ = type("nothing")
        _ = type(.tab)
        #expect(state.text == "nothing")
        editor.clear()
    }

    @Test func endOfFile() {
        editor.clear()
        #expect(type(.control("d")) == [.endOfFile])
        _ = type("x")
        #expect(state.text == "x", "the editor goes on")
        editor.clear()
    }

    @Test func clearsInTheMiddleOfAKey() {
        editor.clear()
        _ = type("abc")
        _ = type(.escape)
        editor.clear()
        _ = type("d")
        #expect(state.text == "d" || state.text == "")
        editor.clear()
        _ = type("step")
        #expect(state.text == "step")
        editor.clear()
    }

    @Test func theHistoryFileIsTheUsersAlone() throws {
        editor.clear()
        _ = type("regs")
        _ = type(.enter)
        _ = type("   ")
        _ = type(.enter)
        var status = stat()
        #expect(stat(Self.file.string, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o600)
        #expect(stat(Self.file.removingLastComponent().string, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o700)
        let lines = try contents(Self.file).split(separator: "\n")
        #expect(lines.last == "regs")
    }

    @Test func theHistoryIsBounded() throws {
        editor.clear()
        for index in 0..<(History.limit + 20) {
            _ = type("x \(index)")
            _ = type(.enter)
        }
        let lines = try contents(Self.file).split(separator: "\n")
        #expect(lines.count == History.limit)
        #expect(lines.last == "x \(History.limit + 19)")
        #expect(lines.first == "x 20")
    }

    private func contents(_ path: FilePath) throws -> String {
        let file = try FileDescriptor.open(path, .readOnly)
        return try file.closeAfter {
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0) }
            return String(decoding: bytes.prefix(count), as: UTF8.self)
        }
    }
}

@Suite struct HistoryTests {
    @Test(arguments: [
        (["XDG_STATE_HOME": "/s", "HOME": "/h"], "/s/kvmscope/history"),
        (["HOME": "/h"], "/h/.local/state/kvmscope/history"),
        (["XDG_STATE_HOME": "relative", "HOME": "/h"], "/h/.local/state/kvmscope/history"),
        (["XDG_STATE_HOME": "", "HOME": "/h"], "/h/.local/state/kvmscope/history"),
    ]) func place(_ environment: [String: String], _ path: String) {
        #expect(History.standard { environment[$0] }?.path.string == path)
    }

    @Test func noHomeNoHistory() {
        #expect(History.standard { _ in nil } == nil)
        #expect(History.standard { $0 == "HOME" ? "here" : nil } == nil)
    }
}

/// With signals that no other test of the process sends.
@Suite(.serialized) struct SignalPipeTests {
    @Test func signalsComeInOrder() throws {
        let pipe = try SignalPipe([SIGURG, SIGXCPU])
        #expect(pipe.next() == nil)
        kill(getpid(), SIGURG)
        kill(getpid(), SIGXCPU)
        var wait = pollfd(fd: pipe.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&wait, 1, 5_000) == 1)
        var seen: Set<Int32> = []
        for _ in 0..<5_000 where seen.count < 2 {
            if let signal = pipe.next() { seen.insert(signal) } else { usleep(1_000) }
        }
        #expect(seen == [SIGURG, SIGXCPU])
        #expect(pipe.next() == nil)
    }

    @Test func theEarlierActionComesBack() throws {
        signal(SIGURG, SIG_IGN)
        let pipe = try SignalPipe([SIGURG])
        pipe.cancel()
        kill(getpid(), SIGURG)
        usleep(1_000)
        #expect(pipe.next() == nil)
        signal(SIGURG, SIG_DFL)
    }

    @Test func aSignalThatIsNoneIsRefused() {
        #expect(throws: TerminalError.self) { try SignalPipe([9_999]) }
        #expect(throws: TerminalError.self) { try SignalPipe([SIGKILL]) }
    }
}
