import Debugger
import Expressions
import TargetConformance
import Testing
import X86

@testable import Commands

/// Breakpoints and watchpoints as they are typed.
@Suite struct BreakpointCommandTests {
    /// 7C00 inc ax; 7C01 inc bx; 7C02 mov [b000], ax; 7C05 jmp 7C00
    struct Guest {
        let session: Session
        var debugger: Debugger { session.debugger }

        init() throws {
            let debugger = try Debugger(target: TargetConformance.FakeTarget())
            try debugger.writeMemory(.physical(0x7C00), [0x40, 0x43, 0xA3, 0x00, 0xB0, 0xEB, 0xF9])
            session = Session(debugger: debugger)
        }

        /// The output's text; a guest that was resumed is waited for.
        @discardableResult
        func text(_ line: String) throws -> [String] {
            switch try session.execute(line, origin: .script) {
            case .done(let output): output.lines(width: 80).map(\.text)
            case .running: try session.collectStop(timeout: nil)?.lines(width: 80).map(\.text) ?? []
            case .quit: []
            }
        }

        func failure(_ line: String) throws -> CommandError {
            do throws(CommandError) {
                _ = try session.execute(line, origin: .script)
            } catch {
                return error
            }
            Issue.record("`\(line)` did not fail")
            return CommandError("did not fail")
        }

        /// Does what a stop left to do.
        func drain(limit: Int = 100) -> [String] {
            var lines: [String] = []
            for _ in 0..<limit {
                guard let next = session.advance() else { break }
                lines.append(next.line)
                if case .success(.running) = next.result { _ = try? session.collectStop(timeout: nil) }
            }
            return lines
        }
    }

