import FoundationEssentials
import SystemPackage

/// A session that was saved: a script, with the command line that starts its guest in a comment.
public enum SessionFile {
    private static let mark = "# kvmscope session 1: "

    /// The first lines of the file.
    static func head(_ arguments: [String]) -> [String] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        // Strings can always be encoded.
        let list = (try? encoder.encode(arguments)).map { String(decoding: $0, as: UTF8.self) } ?? "[]"
        return [mark + list]
    }

    /// The arguments of kvmscope that start the guest.
    public static func arguments(of path: String) throws(CommandError) -> [String] {
        let text: String
        do {
            let file = try FileDescriptor.open(
                FilePath(expandingHome(path)), .readOnly, options: [.closeOnExec, .nonBlocking])
            let bytes = try file.closeAfter {
                try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
                    // SAFETY: the buffer holds 64 KiB, and read() reports how many of them it filled.
                    count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
            }
            text = String(decoding: bytes, as: UTF8.self)
        } catch {
            throw CommandError("cannot read \(path): \(error)")
        }
        guard let line = text.split(separator: "\n").first, line.hasPrefix(mark) else {
            throw CommandError(
                "\(path) is no session of kvmscope", remedy: "`save session FILE` makes one; -x does a script"
            )
        }
        let list = line.dropFirst(mark.count)
        guard let arguments = try? JSONDecoder().decode([String].self, from: Data(list.utf8)) else {
            throw CommandError("\(path): the first line has no list of arguments")
        }
        return arguments
    }
}
