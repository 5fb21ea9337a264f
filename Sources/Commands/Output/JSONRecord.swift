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
        encode(Record(command: command, ok: true, result: AnyOutput(value: result), error: nil))
    }

    /// The record of a command that failed.
    public static func line(command: String, error: CommandError) -> String {
        encode(Record(command: command, ok: false, result: nil, error: error))
    }

    private struct Record: Encodable {
        var command: String
        var ok: Bool
        var result: AnyOutput?
        var error: CommandError?
    }

    private struct AnyOutput: Encodable {
        var value: any CommandOutput
        func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
    }

    private static func encode(_ record: Record) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(record), as: UTF8.self).jsonEscaped
        } catch {
            // No output holds a floating-point infinity or a failing encoder; should one appear, the line
            // still says which command it was about.
            let name = record.command.unicodeScalars.filter { $0.isASCII && $0 != "\"" && $0 != "\\" }
            return #"{"command":"\#(String(String.UnicodeScalarView(name)).jsonEscaped)","#
                + #""error":{"message":"the result could not be encoded"},"ok":false}"#
        }
    }
}
