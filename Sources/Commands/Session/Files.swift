import SystemPackage

/// Files that commands read and write, whole.
enum Files {
    /// More than this is not meant: it would fill the host's memory.
    static let largest = 1 << 30

    static func read(_ argument: Argument, _ call: Invocation) throws(CommandError) -> [UInt8] {
        do {
            let file = try FileDescriptor.open(path(argument), .readOnly, options: .closeOnExec)
            return try file.closeAfter {
                var bytes: [UInt8] = []
                while true {
                    let chunk = try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
                        // SAFETY: the buffer holds 64 KiB, and read() reports how many of them it filled.
                        count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                    }
                    if chunk.isEmpty { return bytes }
                    bytes += chunk
                    guard bytes.count <= largest else { throw Errno.fileTooLarge }
                }
            }
        } catch {
            throw failure("read", argument, call, error)
        }
    }

    static func write(_ bytes: [UInt8], _ argument: Argument, _ call: Invocation) throws(CommandError) {
        do {
            let file = try FileDescriptor.open(
                path(argument), .writeOnly, options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            _ = try file.closeAfter { try file.writeAll(bytes) }
        } catch {
            throw failure("write", argument, call, error)
        }
    }

    /// The lines of a text file; CR LF ends a line too.
    static func lines(_ argument: Argument, _ call: Invocation) throws(CommandError) -> [Substring] {
        let bytes = try read(argument, call)
        guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw call.error("\(argument.text) is not a text file", at: argument)
        }
        return text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
    }

    /// What is in the directory that `text` names the beginning of; directories end in `/`.
    static func candidates(for text: String) -> [Completion.Candidate] {
        let name = text.split(separator: "/", omittingEmptySubsequences: false).last.map(String.init) ?? ""
        let folder = String(text.dropLast(name.count))
        let path = folder.isEmpty ? "." : expandingHome(folder)
        return directoryEntries(path).filter { name.hasPrefix(".") || !$0.name.hasPrefix(".") }.map {
            Completion.Candidate(folder + $0.name + ($0.isDirectory ? "/" : ""))
        }
    }

    /// The path as typed; a leading `~/` is the user's home directory.
    private static func path(_ argument: Argument) -> FilePath { FilePath(expandingHome(argument.text)) }

    private static func failure(
        _ verb: String, _ argument: Argument, _ call: Invocation, _ error: any Error
    ) -> CommandError {
        call.error("cannot \(verb) \(argument.text): \(error)", at: argument)
    }
}
