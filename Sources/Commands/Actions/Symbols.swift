import Debugger
import Expressions
import Symbols
import X86

extension CommandTable {
    static let symbolCommands: [Command] = [
        Command(
            "symbols", ["symbol-file", "add-symbol-file", "ldsym"], "[FILE [at ADDR | by OFFSET]]", .symbols,
            "load symbols and source lines, or list what is loaded",
            details: """
                FILE is an ELF file, with DWARF or without, a listing of NASM's (`nasm -l`), or a map: what `nm` \
                prints, System.map, NASM's and GNU ld's maps, or lines of an address and a name. Any number of files; one loaded again replaces itself. \
                Symbols lie at the addresses that the file gives unless `at` says where its lowest address is, or \
                `by` how far it was moved. It is the linear address that counts, in real mode too: of a stage that \
                runs at 1000:0000 and counts from 0, the symbols are `at 1000:0`. In an expression a symbol is its \
                address; what stands there is `*(u32*)NAME`.
                """,
            examples: [
                .init("symbols stage2.elf", "as it was linked"),
                .init("symbols mbr.elf at 0x600", "a copy that runs elsewhere"),
                .init("symbols boot.map at 1000:0", "offsets in a segment"),
                .init("symbols vmlinux by 0x1c000000", "a kernel that moved itself"),
                .init("symbols", "what is loaded"),
            ],
            completion: [.file, .none, .expression], whileRunning: true, action: SymbolActions.symbols),
        Command(
            "symbols clear", [], "", .symbols, "forget all symbols", whileRunning: true,
            action: SymbolActions.clear),
        Command(
            "info symbol", [], "ADDR", .symbols, "the symbol that an address belongs to",
            examples: [.init("info symbol $rip", "where am I?")],
            completion: [.expression], whileRunning: true, action: SymbolActions.symbol),
        Command(
            "info address", [], "NAME", .symbols, "where a symbol is, and where else one has its name",
            examples: [.init("info address main", "its linear address and size")],
            completion: [.symbol], whileRunning: true, action: SymbolActions.address),
        Command(
            "info symbols", ["info functions", "info variables"], "[TEXT]", .symbols,
            "list the symbols whose names hold TEXT",
            details: "At most 1,000.",
            examples: [.init("info symbols irq", "all that has to do with them")],
            completion: [.symbol], whileRunning: true, action: SymbolActions.list),
        Command(
            "info line", [], "[ADDR]", .symbols, "the source line of an address, and where its code is",
            details: "ADDR may be FILE:LINE. Without it, of the next instruction.",
            examples: [
                .init("info line boot.c:12", "the code of a line"), .init("info line", "where am I?"),
            ],
            completion: [.expression], whileRunning: true, action: SymbolActions.line),
        Command(
            "list", ["l"], "[ADDR | LINE]", .symbols, "show source lines",
            details: """
                Around the next instruction, around an address, a symbol or FILE:LINE, or around LINE of the file \
                shown last. Without an argument, and with Enter, it goes on after the last. `directory` says where \
                source files are.
                """,
            examples: [
                .init("list", "where the guest stands"), .init("l main", "a function"),
                .init("l boot.c:40", "a place in a file"),
            ],
            completion: [.expression], repeatable: true, whileRunning: true, action: SymbolActions.source),
        Command(
            "directory", ["dir"], "[PATH...]", .symbols,
            "say where source files are, or show where they are looked for",
            details: """
                A source file is looked for under its own path and then, with fewer and fewer of its leading \
                directories, in each PATH. `directory clear` forgets them.
                """,
            examples: [.init("dir ~/src/boot", "sources that were built elsewhere")],
            completion: [.file], whileRunning: true, action: SymbolActions.directory),
        Command(
            "directory clear", [], "", .symbols, "forget the directories of source files", whileRunning: true,
            action: SymbolActions.forgetDirectories),
        Command(
            "show convenience", ["show conv"], "", .symbols, "list the variables set so far",
            details:
                "`set $n = 1` makes one; it can be used in every expression, and counted in by conditions.",
            whileRunning: true, action: SymbolActions.convenience),
    ]
}

