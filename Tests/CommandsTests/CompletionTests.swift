import Foundation
import Testing

@testable import Commands

@Suite struct CompletionTests {
    func complete(_ line: String, cursor: Int? = nil) throws -> (Int, [String]) {
        let driver = try Driver(vcpus: 2)
        try driver.output("b 0x7c04")
        let found = driver.session.complete(line, cursor: cursor ?? line.utf8.count)
        return (found.start, found.candidates.map(\.text))
    }

    @Test(
        arguments: [
            ("conti", 0, ["continue"]), ("info regi", 5, ["registers"]), ("i exi", 2, ["exits"]),
            ("vcpu cr", 5, ["create"]), ("delete ", 7, ["1", "breakpoints", "display"]),
            ("cpu ", 4, ["0", "1"]),
            ("d 1", 2, ["1"]),
            ("vcpu info ", 10, ["0", "1"]), ("p $rax + $rb", 9, ["$rbp", "$rbx"]),
            ("set $eflag", 4, ["$eflags"]), ("set eflag", 4, ["eflags"]),
            ("x/4xb $cr", 6, ["$cr0", "$cr2", "$cr3", "$cr4", "$cr8"]),
            ("help apr", 5, ["apropos"]), ("help info lap", 10, ["lapic"]), ("frobnicate ", 11, []),
            ("p rax", 2, []), ("quit ", 5, []), ("sregs se", 6, ["set"]),
        ] as [(String, Int, [String])])
    func candidates(_ line: String, _ start: Int, _ expected: [String]) throws {
        let (found, candidates) = try complete(line)
        #expect(found == start)
        if expected.contains("$cr0") {
            #expect(Set(expected).isSubset(of: Set(candidates)))
        } else {
            #expect(candidates == expected)
        }
    }

    @Test func anEmptyLineHasEveryCommand() throws {
        let (start, candidates) = try complete("")
        #expect(start == 0)
        #expect(candidates == CommandTable.standard.firstWords)
    }

    @Test(arguments: [-5, 0, 1, 2, 3, 4, 100])
    func anyCursorIsNoCrash(_ cursor: Int) throws {
        let (start, _) = try complete("é $r", cursor: cursor)
        #expect((0...5).contains(start))
    }

    @Test func files() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kvmscope-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: folder + "/stage", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for name in ["start.cmd", "stop.cmd", ".hidden"] {
            _ = FileManager.default.createFile(atPath: folder + "/" + name, contents: Data())
        }
        let line = "source \(folder)/sta"
        let driver = try Driver()
        let found = driver.session.complete(line, cursor: line.utf8.count)
        #expect(found.isFile)
        #expect(found.start == 7)
        #expect(found.candidates.map(\.text) == ["\(folder)/stage/", "\(folder)/start.cmd"])
        let all = driver.session.complete("source \(folder)/", cursor: folder.utf8.count + 8)
        #expect(all.candidates.count == 3)
        let none = driver.session.complete("source /no/such/folder/", cursor: 23)
        #expect(none.candidates.isEmpty)
    }
}
