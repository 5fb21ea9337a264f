import Glibc
import TargetConformance
import Testing

@testable import Commands
@testable import Debugger

/// Many of a thing take as much longer as there are more of them. What is compared is this thread's own processor time
/// for a few and for eight times as many: where each looks at all the others it would be up to 64 times as much.
@Suite(.serialized) struct ScaleTests {
    private static func processorTime() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// The time of the lines that `make` gives for so many.
    private func cost(_ count: Int, _ make: (Int) -> [String]) throws -> UInt64 {
        let session = Session(debugger: try Debugger(target: FakeTarget()))
        let lines = make(count)
        let start = Self.processorTime()
        for line in lines { _ = try session.execute(line, origin: .script) }
        return Self.processorTime() - start
    }

    @Test(arguments: [
        "set $vN = N", "break *0x8000 + N", "catch io N", "catch msr N", "watch w (0x8000 + N * 8) 1",
        "display/x $rax",
        "print N",
    ])
    func eachCostsTheSame(_ pattern: String) throws {
        func lines(_ count: Int) -> [String] {
            (1...count).map { pattern.replacing("N", with: "\($0)") }
        }
        // What is made once is made before.
        _ = try cost(20, lines)
        let (few, many) = (try cost(300, lines), try cost(2400, lines))
        #expect(many < few * 24, "\(few) ns for 300, \(many) ns for 2400")
    }

    /// Made and taken away again, one at a time.
    @Test(arguments: [
        ("break *0x8000 + N", "delete N"), ("catch io N", "delete N"),
        ("watch w (0x8000 + N * 8) 1", "unwatch N"),
        ("display/x $rax", "undisplay N"), ("break *0x8000 + N", "commands N print 1"),
    ])
    func eachIsTakenAwayAtTheSameCost(_ pattern: String, _ undo: String) throws {
        func lines(_ count: Int) -> [String] {
            [pattern, undo].flatMap { text in (1...count).map { text.replacing("N", with: "\($0)") } }
        }
        _ = try cost(20, lines)
        let (few, many) = (try cost(300, lines), try cost(2400, lines))
        #expect(many < few * 24, "\(few) ns for 300, \(many) ns for 2400")
    }
}
