import Disassembler
import Foundation
import TargetConformance
import Testing
import X86

@testable import Debugger
@testable import Symbols

/// ELF and DWARF, as this package's own compiler makes them, whole and broken.
@Suite struct ELFTests {
    private func loaded(
        _ path: String = Fixture.object, _ placement: Debugger.SymbolPlacement = .at(0x7C00)
    ) throws -> Debugger {
        let (debugger, _) = try debugger([0xFA, 0x31, 0xC0, 0x49, 0x75, 0xFD, 0xC3, 0xF4])
        try debugger.loadSymbols(path, placement)
        return debugger
    }

    @Test func aRelocatableObject() throws {
        let debugger = try loaded()
        let source = try #require(debugger.symbols.files.first)
        #expect(source.format == "elf")
        #expect(source.shift == 0x7C00)
        #expect(source.start == 0x7C00)
        #expect(source.warnings == [])
        #expect(debugger.symbols.address(of: "fixture_start") == 0x7C00)
        #expect(debugger.symbols.address(of: "fixture_end") == 0x7C07)
        #expect(debugger.symbols.address(of: "FIXTURE_SECTOR") == 512)
        #expect(debugger.symbols.place(at: 0x7C05)?.description == "fixture_loop+0x2")
        #expect(debugger.symbols.line(at: 0x7C00)?.description == "code.S:8")
        #expect(debugger.symbols.line(at: 0x7C04)?.description == "code.S:13")
        #expect(debugger.symbols.line(at: 0x7C08) == nil)
    }

    @Test func aProgramThatIsLoadedAnywhere() throws {
        let debugger = try loaded(Fixture.program, .at(0x10_0000))
        let add = try #require(debugger.symbols.symbols(named: "fixture_add").first)
        #expect(add.kind == .function)
        #expect(add.address > 0x10_0000)
        #expect(debugger.symbols.symbols(named: "fixture_counter").first?.kind == .data)
        #expect(debugger.symbols.line(at: add.address)?.description == "main.c:5")
        #expect(try debugger.address("main.c:5") == .linear(add.address))
        try debugger.loadSymbols(Fixture.program, .asLinked)
        let linked = try #require(debugger.symbols.address(of: "fixture_add"))
        #expect(linked == add.address - 0x10_0000)
        try debugger.loadSymbols(Fixture.program, .moved(by: -0x10))
        #expect(debugger.symbols.address(of: "fixture_add") == linked - 0x10)
        #expect(debugger.symbols.files.count == 1)
    }

    @Test(
        arguments: [
            ("fixture_start", 0x7C00), ("fixture_loop + 1", 0x7C04), ("&fixture_end", 0x7C07),
            ("code.S:8", 0x7C00),
            ("SymbolFixture/code.S:12", 0x7C04), (" code.S : 13", 0x7C04), ("*0x7c03", 0x7C03),
            ("*fixture_loop", 0x7C03),
            ("FIXTURE_SECTOR * 2", 1024), ("'fixture_start'", 0x7C00),
        ] as [(String, UInt64)])
    func locations(_ text: String, _ linear: UInt64) throws {
        #expect(try loaded().location(text) == .linear(linear))
    }

    @Test(arguments: ["code.S:20", "code.S:0", "nothing.S:8", "fixture_strat", "code.S:", "*", "* nobody"])
    func noLocations(_ text: String) throws {
        let debugger = try loaded()
        let error = try #require(debuggerError { _ = try debugger.location(text) })
        #expect(error.column != nil, "\(error)")
        if text == "fixture_strat" { #expect(error.remedy?.contains("fixture_start") == true) }
    }

    @Test func namesInCode() throws {
        let debugger = try loaded()
        let lines = try debugger.disassemble(count: 6)
        #expect(lines.map(\.text)[3] == "jnz fixture_loop")
        #expect(lines[3].instruction?.text == "jnz 0x7c03")
        #expect(lines[2].place?.description == "fixture_loop")
        let stop = try debugger.stopLine()
        #expect(stop.symbol == "fixture_start")
        #expect(stop.source?.description == "code.S:8")
        #expect(debugger.sourceLine()?.line == 8)
        debugger.clearSymbols()
        #expect(try debugger.disassemble(count: 6).map(\.text)[3] == "jnz 0x7c03")
    }

    @Test func sourceText() throws {
        let debugger = try loaded()
        let line = try #require(debugger.sourceLine())
        #expect(debugger.sources.line(line.line, of: line.path)?.contains("cli") == true)
        #expect(debugger.sources.line(0, of: line.path) == nil)
        #expect(debugger.sources.line(.max, of: line.path) == nil)
        let moved = "/build/somewhere/Tests/SymbolFixture/code.S"
        #expect(debugger.sources.line(8, of: moved) == nil)
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        debugger.sources.add([tests.path])
        #expect(debugger.sources.line(8, of: moved)?.contains("cli") == true)
        #expect(
            !debugger.sources.places(of: "/a/../../etc/passwd").contains(tests.path + "/../../etc/passwd"))
    }

    // MARK: broken files

