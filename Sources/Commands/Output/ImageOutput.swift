import DebugTarget

/// `info image`: what the guest was loaded from.
struct ImageOutput: CommandOutput, Hashable {
    struct Part: Sendable, Hashable, Encodable {
        var name: String
        var address: Hex
        var size: UInt64
    }
    var name: String
    /// As `--kind` takes it; absent for a guest that is built in.
    var kind: String?
    var description: String?
    var parts: [Part]
    var entry: Hex

    init(_ image: LoadedImage) {
        name = image.name
        kind = image.kind
        description = image.description
        parts = image.parts.map { Part(name: $0.name, address: Hex($0.address), size: $0.size) }
        entry = Hex(image.entry)
    }

    func lines(width: Int) -> [StyledLine] {
        var head = StyledLine(name, .heading)
        head.append(description.map { "  " + $0 } ?? "  built in")
        let room = parts.map(\.name.count).max() ?? 0
        let rows = parts.map { part in
            let gap = String(repeating: " ", count: room - part.name.count + 2)
            return StyledLine(
                "  \(part.name)\(gap)\(part.address)  \(counted(Int(clamping: part.size), "byte"))")
        }
        return [head] + rows + [StyledLine("  starts at \(entry)")]
    }
}
