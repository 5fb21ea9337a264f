import Foundation
import Testing

@testable import Commands

/// Symbols and source lines, as commands show them.
@Suite struct SymbolCommandTests {
    /// The guest's `mov al, 0x48; out 0xe9, al; nop` with names, and with the lines of a source file in a folder.
    final class Loaded {
        let driver: Driver
        let folder: String

        init() throws {
            let url = FileManager.default.temporaryDirectory.appending(path: "kvmscope-\(UUID().uuidString)")
            folder = url.path
            // `jmp` back to the first instruction stands in place of the HLT.
            driver = try Driver([0xB0, 0x48, 0xE6, 0xE9, 0x90, 0xEB, 0xF9])
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            let source = (1...30).map { "\tline \($0)\n" }.joined()
            try source.write(to: url.appending(path: "boot.S"), atomically: true, encoding: .utf8)
            let map = """
                00007c00 T start\t/build/src/boot.S:10
                00007c02 t write\t/build/src/boot.S:12
                00007c05 T finish\t/build/src/boot.S:20
                00000200 a SECTOR
                00007e00 D counter
                """
            try map.write(to: url.appending(path: "boot.map"), atomically: true, encoding: .utf8)
            try driver.output("symbols \(folder)/boot.map")
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }
    }

    @Test func loading() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        let folder = loaded.folder
        #expect(
            try driver.text("symbols \(folder)/boot.map")
                == ["\(folder)/boot.map: 5 symbols, 3 source lines, 0x7c00 to 0x7e01"])
        let moved = try driver.text("symbols \(folder)/boot.map at 100:0")
        #expect(moved[0].hasSuffix("0x1000 to 0x1201, moved by -0x6c00"))
        #expect(try driver.text("p/x start") == ["$1 = 0x1000"])
        #expect(try driver.text("p SECTOR")[0].hasPrefix("$2 = 512"))
        try driver.output("symbols \(folder)/boot.map by -0x100")
        #expect(try driver.text("output/x start") == ["0x7b00"])
        try driver.output("add-symbol-file \(folder)/boot.map 0x8000")
        #expect(try driver.text("output/x start") == ["0x8000"])
        #expect(try driver.text("symbols").count == 2)
        #expect(try driver.text("symbols clear") == ["Forgot the symbols of 1 file."])
        #expect(try driver.text("symbols") == ["No symbols are loaded."])
        #expect(try driver.failure("p start").remedy == nil)
        #expect(try driver.failure("info symbol 0x7c00").remedy?.contains("symbols FILE") == true)
    }

    @Test(
        arguments: [
            ("symbols /nowhere/at/all", 8), ("symbols FILE at", 23), ("symbols FILE at 1 2", 28),
            ("symbols FILE by", 23),
            ("info symbol", 11), ("info symbol 0x30000", 12), ("info address", 12),
            ("info address strat", 13), ("info symbols zzz", 13),
            ("info line 0x30000", 10), ("list 0x30000", 5), ("list boot.S:999", 5), ("break boot.S:21", 6),
            ("break nosuch.S:1", 6),
        ] as [(String, Int)])
    func mistakes(_ line: String, _ column: Int) throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        let folder = loaded.folder
        try driver.output("directory \(folder)")
        let file = "\(folder)/boot.map"
        let shift = line.contains("FILE") ? file.count - 4 : 0
        let error = try driver.failure(line.replacingOccurrences(of: "FILE", with: file))
        let expected = line.contains("FILE") && column > 13 ? column - 10 + shift : column
        #expect(error.column == expected, "\(error)")
    }

    @Test func looking() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        #expect(try driver.text("info symbol 0x7c04") == ["0x7c04 is write+0x2, boot.S:12"])
        #expect(try driver.text("info symbol $rip") == ["0x7c00 is start, boot.S:10"])
        #expect(try driver.text("info address counter").count == 2)
        #expect(try driver.text("info symbols t").count == 4)
        #expect(
            try driver.text("info line boot.S:11") == ["/build/src/boot.S:12 is 0x7c02 to 0x7c05, write"])
        #expect(try driver.text("p finish") == ["$1 = 31749  0x7c05 <finish>"])
        #expect(try driver.text("p/a 0x7c06") == ["$2 = 0x7c06 <finish+0x1>"])
        #expect(try driver.text("p *(u8*)start") == ["$3 = 176  0xb0"])
        #expect(try driver.failure("info address strat").suggestion == "start")
    }

    /// GDB's `/s` and `/m`; its `/r` is what is shown in any case.
    @Test(arguments: ["s", "m", "rs"]) func codeBelowItsSourceLines(_ modifiers: String) throws {
        let loaded = try Loaded()
        let plain = try loaded.driver.text("disas 0x7c00, 0x7c05")
        #expect(try loaded.driver.text("disas/r 0x7c00, 0x7c05") == plain)
        let lines = try loaded.driver.text("disas/\(modifiers) 0x7c00, 0x7c05")
        #expect(lines.filter { !$0.hasPrefix("boot.S:") } == plain, "\(lines)")
        let sources = lines.filter { $0.hasPrefix("boot.S:") }
        #expect(
            sources.first?.hasPrefix("boot.S:10") == true && Set(sources).count == sources.count, "\(lines)")
        #expect(try loaded.driver.failure("disas/5s 0x7c00").message.contains("count alone"))
        #expect(try loaded.driver.json("disas/s 0x7c00, +1").contains(#""source":{"line":10"#))
    }

    @Test func memoryHasNames() throws {
        let loaded = try Loaded()
        try loaded.driver.output("set *(u32*)0x500 = 0x7c04")
        try loaded.driver.output("set *(u32*)0x504 = 1")
        let words = try loaded.driver.text("x/2aw 0x500")
        #expect(words.joined().contains("0x00007c04 <write+0x2>"))
        #expect(try loaded.driver.json("x/2aw 0x500").contains(#""symbols":["write+0x2",null]"#))
        #expect(try !loaded.driver.json("x/2xw 0x500").contains("symbols"))
    }

    @Test func codeHasNames() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        let lines = try driver.text("u/4")
        #expect(lines[0] == "start:")
        #expect(lines.contains("write:"))
        #expect(lines.last?.hasSuffix("jmp start") == true)
        #expect(try driver.json("u/1").contains(#""symbol":"start""#))
    }

    @Test func stopsHaveNamesAndLines() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        let folder = loaded.folder
        let first = try driver.text("step")
        #expect(first[0].contains("0000:7c02 (write): out"))
        #expect(first[1] == "boot.S:12")
        try driver.output("directory \(folder)")
        let second = try driver.text("step")
        #expect(second[0].contains("0000:7c04 (write+0x2): nop"))
        #expect(second[1] == "boot.S:12      line 12")
        let json = try driver.json("step")
        #expect(json.contains(#""source":{"line":20,"path":"/build/src/boot.S","text":"\tline 20"}"#))
        #expect(json.contains(#""symbol":"finish""#))
    }

    @Test func breakpointsAtNames() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        for (line, linear) in [
            ("b finish", "0x7c05"), ("b boot.S:11", "0x7c02"), ("tb *0x7c04", "0x7c04"),
            ("b write + 2", "0x7c04"),
        ] {
            #expect(try driver.text(line)[0].contains(linear), "\(line)")
        }
        #expect(try driver.text("until *finish").contains { $0.contains("(write)") })
    }

    @Test func listing() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        let folder = loaded.folder
        #expect(try driver.failure("list").remedy?.contains("directory") == true)
        #expect(try driver.text("directory \(folder)").count == 2)
        let first = try driver.text("list")
        #expect(first.count == 11)
        #expect(first[1] == "       5          line 5")
        #expect(first[6] == "=>    10          line 10")
        #expect(try driver.text("list")[1].hasSuffix("line 15"))
        #expect(try driver.text("list")[1].hasSuffix("line 25"))
        #expect(try driver.failure("list").message.contains("30 lines"))
        #expect(try driver.text("list 3")[1].hasSuffix("line 1"))
        #expect(try driver.text("list finish")[6].hasSuffix("line 20"))
        #expect(try driver.text("list boot.S:29")[1].hasSuffix("line 24"))
        #expect(try driver.text("directory clear").count == 1)
        #expect(try driver.failure("list finish").message.contains("not found"))
    }

    @Test func completion() throws {
        let loaded = try Loaded()
        let driver = loaded.driver
        func complete(_ line: String) -> [String] {
            driver.session.complete(line, cursor: line.utf8.count).candidates.map(\.text)
        }
        #expect(complete("b st") == ["start"])
        #expect(complete("p 1+fin") == ["finish"])
        #expect(complete("b boo") == ["boot.S:"])
        #expect(complete("info address cou") == ["counter"])
        try driver.output("set $number = 1")
        #expect(complete("p $num") == ["$number"])
        #expect(complete("b ").isEmpty)
    }

    @Test func values() throws {
        let driver = try Driver()
        #expect(try driver.text("p 40 + 2") == ["$1 = 42  0x2a"])
        #expect(try driver.text("p $ + 1") == ["$2 = 43  0x2b"])
        #expect(try driver.text("p $1 + $$") == ["$3 = 84  0x54"])
        #expect(try driver.text("output 1") == ["1  0x1"])
        #expect(try driver.text("p $") == ["$4 = 84  0x54"])
        #expect(try driver.text("p/x (s8)-1") == ["$5 = 0xff"])
        #expect(try driver.text("p (s8)-1") == ["$6 = -1  0xff"])
        #expect(try driver.text("p/t (u8)-1") == ["$7 = 11111111"])
        #expect(try driver.text("p/x (u16)0x18000 << 1") == ["$8 = 0x10000"])
    }

    @Test func variables() throws {
        let driver = try Driver()
        #expect(try driver.text("show convenience") == ["No variable is set."])
        #expect(try driver.text("set $count = 5") == ["$count = 5  0x5"])
        #expect(try driver.text("set $count += 2") == ["$count = 7  0x7"])
        #expect(try driver.text("set $count++") == ["$count = 7  0x7"])
        #expect(try driver.text("set $count $count * 2") == ["$count = 16  0x10"])
        #expect(try driver.text("show conv") == ["$count = 16  0x10"])
        let misspelt = try driver.text("set $raxx = 5")
        #expect(misspelt.count == 2)
        #expect(misspelt[1].contains("$rax"))
        try driver.output("set $rbx = 0")
        #expect(try driver.text("set $rbx += 0x10") == ["$rbx = 16  0x10"])
        #expect(try driver.text("output $rbx") == ["16  0x10"])
        #expect(try driver.text("set {u16}0x500 = 0xbeef") == ["{u16}0x500 = 48879  0xbeef"])
        #expect(try driver.text("set b:0x501 = 1")[0].hasPrefix("b:0x501 = 1"))
        #expect(try driver.text("output/x w:0x500") == ["0x1ef"])
        #expect(try driver.failure("set $count + 1 = 5").column != nil)
        #expect(try driver.failure("set nosuch = 5").suggestion == nil)
    }
}
