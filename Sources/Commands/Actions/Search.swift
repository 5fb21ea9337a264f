import Debugger
import X86

extension CommandTable {
    static let searchCommands: [Command] = [
        Command(
            "find", ["search"], "VALUE... [in START +LEN]", .memory,
            "find bytes, strings or values in memory",
            details: """
                All RAM by physical address or, with `in`, a range: START and `+LEN` or the last byte's address. GDB's \
                form is taken too: `find START, +LEN, VALUE, VALUE`. A VALUE is a "string", x"hex bytes", or an \
                expression of 4 bytes (8 where it does not fit; FMT's b, h, w, g say otherwise); several follow \
                each other. FMT's count is how many are listed, 100 if none is given. Ctrl-C ends it.
                """,
            examples: [
                .init("find \"RSD PTR \"", "a string, in all RAM"),
                .init("find/b 0x55 0xaa in 0x7c00 +512", "two bytes, in a boot sector"),
                .init("find x\"0f 01 16\" in p:0x80000 +512K", "an LGDT, by physical address"),
                .init("find/10h 0x7c00, +0x1000, 0xaa55", "as in GDB, the first ten"),
            ],
            completion: [.expression], format: true, whileRunning: true, action: SearchActions.find),
        Command(
            "crc", ["crc32"], "START END", .memory, "show the CRC-32 of a range",
            details: "END is the address after the last byte, or `+LEN`. As zip, PNG and Bochs have it.",
            examples: [.init("crc 0x7c00 +512", "of a boot sector")],
            completion: [.expression], whileRunning: true, action: SearchActions.checksum),
        Command(
            "hexdump", ["hd", "db"], "ADDR [LEN]", .memory, "show bytes and text, 16 in a row",
            details: "128 bytes if no LEN is given; rows that repeat are one `*`.",
            examples: [.init("hexdump 0x7c00 512", "a boot sector")],
            completion: [.expression], whileRunning: true, action: SearchActions.hexdump),
    ]
}

enum SearchActions {
    static func find(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let format = try DisplayFormat(call.format, in: call)
        guard format.letter == nil || format.letter == .string else {
            throw call.error(
                "`find` takes a count and a unit", at: call.format, remedy: "as in: find/b 0x55 0xaa")
        }
        let request = try FindRequest(call, unit: format.unit?.rawValue, session: session)
        let limit = format.count ?? 100
        let result = try call.perform { () throws(DebuggerError) in
            try session.debugger.find(
                request.pattern, in: request.range, limit: limit, shouldStop: session.shouldStop)
        }
        // A range of which nothing can be read holds no answer.
        if result.searched == 0, result.unreadable > 0, case .range(let address, _) = request.range {
            throw call.error("nothing from \(address) on can be read")
        }
        session.examine.next = result.matches.last ?? session.examine.next
        return .done(FindOutput(request.pattern, result))
    }

    static func checksum(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let arguments = call.arguments
        guard arguments.count == 2 else { throw call.usageError("`crc` takes a start and an end") }
        let start = try session.address(arguments[0], call)
        let count = try session.length(from: start, to: arguments[1], call)
        let crc = try call.perform(at: arguments[0]) { () throws(DebuggerError) in
            try session.debugger.crc32(start, count: count, shouldStop: session.shouldStop)
        }
        return .done(ChecksumOutput(address: start.description, bytes: count, crc32: Hex(crc)))
    }

    static func hexdump(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(2)
        guard let first = call.arguments.first else { throw call.usageError("`hexdump` needs an address") }
        let address = try session.address(first, call)
        var count: UInt64 = 128
        if call.arguments.count > 1 { count = try session.number(call.arguments[1], call) }
        guard count > 0, count <= 1 << 20 else {
            throw call.error(
                "a length is from 1 byte to 1 MiB", at: call.arguments.last, remedy: "`writemem` takes more")
        }
        let image = try call.perform(at: first) { () throws(DebuggerError) in
            try session.debugger.readMemory(address, count: Int(count))
        }
        try call.checkReadable(image, at: first)
        return .done(HexdumpOutput(image, isOver: session.shouldStop))
    }
}

extension Session {
    /// The bytes from `start` up to an end: an address, which is the last byte's or that of the one after it, or
    /// `+LEN`.
    func length(
        from start: Address, to end: Argument, isLast: Bool = false, _ call: Invocation
    ) throws(CommandError) -> UInt64 {
        guard !end.text.hasPrefix("+") else {
            let count = try size(end, call)
            guard count > 0 else { throw call.error("a length is 1 or more", at: end) }
            return count
        }
        let last = try address(end, call)
        let isPhysical = if case .physical = start { true } else { false }
        let (from, to) = try call.perform(at: end) { () throws(DebuggerError) in
            isPhysical
                ? (try debugger.physical(start), last.isPlain ? last.number : try debugger.physical(last))
                : (try debugger.linear(start), try debugger.linear(last))
        }
        guard isLast ? to >= from : to > from else {
            throw call.error("the end does not lie after the start", at: end)
        }
        // All 2^64 bytes are one more than can be counted.
        return isLast && to - from < .max ? to - from + 1 : to - from
    }

    /// `+LEN`, with K, M and G for 1024 and its powers.
    private func size(_ argument: Argument, _ call: Invocation) throws(CommandError) -> UInt64 {
        var text = argument.text.dropFirst()
        var shift: UInt64 = 0
        let digits = text.dropLast()
        if let unit = ["K": 10, "M": 20, "G": 30][String(text.suffix(1)).uppercased()], !digits.isEmpty,
            digits.allSatisfy({ $0.isASCII && $0.isHexDigit || $0 == "x" || $0 == "X" })
        {
            shift = UInt64(unit)
            text = digits
        }
        let value = try number(Argument(text: String(text), column: argument.column + 1), call)
        guard value <= UInt64.max >> shift else {
            throw call.error("the length does not fit in 64 bits", at: argument)
        }
        return value << shift
    }
}

extension Address {
    /// A number alone.
    fileprivate var isPlain: Bool { if case .linear = self { true } else { false } }
    fileprivate var number: UInt64 {
        switch self {
        case .linear(let value), .virtual(let value), .physical(let value): value
        case .segmented(_, let offset): offset
        }
    }
}

extension Invocation {
    /// Refuses memory of which no byte could be read.
    func checkReadable(_ image: MemoryImage, at argument: Argument? = nil) throws(CommandError) {
        guard let gap = image.gaps.first, gap.range == image.bytes.indices else { return }
        throw error("\(image.address) cannot be read: \(gap.reason)", at: argument)
    }
}
