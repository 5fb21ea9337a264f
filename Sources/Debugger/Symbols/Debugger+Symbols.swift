import DebugTarget
import Disassembler
import Expressions
public import Symbols
public import X86

/// Names for addresses, and source lines. Also while the guest runs.
extension Debugger {
    /// Where a file's symbols lie in the guest.
    public enum SymbolPlacement: Sendable, Hashable {
        /// At the addresses that the file gives.
        case asLinked
        /// The lowest address of the file is this linear one. In real mode too it is the linear address that
        /// counts: of code that runs at 1000:0000 with offsets from 0, 0x10000.
        case at(UInt64)
        /// Moved by this distance.
        case moved(by: Int64)
    }

    /// Loads the symbols and source lines of an ELF file, or of a map. A file that was loaded before is replaced.
    ///
    /// ELF files are read by ``symbolReader``: one that is broken costs an error, whatever it does to elfutils.
    ///
    /// - Parameter shouldStop: asked now and then while a file is read that takes long; true gives it up.
    @discardableResult
    public func loadSymbols(
        _ path: String, _ placement: SymbolPlacement = .asLinked, shouldStop: () -> Bool = { false }
    ) throws(DebuggerError) -> SymbolSource {
        let reader = symbolReader
        return try load(path, placement) { () throws(SymbolFileError) in
            try reader.read(path, shouldStop: shouldStop)
        }
    }

    /// Loads what a file with these bytes says; ELF too is read in this process. No file is looked at, so that tests
    /// can do it often.
    @discardableResult
    package func loadSymbols(
        of bytes: [UInt8], as path: String, _ placement: SymbolPlacement = .asLinked
    ) throws(DebuggerError) -> SymbolSource {
        try load(path, placement) { () throws(SymbolFileError) in try SymbolReader.read(bytes, path: path) }
    }

    func load(
        _ path: String, _ placement: SymbolPlacement, _ read: () throws(SymbolFileError) -> SymbolFile
    ) throws(DebuggerError) -> SymbolSource {
        let file: SymbolFile
        do throws(SymbolFileError) {
            file = try read()
        } catch {
            throw DebuggerError(
                .refused, "the symbols of \(path) were not loaded: \(error.message)", remedy: error.remedy)
        }
        let shift: UInt64 =
            switch placement {
            case .asLinked: 0
            case .at(let address): address &- file.lowest
            case .moved(let distance): UInt64(bitPattern: distance)
            }
        symbols.add(SymbolModule(file, path: path, shift: shift))
        guard let source = symbols.files.last else {
            throw DebuggerError(.refused, "the symbols of \(path) were not loaded")
        }
        return source
    }

    /// Forgets all symbols.
    public func clearSymbols() { symbols.removeAll() }

    /// Where the selected vCPU stands in a source file.
    public func sourceLine(vcpu id: Int? = nil) -> SourceLine? {
        guard symbols.hasLines, let snapshot = try? known(id) else { return nil }
        return symbols.line(at: snapshot.pc)
    }

    /// The code that `FILE:LINE` stands for; nil where `text` is not of that form, or no source file has the name.
    ///
    /// - Throws: `.badAddress` where no code comes of the line or of one after it, or where the name stands for
    ///   several files.
    public func code(ofSource text: String) throws(DebuggerError) -> [SourceLine]? {
        guard symbols.hasLines, let colon = text.lastIndex(of: ":"),
            let line = Self.lineNumber(text[text.index(after: colon)...])
        else { return nil }
        let words = text[..<colon].split { $0 == " " || $0 == "\t" }
        guard words.count == 1, let name = words.first else { return nil }
        let paths = symbols.paths(named: String(name))
        guard !paths.isEmpty else { return nil }
        let places = paths.map { symbols.code(ofLine: line, path: $0) }.filter { !$0.isEmpty }
        guard let first = places.first else {
            throw DebuggerError(
                .badAddress, "no code comes of \(name):\(line) or a line after it", column: 0)
        }
        guard places.count == 1 else {
            throw DebuggerError(
                .badAddress, "\(name) may be \(paths.joined(separator: " or "))", column: 0,
                remedy: "give more of the path")
        }
        return first
    }

