import FoundationEssentials

/// The objects of a JSON stream that are no command's: its header, and what happens in between.
///
/// They have a `kind`; a command's object has none.
public enum JSONStream {
    /// Of the records: a number that grows where a key goes away or changes its meaning.
    public static let format = 1

    /// The first line.
    public static func header(program: String, version: String) -> String {
        encode(Header(format: format, kind: "header", program: program, version: version))
    }

    /// The guest stopped while nobody waited for it.
    public static func stopped(_ stop: any CommandOutput, of command: String) -> String {
        encode(Event(kind: "event", event: "stopped", command: command, ok: true, result: .init(stop)))
    }

    /// The stop of a guest could not be taken.
    public static func failed(_ error: CommandError, of command: String) -> String {
        encode(Event(kind: "event", event: "stopped", command: command, ok: false, error: error))
    }

    /// What a service has to say, or the session.
    public static func notice(_ text: String) -> String {
        encode(Event(kind: "event", event: "notice", message: text))
    }

    private struct Header: Encodable {
        var format: Int
        var kind: String
        var program: String
        var version: String
    }

    private struct Event: Encodable {
        var kind: String
        var event: String
        var command: String?
        var ok: Bool?
        var result: JSONRecord.AnyOutput?
        var error: CommandError?
        var message: String?
    }

    private static func encode(_ value: some Encodable) -> String { JSONRecord.encode(value) ?? "{}" }
}

/// A line of a JSON stream's input that asks for a command: `{"id":7,"command":"step"}`.
public struct JSONRequest: Sendable, Hashable, Decodable {
    /// Given back with the answer: a number or text; absent, there is none.
    public enum ID: Sendable, Hashable, Codable {
        case number(Int)
        case text(String)

        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            self =
                try (try? container.decode(Int.self)).map(ID.number) ?? .text(container.decode(String.self))
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .number(let number): try container.encode(number)
            case .text(let text): try container.encode(text)
            }
        }
    }

    public var id: ID?
    /// A command, or the lines of a block.
    public var command: String

    /// Whether a line is a request, right or wrong: no command begins so.
    public static func isOne(_ line: String) -> Bool { line.first { !$0.isWhitespace } == "{" }

    public init(_ line: String) throws(CommandError) {
        do {
            self = try JSONDecoder().decode(JSONRequest.self, from: Data(line.utf8))
        } catch {
            throw CommandError(
                "the request is no object with a `command` that is text, and an `id` that is a number or text",
                remedy: #"as in {"id":1,"command":"step"}"#)
        }
    }

    /// The lines that the request has.
    public var lines: [String] {
        command.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }
}

/// What came of a request: one line, whatever number of commands it was.
public struct JSONAnswer {
    private var parts = CompoundOutput()
    private var only: (any CommandOutput)?
    private var error: CommandError?
    private let request: JSONRequest

    public init(_ request: JSONRequest) { self.request = request }

    public mutating func append(_ command: String, _ result: any CommandOutput) {
        only = parts.isEmpty ? result : nil
        parts.append(command, result)
    }

    public mutating func fail(_ error: CommandError) { self.error = error }

    public var line: String {
        let result: (any CommandOutput)? = only ?? (parts.isEmpty ? error == nil ? Silence() : nil : parts)
        return JSONRecord.line(
            command: request.command, id: request.id, result: result, error: error)
    }
}
