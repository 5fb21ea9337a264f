import Debugger
import Foundation
import Testing

@testable import Commands

@Suite struct TableTests {
    let table = CommandTable.standard

    @Test func noNameStandsTwice() {
        let names = table.commands.flatMap(\.names)
        #expect(Set(names).count == names.count)
    }

    @Test(arguments: CommandTable.standard.commands.map(\.name))
    func everyRowIsWhole(_ name: String) throws {
        let command = try #require(table.command(named: name))
        #expect(command.name == name)
        #expect(!command.summary.isEmpty)
        #expect(!command.summary.hasSuffix("."))
        #expect(command.summary.first?.isLowercase == true)
        if !command.details.isEmpty { #expect(command.details.hasSuffix(".")) }
        for alias in command.names {
            #expect(table.command(named: alias)?.name == name, "\(alias)")
        }
        for example in command.examples {
            let call = try Invocation(example.line, table: table)
            #expect(call.command.name == name, "\(example.line)")
        }
    }

    @Test(
        arguments: [
            ("s", "step"), ("si", "step"), ("ste", "step"), ("n", "next"), ("c", "continue"),
            ("cont", "continue"), ("b", "break"), ("d", "delete"), ("r", "run"), ("reg", "info registers"),
            ("reset", "starti"),
            ("i r", "info registers"), ("inf reg", "info registers"), ("i b", "info breakpoints"),
            ("p", "print"), ("u", "disassemble"), ("disas", "disassemble"), ("dis", "disable"),
            ("info ex", "info exits"), ("exits", "info exits"), ("exits r", "exits reset"),
            ("vcpu", "vcpu select"), ("vcpu l", "vcpu list"), ("cpu", "vcpu select"), ("q", "quit"),
            ("h", "help"), ("sregs", "sregs"), ("sregs set", "sregs set"), ("bpe", "enable"),
            ("info", "info"),
        ])
    func namesAndShortForms(_ typed: String, _ name: String) {
        #expect(table.command(named: typed)?.name == name)
    }

    @Test(arguments: ["de", "e", "st", "i v", "xyzzy", ""])
    func ambiguousAndUnknown(_ typed: String) {
        #expect(table.command(named: typed) == nil)
    }

    @Test(
        arguments: [
            ("contineu", "continue"), ("braek", "break"), ("stpe", "step"), ("quti", "quit"),
            ("disasemble", "disassemble"),
        ])
    func slipsAreGuessed(_ typed: String, _ meant: String) {
        #expect(throws: CommandError.self) { try Invocation(typed, table: table) }
        #expect(nearest(to: typed, in: table.firstWords) == meant)
    }

    @Test func nothingFarIsGuessed() {
        #expect(nearest(to: "zzz", in: table.firstWords) == nil)
        #expect(nearest(to: String(repeating: "a", count: 100_000), in: table.firstWords) == nil)
    }

    /// Examples are what people type first: all but those that need a file, a KVM guest, its memory slots or a caller are done
    /// here.
    @Test(
        arguments: CommandTable.standard.commands.flatMap(\.examples).map(\.line).filter { line in
            ![
                "source", "writemem", "loadmem", "type --keys", "vcpu create", "symbols ", "watch rw",
                "finish",
            ].contains {
                line.hasPrefix($0)
            }
        })
    func examplesWork(_ line: String) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kvmscope-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let source = folder.appending(path: "boot.c").path
        let exampleSymbols = folder.appending(path: "boot.map").path
        try String(repeating: "line\n", count: 60).write(toFile: source, atomically: true, encoding: .utf8)
        try "7c00 T main\t\(source):12\n7c80 T irq_entry\t\(source):40\n".write(
            toFile: exampleSymbols, atomically: true, encoding: .utf8)
        let guest = FakeGuest([0x90, 0x90, 0xEB, 0xFC], vcpus: 2)
        // Some are about a guest that another program runs.
        let isForeign = CommandTable.guestCommands.contains { line.hasPrefix($0.name) }
        let driver = Driver(guest, try Debugger(target: isForeign ? ForeignGuest(guest) : guest))
        try driver.session.debugger.loadSymbols(exampleSymbols)
        driver.session.serviceMaker = { _, address in FakeService(address) }
        let screen = FakeScreen()
        driver.session.screen = screen
        // What the examples of `print` go on with, and of `delete` delete.
        try driver.output("print 1")
        for place in 0..<3 { try driver.output("b \(0x7C80 + place)") }
        if ["until 0x", "advance", "step-until int", "b ", "run stepping"].contains(where: line.hasPrefix) {
            guard case .running = try driver.session.execute(line) else {
                #expect(line.hasPrefix("b "))
                return
            }
            driver.session.interrupt()
            #expect(try driver.session.collectStop(timeout: nil) != nil)
        } else {
            let output = try driver.output(line)
            guard output is Queued else {
                #expect(!output.lines(width: 80).isEmpty)
                return
            }
            // What it begins, or has queued, comes to its end.
            if driver.session.isCollectingCommands { _ = try driver.session.execute("end", origin: .script) }
            while let next = driver.session.advance() { _ = try next.result.get() }
            #expect(!driver.session.isCollectingCommands && !driver.session.hasQueuedLines)
        }
    }
}
