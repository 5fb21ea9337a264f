import Testing

@testable import Symbols

/// Looking up names, addresses and lines.
@Suite struct SymbolTableTests {
    private func table(_ change: (inout SymbolFile) -> Void = { _ in }, shift: UInt64 = 0) -> SymbolTable {
        var file = SymbolFile(.elf)
        file.symbols = [
            Symbol(name: "main", address: 0x1000, size: 0x20, kind: .function),
            Symbol(name: "local", address: 0x1000, kind: .label, isGlobal: false),
            Symbol(name: "loop", address: 0x1008, kind: .label, isGlobal: false),
            Symbol(name: "helper", address: 0x1040, size: 0x10, kind: .function, isGlobal: false),
            Symbol(name: "helper", address: 0x1060, size: 0x10, kind: .function),
            Symbol(name: "SIZE", address: 0x1044, kind: .constant),
        ]
        file.sources = ["/src/a.c", "/src/sub/b.c", "/other/b.c"]
        file.rows = [
            LineRow(address: 0x1000, file: 0, line: 10),
            LineRow(address: 0x1004, file: 0, line: 10, isStatement: false),
            LineRow(address: 0x1008, file: 0, line: 12), LineRow(address: 0x1010, file: 0, line: 10),
            LineRow(address: 0x1018, file: 1, line: 5),
            LineRow(address: 0x1020, file: 1, line: 5, endsSequence: true),
            LineRow(address: 0x1060, file: 2, line: 7), LineRow(address: 0x1060, file: 2, line: 8),
            LineRow(address: 0x1070, file: 2, line: 8, endsSequence: true),
        ]
        file.lowest = 0x1000
        file.end = 0x1100
        change(&file)
        var table = SymbolTable()
        table.add(SymbolModule(file, path: "made up", shift: shift))
        return table
    }

    @Test(
        arguments: [
            (0x1000, "main"), (0x1004, "main+0x4"), (0x1008, "loop"), (0x101F, "loop+0x17"),
            (0x1040, "helper"),
            (0x104F, "helper+0xf"), (0x1050, nil), (0x1070, nil), (0xFFF, nil), (0x1100, nil),
            (0x1044, "helper+0x4"),
        ] as [(UInt64, String?)])
    func places(_ address: UInt64, _ name: String?) {
        #expect(table().place(at: address)?.description == name)
        #expect(table(shift: 0xFFFF_FFFF_FFFF_F000).place(at: address &- 0x1000)?.description == name)
    }

    @Test func names() {
        #expect(table().address(of: "helper") == 0x1060)
        #expect(table().symbols(named: "helper").map(\.address) == [0x1060, 0x1040])
        #expect(table(shift: 0x100).address(of: "main") == 0x1100)
        #expect(table(shift: 0x100).address(of: "SIZE") == 0x1044)
        #expect(table().address(of: "nobody") == nil)
        #expect(table().names(startingWith: "l", limit: 10) == ["local", "loop"])
        #expect(table().names(near: "hepler") == ["helper"])
        #expect(table().symbols(containing: "o", limit: 10).map(\.name) == ["local", "loop"])
        #expect(table().sourceNames(startingWith: "b", limit: 10) == ["b.c"])
    }

    @Test(
        arguments: [
            (0x1000, "a.c:10"), (0x1006, "a.c:10"), (0x1008, "a.c:12"), (0x1017, "a.c:10"), (0x101F, "b.c:5"),
            (0x1020, nil), (0x1060, "b.c:8"), (0x1070, nil), (0xFFF, nil),
        ] as [(UInt64, String?)])
    func linesOfAddresses(_ address: UInt64, _ line: String?) {
        #expect(table().line(at: address)?.description == line)
    }

    @Test func codeOfLines() {
        let table = table()
        #expect(table.code(ofLine: 10, path: "/src/a.c").map(\.start) == [0x1000, 0x1010])
        #expect(table.code(ofLine: 11, path: "/src/a.c").map(\.line) == [12])
        #expect(table.code(ofLine: 13, path: "/src/a.c").isEmpty)
        #expect(table.code(ofLine: 10, path: "/src/a.c").map(\.end) == [0x1004, 0x1018])
        #expect(table.code(ofLine: 0, path: "/src/a.c").isEmpty)
        #expect(table.code(ofLine: .max, path: "/src/a.c").isEmpty)
        #expect(table.paths(named: "b.c") == ["/other/b.c", "/src/sub/b.c"])
        #expect(table.paths(named: "sub/b.c") == ["/src/sub/b.c"])
        #expect(table.paths(named: ".c").isEmpty)
    }

    @Test func filesFollowEachOther() {
        var table = table()
        var file = SymbolFile(.map)
        file.symbols = [Symbol(name: "main", address: 0x1004)]
        table.add(SymbolModule(file, path: "another", shift: 0))
        #expect(table.address(of: "main") == 0x1004)
        #expect(table.place(at: 0x1006)?.description == "main+0x2")
        #expect(table.files.map(\.path) == ["made up", "another"])
        table.add(SymbolModule(file, path: "made up", shift: 0))
        #expect(table.files.map(\.path) == ["another", "made up"])
        table.removeAll()
        #expect(table.isEmpty)
    }

    /// What a file says is kept within bounds, whatever it says.
    @Test func absurdFiles() {
        let table = table { file in
            file.rows += [
                LineRow(address: .max, file: 99, line: .max), LineRow(address: 0x1080, file: 0, line: 0),
            ]
            file.symbols += [Symbol(name: "top", address: .max, size: .max, kind: .function)]
            file.end = .max
        }
        #expect(table.line(at: .max) == nil)
        #expect(table.line(at: 0x1080) == nil)
        #expect(table.place(at: 0x2000) == nil)
        _ = self.table({ $0.symbols[0].size = .max }, shift: .max).place(at: 0x1000)
    }

    @Test func bytesThereAndBack() throws {
        var file = SymbolFile(.elf)
        file.symbols = [Symbol(name: "é", address: .max, size: 3, kind: .constant, isGlobal: false)]
        file.sources = ["/a", ""]
        file.rows = [LineRow(address: 1, file: 1, line: 77, isStatement: false, endsSequence: true)]
        file.warnings = ["careful"]
        (file.lowest, file.end) = (5, 6)
        let bytes = file.encoded
        #expect(SymbolFile(encoded: bytes) == file)
        for count in 0..<bytes.count { #expect(SymbolFile(encoded: Array(bytes[..<count])) == nil) }
        #expect(SymbolFile(encoded: bytes + [0]) == nil)
        for place in bytes.indices {
            var broken = bytes
            broken[place] ^= 0xFF
            _ = SymbolFile(encoded: broken)
        }
    }
}
