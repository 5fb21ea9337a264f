import DebugTarget
import Expressions
import Foundation
import Testing
import X86

import class TargetConformance.FakeTarget

@testable import Commands
@testable import Debugger

/// What nobody means to type or to load: a clear error, or a slow answer that Ctrl-C ends, and nothing lost.
@Suite struct BadInputTests {
    private let target = FakeTarget()
    private let session: Session
    private var debugger: Debugger { session.debugger }

    init() throws { session = Session(debugger: try Debugger(target: target)) }

    private func output(_ line: String) throws(CommandError) -> any CommandOutput {
        switch try session.execute(line, origin: .script) {
        case .done(let output): return output
        case .running(let running): return running
        case .quit: return Message("quit")
        }
    }

    private func failure(_ line: String) throws -> CommandError {
        let error = #expect(throws: CommandError.self) { try output(line) }
        return try #require(error)
    }

    /// Ctrl-C is pressed once the front end has been asked so often.
    private func interrupt(afterLooks looks: Int) {
        var left = looks
        session.cancelRequested = {
            left -= 1
            return left < 0
        }
    }

    // MARK: 100,000 breakpoints

    private static let many = 100_000
    private static func place(_ index: Int) -> UInt64 { 0x1000 + UInt64(index) * 8 }

    private func source<R>(_ lines: [String], _ body: () throws -> R) throws -> R {
        let path = FileManager.default.temporaryDirectory.appending(path: "kvmscope-\(UUID().uuidString)")
            .path
        try Data(lines.joined(separator: "\n").utf8).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        _ = try output("source \(path)")
        return try body()
    }