    private static func lineNumber(_ text: Substring) -> Int? {
        let digits = text.utf8.filter { $0 != 0x20 && $0 != 0x09 }
        guard !digits.isEmpty, digits.count <= 9, digits.allSatisfy(NumberLiteral.isDigit) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self))
    }

    /// The address that a place in the code is given by: any expression, `FILE:LINE`, or, as GDB has it,
    /// `*EXPRESSION` for the value of one, `+N` and `-N` for a source line N lines after or before this one.
    public func location(_ text: String, vcpu id: Int? = nil) throws(DebuggerError) -> Address {
        guard let first = text.firstIndex(where: { !$0.isWhitespace }), text[first] == "*" else {
            if let distance = Self.lineDistance(text) { return try line(distance, vcpu: id) }
            return try address(text, vcpu: id)
        }
        do throws(DebuggerError) {
            return try address(String(text[text.index(after: first)...]), vcpu: id)
        } catch {
            var moved = error
            moved.column = error.column.map { $0 + text[...first].count }
            throw moved
        }
    }

    /// GDB's `+N` and `-N`.
    private static func lineDistance(_ text: String) -> Int? {
        let words = text.split { $0 == " " || $0 == "\t" }
        guard words.count == 1, let sign = words[0].first, sign == "+" || sign == "-",
            let count = lineNumber(words[0].dropFirst())
        else { return nil }
        return sign == "+" ? count : -count
    }

    private func line(_ distance: Int, vcpu id: Int?) throws(DebuggerError) -> Address {
        guard let here = sourceLine(vcpu: id) else {
            throw DebuggerError(
                .badAddress, "\(distance < 0 ? "-" : "+")N counts source lines, and none is known here",
                column: 0,
                remedy: "$pc + N is N bytes on")
        }
        guard here.line + distance >= 1,
            let place = symbols.code(ofLine: here.line + distance, path: here.path).first
        else {
            throw DebuggerError(
                .badAddress,
                "no code comes of line \(here.line + distance) of \(here.path) or a line after it", column: 0)
        }
        return .linear(place.start)
    }

    // MARK: names in code

    /// The instruction's text with names for the addresses in it: `call puts`, `mov eax, [0x7d00] <counter>`.
    func named(_ instruction: Instruction, at linear: UInt64, _ snapshot: VCPUSnapshot) -> String? {
        switch instruction.target {
        case .near(let offset):
            // Offset and linear address differ by the same amount as those of the instruction.
            let mask: UInt64 = snapshot.special.efer.contains(.lma) ? .max : 0xFFFF_FFFF
            let target = (linear &- instruction.address &+ offset) & mask
            guard let place = symbols.place(at: target) else { return nil }
            let number = hex(offset)
            guard instruction.text.hasSuffix(" " + number) else { return instruction.text + " <\(place)>" }
            return instruction.text.dropLast(number.utf8.count) + "\(place)"
        case .far(let address):
            guard
                let target = try? self.linear(
                    .segmented(.selector(address.selector), offset: address.offset), vcpu: snapshot.id),
                let place = symbols.place(at: target)
            else { return nil }
            return instruction.text + " <\(place)>"
        case nil: break
        }
        for operand in instruction.memory where !operand.isImplicit && operand.index == nil {
            guard operand.base == nil || operand.base == .rip,
                let target = operand.linear(
                    in: RegisterFile(general: snapshot.registers, special: snapshot.special)),
                let place = symbols.place(at: target), place.offset == 0 || place.symbol.size > 0
            else { continue }
            return instruction.text + " <\(place)>"
        }
        return nil
    }
}
