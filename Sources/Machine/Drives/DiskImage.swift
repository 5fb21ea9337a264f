import DebugTarget
import Glibc
import Locking
import SystemPackage

/// A raw disk image that is never written: what the guest writes is kept beside it.
package final class DiskImage: Sendable {
    /// Writes are kept in blocks of so many bytes.
    static let blockSize = 4096

    /// What was read is kept in chunks of so many bytes, so many of them: loaders read the same sectors again and again.
    static let chunkSize = 64 << 10
    static let mostChunks = 256

    private struct State {
        /// With what the guest wrote.
        var chunks: [UInt64: [UInt8]] = [:]
        /// The one that was read last.
        var recent: (index: UInt64, bytes: [UInt8])?
        var blocks: [UInt64: [UInt8]] = [:]
        var reads: UInt64 = 0
        var writes: UInt64 = 0
    }

    let path: String
    /// In bytes; may end within a sector, the rest of which reads as zeros.
    let size: UInt64
    private let file: Int32
    /// Where it begins in the file.
    private let start: UInt64
    private let state = Lock(State())

    /// Opens the image.
    ///
    /// - Parameter window: the part of the file that is the image; nil for all of it.
    package init(path: String, window: Range<UInt64>? = nil) throws(MachineError) {
        guard let size = try ImageFile.size(path), size > 0 else {
            throw MachineError(
                .empty, "\(path) cannot be a drive: it is empty, or a device", remedy: "give an image file")
        }
        do {
            let opened = try FileDescriptor.open(
                FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
            file = opened.rawValue
        } catch {
            throw MachineError(.unreadable, "cannot open \(path): \(error)", remedy: "check its permissions")
        }
        self.path = path
        let whole = 0..<UInt64(size)
        let part = window?.clamped(to: whole) ?? whole
        start = part.lowerBound
        self.size = part.upperBound - part.lowerBound
    }

    deinit { try? FileDescriptor(rawValue: file).close() }

    var counts: (reads: UInt64, writes: UInt64, changed: UInt64) {
        state.withLock { ($0.reads, $0.writes, UInt64($0.blocks.count * Self.blockSize)) }
    }

    /// Forgets what the guest wrote.
    package func revert() { state.withLock { ($0.blocks, $0.chunks, $0.recent) = ([:], [:], nil) } }

    /// Fills `buffer` from `offset` on; beyond the image's end with zeros. False where the file cannot be read.
    func read(_ offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        return read(offset, count: buffer.count) { part in
            // SAFETY: the parts together are as long as the buffer.
            UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + part.count]).copyMemory(from: part)
            done += part.count
            return true
        }
    }

    /// Gives `body` the bytes from `offset` on, part by part in their order, each for the time of the call. False where the
    /// file cannot be read, or `body` wants no more.
    func read(_ offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) -> Bool) -> Bool {
        state.withLock { state in
            state.reads &+= 1
            var done = 0
            while done < count {
                let at = offset + UInt64(done)
                let place = Int(at % UInt64(Self.chunkSize))
                let part = min(count - done, Self.chunkSize - place)
                let index = at / UInt64(Self.chunkSize)
                let isGiven: Bool
                if let known = chunk(index, &state) {
                    // SAFETY: the range is within the chunk, and the pointer is used within this closure only.
                    isGiven = known.withUnsafeBytes {
                        body(UnsafeRawBufferPointer(rebasing: $0[place..<place + part]))
                    }
                } else {
                    isGiven = withUnsafeTemporaryAllocation(byteCount: part, alignment: 16) { buffer in
                        readFile(at, into: buffer) && overlay(at, buffer, state)
                            && body(UnsafeRawBufferPointer(buffer))
                    }
                }
                guard isGiven else { return false }
                done += part
            }
            return true
        }
    }

    private func chunk(_ index: UInt64, _ state: inout State) -> [UInt8]? {
        if let recent = state.recent, recent.index == index { return recent.bytes }
        guard let found = state.chunks[index] ?? load(index, &state) else { return nil }
        state.recent = (index, found)
        return found
    }

    /// Reads a chunk and keeps it; nil where it cannot be read as a whole.
    private func load(_ index: UInt64, _ state: inout State) -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: Self.chunkSize)
        let offset = index * UInt64(Self.chunkSize)
        let isRead = chunk.withUnsafeMutableBytes { readFile(offset, into: $0) && overlay(offset, $0, state) }
        guard isRead else { return nil }
        if state.chunks.count >= Self.mostChunks, let one = state.chunks.keys.first {
            state.chunks[one] = nil
        }
        state.chunks[index] = chunk
        return chunk
    }

    /// Puts what the guest wrote over what the file has. Always true.
    private func overlay(_ offset: UInt64, _ buffer: UnsafeMutableRawBufferPointer, _ state: borrowing State)
        -> Bool
    {
        guard !state.blocks.isEmpty, !buffer.isEmpty else { return true }
        let block = UInt64(Self.blockSize)
        for index in offset / block...(offset + UInt64(buffer.count) - 1) / block {
            guard let kept = state.blocks[index] else { continue }
            let start = max(index * block, offset)
            let end = min((index + 1) * block, offset + UInt64(buffer.count))
            for place in start..<end { buffer[Int(place - offset)] = kept[Int(place - index * block)] }
        }
        return true
    }

    private func readFile(_ offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < buffer.count {
            let at = offset + UInt64(done)
            guard at < size else {
                // SAFETY: within the buffer, from what was read to its end.
                UnsafeMutableRawBufferPointer(rebasing: buffer[done...]).initializeMemory(
                    as: UInt8.self, repeating: 0)
                return true
            }
            let wanted = Int(min(UInt64(buffer.count - done), size - at))
            // SAFETY: `wanted` bytes from `done` on are within the buffer.
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + wanted])
            guard
                let count = try? FileDescriptor(rawValue: file).read(
                    fromAbsoluteOffset: Int64(clamping: start + at), into: part)
            else { return false }
            // The file became shorter.
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    /// Keeps bytes in place of the image's. False where the rest of their block cannot be read.
    func write(_ offset: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool {
        state.withLock { state in
            state.writes &+= 1
            guard !bytes.isEmpty else { return true }
            let block = UInt64(Self.blockSize)
            for index in offset / block...(offset + UInt64(bytes.count) - 1) / block {
                var kept: [UInt8]
                if let known = state.blocks[index] {
                    kept = known
                } else {
                    kept = [UInt8](repeating: 0, count: Self.blockSize)
                    let isRead = kept.withUnsafeMutableBytes { readFile(index * block, into: $0) }
                    guard isRead else { return false }
                }
                let start = max(index * block, offset)
                let end = min((index + 1) * block, offset + UInt64(bytes.count))
                for place in start..<end {
                    kept[Int(place - index * block)] = bytes[Int(place - offset)]
                }
                state.blocks[index] = kept
                state.chunks[index * block / UInt64(Self.chunkSize)] = nil
                state.recent = nil
            }
            return true
        }
    }

    /// Bytes from `offset` on, for those who look at the image; nil where the file cannot be read.
    func bytes(_ offset: UInt64, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let isRead = bytes.withUnsafeMutableBytes { read(offset, into: $0) }
        return isRead ? bytes : nil
    }

    /// Writes the whole of it, with what the guest wrote, to a file that must not exist.
    func save(to path: String) throws(MachineError) {
        do {
            let saved = try FileDescriptor.open(
                FilePath(path), .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            defer { try? saved.close() }
            var offset: UInt64 = 0
            while offset < size {
                let count = Int(min(size - offset, 1 << 20))
                guard let part = bytes(offset, count: count) else {
                    throw MachineError(.unreadable, "\(self.path) can no longer be read")
                }
                _ = try saved.writeAll(part)
                offset += UInt64(count)
            }
        } catch let error as MachineError {
            throw error
        } catch Errno.fileExists {
            throw MachineError(.unreadable, "\(path) exists already", remedy: "give a new file's name")
        } catch {
            throw MachineError(.unreadable, "cannot write \(path): \(error)")
        }
    }
}
