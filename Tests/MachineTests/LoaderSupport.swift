import Kernels

@testable import Machine

/// A kernel of `Tests/Guests`.
func kernel(_ name: String) -> [UInt8] {
    var size = 0
    // SAFETY: the call gives nil, or constant bytes as many as it says.
    guard let bytes = kernels_named(name, &size) else { return [] }
    return Array(UnsafeBufferPointer(start: bytes, count: size))
}

/// An ELF file around code.
struct MadeELF {
    struct Segment {
        var physical: UInt64
        var virtual: UInt64
        var bytes: [UInt8]
        var memorySize: UInt64?
        var fileSize: UInt64?
        var type: UInt32 = 1
    }
    var is64 = true
    var entry: UInt64
    var segments: [Segment]

    static func one(_ code: [UInt8], at address: UInt64, virtual: UInt64? = nil, is64: Bool = true) -> MadeELF
    {
        MadeELF(
            is64: is64, entry: virtual ?? address,
            segments: [Segment(physical: address, virtual: virtual ?? address, bytes: code)])
    }

    /// A note, as its own segment.
    static func note(_ owner: String, _ type: UInt32, _ body: [UInt8]) -> Segment {
        var bytes: [UInt8] = []
        bytes.append(number: UInt32(owner.utf8.count + 1))
        bytes.append(number: UInt32(body.count))
        bytes.append(number: type)
        bytes += Array(owner.utf8) + [0]
        while bytes.count % 4 != 0 { bytes.append(0) }
        return Segment(physical: 0, virtual: 0, bytes: bytes + body, type: 4)
    }

    var bytes: [UInt8] {
        var head = [UInt8](repeating: 0, count: is64 ? 64 : 52)
        MadeImage.elf(&head, is64: is64, segments: segments.count)
        if is64 { head.put(entry, at: 24) } else { head.put(UInt32(truncatingIfNeeded: entry), at: 24) }
        let each = is64 ? 56 : 32
        var offset = UInt64(head.count + each * segments.count)
        var table: [UInt8] = []
        var data: [UInt8] = []
        for segment in segments {
            var row = [UInt8](repeating: 0, count: each)
            let inFile = segment.fileSize ?? UInt64(segment.bytes.count)
            let inMemory = segment.memorySize ?? inFile
            row.put(segment.type, at: 0)
            if is64 {
                for (value, place) in [
                    (offset, 8), (segment.virtual, 16), (segment.physical, 24), (inFile, 32), (inMemory, 40),
                ] { row.put(value, at: place) }
            } else {
                for (value, place) in [
                    (offset, 4), (segment.virtual, 8), (segment.physical, 12), (inFile, 16), (inMemory, 20),
                ] { row.put(UInt32(truncatingIfNeeded: value), at: place) }
            }
            table += row
            data += segment.bytes
            offset += UInt64(segment.bytes.count)
        }
        return head + table + data
    }
}

/// Loads bytes as if they were a file.
func loaded(
    _ bytes: [UInt8], _ kind: ImageKind? = nil, ram: UInt64 = 64 << 20, vcpus: Int = 1,
    hasAPICs: Bool = false,
    entry: EntryMode? = nil, commandLine: String? = nil, initrd: String? = nil
) throws -> GuestImage {
    let image = ImageBytes(name: "x", bytes)
    let context = LoadContext(
        layout: try RAMLayout(size: ram), vcpus: vcpus, hasAPICs: hasAPICs, entry: entry,
        commandLine: commandLine, initrd: initrd)
    let identity = try kind.map { ImageIdentity($0) } ?? ImageDetection.identify(image)
    return try ImageRequest(path: "x").load(image, identity, context)
}

extension GuestImage {
    /// The part of this name.
    func part(_ name: String) -> Part? { parts.first { $0.name == name } }

    /// How it starts, by a loader.
    var start: Preparation? { if case .prepared(let start) = entry { start } else { nil } }
}
