import DebugTarget
import Debugger
import Foundation
import Testing
import X86

@testable import Commands

@Suite struct SourceTests {
    /// A folder of its own with these files, gone when the test ends.
    final class Folder {
        let path: String
        init(_ files: [String: String]) throws {
            path =
                FileManager.default.temporaryDirectory.appending(path: "kvmscope-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for (name, text) in files {
                let text = text.replacing("@", with: path)
                _ = FileManager.default.createFile(atPath: "\(path)/\(name)", contents: Data(text.utf8))
            }
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// Does what is queued, and waits for the guest where it was resumed.
    func drain(_ driver: Driver) throws -> (lines: [String], error: CommandError?) {
        var lines: [String] = []
        while let next = driver.session.advance() {
            lines.append(next.line)
            switch next.result {
            case .success(.running): _ = try driver.session.collectStop(timeout: nil)
            case .success: break
            case .failure(let error): return (lines, error)
            }
        }
        return (lines, nil)
    }

    @Test func linesRunInOrderAndNestedFilesInPlace() throws {
        let folder = try Folder([
            "a.cmd": "# first\nb 0x7c04\n\nsource @/b.cmd\r\np 3\n", "b.cmd": "  continue\n# x\np 2",
        ])
        let driver = try Driver()
        let output = try driver.output("source \(folder.path)/a.cmd")
        #expect((output as? SourceOutput)?.commands == 3)
        let (lines, error) = try drain(driver)
        #expect(error == nil)
        #expect(lines == ["b 0x7c04", "source \(folder.path)/b.cmd", "  continue", "p 2", "p 3"])
        #expect(driver.session.debugger.selected.registers.rip == 0x7C04)
    }

    @Test func theFirstFailureEndsItAndSaysWhere() throws {
        let folder = try Folder(["a.cmd": "p 1\np $nope\np 3\n"])
        let driver = try Driver()
        try driver.output("source \(folder.path)/a.cmd")
        let (lines, error) = try drain(driver)
        #expect(lines == ["p 1", "p $nope"])
        #expect(error?.place == "\(folder.path)/a.cmd:2")
        #expect(error?.column == 2)
        #expect(driver.session.advance() == nil)
    }

    @Test func aFileThatSourcesItselfEnds() throws {
        let folder = try Folder(["a.cmd": "source @/a.cmd\n"])
        let driver = try Driver()
        try driver.output("source \(folder.path)/a.cmd")
        let (lines, error) = try drain(driver)
        #expect(lines.count == ScriptStack.deepestSource)
        #expect(error?.message.contains("deep") == true)
    }

    @Test func whatIsNoTextIsRefused() throws {
        let folder = try Folder(["zero": "p 1\0", "empty": ""])
        let driver = try Driver()
        #expect(try driver.failure("source \(folder.path)/zero").message.hasSuffix("is not a text file"))
        #expect(try driver.failure("source \(folder.path)").message.hasPrefix("cannot read"))
        #expect(try driver.failure("source \(folder.path)/none").column == 7)
        try driver.output("source \(folder.path)/empty")
        #expect(driver.session.advance() == nil)
    }

    @Test func aStoppedGuestForgetsTheQueue() throws {
        let folder = try Folder(["a.cmd": "continue\np 1\n"])
        let driver = try Driver([0xEB, 0xFE])
        try driver.output("source \(folder.path)/a.cmd")
        guard case .success(.running) = driver.session.advance()?.result else {
            Issue.record("it does not run")
            return
        }
        #expect(driver.session.advance() == nil)
        driver.session.interrupt()
        _ = try driver.session.collectStop(timeout: nil)
        #expect(driver.session.advance() == nil)
    }

    @Test func aGuestThatRanBeforeAnyoneAskedIsStoppedByAFile() throws {
        let folder = try Folder(["a.cmd": "p 1\nstop\nset $al = 7\n"])
        let guest = FakeGuest([0xEB, 0xFE])
        let debugger = try Debugger(target: guest)
        try debugger.startContinue()
        let driver = Driver(guest, debugger)
        try driver.output("source \(folder.path)/a.cmd")
        var lines: [String] = []
        while let next = driver.session.advance() {
            lines.append(next.line)
            if case .running = try next.result.get() { _ = try driver.session.collectStop(timeout: nil) }
        }
        #expect(lines == ["p 1", "stop", "set $al = 7"])
        #expect(!debugger.isRunning && debugger.selected.registers.rax & 0xFF == 7)
        // Where someone waits for the stop, it would wait, too.
        guard case .running = try driver.session.execute("continue") else { throw CommandError("no") }
        #expect(try driver.failure("source \(folder.path)/a.cmd").message.contains("is stopped"))
        driver.session.interrupt()
        _ = try driver.session.collectStop(timeout: nil)
        guard case .running = try driver.session.execute("continue &") else { throw CommandError("no") }
        #expect(throws: Never.self) { try driver.session.execute("source \(folder.path)/a.cmd") }
        driver.session.interrupt()
        _ = try driver.session.collectStop(timeout: nil)
    }

    @Test func memoryGoesToFilesAndBack() throws {
        let folder = try Folder(["empty": ""])
        let driver = try Driver()
        let file = "\(folder.path)/a b.bin"
        #expect(try driver.text("writemem \"\(file)\" 0:7c00 6") == ["Wrote 6 bytes: \(file), 0000:7c00"])
        #expect(FileManager.default.contents(atPath: file) == Data([0xB0, 0x48, 0xE6, 0xE9, 0x90, 0xF4]))
        try driver.output("loadmem \"\(file)\" p:0x9000")
        #expect(try driver.text("xp/2xb 0x9000") == ["p:0x9000: 0xb0 0x48  .H"])
        // All or nothing, on both ways.
        let edge = try driver.failure("loadmem \"\(file)\" p:0xffffc")
        #expect(edge.column == "loadmem \"\(file)\" ".count)
        #expect(driver.guest.ram.byte(0xFFFFC) == 0)
        let hole = try driver.failure("writemem \(folder.path)/hole p:0xffffc 8")
        #expect(hole.message.hasPrefix("p:0x100000 cannot be read"))
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/hole"))
        #expect(try driver.failure("loadmem \(folder.path)/empty 0").message.hasSuffix("is empty"))
        #expect(try driver.failure("loadmem \(folder.path)/none 0").column == 8)
    }
}
