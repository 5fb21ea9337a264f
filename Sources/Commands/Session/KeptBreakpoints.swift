import DebugTarget
import Debugger
import Glibc
import SystemPackage
import X86

/// The breakpoints that the user had for an image, in a file of the user's state folder.
///
/// The image is known by its path and by what it holds: another one at the same place has none.
public struct KeptBreakpoints {
    private let session: Session
    private let path: String

    /// Nil for a guest that was loaded from no file, and where there is no home.
    public init?(_ session: Session) {
        guard session.hostAccess.contains(.files),
            let image = (session.debugger.target as? any ImageProviding)?.loadedImage, image.kind != nil,
            let folder = personalFolder("XDG_STATE_HOME", ".local/state"),
            let key = ImageKey(path: absolutePath(image.name))
        else { return nil }
        self.session = session
        path = "\(folder)/breakpoints/\(key.name)"
    }

    /// What there is, as a sentence; nil where nothing is kept.
    public func offer() -> String? {
        guard let lines = try? lines() else { return nil }
        let words = ["break", "tbreak", "hbreak", "thbreak", "vb", "watch", "catch", "tcatch"]
        let count = lines.count { words.contains(ScriptLine.words(of: String($0)).first) && $0.first != " " }
        guard count > 0 else { return nil }
        return
            "\(counted(count, "breakpoint")) \(count == 1 ? "is" : "are") kept from the session before with this image: `kept` sets \(count == 1 ? "it" : "them")."
    }

    func lines() throws -> [Substring] {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size < 1 << 24 else {
            throw Errno.noSuchFileOrDirectory
        }
        let file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
        let bytes = try file.closeAfter { try file.readAll(most: Int(status.st_size)) }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    }

    /// Sets them.
    func enqueue(_ call: Invocation) throws(CommandError) -> Int {
        let all: [Substring]
        do {
            all = try lines()
        } catch {
            throw call.error("no breakpoints are kept for this image")
        }
        return try session.enqueue(all, file: path, call)
    }

    /// Keeps what is set now. Where the user has set none in this session, what was kept stays.
    /// - Returns: why it could not be kept.
    public func keep() -> String? {
        guard session.debugger.lastBreakpoint != nil else { return nil }
        let lines = SavedState(session).breakpoints()
        guard !lines.isEmpty else {
            unlink(path)
            return nil
        }
        do {
            try makeFolders(FilePath(path).removingLastComponent())
            try Files.replace(
                FilePath(path), with: Array((lines.joined(separator: "\n") + "\n").utf8), session)
            return nil
        } catch {
            return "breakpoints are not kept: cannot write \(path): \(error)"
        }
    }

    private func makeFolders(_ folder: FilePath) throws {
        guard !folder.isEmpty, mkdir(folder.string, 0o700) != 0, errno != EEXIST else { return }
        guard errno == ENOENT else { throw Errno(rawValue: errno) }
        let parent = folder.removingLastComponent()
        guard parent != folder else { throw Errno.noSuchFileOrDirectory }
        try makeFolders(parent)
        guard mkdir(folder.string, 0o700) == 0 || errno == EEXIST else { throw Errno(rawValue: errno) }
    }
}

/// What an image is known by between sessions: a hash of its path, its size, and its first and last MiB.
struct ImageKey {
    /// Hexadecimal digits.
    let name: String

    private static let part = 1 << 20

    init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
        else { return nil }
        let size = Int(status.st_size)
        var hash = Hash()
        hash.add(Array(path.utf8))
        hash.add(Array("\(size)".utf8))
        let bytes = try? file.closeAfter {
            let first = try file.readAll(most: min(size, Self.part))
            guard size > Self.part else { return first }
            try file.seek(offset: Int64(max(Self.part, size - Self.part)), from: .start)
            return first + (try file.readAll(most: Self.part))
        }
        guard let bytes else { return nil }
        hash.add(bytes)
        name = hexDigits(hash.value, digits: 16)
    }

    /// FNV-1a: a name for a file, no proof of anything.
    private struct Hash {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        mutating func add(_ bytes: [UInt8]) {
            for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
            value = (value ^ 0xFF) &* 0x100_0000_01B3
        }
    }
}

extension FileDescriptor {
    /// Up to `most` bytes, or the end.
    fileprivate func readAll(most: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
            count = 0
            while count < most {
                // SAFETY: the rest of a buffer of `most` bytes; read() says how many of it were filled.
                let part = try read(
                    into: UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[count...]))
                if part == 0 { break }
                count += part
            }
        }
    }
}
