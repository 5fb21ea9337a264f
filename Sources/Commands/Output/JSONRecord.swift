import FoundationEssentials

/// One command and what came of it, as a line of JSON.
///
/// A success is `{"command":"…","ok":true,"result":{…}}`, a failure
/// `{"command":"…","error":{"message":"…",…},"ok":false}`. Keys are sorted. Addresses, register values and
/// memory are hexadecimal strings ("0x7c00"); counts and times (`…Nanoseconds`) are numbers. A key may be
/// added in a later version; none changes its meaning.
public enum JSONRecord {
    /// The record of a command that was done.
    public static func line(command: String, result: any CommandOutput) -> String {
        encode(Record(command: command, ok: true, result: AnyOutput(result), error: nil))
    }

    /// The record of a command that failed.
    /// - Parameter done: what had been done of it by then.
    public static func line(command: String, error: CommandError, after done: CompoundOutput? = nil) -> String
    {
        encode(
            Record(command: command, ok: false, result: done.map { AnyOutput($0) }, error: error))
    }

    /// The record of a request.
    static func line(
        command: String, id: JSONRequest.ID?, result: (any CommandOutput)?, error: CommandError?
    ) -> String {
        encode(
            Record(
                command: command, id: id, ok: error == nil, result: result.map { AnyOutput($0) }, error: error
            ))
    }

    private struct Record: Encodable {
        var command: String
        var id: JSONRequest.ID?
        var ok: Bool
        var result: AnyOutput?
        var error: CommandError?
    }

    struct AnyOutput: Encodable {
        private let value: any CommandOutput
        init(_ value: any CommandOutput) { self.value = value }
        func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
    }

    private static func encode(_ record: Record) -> String {
        if let line = encode(record as any Encodable) { return line }
        // No output holds a floating-point infinity or a failing encoder; should one appear, the line
        // still says which command it was about.
        let name = record.command.unicodeScalars.filter { $0.isASCII && $0 != "\"" && $0 != "\\" }
        return #"{"command":"\#(String(String.UnicodeScalarView(name)).jsonEscaped)","#
            + #""error":{"message":"the result could not be encoded"},"ok":false}"#
    }

    /// Any value as a line; nil where it cannot be encoded.
    static func encode(_ value: any Encodable) -> String? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self).jsonEscaped }
    }
}
