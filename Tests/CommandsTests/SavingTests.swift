import DebugTarget
import Debugger
import Foundation
import TargetConformance
import Testing
import X86

@testable import Commands

/// What one session leaves for another.
@Suite struct SavingTests {
    private func driver() throws -> Driver { try Driver(stepping: [0x40, 0x43, 0xEB, 0xFC]) }

    private func run(_ driver: Driver, _ lines: [String]) throws {
        for line in lines {
            _ = try driver.session.execute(line, origin: .script)
            while let next = driver.session.advance() { _ = try next.result.get() }
        }
    }

    private static let settings = [
        "break 0x7c01 if $ax == 3", "tbreak 0000:7c02", "hbreak 0x9000", "vb 07c0:0001", "pb 0x9004",
        "watch rw 0x500 8 if 1", "catch io 0x80-0x8f out", "tcatch int 0x13", "catch exit hlt",
        "catch bios 13 ah=42",
        "catch exception #GP", "catch msr efer", "catch cr 3", "catch mmio 0xfee00000-0xfee00fff",
    ]

    @Test func breakpointsComeBackAsTheyWere() throws {
        let first = try driver()
        for line in Self.settings { _ = try? first.output(line) }
        let all = first.session.debugger.breakpoints.count
        #expect(all >= 8)
        try run(
            first,
            ["ignore 1 5", "commands 1", "silent", "if $ax == 1", "print $ax", "end", "end", "disable 2"])
        let saved = SavedState(first.session).breakpoints()
        let second = try driver()
        try run(second, saved)
        #expect(second.session.debugger.breakpoints.count == all)
        #expect(SavedState(second.session).breakpoints() == saved)
        let one = try second.session.debugger.breakpoint(1)
        #expect(one.ignore == 5 && one.condition == "$ax == 3")
        #expect(one.commands == ["silent", "if $ax == 1", "print $ax", "end"])
        #expect(try second.session.debugger.breakpoint(2).isEnabled == false)
    }

    @Test func aFileOfThemIsAScript() throws {
        let folder = try SourceTests.Folder([:])
        let first = try driver()
        try first.output("break 0x7c01")
        #expect(
            try first.text("save breakpoints \(folder.path)/b")
                == ["Saved 1 breakpoint; `source \(folder.path)/b` sets them."])
        let second = try driver()
        try run(second, ["source \(folder.path)/b"])
        #expect(second.session.debugger.breakpoints.map(\.address) == [.linear(0x7C01)])
        #expect(try second.failure("save breakpoints").message == "`save breakpoints` takes one file")
        #expect(try second.failure("save breakpoints /nonexistent/x").message.hasPrefix("cannot write"))
    }

    @Test func aSessionComesBack() throws {
        let folder = try SourceTests.Folder(["boot.map": "7c00 T start\n7c01 T again\n"])
        let first = try driver()
        first.session.guestArguments = ["/images/a b", "--flat", "31744"]
        first.session.frontEndLines = { ["echo layout\\n"] }
        try run(
            first,
            [
                "symbols \(folder.path)/boot.map", "directory \(folder.path)", "directory /src", "set $n = 7",
                "define two", "print 2", "end", "document two", "Prints two.", "end", "break again",
                "display/x $ax",
            ])
        try first.output("save session \(folder.path)/s")
        #expect(try SessionFile.arguments(of: "\(folder.path)/s") == ["/images/a b", "--flat", "31744"])
        let second = try driver()
        second.session.frontEndLines = first.session.frontEndLines
        try run(second, ["source \(folder.path)/s"])
        var (one, other) = (SavedState(first.session), SavedState(second.session))
        #expect(one.everything() == other.everything())
        #expect(one.everything().contains("define two"))
        #expect(try second.text("show user two")[0].contains("Prints two."))
        #expect(try second.text("info display").count >= 1)
        #expect(throws: CommandError.self) { try SessionFile.arguments(of: "\(folder.path)/boot.map") }
        #expect(throws: CommandError.self) { try SessionFile.arguments(of: "\(folder.path)/none") }
        // One that nobody knows how to start again.
        first.session.guestArguments = nil
        #expect(try first.failure("save session \(folder.path)/t").message.hasPrefix("how this guest"))
    }

    @Test func anImageIsKnownByItsBytes() throws {
        let folder = try SourceTests.Folder(["a": "one", "b": "one"])
        let a = try #require(ImageKey(path: "\(folder.path)/a")).name
        #expect(ImageKey(path: "\(folder.path)/a")?.name == a)
        #expect(ImageKey(path: "\(folder.path)/b")?.name != a)
        try Data("two".utf8).write(to: URL(filePath: "\(folder.path)/a"))
        #expect(ImageKey(path: "\(folder.path)/a")?.name != a)
        #expect(ImageKey(path: folder.path) == nil)
        // The end counts, too.
        var large = [UInt8](repeating: 0, count: 3 << 20)
        try Data(large).write(to: URL(filePath: "\(folder.path)/a"))
        let before = ImageKey(path: "\(folder.path)/a")?.name
        large[large.count - 1] = 1
        try Data(large).write(to: URL(filePath: "\(folder.path)/a"))
        #expect(ImageKey(path: "\(folder.path)/a")?.name != before)
    }

    @Test func anInitFileSaysOnlyWhatItPrints() throws {
        let folder = try SourceTests.Folder([
            "init": "set $n = 3\ndefine hello\necho hello\\n\nend\nhello\nprint $n\n",
            "bad": "echo before\\n\nfrobnicate\necho after\\n\n",
        ])
        let driver = try driver()
        let (text, failure) = driver.session.runInit("\(folder.path)/init")
        #expect(text == "hello\n" && failure == nil)
        #expect(try driver.text("output/d $n") == ["3"])
        let (_, error) = driver.session.runInit("\(folder.path)/bad")
        #expect(error?.place == "\(folder.path)/bad:2")
        #expect(!driver.session.hasQueuedLines)
        #expect(InitFile.objection(to: "\(folder.path)/init") == nil)
        chmod("\(folder.path)/init", 0o666)
        #expect(InitFile.objection(to: "\(folder.path)/init")?.contains("written by others") == true)
    }
}