enum SymbolActions {
    static func symbols(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard let file = arguments.first else {
            return .done(SymbolFiles(files: session.debugger.symbols.files.map(SymbolFileRow.init)))
        }
        let placement = try placement(session, call, Array(arguments.dropFirst()))
        let source = try call.perform(at: file) { () throws(DebuggerError) in
            try session.debugger.loadSymbols(
                expandingHome(file.text), placement, shouldStop: { session.shouldStop() })
        }
        return .done(SymbolsLoaded(file: SymbolFileRow(source)))
    }

    /// `at ADDR`, `by OFFSET` or, as GDB and Bochs have it, the number alone.
    private static func placement(
        _ session: Session, _ call: Invocation, _ arguments: [Argument]
    ) throws(CommandError) -> Debugger.SymbolPlacement {
        guard let word = arguments.first else { return .asLinked }
        let isNamed = word.text == "at" || word.text == "by"
        if let extra = arguments.dropFirst(isNamed ? 2 : 1).first {
            throw call.usageError("nothing follows the address", at: extra)
        }
        guard let place = isNamed ? arguments.dropFirst().first : word else {
            throw call.usageError("there is no number after `\(word.text)`", at: word)
        }
        if word.text == "by" {
            return .moved(by: Int64(bitPattern: try session.number(place, call)))
        }
        return .at(try session.linear(place, call))
    }

    static func clear(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        let count = session.debugger.symbols.files.count
        session.debugger.clearSymbols()
        return .done(Message("Forgot the symbols of \(counted(count, "file"))."))
    }

    static func symbol(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else { throw call.usageError("`info symbol` needs an address") }
        let linear = try session.linear(call.rest, call)
        guard let place = session.debugger.symbols.place(at: linear) else {
            throw call.error(
                "no symbol is at or before \(Hex(linear))", at: call.rest, remedy: session.symbolRemedy)
        }
        return .done(SymbolAt(linear, place, session.debugger.symbols.line(at: linear)))
    }

    static func address(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard let name = call.arguments.first else {
            throw call.usageError("`info address` needs the name of a symbol")
        }
        try call.checkCount(1)
        let found = session.debugger.symbols.symbols(named: name.text)
        guard !found.isEmpty else {
            throw call.error(
                "there is no symbol `\(name.text.shortened)`", at: name,
                suggestion: session.debugger.symbols.names(near: name.text).first,
                remedy: session.symbolRemedy)
        }
        return .done(SymbolList(found, isCut: false, session.debugger.symbols))
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let limit = 1000
        let table = session.debugger.symbols
        let found = table.symbols(containing: call.rest.text, limit: limit)
        guard !found.isEmpty else {
            throw call.error(
                "no symbol's name holds `\(call.rest.text.shortened)`", remedy: session.symbolRemedy)
        }
        return .done(SymbolList(found, isCut: found.count >= limit, table))
    }

    static func convenience(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(
            Variables(
                variables: session.debugger.convenienceVariables.map {
                    .init(name: $0.name, value: Hex($0.value.cut), text: PrintOutput.text($0.value, nil))
                }))
    }
}

extension Session {
    /// The linear address that an argument gives.
    func linear(_ argument: Argument, _ call: Invocation) throws(CommandError) -> UInt64 {
        let address = try address(argument, call)
        return try call.perform(at: argument) { () throws(DebuggerError) in try debugger.linear(address) }
    }

    /// A place in the code: as an address, and `*EXPR`, which is how GDB's users write one.
    func location(_ argument: Argument, _ call: Invocation) throws(CommandError) -> Address {
        try call.perform(at: argument) { () throws(DebuggerError) in try debugger.location(argument.text) }
    }

    var symbolRemedy: String? {
        debugger.symbols.isEmpty ? "no symbols are loaded: `symbols FILE`" : nil
    }
}
