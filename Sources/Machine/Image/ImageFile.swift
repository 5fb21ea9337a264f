import Glibc
import SystemPackage

/// Reads image files with bounds.
enum ImageFile {
    /// The size of a regular file; nil for a device, which has none. Others are refused: reading a pipe could
    /// wait for ever.
    static func size(_ path: String) throws(MachineError) -> Int64? {
        var status = stat()
        guard stat(path, &status) == 0 else { throw unreadable(path, Errno(rawValue: errno)) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return Int64(status.st_size)
        case S_IFDIR: throw MachineError(.unreadable, "\(path) is a directory", remedy: "give a file")
        case S_IFBLK, S_IFCHR: return nil
        default: throw MachineError(.unreadable, "\(path) is not a file", remedy: "give a regular file")
        }
    }

    /// The whole file.
    /// - Parameters:
    ///   - limit: the most it may have, in bytes; of one that has more nothing is kept.
    ///   - oversized: the error for one that has more, by its size; nil where it has no end.
    static func read(_ path: String, limit: UInt64, oversized: (UInt64?) -> MachineError)
        throws(MachineError) -> [UInt8]
    {
        let size = try size(path)
        if let size, UInt64(size) > limit { throw oversized(UInt64(size)) }
        if size == 0 { throw MachineError(.empty, "\(path) is empty: there is nothing to load") }
        var bytes = [UInt8]()
        do {
            let file = try FileDescriptor.open(
                FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
            defer { try? file.close() }
            if let size { bytes.reserveCapacity(Int(size)) }
            let chunkSize = 1 << 18
            var isAtEnd = false
            while !isAtEnd, UInt64(bytes.count) <= limit {
                let chunk = try [UInt8](unsafeUninitializedCapacity: chunkSize) { buffer, count in
                    // SAFETY: the buffer has room for `chunkSize` bytes, and read() reports how many it filled.
                    count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
                }
                isAtEnd = chunk.isEmpty
                bytes += chunk
            }
        } catch let error as Errno {
            throw unreadable(path, error)
        } catch {
            throw MachineError(.unreadable, "cannot read \(path): \(error)")
        }
        guard UInt64(bytes.count) <= limit else { throw oversized(nil) }
        guard !bytes.isEmpty else { throw MachineError(.empty, "\(path) is empty: there is nothing to load") }
        return bytes
    }

    static func unreadable(_ path: String, _ error: Errno) -> MachineError {
        let remedy: String? =
            switch error {
            case .noSuchFileOrDirectory: "check the name"
            case .permissionDenied: "check its permissions"
            default: nil
            }
        return MachineError(.unreadable, "cannot read \(path): \(error)", remedy: remedy)
    }
}
