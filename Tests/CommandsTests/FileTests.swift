import Foundation
import Testing

@testable import Commands

/// Files that do not begin, do not end, or are not files.
@Suite struct FileTests {
    private let folder: TestFolder
    private let driver: Driver

    init() throws {
        folder = try TestFolder()
        driver = try Driver()
    }

    private func pipe(_ name: String = "pipe") throws -> String {
        let path = folder.path(name).path
        try #require(mkfifo(path, 0o600) == 0)
        return path
    }

    private func file(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: folder.path(name))
        return folder.path(name).path
    }

    @Test(arguments: ["loadmem FILE 0x500", "source FILE"])
    func aPipeIsWaitedForUntilCtrlC(_ command: String) throws {
        let path = try pipe()
        var asked = 0
        driver.session.cancelRequested = {
            asked += 1
            return asked > 2
        }
        let error = try driver.failure(command.replacing("FILE", with: path))
        #expect(error.message.hasSuffix("interrupted"), "\(error)")
        #expect(asked > 2 && driver.session.wasCancelled)
    }

    @Test func whatComesThroughAPipeIsTaken() throws {
        let path = try pipe()
        // Both ways, so that it does not wait for a reader; what is written stays until it is read.
        let end = open(path, O_RDWR)
        try #require(end >= 0)
        _ = write(end, "\u{11}\u{22}", 2)
        // No writer is left once the first part is there.
        var looks = 0
        driver.session.cancelRequested = {
            looks += 1
            if looks == 2 { close(end) }
            return false
        }
        let text = try driver.text("loadmem \(path) 0x500")
        #expect(text == ["Loaded 2 bytes from \(path) at 0x500."] || text[0].contains("2 bytes"), "\(text)")
        #expect(try driver.text("x/2xb 0x500")[0].contains("0x11"))
    }

    @Test(arguments: [
        ("/dev/zero", "it is a device"), ("/dev/null", "it is a device"), ("/tmp", "it is a directory"),
    ])
    func whatIsNoFileIsRefused(_ path: String, _ reason: String) throws {
        for command in ["loadmem \(path) 0x500", "source \(path)", "writemem \(path) 0x7c00 4"] {
            #expect(try driver.failure(command).message.hasSuffix(reason), "\(command)")
        }
        let symbols = try driver.failure("symbols \(path)")
        #expect(
            symbols.description.contains("director") || symbols.description.contains("device"), "\(symbols)")
    }

    @Test func pipesAreNoFilesToWriteOrToReadSymbolsFrom() throws {
        let path = try pipe()
        #expect(try driver.failure("writemem \(path) 0x7c00 4").message.hasSuffix("it is a pipe"))
        #expect(try driver.failure("symbols \(path)").description.contains("pipe"))
        #expect(try folder.names() == ["pipe"])
    }

    /// By its size, before a byte of it is read.
    @Test func aFileLargerThanTheGuestIsNotRead() throws {
        let path = try file("large", "")
        try #require(truncate(path, 10 << 30) == 0)
        let error = try driver.failure("loadmem \(path) 0")
        #expect(error.message.contains("10,737,418,240 bytes"), "\(error)")
        #expect(error.remedy?.contains("1,048,576") == true, "\(error)")
        #expect(try driver.failure("source \(path)").message.contains("10,737,418,240 bytes"))
    }

    @Test func aDumpIsForItsOwnerAlone() throws {
        let path = try file("dump", "as it was before")
        try #require(chmod(path, 0o644) == 0)
        try driver.output("writemem \(path) 0x7c00 4")
        #expect(try Data(contentsOf: folder.path("dump")) == Data([0xB0, 0x48, 0xE6, 0xE9]))
        var status = stat()
        try #require(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(try folder.names() == ["dump"])
    }

    @Test func aLinkStaysOne() throws {
        let path = try file("dump", "before")
        let link = folder.path("link").path
        try #require(symlink("dump", link) == 0)
        try driver.output("writemem \(link) 0x7c00 2")
        #expect(try Data(contentsOf: URL(filePath: path)) == Data([0xB0, 0x48]))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "dump")
        let loose = folder.path("loose").path
        try #require(symlink("nowhere", loose) == 0)
        #expect(try driver.failure("writemem \(loose) 0x7c00 2").message.hasSuffix("a link to nothing"))
    }

    /// Whatever ends it before it is done.
    @Test func theOldFileStaysWhereTheNewOneIsNotWritten() throws {
        let path = try file("dump", "as it was before")
        driver.session.cancelRequested = { true }
        let error = try driver.failure("writemem \(path) 0x7c00 0x80000")
        #expect(
            error.message.hasSuffix("interrupted") && error.remedy?.contains("as it was") == true, "\(error)")
        #expect(try String(contentsOf: folder.path("dump"), encoding: .utf8) == "as it was before")
        #expect(try folder.names() == ["dump"])
    }
}
