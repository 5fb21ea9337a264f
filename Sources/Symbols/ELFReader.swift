import CElf
import Glibc

/// Reads symbols and source lines of an ELF file through elfutils.
///
/// elfutils means to be robust, but does not promise it for files that someone has broken on purpose: the
/// debugger has this done in a process of its own (``SymbolReader``).
enum ELFReader {
    /// The file at `path`.
    static func read(path: String) throws(SymbolFileError) -> SymbolFile {
        var handle: OpaquePointer?
        let result = celf_open(path, &handle)
        guard result == 0, let handle else { throw error(result) }
        defer { celf_close(handle) }
        return try read(handle)
    }

    /// An image in memory.
    static func read(_ image: [UInt8]) throws(SymbolFileError) -> SymbolFile {
        var image = image
        var result = Result<SymbolFile, SymbolFileError>.failure(SymbolFileError("it is empty"))
        image.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            // SAFETY: the bytes stay where they are until the file is closed below.
            do throws(SymbolFileError) {
                var handle: OpaquePointer?
                let opened = celf_open_memory(start, bytes.count, &handle)
                guard opened == 0, let handle else { throw error(opened) }
                defer { celf_close(handle) }
                result = .success(try read(handle))
            } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }

    private static func error(_ result: Int32) -> SymbolFileError {
        if result == -ENOEXEC { return SymbolFileError("elfutils takes it for no ELF file") }
        // SAFETY: strerror returns a terminated string, which is copied at once.
        return SymbolFileError("opening it failed: \(String(cString: strerror(-result)))")
    }

    private static func read(_ handle: OpaquePointer) throws(SymbolFileError) -> SymbolFile {
        var header = celf_header()
        guard celf_header(handle, &header) == 0 else {
            throw SymbolFileError("its ELF header is broken")
        }
        guard header.machine == 3 || header.machine == 62 || header.machine == 6 else {
            throw SymbolFileError(
                "it is for another machine (e_machine \(header.machine))",
                remedy: "the guest is x86: 3 and 62 would be right")
        }
        var file = SymbolFile(.elf)
        // What is loaded as a whole at any address begins with its first segment; what was linked for one begins
        // with its code.
        let lowest = header.type == 3 ? header.lowest_segment : header.lowest_section
        file.lowest = lowest == .max ? 0 : lowest
        file.end = max(header.end, file.lowest)
        readSymbols(handle, &file)
        readLines(handle, &file)
        return file
    }

    private static func readSymbols(_ handle: OpaquePointer, _ file: inout SymbolFile) {
        var count = Int(celf_symbol_count(handle))
        if count > SymbolFile.maximumSymbols {
            file.warnings.append("only the first \(SymbolFile.maximumSymbols) of \(count) symbols are kept")
            count = SymbolFile.maximumSymbols
        }
        var found = celf_symbol()
        for index in 1..<max(count, 1) {
            guard celf_symbol(handle, Int32(truncatingIfNeeded: index), &found) == 0,
                let kind = kind(of: found), let name = text(found.name)
            else { continue }
            file.symbols.append(
                Symbol(
                    name: name, address: found.address, size: found.size, kind: kind,
                    isGlobal: found.binding != 0))
        }
    }

    /// Nil for what names nothing: other files' symbols, sections, source files.
    private static func kind(of symbol: celf_symbol) -> Symbol.Kind? {
        // SHN_UNDEF, SHN_COMMON, and a section that elfutils could not find.
        guard symbol.section != 0, symbol.section != 0xFFF2, symbol.section != .max else { return nil }
        // STT_SECTION, STT_FILE and STT_TLS.
        guard symbol.type != 3, symbol.type != 4, symbol.type != 6 else { return nil }
        if symbol.section == 0xFFF1 { return .constant }
        return switch symbol.type {
        case 1: .data
        case 2, 10: .function
        default: .label
        }
    }

    private static func readLines(_ handle: OpaquePointer, _ file: inout SymbolFile) {
        var numbers: [String: UInt32] = [:]
        var broken = 0
        while true {
            let next = celf_next_unit(handle, &broken)
            if next == -EILSEQ { file.warnings.append("its DWARF is broken: source lines are missing") }
            guard next == 1 else { break }
            let folder = text(celf_unit_folder(handle))
            var files: [UInt32] = []
            for index in 0..<min(celf_file_count(handle), SymbolFile.maximumSources) {
                files.append(
                    number(of: path(text(celf_file_name(handle, index)), in: folder), &numbers, &file))
            }
            var line = celf_line()
            for index in 0..<celf_line_count(handle) {
                guard file.rows.count < SymbolFile.maximumRows else { break }
                guard celf_line(handle, index, &line) == 0, line.file < files.count else { continue }
                file.rows.append(
                    LineRow(
                        address: line.address, file: files[line.file],
                        line: UInt32(clamping: line.line), isStatement: line.begins_statement != 0,
                        endsSequence: line.ends_sequence != 0))
            }
        }
        if broken > 0 { file.warnings.append("the lines of \(broken) of its units are broken") }
        if file.rows.count >= SymbolFile.maximumRows {
            file.warnings.append("only the first \(SymbolFile.maximumRows) source lines are kept")
        }
    }

    /// One number for each path, whatever unit names it.
    private static func number(
        of path: String, _ numbers: inout [String: UInt32], _ file: inout SymbolFile
    ) -> UInt32 {
        if let number = numbers[path] { return number }
        guard file.sources.count < SymbolFile.maximumSources else { return 0 }
        let number = UInt32(file.sources.count)
        numbers[path] = number
        file.sources.append(path)
        return number
    }

    /// A name; nil where there is none. One that no linker would make is cut.
    /// A file's path: a relative one begins where its unit was compiled (DWARF 5, 6.2.4, directories).
    private static func path(_ name: String?, in folder: String?) -> String {
        guard let name else { return "?" }
        guard !name.hasPrefix("/"), let folder, folder.hasPrefix("/") else { return name }
        return folder.hasSuffix("/") ? folder + name : folder + "/" + name
    }

    private static func text(_ name: UnsafePointer<CChar>?) -> String? {
        guard let name else { return nil }
        // SAFETY: elfutils checks that names end within their section.
        let length = strnlen(name, SymbolFile.maximumName)
        guard length > 0 else { return nil }
        // SAFETY: these bytes stand before the zero.
        return String(decoding: UnsafeRawBufferPointer(start: name, count: length), as: UTF8.self)
    }
}
