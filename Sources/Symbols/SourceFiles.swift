import Glibc
import SystemPackage

/// The text of source files, wherever the user keeps them.
///
/// Not Sendable: it belongs to the debugger's thread, and keeps what it has read.
public final class SourceFiles {
    /// Larger files are not read: no one lists them.
    package static let largest = 1 << 26
    /// Files kept at a time.
    package static let kept = 64

    /// Where files are looked for beside their own paths, in order.
    public private(set) var directories: [String] = []
    private var cache: [String: [Substring]?] = [:]

    package init() {}

    /// Adds directories in front of the others.
    public func add(_ paths: [String]) {
        directories = paths + directories.filter { !paths.contains($0) }
        cache = [:]
    }

    public func clear() {
        directories = []
        cache = [:]
    }

    /// The lines of the file at `path`, a path as symbols give it: there or, with fewer and fewer of its leading
    /// directories, in ``directories``. Nil where it is in none.
    public func lines(of path: String) -> [Substring]? {
        if let known = cache[path] { return known }
        if cache.count >= Self.kept { cache = [:] }
        let found = places(of: path).lazy.compactMap { Self.read($0) }.first
        cache[path] = .some(found)
        return found
    }

    /// One line, from 1; nil where the file or the line is not there.
    public func line(_ number: Int, of path: String) -> Substring? {
        guard let lines = lines(of: path), lines.indices.contains(number - 1) else { return nil }
        return lines[number - 1]
    }

    /// Where a file may be.
    package func places(of path: String) -> [String] {
        let parts = path.split(separator: "/").filter { $0 != "." }
        var places = [path]
        for directory in directories {
            let base = directory.hasSuffix("/") ? String(directory.dropLast()) : directory
            for first in parts.indices {
                let rest = parts[first...]
                // A path that leads out of the directory is no path in it.
                guard !rest.contains("..") else { continue }
                places.append(base + "/" + rest.joined(separator: "/"))
            }
        }
        return places
    }

    private static func read(_ path: String) -> [Substring]? {
        guard let bytes = FileBytes.read(path, limit: largest) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        var lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines
    }
}

/// Files that are read whole.
enum FileBytes {
    struct NotAFile: Error, CustomStringConvertible {
        var description: String { "it is a pipe or a device, and no file" }
    }

    /// Nil where it cannot be read, is no regular file, or is larger than `limit`.
    static func read(_ path: String, limit: Int) -> [UInt8]? {
        try? load(path, limit: limit)
    }

    /// - Parameter first: of so many bytes at its start alone.
    static func load(_ path: String, limit: Int, first: Int = .max) throws -> [UInt8] {
        let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
        return try file.closeAfter {
            // What is no file (a pipe, a device) may not begin, or not end.
            var status = stat()
            guard fstat(file.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw status.st_mode & S_IFMT == S_IFDIR ? Errno.isDirectory : NotAFile()
            }
            // 0 where it is not known, as in /proc.
            let size = Int64(status.st_size)
            guard size <= Int64(limit) else { throw Errno.fileTooLarge }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(min(Int(size), first))
            while bytes.count <= limit {
                if bytes.count >= first { return Array(bytes.prefix(first)) }
                let chunk = try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
                    // SAFETY: the buffer holds 64 KiB, and read() reports how many of them it filled.
                    count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
                if chunk.isEmpty { return bytes }
                bytes += chunk
            }
            throw Errno.fileTooLarge
        }
    }
}