    @Test func aHundredThousandBreakpointsOfAFile() throws {
        try debugger.writeMemory(.physical(Self.place(0)), [UInt8](repeating: 0x90, count: Self.many * 8))
        let before = target.memory.word(Self.place(70_000), size: 8)
        try source((0..<Self.many).map { "break \(Self.place($0))" }) {
            while let done = session.advance() { _ = try done.result.get() }
        }
        #expect(debugger.breakpoints.count == Self.many)
        #expect(debugger.breakpoints.suffix(Self.many - 4).allSatisfy { $0.mechanism == .portOut })
        // What the debugger sees of memory has no patch in it.
        #expect(
            try debugger.readMemory(.physical(Self.place(70_000)), count: 8).value(at: 0, width: 8) == before)
        #expect(target.memory.word(Self.place(70_000), size: 8) != before)
        let list = try output("info breakpoints")
        #expect(list.lines(width: 80).count > Self.many)
        #expect(session.complete("delete 9999", cursor: 11).candidates.count == 11)
        #expect(try failure("delete 100001").remedy?.contains("99980 more") == true)
        // One by one from the front, which is where they would all have to move; then the others.
        for number in 1...Self.many / 2 { try debugger.deleteBreakpoint(number) }
        #expect(debugger.breakpoints.first?.number == Self.many / 2 + 1)
        _ = try output("disable")
        #expect(target.memory.word(Self.place(70_000), size: 8) == before)
        _ = try output("enable")
        #expect(target.memory.word(Self.place(70_000), size: 8) != before)
        _ = try output("delete")
        #expect(debugger.breakpoints.isEmpty)
        #expect(target.memory.word(Self.place(70_000), size: 8) == before)
        // Numbers are not given twice.
        #expect(try debugger.setBreakpoint(at: .linear(0x1000)).number == Self.many + 1)
    }

    /// Each is in force at once, and what that costs is counted: no change may copy all of them.
    @Test func manyBreakpointsWhileTheGuestRuns() throws {
        let count = 20_000
        // 7C00 jmp 7C00
        try debugger.writeMemory(.physical(0x7C00), [0xEB, 0xFE])
        try debugger.setRegister("rip", to: 0x7C00)
        try debugger.writeMemory(.physical(0x1_0000), [UInt8](repeating: 0x90, count: count * 8))
        try debugger.startContinue()
        for index in 0..<count { try debugger.setBreakpoint(at: .linear(0x1_0000 + UInt64(index) * 8)) }
        #expect(
            debugger.placement.table.linear.copied < count * 256, "\(debugger.placement.table.linear.copied)")
        #expect(target.holds == count)
        // Numbers that are named are one change.
        let some = (1...2000).map(String.init).joined(separator: " ")
        for line in ["disable \(some)", "enable \(some)", "delete \(some)"] { _ = try output(line) }
        #expect(target.holds == count + 3)
        #expect(debugger.isRunning)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(20))?.reason == .interrupted)
        #expect(debugger.breakpoints.map(\.number) == Array(2001...count))
        // None is lost: the last one stops the guest.
        try debugger.setRegister("cs.base", to: 0x3_7000)
        try debugger.setRegister("rip", to: 0x1_0000 + UInt64(count - 1) * 8 - 2 - 0x3_7000)
        try debugger.continueRun()
        #expect(debugger.stop.reason == .breakpoint([count]))
    }

    @Test func ctrlCEndsAFileOfBreakpoints() throws {
        try source((0..<1000).map { "break \(Self.place($0))" }) {
            for _ in 0..<10 { _ = try session.advance()?.result.get() }
            session.interrupt()
            #expect(session.advance() == nil)
        }
        #expect(debugger.breakpoints.count == 10)
    }

    /// Where nobody but the session hears of it, as in the console: between two short lines.
    @Test func ctrlCBetweenTheLinesOfAFileEndsIt() throws {
        try source((0..<1000).map { "break \(Self.place($0))" }) {
            #expect(session.endIfInterrupted().map { _ in true } == nil)
            for _ in 0..<10 { _ = try session.advance()?.result.get() }
            session.cancelRequested = { true }
            // It is asked for fifty times a second at most.
            usleep(30_000)
            let ended = session.endIfInterrupted()
            #expect(
                ended?.lines(width: 80).map(\.text)
                    == ["Interrupted: 990 lines of what was sourced are not done."])
            #expect(session.advance() == nil && !session.hasQueuedLines)
        }
        session.cancelRequested = { false }
        #expect(session.endIfInterrupted().map { _ in true } == nil)
        #expect(debugger.breakpoints.count == 10)
        _ = try output("delete")
        #expect(debugger.breakpoints.isEmpty)
    }

    @Test func holesInTheListOfBreakpoints() throws {
        for index in 0..<500 { try debugger.setBreakpoint(at: .linear(Self.place(index))) }
        for number in stride(from: 1, through: 500, by: 2) { try debugger.deleteBreakpoint(number) }
        let even = Array(stride(from: 2, through: 500, by: 2))
        #expect(debugger.breakpoints.map(\.number) == even)
        for number in even { #expect(try debugger.breakpoint(number).linear == Self.place(number - 1)) }
        #expect(throws: DebuggerError.self) { try debugger.breakpoint(3) }
        #expect(throws: DebuggerError.self) { try debugger.deleteBreakpoints([2, 3]) }
        try debugger.deleteBreakpoints(even.filter { $0 != 250 })
        #expect(debugger.breakpoints.map(\.number) == [250])
        #expect(try debugger.setBreakpoint(at: .linear(0x1000)).number == 501)
        #expect(debugger.breakpoints.map(\.number) == [250, 501])
    }

    // MARK: cyclic page tables

    /// Every entry of a table leads to the table itself.
    private func cyclicTables(_ mode: PagingMode) throws {
        let width = mode == .bits32 ? 4 : 8
        // Of a page-directory-pointer entry in PAE mode the writable bit is reserved.
        let entry: UInt64 = mode == .pae ? 0x2001 : 0x2007
        let bytes = (0..<4096 / width).flatMap { _ in
            (0..<width).map { UInt8(truncatingIfNeeded: entry >> UInt64($0 * 8)) }
        }
        try debugger.writeMemory(.physical(0x2000), bytes)
        try debugger.setRegister("cr3", to: 0x2000)
        let cr4: UInt64 = mode == .bits32 ? 0x10 : mode == .level5 ? 0x1020 : 0x20
        try debugger.setRegister("cr4", to: cr4)
        // LMA follows when paging is turned on.
        if mode == .level4 || mode == .level5 { try debugger.setRegister("efer", to: 0x100) }
        try debugger.setRegister("cr0", to: 0x8000_0011)
    }

    @Test(arguments: [PagingMode.bits32, .pae, .level4, .level5])
    func cyclicPageTables(_ mode: PagingMode) throws {
        try cyclicTables(mode)
        let walk = try #require(try output("page 0x12345678") as? PageWalkOutput)
        #expect(walk.mode == mode.rawValue)
        #expect(walk.steps.count == mode.levels.count)
        #expect(walk.physical == Hex(0x2678))
        // Every page is the table: as many as are listed at most, without Ctrl-C.
        let pages = try #require(try output("info tlb") as? PageMapOutput)
        #expect(pages.lines(width: 80).count < 70_000)
        #expect(JSONRecord.line(command: "info tlb", result: pages).utf8.count < 20_000_000)
        let linear = try #require(try output("p2v 0x2010") as? AddressesOutput)
        #expect(linear.places.count == 1000)
        #expect(linear.end == LookEnd.limit.rawValue)
        #expect(!session.wasCancelled)
        // They all allow the same, so that this would go on through 2^36 and 2^45 pages.
        interrupt(afterLooks: 1)
        let ranges = try output("info mem")
        #expect(ranges.lines(width: 80).count < 10)
        _ = try output("p2v 0x9000")
        if mode == .level4 || mode == .level5 { #expect(session.wasCancelled) }
    }

    @Test func aSearchThroughCyclicPageTables() throws {
        try cyclicTables(.level4)
        interrupt(afterLooks: 1)
        let found = try output("find/b 0xcc in 0 +0x7fffffffffff")
        #expect(session.wasCancelled)
        #expect(!found.lines(width: 80).isEmpty)
        // The next command is not ended for it.
        session.cancelRequested = { false }
        _ = try output("x/4xb 0")
        #expect(!session.wasCancelled)
    }

    // MARK: pointers without an end

    /// Flat 32-bit code; each word of 64 KiB points to the next, the last to the first.
    private func endlessChain() throws {
        try debugger.setRegister("cr0", to: 0x11)
        for name in ["cs.db", "ss.db"] { try debugger.setRegister(name, to: 1) }
        let words = (0..<UInt64(16_384)).map { 0x1_0000 + ($0 + 1) % 16_384 * 4 }
        try debugger.writeMemory(
            .physical(0x1_0000),
            words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) } })
    }

    @Test func endlessPointerChains() throws {
        try endlessChain()
        let rows = try #require(try output("telescope 0x10000 16384") as? TelescopeOutput)
        let lines = rows.lines(width: 80)
        #expect(lines.count == 16_384)
        #expect(lines.allSatisfy { $0.columns < 200 })
        let all = try debugger.pointerChain(from: 0x1_0000, depth: 100_000)
        #expect(all?.addresses.count == 16_384)
        #expect(all?.end == .loop(to: 0x1_0000))
        #expect(try debugger.pointerChain(from: 0x1_0000, depth: 5)?.end == .more)
        // A stack whose frames lead to themselves.
        try debugger.setRegister("rbp", to: 0x1_0000)
        #expect(try output("bt 1000000").lines(width: 80).count < 70_000)
    }

    // MARK: expressions of a megabyte

    private static let megabyte = 1 << 20

    @Test(arguments: ["(", "-", "*", "!", "~", "(u8)", "1+(", "p:", "$ax=", "1?1:", "((u8*)1)["])
    func deepExpressionsOfAMegabyte(_ unit: String) throws {
        let text = String(repeating: unit, count: Self.megabyte / unit.utf8.count - 1)
        let error = try failure("print " + text)
        let column = try #require(error.column)
        #expect(column >= 6 && column <= 6 + text.utf8.count)
        // The error fits on the screen, and its caret stands under the fault.
        let lines = error.lines(width: 80)
        #expect(lines.count >= 3)
        #expect(lines.prefix(3).allSatisfy { $0.columns <= 80 }, "\(lines.map(\.columns))")
        #expect(error.message.contains("deep"), "\(error.message)")
    }

    @Test func longExpressionsOfAMegabyte() throws {
        let sum = String(repeating: "1+", count: Self.megabyte / 2 - 100) + "1"
        #expect(try debugger.evaluate(sum).bits == UInt64(Self.megabyte / 2 - 99))
        let list = String(repeating: "1,", count: Self.megabyte / 2 - 100) + "7"
        #expect(try debugger.evaluate(list).bits == 7)
        let printed = try output("print \(sum)").lines(width: 80).map(\.text)
        #expect(
            printed.count == 1 && printed[0].contains("524,189") || printed[0].contains("524189"),
            "\(printed)")
        #expect(try failure("print " + sum + sum + sum).message.contains("longer than"))
        let word = String(repeating: "a", count: Self.megabyte)
        for line in [
            word, "print \(word)", "help \(word)", "print 0x\(word)", "set $\(word) = ", "info \(word)",
        ] {
            let lines = try failure(line).lines(width: 80)
            #expect(lines.allSatisfy { $0.columns < 800 }, "\(lines.map(\.columns))")
        }
        #expect(session.complete(word, cursor: word.utf8.count).candidates.isEmpty)
        #expect(session.complete("p $" + word, cursor: word.utf8.count + 3).candidates.isEmpty)
    }

    /// Quotes, escapes, tabs, and characters that take two columns or none.
    @Test(
        arguments: [
            ("watch \"1 +\"", "\""), ("hexdump \"0x7c00 + é\" 4", "é"), ("crc 0 \"1 + \t)\"", ")"),
            ("crc\t\"0\"\t\"1 + ]\"", "]"), ("wrmsr \"zz\" 1", "z"), ("crc \"漢\" \"1\"", "漢"),
            ("loadmem \"/no 漢字 e\u{301}\" \"1 + }\"", "}"), ("find \"漢字\\q\"", "\\"),
            ("find \"a\\n\\xzz\"", "\\"), ("find \"漢\" in 0 (1+])", "]"), ("step until \"1 +\"", "\""),
            ("b 0x7c00 if \"1 +\"", "\""), ("print 漢", "漢"), ("telescope \"😀 + ]\"", "😀"),
            ("loadmem \"/no\u{1B}\" \"1 + }\"", "}"), ("print 1 + é", "é"),
        ])
    func caretsStandUnderTheFault(_ line: String, _ character: Character) throws {
        let lines = try failure(line).lines(width: 80)
        let caret = try #require(lines.first { $0.text.last == "^" }).columns - 1
        var column = 0
        let under = lines[1].text.first {
            column += String($0).columns
            return column > caret
        }
        #expect(under == character, "\(lines.map(\.text))")
    }

    @Test func quotedWordsAreCutOffWhole() throws {
        #expect(try failure("break \"if\" 1").column == 6)
        _ = try output("tbreak 0x7c05")
        #expect(
            try output("condition \"1\" $ax == 1").lines(width: 80).map(\.text).joined().contains("$ax == 1"))
        #expect(try failure("condition \"1\" )").column == 14)
        #expect(try failure("tcatch \"io\" )").column == 12)
    }

    @Test(arguments: [16, 20, 40, 80, 200])
    func aLongLineIsShownAroundTheFault(_ width: Int) {
        let line = (0..<100).map { "word\($0)" }.joined(separator: " ")
        let characters = Array(line)
        for column in stride(from: 0, through: line.count, by: 7) {
            let lines = CommandError("wrong", line: line, column: column).lines(width: width).map(\.text)
            #expect(lines[1].count <= max(width, 18))
            #expect(lines[2].last == "^")
            let under = Array(lines[1]).dropFirst(lines[2].count - 1).first
            if column < line.count { #expect(under == characters[column], "\(lines)") }
        }
        let wide = String(repeating: "漢", count: 300)
        for column in [0, 7, 150, 293, 300] {
            let lines = CommandError("wrong", line: wide, column: column).lines(width: width)
            #expect(lines[1].columns <= max(width, 18) && lines[2].columns <= max(width, 18))
        }
        let short = CommandError("wrong", line: "p 1 +", column: 5).lines(width: width).map(\.text)
        #expect(short == ["error: wrong", "  p 1 +", "       ^"])
    }
}
