import Glibc
import SystemPackage
import Terminal
import Testing

@testable import kvmscope

@Suite struct PipedLinesTests {
    private let pipe: (readEnd: FileDescriptor, writeEnd: FileDescriptor)
    private let lines: PipedLines

    init() throws {
        pipe = try FileDescriptor.pipe()
        lines = PipedLines(pipe.readEnd)
    }

    private func next(waking: [Int32] = []) -> LineInput {
        lines.next(prompt: "", waking: waking, milliseconds: 10_000)
    }

    @Test func linesAreTakenApartHoweverTheyCome() throws {
        try pipe.writeEnd.writeAll("one\r\ntwo\n\nth".utf8)
        #expect(next() == .line("one"))
        #expect(next() == .line("two"))
        #expect(next() == .line(""))
        try pipe.writeEnd.writeAll("ree\nlast".utf8)
        #expect(next() == .line("three"))
        try pipe.writeEnd.close()
        #expect(next() == .line("last"))
        #expect(next() == .endOfFile)
        #expect(next() == .endOfFile)
        try pipe.readEnd.close()
    }

    /// A guest's stop, or a signal, comes while no line does; half a line is not lost by it.
    @Test func whatElseComesWakesIt() throws {
        let other = try FileDescriptor.pipe()
        try pipe.writeEnd.writeAll("ha".utf8)
        try other.writeEnd.writeAll([1])
        #expect(next(waking: [other.readEnd.rawValue]) == .woken)
        #expect(lines.next(prompt: "", waking: [], milliseconds: 0) == .woken)
        try pipe.writeEnd.writeAll("lf\n".utf8)
        #expect(next() == .line("half"))
        for end in [pipe.readEnd, pipe.writeEnd, other.readEnd, other.writeEnd] { try end.close() }
    }

    @Test func aLineWithoutAnEndIsNotKeptForEver() throws {
        let zeros = try FileDescriptor.open("/dev/zero", .readOnly)
        let lines = PipedLines(zeros)
        #expect(lines.next(prompt: "", waking: [], milliseconds: nil) == .endOfFile)
        try zeros.close()
        try pipe.readEnd.close()
        try pipe.writeEnd.close()
    }

    @Test func manyLinesAreTakenOnce() throws {
        var name = Array("/tmp/kvmscope-lines-XXXXXX".utf8CString)
        let file = FileDescriptor(rawValue: mkstemp(&name))
        unlink(name)
        try file.writeAll((0..<50_000).map { "line \($0)\n" }.joined().utf8)
        try file.seek(offset: 0, from: .start)
        let lines = PipedLines(file)
        for number in 0..<50_000 {
            let line = lines.next(prompt: "", waking: [], milliseconds: nil)
            try #require(line == .line("line \(number)"))
        }
        #expect(lines.next(prompt: "", waking: [], milliseconds: nil) == .endOfFile)
        try file.close()
        try pipe.readEnd.close()
        try pipe.writeEnd.close()
    }
}
