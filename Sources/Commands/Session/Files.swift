import Glibc
import SystemPackage

/// Files that commands read and write, whole.
///
/// What a path names is looked at before any of it is read: a device may never end, and a pipe may never begin. A pipe
/// is waited for, and both a long read and a wait end where ``Session/shouldStop()`` says so.
enum Files {
    /// More than this is not meant: it would fill the host's memory.
    static let largest = 1 << 30
    private static let chunk = 1 << 20

    /// - Parameter limit: in bytes; a file that is larger is not read at all.
    static func read(
        _ argument: Argument, _ session: Session, _ call: Invocation, limit: Int = largest,
        remedy: String? = nil
    ) throws(CommandError) -> [UInt8] {
        try checkAccess(session, call)
        do {
            // A pipe that nobody writes to, or a modem without a carrier, would hold up an open that blocks.
            let file = try FileDescriptor.open(
                path(argument), .readOnly,
                options: [.closeOnExec, .nonBlocking, FileDescriptor.OpenOptions(rawValue: O_NOCTTY)])
            return try file.closeAfter {
                let kind = try FileKind(file)
                guard kind.canBeRead else { throw FileFailure(what: "it is \(kind.name)") }
                if kind.size > limit { throw FileFailure.tooLarge(kind.size, limit: limit, remedy) }
                return try contents(of: file, kind, session, limit: limit, remedy)
            }
        } catch {
            throw failure("read", argument, call, error)
        }
    }

    private static func checkAccess(_ session: Session, _ call: Invocation) throws(CommandError) {
        guard session.hostAccess.contains(.files) else { throw call.error("this session may name no files") }
    }

    private static func contents(
        of file: FileDescriptor, _ kind: FileKind, _ session: Session, limit: Int, _ remedy: String?
    ) throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(min(Int(clamping: kind.size), limit))
        while true {
            if session.shouldStop() { throw FileFailure(what: "interrupted", remedy: "nothing was done") }
            if kind.isPipe {
                var ready = pollfd(fd: file.rawValue, events: Int16(POLLIN), revents: 0)
                // Short, so that Ctrl-C ends it; a signal ends the wait early. A writer that is gone polls as hung up.
                guard poll(&ready, 1, 50) > 0 else { continue }
            }
            let part: [UInt8]
            do {
                part = try [UInt8](unsafeUninitializedCapacity: chunk) { buffer, count in
                    // SAFETY: the buffer holds `chunk` bytes, and read() reports how many of them it filled.
                    count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
            } catch Errno.wouldBlock where kind.isPipe {
                continue
            } catch Errno.wouldBlock {
                throw FileFailure(what: "it has no end: what follows has not been written yet")
            }
            if part.isEmpty { return bytes }
            bytes += part
            if bytes.count > limit { throw FileFailure.tooLarge(nil, limit: limit, remedy) }
        }
    }

    /// Makes the file, or puts another one in its place once all of it is written: a full disk, or Ctrl-C, costs nothing
    /// that was there. Only its owner can read it, as it holds what a guest has in its memory.
    static func write(
        _ bytes: [UInt8], _ argument: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) {
        try checkAccess(session, call)
        do {
            let path = try destination(path(argument))
            try replace(path, with: bytes, session)
        } catch {
            throw failure("write", argument, call, error)
        }
    }

    /// Where the file itself is: a link stays one. A path that names something other than a file is refused, as that
    /// would be gone then.
    private static func destination(_ path: FilePath) throws -> FilePath {
        var status = stat()
        guard stat(path.string, &status) == 0 else {
            guard errno == ENOENT else { throw Errno(rawValue: errno) }
            // A link to what is not there yet: only the system could say where that is.
            guard lstat(path.string, &status) != 0 else { throw FileFailure(what: "it is a link to nothing") }
            return path
        }
        let kind = FileKind(status)
        guard kind.isFile else { throw FileFailure(what: "it is \(kind.name)") }
        // SAFETY: realpath gives nil or a terminated string of its own, which is copied and freed.
        guard let resolved = realpath(path.string, nil) else { throw Errno(rawValue: errno) }
        defer { free(resolved) }
        return FilePath(String(cString: resolved))
    }

    static func replace(_ path: FilePath, with bytes: [UInt8], _ session: Session) throws {
        let folder = path.removingLastComponent()
        var name = Array((folder.isEmpty ? "" : folder.string + "/").utf8CString.dropLast())
        name += Array(".kvmscope-XXXXXX".utf8CString)
        // With mode 0600.
        let descriptor = mkstemp(&name)
        guard descriptor >= 0 else {
            throw FileFailure(
                what: "no file can be made beside it: \(Errno(rawValue: errno))",
                remedy: "the old one, if there is any, is as it was")
        }
        let file = FileDescriptor(rawValue: descriptor)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        do {
            try file.closeAfter {
                var rest = bytes[...]
                while !rest.isEmpty {
                    if session.shouldStop() { throw FileFailure(what: "interrupted") }
                    try file.writeAll(rest.prefix(chunk))
                    rest = rest.dropFirst(chunk)
                }
            }
            guard rename(name, path.string) == 0 else { throw Errno(rawValue: errno) }
        } catch {
            unlink(name)
            throw FileFailure(
                what: (error as? FileFailure)?.what ?? "\(error)",
                remedy: "the old one, if there is any, is as it was")
        }
    }

    /// The lines of a text file; CR LF ends a line too.
    static func lines(
        _ argument: Argument, _ session: Session, _ call: Invocation
    ) throws(CommandError) -> [Substring] {
        let bytes = try read(argument, session, call)
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
        let failure = error as? FileFailure
        return call.error(
            "cannot \(verb) \(argument.text): \(failure?.what ?? "\(error)")", at: argument,
            remedy: failure?.remedy)
    }
}

/// What a path names, as far as reading and writing it whole goes.
private struct FileKind {
    let mode: mode_t
    /// In bytes; 0 where it is not known, as in /proc.
    let size: Int64

    init(_ status: stat) {
        mode = status.st_mode & S_IFMT
        size = mode == S_IFREG ? Int64(status.st_size) : 0
    }

    init(_ file: FileDescriptor) throws {
        var status = stat()
        guard fstat(file.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
        self.init(status)
    }

    var isFile: Bool { mode == S_IFREG }
    var isPipe: Bool { mode == S_IFIFO }
    var canBeRead: Bool { isFile || isPipe }

    var name: String {
        switch mode {
        case S_IFDIR: "a directory"
        case S_IFIFO: "a pipe"
        case S_IFSOCK: "a socket"
        case S_IFCHR, S_IFBLK: "a device"
        default: "no file"
        }
    }
}

/// Why a file was not read or written.
private struct FileFailure: Error {
    var what: String
    var remedy: String?

    static func tooLarge(_ size: Int64?, limit: Int, _ remedy: String?) -> FileFailure {
        let most = shortSize(UInt64(limit))
        return FileFailure(
            what: size.map { "it has \(grouped($0)) bytes, and \(most) is the most" }
                ?? "it has more than \(most)", remedy: remedy)
    }
}
