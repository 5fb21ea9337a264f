import DebugTarget
import Debugger
import Expressions
import Symbols
import SystemPackage
import X86

extension CommandTable {
    static let memoryCommands: [Command] = [
        Command(
            "x", ["examine"], "[ADDR]", .memory, "show memory",
            details: """
                FMT is a count, a format and a unit, in GDB's letters: x hex, d signed, u unsigned, o octal, t \
                binary, c character, a address, s string, i instruction; b, h, w, g for 1, 2, 4, 8 bytes. ADDR is a \
                linear address, SEG:OFF, `v:ADDR` or `p:ADDR`, or any expression. Without ADDR, and with Enter, it \
                goes on after the last. Bytes that cannot be read show as `??`.
                """,
            examples: [
                .init("x/16xb 0x7c00", "16 bytes"), .init("x/4i $cs:$rip", "4 instructions"),
                .init("x/2s 07c0:0080", "2 strings"), .init("x/8xh $ss:$rsp", "the stack"),
            ],
            completion: [.expression], repeatable: true, format: true, whileRunning: true,
            action: MemoryActions.examine),
        Command(
            "xp", [], "[ADDR]", .memory, "show physical memory",
            details: "As `x`, with a guest-physical address.",
            examples: [.init("xp/4xg 0x1000", "four page-table entries")],
            completion: [.expression], repeatable: true, format: true, whileRunning: true,
            action: MemoryActions.examinePhysical),
        Command(
            "print", ["p", "inspect"], "EXPR", .memory, "show the value of an expression",
            details: """
                FMT is one of x, d, u, o, t, c, a. C's operators, precedence and types; registers and flags by \
                name, with or without `$`; symbols, which are addresses; memory as `*(u32*)ADDR`, `{u16}ADDR` or \
                `b:`, `w:`, `d:`, `q:` before an address; casts to u8 to u64, s8 to s64 and C's names; SEG:OFF, \
                `p:ADDR`, `v:ADDR`; `$n = 1` sets a variable, a register or memory. The value is kept as `$1`, `$2` \
                and so on; `$` is the last one, `$$` the one before. `$mxcsr`, `$fctrl`, `$fstat` and `$ftag` are \
                numbers, too; `$xmm0` to `$xmm15` and `$st0` to `$st7` stand alone.
                """,
            examples: [
                .init("p $rax + 2 * 4", "a sum"), .init("p/t efer", "in binary"),
                .init("p/x *(u16*)0x7dfe", "a word of memory"), .init("p (s8)$al", "as a signed byte"),
                .init("p w:ss:[bp+4]", "an argument on the stack"), .init("p $ * 2", "twice the last value"),
                .init("p/a $rip", "with its symbol"), .init("p $xmm0", "an SSE register, by its parts"),
            ],
            completion: [.expression], repeatable: true, format: true, whileRunning: true,
            action: MemoryActions.print),
        Command(
            "output", [], "EXPR", .memory, "show the value of an expression, and do not keep it",
            details: "As `print`, without `$N =`.", completion: [.expression], format: true,
            whileRunning: true,
            action: MemoryActions.output),
        Command(
            "setpmem", [], "ADDR SIZE VALUE", .memory, "write 1, 2, 4 or 8 bytes of physical memory",
            details: "Expressions with spaces stand in parentheses.",
            examples: [
                .init("setpmem 0x7c00 1 0x90", "one byte"), .init("setpmem 0x500 8 ($rax + 1)", "eight"),
            ],
            completion: [.expression], whileRunning: true, action: MemoryActions.setPhysical),
        Command(
            "writemem", [], "FILE ADDR LEN", .memory, "write memory to a file",
            details: """
                The file is replaced once all is written, and only its owner can read it. Nothing is written if a byte of \
                the range cannot be read.
                """,
            examples: [.init("writemem \"mbr.bin\" 0x7c00 512", "the boot sector")],
            completion: [.file, .expression], whileRunning: true, action: MemoryActions.save),
        Command(
            "loadmem", [], "FILE ADDR", .memory, "load a file into memory",
            details: "All of it or, where not all of the range is RAM, nothing.",
            examples: [.init("loadmem stage2.bin p:0x10000", "at a physical address")],
            completion: [.file, .expression], whileRunning: true, action: MemoryActions.load),
    ]
}

enum MemoryActions {
    static func examine(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try examine(session, call, isPhysical: false)
    }

    static func examinePhysical(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try examine(session, call, isPhysical: true)
    }

