import Glibc
import SystemPackage
import X86

/// An image that is read in parts, where they are asked for: a disk may be larger than the host's memory.
final class ImageBytes: Sendable {
    private enum Source {
        case memory([UInt8])
        case file(FileDescriptor)
    }

    /// For people: the file's path.
    let name: String
    /// In bytes.
    let size: UInt64
    private let source: Source

    init(name: String, _ bytes: [UInt8]) {
        self.name = name
        size = UInt64(bytes.count)
        source = .memory(bytes)
    }

    /// Opens a file, or a block device. A pipe or a terminal, which has no size, is refused.
    init(path: String) throws(MachineError) {
        let known = try ImageFile.size(path)
        let file: FileDescriptor
        do {
            file = try FileDescriptor.open(
                FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
        } catch let error as Errno {
            throw ImageFile.unreadable(path, error)
        } catch {
            throw MachineError(.unreadable, "cannot read \(path): \(error)")
        }
        let end = known ?? (try? file.seek(offset: 0, from: .end)) ?? 0
        guard end > 0 else {
            try? file.close()
            guard known == 0 else {
                throw MachineError(
                    .unreadable, "\(path) is a device without an end, and no image", remedy: "give a file")
            }
            throw MachineError(.empty, "\(path) is empty: there is nothing to load")
        }
        name = path
        size = UInt64(end)
        source = .file(file)
    }

    deinit {
        if case .file(let file) = source { try? file.close() }
    }

    /// Up to `count` bytes from `offset` on: fewer where the image ends before, none after its end.
    func read(_ offset: UInt64, _ count: Int) throws(MachineError) -> [UInt8] {
        guard offset < size, count > 0 else { return [] }
        let wanted = Int(min(UInt64(count), size - offset))
        switch source {
        case .memory(let bytes): return Array(bytes[Int(offset)..<Int(offset) + wanted])
        case .file(let file):
            do {
                return try [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
                    while count < wanted {
                        // SAFETY: the rest of the buffer has room for what is asked for, and read() reports how many
                        // bytes it filled.
                        let rest = UnsafeMutableRawBufferPointer(
                            rebasing: UnsafeMutableRawBufferPointer(buffer)[count...])
                        let done = try file.read(fromAbsoluteOffset: Int64(offset) + Int64(count), into: rest)
                        // It became shorter meanwhile.
                        if done == 0 { break }
                        count += done
                    }
                }
            } catch let error as Errno {
                throw ImageFile.unreadable(name, error)
            } catch {
                throw MachineError(.unreadable, "cannot read \(name): \(error)")
            }
        }
    }

    /// All of `count` bytes from `offset` on.
    /// - Parameter part: what they are, for the error where they are not there.
    func bytes(_ offset: UInt64, _ count: UInt64, _ part: String) throws(MachineError) -> [UInt8] {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, end <= size, let length = Int(exactly: count) else {
            throw MachineError(
                .malformed,
                "\(name): \(part) has \(count) bytes at offset \(hex(offset)), and the file has \(size)",
                remedy: "the file is truncated or damaged")
        }
        let found = try read(offset, length)
        guard found.count == length else {
            throw MachineError(.unreadable, "\(name) became shorter while it was read")
        }
        return found
    }
}
