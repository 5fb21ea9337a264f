import Foundation
import Testing

@testable import Machine

/// What is read of an image, whatever was read and written before.
@Suite struct DiskImageTests {
    private func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
    }

    @Test func readsAndWritesAreThoseOfAPlainArray() throws {
        let folder = try Folder()
        var model = bytes(3 * DiskImage.chunkSize + 777)
        let image = try DiskImage(path: try folder.file("disk", model))
        model += [UInt8](repeating: 0, count: DiskImage.chunkSize * 2)
        let original = model
        var random = Numbers(seed: 7)
        for _ in 0..<200 {
            let offset = Int(random.next() % UInt64(4 * DiskImage.chunkSize))
            let count = Int(random.next() % 70_000) % (model.count - offset)
            if random.next() % 3 == 0 {
                let written = (0..<min(count, 9000)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                #expect(written.withUnsafeBytes { image.write(UInt64(offset), $0) })
                model.replaceSubrange(offset..<offset + written.count, with: written)
            } else {
                try #require(
                    image.bytes(UInt64(offset), count: count) == Array(model[offset..<offset + count]))
            }
        }
        image.revert()
        #expect(image.bytes(0, count: original.count) == original)
    }

    /// More than is kept: the file stays the source of what went.
    @Test func moreThanIsKept() throws {
        let folder = try Folder()
        let size = (DiskImage.mostChunks + 8) * DiskImage.chunkSize
        let path = try folder.file("large", [])
        #expect(truncate(path, off_t(size)) == 0)
        let mark = try FileHandle(forWritingTo: URL(filePath: path))
        for chunk in stride(from: 0, to: size, by: DiskImage.chunkSize) {
            try mark.seek(toOffset: UInt64(chunk + 5))
            try mark.write(contentsOf: [UInt8(truncatingIfNeeded: chunk / DiskImage.chunkSize)])
        }
        try mark.close()
        let image = try DiskImage(path: path)
        for _ in 0..<2 {
            for chunk in 0..<size / DiskImage.chunkSize {
                #expect(
                    image.bytes(UInt64(chunk * DiskImage.chunkSize + 4), count: 3)
                        == [0, UInt8(truncatingIfNeeded: chunk), 0])
            }
        }
    }

    /// Another program cuts the file: what is still there can be read, and the rest is an error.
    @Test func aFileThatBecameShorter() throws {
        let folder = try Folder()
        let path = try folder.file("disk", bytes(DiskImage.chunkSize))
        let image = try DiskImage(path: path)
        #expect(truncate(path, 1024) == 0)
        #expect(image.bytes(512, count: 512) == Array(bytes(1024)[512...]))
        #expect(image.bytes(1024, count: 512) == nil)
    }
}
