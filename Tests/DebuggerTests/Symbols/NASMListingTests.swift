import Testing

@testable import Debugger
@testable import Symbols

/// NASM's listings, as version 2.16 writes them.
@Suite struct NASMListingTests {
    private let listing = """
             1                                  org 0x7c00
             2                                  bits 16
             3                                  
             4                                  SECTOR equ 512
             5                                  start:
             6 00000000 FA                          cli
             7 00000001 31C0                        xor ax, ax
             8 00000003 BE[0F00]                    mov si, message
             9 00000006 AC                      .next: lodsb
            10 00000007 84C0                        test al, al
            11 00000009 74FE                        jz $
            12 0000000B EBF9                        jmp .next       ; again: and again
            13                                  print:
            14                                  .again:
            15 0000000D EBFE                        jmp .again
            16 0000000F 48656C6C6F00            message: db "Hello", 0
            17 00000015 00<rep 1E9h>            times 510-($-$$) db 0
            18 000001FE 55AA                        dw 0xaa55
            19                                  section .bss
            20 00000000 <res 10h>               buffer: resb 16

        """

    @Test func labelsAndLines() throws {
        let file = try #require(NASMListing.read(Array(listing.utf8), path: "boot.lst"))
        #expect(
            file.symbols.map { "\($0.name) \(String($0.address, radix: 16))" } == [
                "start 7c00", "start.next 7c06", "print 7c0d", "print.again 7c0d", "message 7c0f",
            ])
        #expect(file.rows.first == LineRow(address: 0x7C00, file: 0, line: 6))
        #expect(file.rows.map(\.line).contains(15))
        #expect(file.sources == ["boot.lst"])
        #expect(file.lowest == 0x7C00)
    }

    @Test func isLoadedByItsLooks() throws {
        try Fixture.withFile(Array(listing.utf8)) { path in
            let (debugger, _) = try debugger()
            try debugger.loadSymbols(path)
            #expect(debugger.symbols.line(at: 0x7C01)?.line == 7)
            #expect(debugger.sources.line(7, of: path)?.contains("xor ax, ax") == true)
            try debugger.loadSymbols(path, .at(0x10000))
            #expect(debugger.symbols.address(of: "print") == 0x1000D)
        }
    }

    @Test(arguments: [
        "", "00007c00 T start\n", "     1 000 FA cli\n", "x\n", "     1\n", "     1 00000000 FA no label\n",
        "     1 0000000G FA a: cli\n",
    ])
    func whatIsNoListing(_ text: String) {
        #expect(NASMListing.read(Array(text.utf8), path: "") == nil)
    }

    @Test func cutAnywhere() {
        let bytes = Array(listing.utf8)
        for count in bytes.indices { _ = NASMListing.read(Array(bytes[..<count]), path: "") }
    }
}
