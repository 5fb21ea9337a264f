import Debugger
import Expressions

/// What `find` was asked for.
struct FindRequest {
    var pattern: [UInt8] = []
    var range = SearchRange.everything

    /// A piece of the arguments; quotes stay.
    private struct Piece {
        var argument: Argument
        var isQuoted: Bool
        /// A comma stands after it.
        var endsInComma: Bool
    }

    /// - Parameter unit: bytes of a number; nil for 4, or 8 where it does not fit.
    init(_ call: Invocation, unit: Int?, session: Session) throws(CommandError) {
        var pieces = try Self.pieces(call)
        guard !pieces.isEmpty else { throw call.usageError("`find` needs something to find") }
        if let place = pieces.firstIndex(where: { !$0.isQuoted && $0.argument.text == "in" }) {
            let rest = Array(pieces[(place + 1)...])
            pieces.removeSubrange(place...)
            guard rest.count == 2, !pieces.isEmpty else {
                throw call.usageError("after `in` stand a start and an end", at: rest.last?.argument)
            }
            range = try Self.range(rest[0].argument, rest[1].argument, call, session)
        } else if pieces.count > 2, pieces[0].endsInComma, pieces[1].endsInComma {
            range = try Self.range(pieces[0].argument, pieces[1].argument, call, session)
            pieces.removeFirst(2)
        }
        for piece in pieces {
            pattern += try Self.bytes(piece.argument, piece.isQuoted, unit, call, session)
            guard pattern.count <= 1 << 20 else {
                throw call.error("a pattern has 1 MiB at most", at: piece.argument)
            }
        }
        guard !pattern.isEmpty else {
            throw call.error("there is nothing in it to find", at: pieces[0].argument)
        }
    }

    /// From a start to the last byte, or `+LEN`.
    private static func range(
        _ start: Argument, _ end: Argument, _ call: Invocation, _ session: Session
    ) throws(CommandError) -> SearchRange {
        let first = try session.address(start, call)
        if end.text.hasPrefix("+") {
            return .range(first, count: try session.length(from: first, to: end, call))
        }
        // GDB's end is the last byte.
        return .range(first, count: try session.length(from: first, to: end, isLast: true, call))
    }

    private static func bytes(
        _ argument: Argument, _ isQuoted: Bool, _ unit: Int?, _ call: Invocation, _ session: Session
    ) throws(CommandError) -> [UInt8] {
        let text = argument.text
        if isQuoted {
            let inner = String(text.drop { $0 != "\"" }.dropFirst().dropLast())
            return text.hasPrefix("\"")
                ? try call.unescaped(inner, at: argument, offset: 1) : try hexadecimal(inner, argument, call)
        }
        let value = try call.perform(at: argument) { () throws(DebuggerError) in
            try session.debugger.evaluate(text)
        }
        let fits =
            value.bits <= 0xFFFF_FFFF
            || (value.isSigned && value.signed >= Int64(Int32.min) && value.signed < 0)
        let width = unit ?? (fits ? 4 : 8)
        let shift = UInt64(64 - width * 8)
        let isNegative = value.isSigned && (value.signed << Int64(shift)) >> Int64(shift) == value.signed
        guard (value.bits << shift) >> shift == value.bits || isNegative else {
            throw call.error("\(Hex(value.bits)) does not fit into \(counted(width, "byte"))", at: argument)
        }
        return (0..<width).map { UInt8(truncatingIfNeeded: value.bits >> UInt64($0 * 8)) }
    }

    private static func hexadecimal(
        _ text: String, _ argument: Argument, _ call: Invocation
    ) throws(CommandError) -> [UInt8] {
        let digits = Array(text.filter { !$0.isWhitespace })
        guard digits.count % 2 == 0, digits.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
            throw call.error("x\"...\" holds pairs of hexadecimal digits", at: argument)
        }
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(String(digits[$0..<$0 + 2]), radix: 16) ?? 0
        }
    }

    /// Cuts at spaces and commas outside of quotes and parentheses.
    private static func pieces(_ call: Invocation) throws(CommandError) -> [Piece] {
        var pieces: [Piece] = []
        var current = ""
        var start = 0
        var depth = 0
        var inQuotes = false
        var hasQuotes = false
        var isEscaped = false
        func close() {
            guard !current.isEmpty else { return }
            pieces.append(
                Piece(
                    argument: Argument(text: current, column: call.rest.column + start),
                    isQuoted: hasQuotes && (current.hasPrefix("\"") || current.hasPrefix("x\"")),
                    endsInComma: false))
            current = ""
            hasQuotes = false
        }
        for (place, character) in call.rest.text.enumerated() {
            if !inQuotes, depth == 0, character.isWhitespace || character == "," {
                close()
                if character == ",", !pieces.isEmpty { pieces[pieces.count - 1].endsInComma = true }
                continue
            }
            if current.isEmpty { start = place }
            current.append(character)
            if inQuotes {
                if character == "\"", !isEscaped { inQuotes = false }
                isEscaped = character == "\\" && !isEscaped
            } else if character == "\"" {
                inQuotes = true
                hasQuotes = true
            } else if character == "(" {
                depth += 1
            } else if character == ")" {
                depth = max(0, depth - 1)
            }
        }
        guard !inQuotes else {
            throw call.error(
                "the string has no end", at: Argument(text: current, column: call.rest.column + start))
        }
        close()
        return pieces
    }
}
