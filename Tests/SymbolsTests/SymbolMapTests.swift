import Testing

@testable import Expressions
@testable import Symbols

/// Symbols from text, in every form that linkers and assemblers print.
@Suite struct SymbolMapTests {
    private func read(_ text: String) throws -> SymbolFile { try SymbolMap.read(Array(text.utf8)) }

    @Test func nm() throws {
        let file = try read(
            """
            0000000000007c00 T start
            0000000000007c10 t print_line
                             U elsewhere
            0000000000007d00 d message
            0000000000007e00 0000000000000010 B buffer
            0000000000000200 a SECTOR
            0000000000007c20 W weak

            """)
        #expect(
            file.symbols == [
                Symbol(name: "start", address: 0x7C00, kind: .function),
                Symbol(name: "print_line", address: 0x7C10, kind: .function, isGlobal: false),
                Symbol(name: "message", address: 0x7D00, kind: .data, isGlobal: false),
                Symbol(name: "buffer", address: 0x7E00, size: 16, kind: .data),
                Symbol(name: "SECTOR", address: 0x200, kind: .constant, isGlobal: false),
                Symbol(name: "weak", address: 0x7C20, kind: .function),
            ])
        #expect(file.lowest == 0x7C00)
        #expect(file.end == 0x7E10)
    }

    @Test func linesOfNM() throws {
        let file = try read("00007c00 T start\t/src/boot.S:12\n00007c10 T next\t/src/boot.S:40\r\n")
        #expect(file.sources == ["/src/boot.S"])
        #expect(file.rows.map(\.line) == [12, 40])
        #expect(file.rows.map(\.address) == [0x7C00, 0x7C10])
    }

    @Test func kernels() throws {
        let file = try read(
            """
            0000000000000000 A fixed_percpu_data
            ffffffff81000000 T _text
            ffffffff81000070 t secondary_startup_64
            ffffffffc0000000 t module_function\t[kvm]
            """)
        #expect(file.symbols.map(\.name).last == "module_function")
        #expect(file.lowest == 0xFFFF_FFFF_8100_0000)
    }

    @Test func nasm() throws {
        let file = try read(
            """

            - NASM Map file ---------------------------------------------------------------

            Source file:  boot.asm
            Output file:  boot.bin

            -- Program origin -------------------------------------------------------------

            00007C00

            -- Sections (summary) ---------------------------------------------------------

            Vstart            Start             Stop              Length    Class     Name
                        7C00              7C00              7DFE  000001FE  progbits  .text

            -- Symbols --------------------------------------------------------------------

            ---- No Section ---------------------------------------------------------------

            Value     Name
            00000200  SECTOR

            ---- Section .text ------------------------------------------------------------

            Real              Virtual           Name
                        7C00              7C00  start
                        7C05                 A  low
                        7C09              7C09  start.again

            """)
        #expect(
            file.symbols == [
                Symbol(name: "SECTOR", address: 0x200, kind: .constant),
                Symbol(name: "start", address: 0x7C00), Symbol(name: "low", address: 0xA),
                Symbol(name: "start.again", address: 0x7C09),
            ])
    }

    @Test func linkersAndPlainLists() throws {
        let file = try read(
            """
             .text          0x0000000000007c00      0x100 boot.o
                            0x0000000000007c00                start
                            0x0000000000007c40                loop
                            0x0000000000007e00                _end = .
            """)
        #expect(file.symbols.map(\.name) == ["start", "loop", "_end"])
        #expect(try read("7c00 start\n0x7c10 print\n").symbols.map(\.address) == [0x7C00, 0x7C10])
    }

    @Test(arguments: [
        "", "\n\n\n", "nothing here\nnor here\n", "zzzz T start\n", "123456789abcdef01 T wide\n", "7c00\n",
        "7c00\n7c00 T 12\n",
    ])
    func whatIsNoMap(_ text: String) {
        #expect(throws: SymbolFileError.self) { try read(text) }
    }

    @Test func mostlySomethingElse() {
        let text = "7c00 T start\n" + String(repeating: "some line of prose\n", count: 1000)
        let error = #expect(throws: SymbolFileError.self) { try read(text) }
        #expect(error?.message.contains("1000 of 1001") == true)
    }

    @Test func bytesThatAreNoText() throws {
        #expect(throws: SymbolFileError.self) { try SymbolMap.read([0x37, 0x63, 0, 0x20]) }
        let file = try SymbolMap.read(Array("7c00 T a\n7c10 T ".utf8) + [0xFF, 0xC0, 0x80, 0x0A])
        #expect(file.symbols.count == 2)
        let long = try SymbolMap.read(
            Array("7c00 T a\n7c10 T ".utf8) + [UInt8](repeating: 0x61, count: 1 << 20))
        #expect(long.symbols.count == 1)
    }
}
