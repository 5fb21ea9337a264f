import Commands
import DebugTarget
import Debugger
import Glibc
import Synchronization
import TargetConformance
import Terminal
import Testing
import X86

@testable import kvmscope

/// Front ends over a made-up guest, whose stop is there as soon as it is asked for: what they print, and when.
@Suite(.serialized) struct ConsoleTests {
    /// What was printed.
    private final class Printed {
        var text = ""
        var lines: [String] { text.split(separator: "\n").map(String.init) }
    }

    /// Lines that are given one by one, each where the step before it has been waited for.
    private final class Script: LineSource {
        let isInteractive: Bool
        var steps: [Step]
        /// The descriptors that could have woken the last wait, and how long it would have been.
        var waits: [(descriptors: [Int32], milliseconds: Int?)] = []
        var hides = 0

        enum Step {
            case line(String)
            /// Something else came.
            case woken
            /// As the one before, and what is to be true by then.
            case check(() -> Void)
        }

        init(_ steps: [Step], isInteractive: Bool = true) {
            self.steps = steps.reversed()
            self.isInteractive = isInteractive
        }

        func next(prompt: String, waking descriptors: [Int32], milliseconds: Int?) -> LineInput {
            waits.append((descriptors, milliseconds))
            while case .check(let body) = steps.last {
                steps.removeLast()
                body()
            }
            switch steps.popLast() {
            case .line(let line): return .line(line)
            case .woken: return .woken
            case nil, .check: return .endOfFile
            }
        }
        func hide() { hides += 1 }
        func drop() {}
    }

    private let target: FakeTarget
    private let session: Session
    private let printed = Printed()
    private let signals: SignalPipe

    init() throws {
        target = FakeTarget()
        session = Session(debugger: try Debugger(target: target))
        signals = try SignalPipe([])
    }

    private func load(_ code: [UInt8]) throws {
        try session.debugger.writeMemory(.physical(0x7C00), code)
    }

    private func batch(json: Bool) -> BatchFrontEnd {
        var output = Output(json: json, color: .never)
        output.sink = { [printed] text, _ in printed.text += text }
        return BatchFrontEnd(session: session, output: output, signals: signals)
    }

    /// However soon the stop of a line is there, it is that line's and is printed once.
    @Test func oneRecordALine() throws {
        try load([UInt8](repeating: 0x90, count: 100))
        session.enqueue([String](repeating: "step", count: 80), place: "test")
        #expect(batch(json: true).run("print 1") == .done)
        #expect(printed.lines.count == 81)
        #expect(printed.lines.dropFirst().allSatisfy { $0.contains(#""kind":"step""#) }, "\(printed.lines)")
    }

    private func poke(_ byte: UInt8) {
        [byte].withUnsafeBytes { try? target.memory.write(0x7C00, $0) }
    }

    /// What the guest needs while nobody types is done: it is shown as it stops, and not before.
    @Test(arguments: [true, false]) func aStopIsShownWhileNobodyTypes(_ isInteractive: Bool) throws {
        try load([0xEB, 0xFE])  // jmp to itself
        let script = Script([], isInteractive: isInteractive)
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script)
        script.steps = [
            .line("continue &"), .woken,
            .check { [printed] in
                #expect(!printed.text.contains("Halted") && script.hides == 0)
                poke(0xF4)  // hlt
            },
            .woken,
            .check { [printed] in #expect(printed.text.contains("Halted") && script.hides == 1) },
            .line("print 40 + 2"), .line("quit"),
        ].reversed()
        #expect(console.run() == 0)
        #expect(printed.lines.last == "$1 = 42  0x2a", "\(printed.lines)")
        #expect(printed.lines.filter { $0.contains("Halted") }.count == 1)
        // Only while the guest runs is its stop waited for, and looked for now and then.
        #expect(script.waits[1].descriptors.contains(target.stopDescriptor))
        #expect(script.waits[1].milliseconds != nil)
        for wait in [script.waits[0], script.waits[3]] {
            #expect(!wait.descriptors.contains(target.stopDescriptor) && wait.milliseconds == nil)
        }
    }

