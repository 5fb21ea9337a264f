import Debugger
import Foundation
import Testing
import X86

@testable import Commands

/// GDB's command language, typed, from a file and as a breakpoint's commands.
@Suite struct ScriptTests {
    let driver: Driver

    /// 7C00 inc ax; 7C01 inc bx; 7C02 jmp 7C00, in real mode.
    init() throws { driver = try Driver(stepping: [0x40, 0x43, 0xEB, 0xFC]) }

    private var session: Session { driver.session }

    /// What lines show, one after the other as a front end does them, up to the first failure.
    private func run(_ text: String) throws -> (text: String, error: CommandError?) {
        var result = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            do throws(CommandError) {
                result += try shown(try session.execute(String(line), origin: .script))
                while let next = session.advance() {
                    switch next.result {
                    case .success(let outcome): result += try shown(outcome)
                    case .failure(let error): return (result, error)
                    }
                }
            } catch {
                return (result, error)
            }
        }
        return (result, nil)
    }

    private func shown(_ outcome: Outcome) throws(CommandError) -> String {
        switch outcome {
        case .done(let output): return output.plainText(width: 80)
        case .running:
            // The stop itself is no news here.
            _ = try session.collectStop(timeout: nil)
            return ""
        case .quit: return "quit\n"
        }
    }

    private func output(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let (text, error) = try run(text)
        if let error { Issue.record("\(error)", sourceLocation: sourceLocation) }
        return text
    }

    @Test(
        arguments: [
            ("if 1\necho yes\\n\nend", "yes\n"),
            ("if 0\necho yes\\n\nelse\necho no\\n\nend", "no\n"),
            ("if 1\nif 0\necho a\nelse\necho b\nend\nelse\necho c\nend", "b"),
            ("set $n = 0\nwhile $n < 3\nprintf \"%d \", $n\nset $n++\nend", "0 1 2 "),
            ("set $n = 0\nwhile 1\nif $n == 3\nloop_break\nend\nset $n++\nend\nprintf \"%d\", $n", "3"),
            (
                "set $n = 0\nwhile $n < 5\nset $n++\nif $n & 1\nloop_continue\nend\nprintf \"%d \", $n\nend",
                "2 4 "
            ),
            (
                "set $i = 0\nwhile $i < 2\nset $j = 0\nwhile $j < 2\nprintf \"%d%d \", $i, $j\nset $j++\nend\nset $i++\nend",
                "00 01 10 11 "
            ),
            ("# a comment\nif 1\n# another\n\necho x\nend", "x"),
            ("echo one \\\ntwo", "one two"),
        ])
    func blocks(_ script: String, _ expected: String) throws {
        // Assignments show what they set: not what is looked at here.
        let shown = try output(script).split(separator: "\n", omittingEmptySubsequences: false).filter {
            !$0.contains(" = ") && !$0.hasPrefix("$")
        }.joined(separator: "\n")
        #expect(shown == expected)
        #expect(!session.hasQueuedLines && !session.isCollectingCommands)
    }

    @Test func commandsOfOnesOwn() throws {
        let text = try output(
            """
            define show2
            printf "%d: %s %s\\n", $argc, "$arg0", "$arg*"
            end
            document show2
            Shows its words.

            The second line.
            end
            show2 a x
            """)
        #expect(text.hasSuffix("2: a a x\n"))
        #expect(try output("help show2").contains("Shows its words."))
        #expect(try output("show user show2").contains("printf"))
        #expect(session.complete("sho", cursor: 3).candidates.contains { $0.text == "show2" })
        // Redefined, it keeps its help.
        #expect(try output("define show2\necho new\nend\nshow2").hasSuffix("new"))
        #expect(try output("show user").contains("Shows its words."))
    }

    @Test func argumentsAreText() throws {
        #expect(
            try output("define add\nprintf \"%d\", $arg0 + $arg1\nend\nadd 2 (3 * 4)").hasSuffix("14"))
        let (_, error) = try run("add 1")
        #expect(error?.message == "$arg1 was not given")
        #expect(error?.remedy == "the command was called with 1 argument")
        #expect(error?.place == "typed:2")
    }

    @Test func aCommandThatCallsItselfEnds() throws {
        #expect(
            try output(
                "define count\nif $arg0 > 0\nprintf \"%d \", $arg0\ncount $arg0-1\nend\nend\ncount 3"
            ).hasSuffix("3 2 1 "))
        let (_, error) = try run("define again\nagain\nend\nagain")
        #expect(error?.message.contains("more than 200 deep") == true)
        #expect(!session.hasQueuedLines)
        // What grows at each call is bounded, too.
        let (_, longer) = try run("define double\ndouble $arg0$arg0\nend\ndouble abcdefgh")
        #expect(longer?.message.contains("longer than") == true)
    }

    @Test func ctrlCEndsALoopThatHasNoCommands() throws {
        session.cancelRequested = { true }
        let text = try output("while 1\nend")
        #expect(text == "Interrupted.\n")
        #expect(!session.hasQueuedLines)
        session.cancelRequested = { false }
        #expect(try output("echo on").hasSuffix("on"))
    }

    @Test(
        arguments: [
            ("else", "`else` belongs to no block"), ("end", "`end` belongs to no block"),
            ("loop_break", "`loop_break` stands in no `while`"),
            ("if 1\nloop_continue\nend", "`loop_continue` stands in no `while`"),
            ("if", "`if` needs an expression"), ("if 1\nelse\nelse\nend", "this `if` has an `else` already"),
            ("while 1\nelse\nend", "`else` belongs to no `if`"),
            ("if 1\nelse if 2\nend", "`else` stands on a line of its own"),
            ("define step\nend", "`step` is a command of kvmscope"),
            ("define 1a\nend", "`1a` is no name of a command"), ("define\nend", "`define` needs a name"),
            ("define hook-nothing\nend", "there is no command `nothing` to hook"),
            ("document nothing\nend", "`nothing` is no command of yours"),
            ("defin a\nend", "`define` has to be written in full"),
            ("if $nope\nend", "there is no register or variable '$nope'"),
        ])
    func whatIsWrongIsSaid(_ script: String, _ message: String) throws {
        #expect(try run(script).error?.message == message)
        session.abandonBlock()
    }

    @Test func errorsNameFileAndLine() throws {
        let folder = try SourceTests.Folder([
            "a.cmd": "set $n = 1\nif $n\n  while $n < 5\n    set $n++\n    p $nope\n  end\nend\np 1\n",
            "b.cmd": "p 1\nwhile 1\nif 2\nend\n",
        ])
        let (_, error) = try run("source \(folder.path)/a.cmd")
        #expect(error?.place == "\(folder.path)/a.cmd:5")
        #expect(!session.hasQueuedLines)
        let (_, open) = try run("source \(folder.path)/b.cmd")
        #expect(open?.place == "\(folder.path)/b.cmd:2")
        #expect(open?.message == "`while 1` has no `end`")
        #expect(!session.isCollectingCommands)
    }

    @Test func hooks() throws {
        let script = """
            define hook-echo
            printf "<"
            end
            define hookpost-echo
            printf ">"
            end
            echo a
            """
        #expect(try output(script).hasSuffix("<a>"))
        // A hook that does its own command does not go on for ever.
        #expect(try output("define hook-echo\necho b\nend\necho c").hasSuffix("bc>"))
        #expect(
            try output("define hook-stop\nprintf \"ax=%d\\n\", $ax\nend\nset $ax = 5\nstep").hasSuffix(
                "ax=6\n"))
        #expect(
            try output("define hook-info-breakpoints\necho list\\n\nend\ninfo b").contains("list\n>No break"))
    }

    @Test func aBreakpointsCommandsAreAScript() throws {
        let text = try output(
            """
            break 0x7c01
            commands 1
            silent
            if $ax < 4
            continue
            else
            printf "ax=%d\\n", $ax
            end
            end
            set $ax = 0
            continue
            """)
        #expect(text.hasSuffix("ax=4\n"))
        #expect(try driver.text("info breakpoints").contains { $0.contains("if $ax < 4") })
    }

    @Test func aLoopStepsTheGuest() throws {
        #expect(try output("set $ax = 0\nwhile $ax < 3\nstep\nend\nprintf \"%d\", $ax").hasSuffix("3"))
        #expect(try output("eval \"printf \\\"%s %%d\\\", %d\", \"n\", 7").hasSuffix("n 7"))
    }

    @Test(
        arguments: [
            ("p $_streq(\"a\", \"a\")", 1), ("p $_streq(\"a\", \"b\")", 0), ("p $_strlen(\"abc\")", 3),
            ("p $_regex(\"loader\", \"^lo+[a-d]{1,2}er$\")", 1), ("p $_regex(\"xloader\", \"load\")", 0),
            ("p $_regex(\"aab\", \"(a|b)*c\")", 0), ("p $_isvoid($never)", 1),
            ("p $_memeq(0x7c00, 0x7c00, 4)", 1), ("p $_memeq(0x7c00, 0x7c01, 4)", 0),
            ("p $_strlen(0x500) + 1", 3), ("p $_streq(0x500, \"hi\") && 1", 1),
        ] as [(String, UInt64)])
    func functionsOfStrings(_ line: String, _ expected: UInt64) throws {
        try session.debugger.writeMemory(.physical(0x500), Array("hi\0".utf8))
        #expect(try driver.text(line)[0].contains("= \(expected) "))
    }

    @Test(
        arguments: [
            ("p $_nope(1)", "there is no function '$_nope'"), ("p \"a\"", "text in double quotes"),
            ("p $_regex(\"a\", \"(\")", "in the pattern, after 1 bytes"),
            ("p $_regex(\"a\", 0x500)", "the pattern has to stand in double quotes"),
            ("p $_streq(\"a\")", "',' is expected"), ("p $_strlen(\"a", "the quote is not closed"),
            ("p $_memeq(0, 0, 0x1000000)", "bytes can be compared at most"),
            ("p $_regex(\"a\", \"(((a{255}){255}){255}){255}\")", "the pattern is too large"),
        ])
    func functionsRefuse(_ line: String, _ message: String) throws {
        #expect(try driver.failure(line).message.contains(message))
    }

    /// A breakpoint's condition may look at strings; it is evaluated on the vCPU's thread.
    @Test func aConditionComparesStrings() throws {
        try session.debugger.writeMemory(.physical(0x500), Array("hi\0".utf8))
        try driver.output("b 0x7c01 if $_streq(0x500, \"hi\")")
        #expect(try driver.text("continue")[0].hasPrefix("Breakpoint 1."))
    }

    @Test(
        arguments: [
            (#"printf "%d|%5d|%-5d|%05d|%+d", 1, 2, 3, 4, 5"#, "1|    2|3    |00004|+5"),
            (#"printf "%x %#X %o %u %p", 255, 255, 8, 9, 0x7c00"#, "ff 0XFF 10 9 0x7c00"),
            (#"printf "%c%c %s %.2s %5s|", 72, 105, "text", "text", "ab""#, "Hi text te    ab|"),
            (#"printf "%hhx %hx %lx", 0x1234, 0x12345, 0x1234567890"#, "34 2345 1234567890"),
            (#"printf "%d %d", -1, (u8)255"#, "-1 255"), (#"printf "100%%\t.""#, "100%    ."),
            (#"printf "%s|%.1s", 0x500, 0x500"#, "hi|h"), (#"printf "%.4d", 7"#, "0007"),
            (#"echo \ a\tb\ "#, " a      b "),
        ])
    func formats(_ line: String, _ expected: String) throws {
        try session.debugger.writeMemory(.physical(0x500), Array("hi\0".utf8))
        #expect(try output(line) == expected)
    }

    @Test(
        arguments: [
            (#"printf "%d""#, "the format has 1 conversion, and 0 values were given"),
            (#"printf "%d", 1, 2"#, "the format has 1 conversion, and 2 values were given"),
            (#"printf %d, 1"#, "`printf` needs a format in double quotes"),
            (#"printf "%f", 1"#, "`%f` is for floating-point numbers, and values are integers"),
            (#"printf "%n", 1"#, "there is no conversion `%n`"),
            (#"printf "%999999d", 1"#, "a width is 4096 at most"),
            (#"printf "%", 1"#, "the format ends within `%`"), (#"printf "a"#, "the quote is not closed"),
            (#"printf "%s", 0x600"#, "the string at 0x600 has no end within 4096 bytes"),
            (#"printf "%d", "a""#, "a string is for `%s`"), (#"printf "%d" 1"#, "a comma is expected"),
            (#"printf "%d", "#, "an expression is expected"),
        ])
    func formatsRefuse(_ line: String, _ message: String) throws {
        try session.debugger.writeMemory(.physical(0x600), [UInt8](repeating: 0x41, count: 0x2000))
        #expect(try driver.failure(line).message.hasPrefix(message))
    }

    /// What a guest has in its memory drives no terminal.
    @Test func printedTextIsEscaped() throws {
        try session.debugger.writeMemory(.physical(0x500), [0x1B, 0x5B, 0x32, 0x4A, 0xFF, 0])
        #expect(try output("printf \"%s\", 0x500") == "\\x1b[2J\\xff")
    }

    @Test func settingsOfGDBsScriptsAreAccepted() throws {
        for line in ["set pagination off", "set confirm off", "set height 0", "set width 0"] {
            #expect(try driver.text(line)[0].contains("a setting of GDB's"))
        }
    }

    @Test func quitHasAStatus() throws {
        guard case .quit = try session.execute("quit 3", origin: .script) else { throw CommandError("no") }
        #expect(session.exitStatus == 3)
        #expect(try driver.failure("quit 256").message.contains("0 to 255"))
    }
}