    private static func examine(
        _ session: Session, _ call: Invocation, isPhysical: Bool
    ) throws(CommandError) -> Outcome {
        let format = try DisplayFormat(call.format, in: call)
        let letter = format.letter ?? (call.format == nil ? session.examine.letter : .hex)
        let goesOn = call.rest.text.isEmpty || call.isRepeat
        if letter == .instruction {
            guard !isPhysical else {
                throw call.error("instructions are decoded at linear addresses: use `x/i`", at: call.format)
            }
            session.examine.letter = letter
            return try CodeActions.list(session, call, count: format.count ?? 1, goesOn: goesOn)
        }
        var address: Address
        if goesOn, let next = session.examine.next {
            address = next
        } else if call.rest.text.isEmpty {
            throw call.usageError("`\(call.command.name)` needs an address")
        } else {
            address = try session.address(call.rest, call)
        }
        if isPhysical { address = try physical(address, session, call) }

        let count = format.count ?? 1
        if letter == .string {
            let strings = try strings(session, call, at: address, count: count)
            if let first = strings.first, first.isUnreadable, first.text.isEmpty {
                let image = try call.perform(at: call.rest) { () throws(DebuggerError) in
                    try session.debugger.readMemory(address, count: 1)
                }
                try call.checkReadable(image, at: call.rest)
            }
            session.examine.letter = letter
            if let last = strings.last { session.examine.next = last.start.advanced(by: last.length) }
            return .done(
                StringsOutput(
                    strings: strings.map {
                        .init(
                            address: $0.start.description, text: $0.text, isUnreadable: $0.isUnreadable,
                            isCut: $0.isCut)
                    }))
        }
        let unit: DisplayFormat.Unit
        switch (format.unit, letter) {
        case (let given?, _): unit = given
        case (nil, .character): unit = .byte
        case (nil, .address): unit = .giant
        case (nil, _): unit = session.examine.unit
        }
        let image = try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.readMemory(address, count: count * unit.rawValue)
        }
        try call.checkReadable(image, at: call.rest)
        session.examine.letter = letter
        if format.unit != nil { session.examine.unit = unit }
        let linear = isPhysical ? nil : try? session.debugger.linear(address)
        let table = session.debugger.symbols
        let output = MemoryOutput(
            image, unit: unit, letter: letter, symbols: table,
            place: linear.flatMap { table.place(at: $0) }, isOver: session.shouldStop)
        session.examine.next = address.advanced(by: count * unit.rawValue - (output.missing ?? 0))
        return .done(output)
    }

    /// A number given to a physical command is a physical address, whatever it would mean elsewhere.
    private static func physical(
        _ address: Address, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> Address {
        switch address {
        case .linear(let value), .physical(let value): return .physical(value)
        case .virtual, .segmented:
            throw call.error(
                "\(address) is not a physical address", at: call.rest, remedy: "`x` takes all forms")
        }
    }

    private struct FoundString {
        var start: Address
        var text: String
        /// With the zero at its end.
        var length: Int
        var isUnreadable: Bool
        var isCut: Bool
    }

    /// A string that has no end is cut here, as GDB does at 200 characters.
    private static let longestString = 200

    private static func strings(
        _ session: Session, _ call: Invocation, at start: Address, count: Int
    ) throws(CommandError) -> [FoundString] {
        var result: [FoundString] = []
        var address = start
        for _ in 0..<min(count, 10_000) {
            let image = try call.perform(at: call.rest) { () throws(DebuggerError) in
                try session.debugger.readMemory(address, count: longestString)
            }
            var bytes: [UInt8] = []
            var index = 0
            var end = false
            while index < longestString, let byte = image[index] {
                index += 1
                if byte == 0 {
                    end = true
                    break
                }
                bytes.append(byte)
            }
            let isUnreadable = !end && index < longestString
            result.append(
                FoundString(
                    start: address, text: escaped(bytes), length: max(1, index),
                    isUnreadable: isUnreadable, isCut: !end && !isUnreadable))
            if isUnreadable { break }
            address = address.advanced(by: max(1, index))
        }
        return result
    }

    /// Bytes as the inside of a C string: what a guest holds must not drive the terminal.
    private static func escaped(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            switch byte {
            case 0x0A: "\\n"
            case 0x0D: "\\r"
            case 0x09: "\\t"
            case 0x22: "\\\""
            case 0x5C: "\\\\"
            case 0x20..<0x7F: String(Character(Unicode.Scalar(byte)))
            default: "\\x" + Hex.digits(byte, width: 2)
            }
        }.joined()
    }

    static func print(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try print(session, call, isKept: true)
    }

    static func output(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try print(session, call, isKept: false)
    }

    private static func print(
        _ session: Session, _ call: Invocation, isKept: Bool
    ) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else {
            throw call.usageError("`\(call.command.name)` needs an expression")
        }
        let format = try DisplayFormat(call.format, in: call)
        guard format.count == nil, format.unit == nil, format.letter != .string,
            format.letter != .instruction
        else {
            throw call.error("`print` takes a format letter alone", at: call.format, remedy: "x d u o t c a")
        }
        if let register = WideRegister(call.rest.text) {
            let fpu = try call.perform { () throws(DebuggerError) in try session.debugger.fpu() }
            return .done(WideRegisterOutput(register, fpu))
        }
        let value = try call.perform { () throws(DebuggerError) in
            try session.debugger.evaluate(call.rest.text)
        }
        // Of a plain number the name is news only where it is all of it.
        let linear = (try? session.debugger.linear(value.place)) ?? value.bits
        let place = session.debugger.symbols.place(at: linear)
        let isNamed = format.letter == .address || (format.letter == nil && place?.offset == 0)
        return .done(
            PrintOutput(
                value, letter: format.letter, number: isKept ? session.debugger.remember(value) : nil,
                symbol: isNamed ? place?.description : nil))
    }

    static func setPhysical(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard arguments.count == 3 else { throw call.usageError("`setpmem` takes three arguments") }
        let address = try session.number(arguments[0], call)
        let size = try session.number(arguments[1], call)
        guard [1, 2, 4, 8].contains(size) else {
            throw call.error("a size is 1, 2, 4 or 8 bytes, not \(session.signed(size))", at: arguments[1])
        }
        let value = try session.number(arguments[2], call)
        return try write(session, call, value, Int(size), to: .physical(address), arguments[0], arguments[2])
    }

    /// `set *(u16*)ADDR = EXPR`.
    static func assign(
        _ session: Session, _ call: Invocation, _ left: Argument, _ right: Argument
    ) throws(CommandError) -> Outcome {
        let types = ["8": 1, "16": 2, "32": 4, "64": 8]
        let text = Array(left.text)
        var position = 1
        func skipSpaces() { while position < text.count, text[position].isWhitespace { position += 1 } }
        skipSpaces()
        guard position < text.count, text[position] == "(",
            let close = text.firstIndex(of: ")"),
            case let type = String(text[(position + 1)..<close]).filter({ !$0.isWhitespace }),
            let kind = type.first, kind == "u" || kind == "s", type.last == "*",
            let size = types[String(type.dropFirst().dropLast())]
        else {
            // Whatever else names memory: C's types, casts within casts.
            if case .memory(let address, let size)? = try? session.debugger.object(left.text) {
                let value = try session.number(right, call)
                return try write(session, call, value, size, to: address, left, right)
            }
            throw call.error(
                "memory is set through a pointer with a type", at: left,
                remedy: "as in: set *(u16*)0x7c00 = 0x9090")
        }
        position = close + 1
        skipSpaces()
        let pointer = Argument(text: String(text[position...]), column: left.column + position)
        guard !pointer.text.isEmpty else { throw call.error("there is no address", at: pointer) }
        let address = try session.address(pointer, call)
        let value = try session.number(right, call)
        return try write(session, call, value, size, to: address, pointer, right)
    }

    private static func write(
        _ session: Session, _ call: Invocation, _ value: UInt64, _ size: Int, to address: Address,
        _ place: Argument, _ source: Argument
    ) throws(CommandError) -> Outcome {
        // A negative number is written as its low bytes, if no more than sign bits are lost.
        let shift = UInt64(64 - size * 8)
        let signed = Int64(bitPattern: value)
        guard (value << shift) >> shift == value || (signed << Int64(shift)) >> Int64(shift) == signed else {
            throw call.error("\(Hex(value)) does not fit into \(counted(size, "byte"))", at: source)
        }
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        try call.perform(at: place) { () throws(DebuggerError) in
            try session.debugger.writeMemory(address, bytes)
        }
        return .done(
            MemoryWritten(address: address.description, count: UInt64(size), bytes: Hex.bytes(bytes)))
    }

    static func save(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard arguments.count == 3 else { throw call.usageError("`writemem` takes three arguments") }
        let address = try session.address(arguments[1], call)
        let length = try session.number(arguments[2], call)
        guard length > 0, length <= UInt64(Files.largest) else {
            throw call.error(
                "a length is from 1 to \(shortSize(UInt64(Files.largest)))", at: arguments[2])
        }
        let image = try call.perform(at: arguments[1]) { () throws(DebuggerError) in
            try session.debugger.readMemory(address, count: Int(length))
        }
        if let gap = image.gaps.first {
            throw call.error(
                "\(address.advanced(by: gap.range.lowerBound)) cannot be read: \(gap.reason)",
                at: arguments[1], remedy: "no file was written")
        }
        try Files.write(image.bytes, arguments[0], session, call)
        return .done(
            FileTransfer(verb: "Wrote", file: arguments[0].text, address: address.description, bytes: length))
    }

    static func load(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard arguments.count == 2 else { throw call.usageError("`loadmem` takes two arguments") }
        let address = try session.address(arguments[1], call)
        // What is larger than all of the guest's memory is not read first.
        let memory = session.debugger.target.memory.regions.reduce(0) { $0 &+ $1.size }
        let limit = memory > 0 ? min(Files.largest, Int(clamping: memory)) : Files.largest
        let bytes = try Files.read(
            arguments[0], session, call, limit: limit,
            remedy: limit < Files.largest ? "the guest's memory has \(grouped(memory)) bytes in all" : nil)
        guard !bytes.isEmpty else { throw call.error("\(arguments[0].text) is empty", at: arguments[0]) }
        try call.perform(at: arguments[1]) { () throws(DebuggerError) in
            try session.debugger.writeMemory(address, bytes)
        }
        return .done(
            FileTransfer(
                verb: "Loaded", file: arguments[0].text, address: address.description,
                bytes: UInt64(bytes.count)))
    }
}