    /// Enter that comes with the stop does not let the guest go again.
    @Test func enterForAStopDoesNotRepeat() throws {
        try load([0xEB, 0xFE])  // jmp to itself
        let script = Script([
            .line("continue &"), .check { poke(0xF4) }, .line(""), .line("info stops"), .line("quit"),
        ])
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script)
        #expect(console.run() == 0)
        #expect(printed.lines.filter { $0.hasPrefix("Running") }.count == 1, "\(printed.lines)")
        #expect(printed.lines.contains { $0.contains("Halted") })
        #expect(!session.isRunning)
    }

    @Test func enterWhileItRunsDoesNothing() throws {
        try load([0xEB, 0xFE])  // jmp to itself
        let script = Script([.line("continue &"), .line(""), .line("stop"), .line("quit")])
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script)
        #expect(console.run() == 0)
        #expect(!printed.text.contains("error"), "\(printed.text)")
        #expect(printed.text.contains("Interrupted"))
    }

    /// The commands of a breakpoint that is met while nobody waits are done at once, too.
    @Test func aBreakpointsCommandsAreDoneWhileNobodyTypes() throws {
        try load([0x90, 0x90, 0xF4])
        let script = Script([])
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script)
        script.steps = [
            .line("break 0x7c01"), .line("commands 1"), .line("print 40 + 2"), .line("end"),
            .line("continue &"), .woken,
            .check { [printed] in #expect(printed.text.contains("$1 = 42")) },
        ].reversed()
        #expect(console.run() == 0)
    }

    /// Ctrl-C twice ends the session, and the guest with it: once that has run, a third is asked for.
    @Test(arguments: [false, true]) func controlCAsksBeforeTheGuestIsLost(_ hasRun: Bool) throws {
        let script = Script([])
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script, endsGuest: true)
        var ends: [BatchFrontEnd.End] = []
        let interrupt = Script.Step.check { ends.append(console.take(SIGINT)) }
        // A command in between begins it anew.
        script.steps =
            (hasRun ? [.line("step"), interrupt, interrupt, .line("print 1")] : [.line("print 1")])
            + [interrupt, interrupt] + (hasRun ? [interrupt] : []) + [.line("quit")]
        script.steps.reverse()
        #expect(console.run() == 0)
        let end = BatchFrontEnd.End.signal(SIGINT)
        #expect(ends == (hasRun ? [.done, .done, .done, .done, end] : [.done, end]))
    }

    /// Ctrl-D, as Ctrl-C: a guest that has run is not lost at once. A script ends where its commands do.
    @Test(arguments: [true, false], [true, false])
    func controlDAsksBeforeTheGuestIsLost(isInteractive: Bool, hasRun: Bool) throws {
        // Each check at the end of the lines is one more end of the input.
        var ends = 0
        let end = Script.Step.check { ends += 1 }
        let script = Script([.line(hasRun ? "step" : "print 1"), end], isInteractive: isInteractive)
        script.steps.reverse()
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script, endsGuest: true)
        #expect(console.run() == 0)
        #expect(ends == 1 && script.waits.count == (isInteractive && hasRun ? 3 : 2))
    }

    /// A script's Ctrl-C, and one at another program's guest, ask nothing.
    @Test(arguments: [(true, false), (false, true)])
    func controlCAsksNothingWhereNothingIsLost(isInteractive: Bool, endsGuest: Bool) throws {
        let script = Script([], isInteractive: isInteractive)
        let console = ConsoleFrontEnd(batch: batch(json: false), lines: script, endsGuest: endsGuest)
        var ends: [BatchFrontEnd.End] = []
        let interrupt = Script.Step.check { ends.append(console.take(SIGINT)) }
        script.steps = [.line("quit"), interrupt, interrupt, .line("step")]
        _ = console.run()
        let end = BatchFrontEnd.End.signal(SIGINT)
        #expect(ends == (isInteractive ? [.done, end] : [end, end]))
    }
}