    @Test func theMechanismIsNamed() throws {
        let guest = try Guest()
        #expect(try guest.text("b 0x9000") == ["Breakpoint 1 at 0x9000 (debug register)"])
        for address in ["0x9001", "0x9002"] { try guest.text("b \(address)") }
        #expect(try guest.text("tb 0x9003") == ["Temporary breakpoint 4 at 0x9003 (port-out patch)"])
        #expect(try guest.text("hbreak 0x9004") == ["Breakpoint 5 at 0x9004 (debug register)"])
        #expect(try guest.text("pb 0x9005") == ["Breakpoint 6 at p:0x9005 (port-out patch)"])
        #expect(
            try guest.text("vb 900:6") == ["Breakpoint 7 at 0900:0006, linear 0x9006 (port-out patch)"])
        #expect(try guest.text("watch w 0xb000 2") == ["Watchpoint 8 at 0xb000, 2 bytes (page protection)"])
        let list = try guest.text("info breakpoints").joined(separator: "\n")
        for part in ["once", "keep physical", "keep virtual", "watch w", "the guest can read the patch"] {
            #expect(list.contains(part))
        }
    }

    @Test func conditionsIgnoreCountsAndHits() throws {
        let guest = try Guest()
        #expect(try guest.text("b 0x7c01 if $ax == 5")[0].contains(" if $ax == 5 "))
        #expect(try guest.text("c")[0].hasPrefix("Breakpoint 1."))
        #expect(try guest.debugger.registerValue("ax").bits == 5)
        #expect(try guest.text("condition 1") == ["Breakpoint 1 stops the guest always."])
        #expect(try guest.text("ignore 1 3") == ["Breakpoint 1 passes over the next 3 hits."])
        #expect(try guest.text("blist").contains("        passes over the next 3 hits"))
        try guest.text("c")
        #expect(try guest.debugger.registerValue("ax").bits == 9)
        try guest.text("condition 1 $ax == 0x20")
        #expect(try guest.text("blist").contains("        only if $ax == 0x20"))
        try guest.text("c")
        #expect(try guest.debugger.registerValue("ax").bits == 0x20)
        #expect(try guest.debugger.breakpoint(1).hits == 6)
    }

    @Test func whatIsWrongIsPointedAt() throws {
        let guest = try Guest()
        #expect(try guest.failure("b 0x7c00 if $ax ==").column == 18)
        #expect(try guest.failure("b 0x7c00 if rxa == 1").column == 12)
        #expect(try guest.failure("condition 1 1").message.contains("no breakpoint"))
        #expect(try guest.failure("watch").message.contains("address"))
        #expect(try guest.failure("watch w 0xb000 0").message.contains("0 bytes"))
        #expect(try guest.failure("watch rw 0x7c00").message.contains("reads"))
        #expect(try guest.failure("pb 0:7c00").message.contains("physical"))
        #expect(try guest.failure("vb 0x7c00").message.contains("segment"))
        #expect(try guest.failure("ignore 1").message.contains("1"))
        #expect(try guest.failure("commands").message.contains("no breakpoint"))
        #expect(guest.debugger.breakpoints.isEmpty)
    }

    @Test func watchpointsSpeakAsBochsDoes() throws {
        let guest = try Guest()
        try guest.text("watch 0xb000 2")
        #expect(
            try guest.text("c")[0].hasPrefix(
                "Caught write watch point 1 at 0xb000, 2 bytes: 0x0000 -> 0x0001."))
        let record = JSONRecord.line(command: "c", result: try #require(try output(guest, "c")))
        #expect(record.contains("\"kind\":\"watchpoint\""))
        #expect(record.contains("\"old\":\"0x1\""))
        try guest.text("b 0x7c00")
        #expect(try guest.failure("unwatch 2").message.contains("not a watchpoint"))
        #expect(try guest.text("unwatch") == ["Deleted 1 watchpoint."])
        #expect(guest.debugger.breakpoints.map(\.number) == [2])
    }

    private func output(_ guest: Guest, _ line: String) throws -> (any CommandOutput)? {
        guard case .running = try guest.session.execute(line, origin: .script) else { return nil }
        return try guest.session.collectStop(timeout: nil)
    }

    @Test func commandsAreDoneAfterTheStop() throws {
        let guest = try Guest()
        try guest.text("b 0x7c01")
        #expect(try guest.text("commands 1 set $dx = $ax; p $dx") == ["Breakpoint 1 has 2 commands."])
        try guest.text("c")
        #expect(guest.drain() == ["set $dx = $ax", "p $dx"])
        #expect(try guest.debugger.registerValue("dx").bits == 1)

        // Line by line, up to `end`.
        try guest.text("commands")
        #expect(guest.session.isCollectingCommands)
        for line in ["silent", "  set $cx = 7", ""] { #expect(try guest.text(line).isEmpty) }
        #expect(try guest.text("end") == ["Breakpoint 1 has 2 commands."])
        #expect(try guest.text("c").isEmpty, "the stop is silent")
        #expect(guest.drain() == ["set $cx = 7"])
        #expect(try guest.text("blist").suffix(2) == ["        silent", "        set $cx = 7"])
        #expect(try guest.text("commands 1 end") == ["Breakpoint 1 has no commands."])
        try guest.text("c")
        #expect(guest.drain().isEmpty)
    }

    @Test func commandsMayLetTheGuestGoAgainAndAgain() throws {
        let guest = try Guest()
        try guest.text("tb 0x7c01")
        try guest.text("commands 1 p 1")
        try guest.text("c")
        #expect(guest.drain() == ["p 1"], "a temporary one's commands are done, too")
        try guest.text("b 0x7c01")
        try guest.text("commands 2 silent; continue")
        try guest.text("c")
        #expect(guest.drain(limit: 50) == [String](repeating: "continue", count: 50))
        #expect(try guest.debugger.breakpoint(2).hits == 51)
        guest.session.interrupt()
        #expect(guest.drain().isEmpty, "Ctrl-C ends it")
    }

    @Test func aHundredThousandBreakpoints() throws {
        let guest = try Guest()
        guest.session.enqueue((0..<100_000).map { "b \(0x10000 + $0)" }, place: "file")
        var done = 0
        while guest.session.advance() != nil { done += 1 }
        #expect(done == 100_000)
        #expect(guest.debugger.breakpoints.count == 100_000)
        try guest.text("b 0x7c01")
        #expect(try guest.text("c")[0].hasPrefix("Breakpoint 100001."))
        #expect(try guest.text("blist").count > 100_000)
        #expect(try guest.text("d") == ["Deleted 100,001 breakpoints."])
        let bytes = try guest.debugger.readMemory(.physical(0x10000), count: 100_000).bytes
        #expect(bytes.allSatisfy { $0 == 0 })
    }
}
