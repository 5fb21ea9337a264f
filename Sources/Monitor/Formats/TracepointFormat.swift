/// One event as its `format` file in tracefs describes it. Source: Documentation/trace/events.rst, "Event formats".
///
/// The text is not trusted: a field that lies outside of any record is refused, and what follows `print fmt:` is kept
/// as it is for ``SymbolicList``.
package struct TracepointFormat: Sendable, Hashable {
    /// One member of the record.
    package struct Field: Sendable, Hashable {
        package var name: String
        /// The C type, as the kernel wrote it.
        package var type: String
        /// From the start of the record, in bytes.
        package var offset: Int
        package var size: Int
        package var isSigned: Bool
    }

    package var name: String
    /// The number by which perf_event_open knows the event.
    package var id: UInt64
    /// In the record's order, the common ones first.
    package var fields: [Field]
    package var printFormat: String

    /// No record of a tracepoint is longer: PERF_MAX_TRACE_SIZE of <linux/trace_events.h>.
    static let longestRecord = 8192

    /// Why a text is no format.
    package struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        package var description: String
    }

    package init(_ text: String) throws(Problem) {
        var name: String?
        var id: UInt64?
        var fields: [Field] = []
        var printFormat = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
            let line = line.drop { $0 == "\t" || $0 == " " }
            if let value = Self.value(line, after: "name:") {
                name = String(value)
            } else if let value = Self.value(line, after: "ID:") {
                id = UInt64(value)
            } else if line.hasPrefix("field:") {
                fields.append(try Self.field(line))
            } else if let value = Self.value(line, after: "print fmt:") {
                printFormat = String(value)
            }
        }
        guard let name, !name.isEmpty else { throw Problem(description: "it has no name") }
        guard let id else { throw Problem(description: "\(name) has no ID") }
        self.name = name
        self.id = id
        self.fields = fields
        self.printFormat = printFormat
    }

    /// Those of a text that has nothing else, as `events/header_page`.
    static func fields(in text: String) throws(Problem) -> [Field] {
        var fields: [Field] = []
        for line in text.split(separator: "\n") {
            let line = line.drop { $0 == "\t" || $0 == " " }
            if line.hasPrefix("field:") { fields.append(try field(line)) }
        }
        return fields
    }

    private static func value(_ line: Substring, after key: String) -> Substring? {
        guard line.hasPrefix(key) else { return nil }
        return line.dropFirst(key.count).drop { $0 == " " || $0 == "\t" }
    }

    /// `field:unsigned int vcpu_id;	offset:56;	size:4;	signed:0;`
    private static func field(_ line: Substring) throws(Problem) -> Field {
        var declaration: Substring = ""
        var numbers: [Substring: Int] = [:]
        for part in line.split(separator: ";") {
            let part = part.drop { $0 == "\t" || $0 == " " }
            guard let colon = part.firstIndex(of: ":") else { continue }
            let value = part[part.index(after: colon)...]
            if part[..<colon] == "field" {
                declaration = value
            } else {
                numbers[part[..<colon]] = Int(value)
            }
        }
        // The name is the last word, without the length of an array.
        let words = declaration.split(separator: " ")
        guard let last = words.last, words.count > 1 else {
            throw Problem(description: "a field without a name: \(declaration)")
        }
        let name = String(last.prefix { $0 != "[" })
        guard let offset = numbers["offset"], let size = numbers["size"], offset >= 0, size >= 0,
            offset <= longestRecord, size <= longestRecord - offset
        else { throw Problem(description: "field \(name) has no place in a record") }
        return Field(
            name: name, type: words.dropLast().joined(separator: " "), offset: offset, size: size,
            isSigned: numbers["signed"] == 1)
    }

    package func field(_ name: String) -> Field? { fields.first { $0.name == name } }

    /// The first of these that the event has: a field that was renamed between kernels.
    package func field(anyOf names: [String]) -> Field? {
        for name in names { if let field = field(name) { return field } }
        return nil
    }
}

extension TracepointFormat.Field {
    /// The value in a record, extended to 64 bits by its sign. Nil where the record is too short, or the field is no
    /// number of 1, 2, 4 or 8 bytes.
    package func value(in record: UnsafeRawBufferPointer) -> UInt64? {
        guard offset <= record.count - size else { return nil }
        // SAFETY of each load: its bytes end at offset + size, which is inside the record.
        switch size {
        case 1:
            let value = record.loadUnaligned(fromByteOffset: offset, as: UInt8.self)
            return isSigned ? UInt64(bitPattern: Int64(Int8(bitPattern: value))) : UInt64(value)
        case 2:
            let value = record.loadUnaligned(fromByteOffset: offset, as: UInt16.self)
            return isSigned ? UInt64(bitPattern: Int64(Int16(bitPattern: value))) : UInt64(value)
        case 4:
            let value = record.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            return isSigned ? UInt64(bitPattern: Int64(Int32(bitPattern: value))) : UInt64(value)
        case 8: return record.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        default: return nil
        }
    }
}