    /// Bytes of a real object, changed at random; the same ones each time. Some of such files make elfutils crash:
    /// they are read as the program reads them.
    @Test(arguments: 0..<4)
    func mutations(_ seed: Int) throws {
        let original = try Fixture.bytes(Fixture.object)
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        func random(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        for _ in 0..<25 {
            var bytes = original
            for _ in 0...random(8) { bytes[random(bytes.count)] = UInt8(random(256)) }
            if random(4) == 0 { bytes = Array(bytes[..<random(bytes.count)]) }
            let reader = SymbolReader(program: Fixture.kvmscope)
            guard let file = try? Fixture.withFile(bytes, { try reader.read(elf: $0) }) else { continue }
            let module = SymbolModule(file, path: "", shift: state)
            _ = module.symbol(at: state)
            _ = module.row(at: state)
        }
    }

    /// Reads as the program does, and looks around in what is left of the file; false where it was refused.
    private func survives(_ bytes: [UInt8]) throws -> Bool {
        let reader = SymbolReader(program: Fixture.kvmscope)
        do {
            let file = try Fixture.withFile(bytes) { try reader.read(elf: $0) }
            let module = SymbolModule(file, path: "", shift: 0x7C00)
            for address in [0, 0x7C00, 0x7C05, UInt64.max] {
                _ = (module.symbol(at: address), module.row(at: address))
            }
            return true
        } catch let error as SymbolFileError {
            #expect(!error.message.isEmpty)
            return false
        }
    }

    /// Cut at every place of the ELF header, and at places all over the rest.
    @Test func truncations() throws {
        let original = try Fixture.bytes(Fixture.object)
        let places = Array(stride(from: 0, to: 64, by: 5)) + (1..<48).map { original.count * $0 / 48 }
        for count in places {
            // The section headers stand at the end: without them nothing is said.
            if try survives(Array(original[..<count])) {
                let whole = try ELFReader.read(path: Fixture.object)
                let part = try Fixture.withFile(Array(original[..<count])) { try ELFReader.read(path: $0) }
                #expect(part.symbols.count <= whole.symbols.count)
            }
        }
    }

    /// A bit flipped in each byte of the ELF header, and in every so many of the rest.
    @Test func bitFlips() throws {
        let original = try Fixture.bytes(Fixture.object)
        let places = Array(16..<64) + Array(stride(from: 64, to: original.count, by: original.count / 80))
        var read = 0
        for place in places {
            var bytes = original
            bytes[place] ^= 1 << UInt8(place & 7)
            if try survives(bytes) { read += 1 }
        }
        // Most bits are of no weight: what can be read of a file is read.
        #expect(read > places.count / 2, "\(read) of \(places.count)")
    }

    @Test func filesOfAnotherKind() throws {
        let debugger = try loaded()
        for bytes in [[], [0x7F], Array("\u{7F}ELF".utf8), [UInt8](repeating: 0, count: 5000)] {
            try Fixture.withFile(bytes) { path in
                let error = debuggerError { try debugger.loadSymbols(path) }
                #expect(error?.code == .refused)
            }
        }
        var arm = try Fixture.bytes(Fixture.object)
        arm[18] = 183
        try Fixture.withFile(arm) { path in
            #expect(
                debuggerError { try debugger.loadSymbols(path) }?.message.contains("another machine") == true)
        }
        for path in ["/nowhere/at/all", "/", "/dev/zero", "/dev/null"] {
            #expect(debuggerError { try debugger.loadSymbols(path) }?.code == .refused, "\(path)")
        }
        #expect(debugger.symbols.files.count == 1)
    }

    @Test func anImageInMemorySaysTheSame() throws {
        let bytes = try Fixture.bytes(Fixture.object)
        #expect(try SymbolReader.read(bytes, path: "") == ELFReader.read(path: Fixture.object))
        #expect(symbolError { _ = try ELFReader.read([]) } != nil)
        #expect(symbolError { _ = try ELFReader.read(Array(bytes[..<8])) } != nil)
    }

    // MARK: the process that reads

    @Test func readsInAProcessOfItsOwn() throws {
        let debugger = try loaded()
        let here = try debugger.symbolReader.read(Fixture.program)
        #expect(try SymbolReader(program: Fixture.kvmscope).read(Fixture.program) == here)
        #expect(here.symbols.contains { $0.name == "fixture_add" })
    }

    @Test func itsErrorsComeThrough() throws {
        let reader = SymbolReader(program: Fixture.kvmscope)
        var arm = try Fixture.bytes(Fixture.object)
        arm[18] = 183
        try Fixture.withFile(arm) { path in
            let error = symbolError { _ = try reader.read(path) }
            #expect(error?.message.contains("another machine") == true)
            #expect(error?.remedy != nil)
        }
    }

    /// Whatever becomes of the process: here a program that does something else altogether.
    @Test(arguments: ["/bin/false", "/bin/true", "/nowhere/at/all"])
    func aReaderThatFails(_ program: String) throws {
        let error = symbolError { _ = try SymbolReader(program: program).read(Fixture.object) }
        #expect(error != nil)
    }

    @Test(arguments: [11, 9, 6, 24])
    func aReaderThatCrashes(_ signal: Int32) throws {
        let whole = [UInt8(0)] + SymbolFile(.elf).encoded
        #expect(symbolError { _ = try SymbolReader.answer(whole, status: 0) } == nil)
        let error = try #require(symbolError { _ = try SymbolReader.answer(whole, status: signal) })
        #expect(error.message.contains("broken"))
        #expect(symbolError { _ = try SymbolReader.answer(Array(whole.dropLast()), status: 0) } != nil)
        #expect(symbolError { _ = try SymbolReader.answer([], status: 0) } != nil)
        #expect(symbolError { _ = try SymbolReader.answer([7], status: 0) } != nil)
    }

    @Test func aReaderThatDoesNotEnd() throws {
        try Fixture.withFile(Array("#!/bin/sh\nexec sleep 60\n".utf8)) { path in
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
            let error = symbolError { _ = try SymbolReader(program: path, timeLimit: 1).read(Fixture.object) }
            #expect(error?.message.contains("given up") == true)
        }
    }
}
