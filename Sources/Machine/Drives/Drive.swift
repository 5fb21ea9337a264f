package import DebugTarget

/// A drive as INT 13h has it: an image with a geometry.
package struct Drive: Sendable {
    let number: UInt8
    let kind: DriveState.Kind
    package let image: DiskImage
    /// In bytes.
    let sectorSize: Int
    let geometry: DriveGeometry
    /// In sectors.
    let sectors: UInt64
    /// The boot catalog of the CD that it is a part of; nil for a drive of its own. Such a drive cannot be written.
    let emulation: BootCatalog?

    package init(_ kind: DriveState.Kind, number: UInt8, image: DiskImage) {
        self.init(kind, number: number, image: image, geometry: nil)
    }

    /// - Parameters:
    ///   - geometry: of a floppy, where its size does not say it.
    ///   - emulation: see ``emulation``.
    init(
        _ kind: DriveState.Kind, number: UInt8, image: DiskImage, geometry given: DriveGeometry?,
        emulation: BootCatalog? = nil
    ) {
        self.kind = kind
        self.emulation = emulation
        self.number = number
        self.image = image
        sectorSize = kind == .cdrom ? 2048 : 512
        let whole = (image.size + UInt64(sectorSize) - 1) / UInt64(sectorSize)
        switch kind {
        case .floppy:
            geometry = given ?? DriveGeometry(floppy: image)
            // What the medium has; a shorter image reads as zeros to its end.
            sectors = max(geometry.total, 1)
        case .disk:
            geometry = DriveGeometry(disk: image)
            sectors = whole
        case .cdrom:
            geometry = DriveGeometry(cylinders: 0, heads: 0, sectorsPerTrack: 0)
            sectors = whole
        }
    }

    var state: DriveState {
        let counts = image.counts
        return DriveState(
            number: number, kind: kind, path: image.path, sectors: sectors, sectorSize: sectorSize,
            cylinders: geometry.cylinders, heads: geometry.heads, sectorsPerTrack: geometry.sectorsPerTrack,
            reads: counts.reads, writes: counts.writes, changed: counts.changed)
    }
}

/// Cylinders, heads and sectors.
struct DriveGeometry: Sendable, Hashable {
    var cylinders: Int
    var heads: Int
    var sectorsPerTrack: Int

    init(cylinders: Int, heads: Int, sectorsPerTrack: Int) {
        self.cylinders = cylinders
        self.heads = heads
        self.sectorsPerTrack = sectorsPerTrack
    }

    /// In sectors.
    var total: UInt64 { UInt64(cylinders * heads * sectorsPerTrack) }

    /// The sector of an address; nil for one that is outside.
    func sector(cylinder: Int, head: Int, sector: Int) -> UInt64? {
        guard (1...max(sectorsPerTrack, 1)).contains(sector), head < heads, cylinder < cylinders else {
            return nil
        }
        return UInt64((cylinder * heads + head) * sectorsPerTrack + sector - 1)
    }

    /// The formats of floppies, in order of size.
    static let floppies: [DriveGeometry] = [
        .init(cylinders: 40, heads: 1, sectorsPerTrack: 8),
        .init(cylinders: 40, heads: 1, sectorsPerTrack: 9),
        .init(cylinders: 40, heads: 2, sectorsPerTrack: 8),
        .init(cylinders: 40, heads: 2, sectorsPerTrack: 9),
        .init(cylinders: 80, heads: 2, sectorsPerTrack: 9),
        .init(cylinders: 80, heads: 2, sectorsPerTrack: 15),
        .init(cylinders: 80, heads: 2, sectorsPerTrack: 18),
        .init(cylinders: 80, heads: 2, sectorsPerTrack: 36),
    ]

    /// The largest image that is a floppy: 2.88 MB.
    static let largestFloppy: UInt64 = 80 * 2 * 36 * 512

    /// The format of an El Torito medium: 1.2, 1.44 and 2.88 MB.
    init?(medium: UInt8) {
        guard (1...3).contains(medium) else { return nil }
        self = Self.floppies[4 + Int(medium)]
    }

    /// The format of exactly this size, or 1.44 MB where the image has less, or the next larger one.
    fileprivate init(floppy image: DiskImage) {
        let sectors = (image.size + 511) / 512
        self =
            Self.floppies.first { $0.total == sectors }
            ?? Self.floppies.dropFirst(6).first { $0.total >= sectors }
            ?? DriveGeometry(
                cylinders: Int(clamping: min((sectors + 71) / 72, 1024)), heads: 2, sectorsPerTrack: 36)
    }

    /// What the partition table was made with, or what a BIOS gives a disk of this size: 63 sectors, and as few heads as
    /// reach its end in 1024 cylinders.
    fileprivate init(disk image: DiskImage) {
        let sectors = (image.size + 511) / 512
        let heads =
            Self.heads(ofTable: image)
            ?? [16, 32, 64, 128].first { UInt64($0 * 63 * 1024) >= sectors } ?? 255
        let cylinders = (sectors + UInt64(heads * 63) - 1) / UInt64(heads * 63)
        self.init(cylinders: Int(clamping: min(max(cylinders, 1), 1024)), heads: heads, sectorsPerTrack: 63)
    }

    /// How many heads the partitions' ends say, where they end at a cylinder's end of 63 sectors. A table may lie: only
    /// numbers that BIOSes use are taken.
    private static func heads(ofTable image: DiskImage) -> Int? {
        guard let sector = image.bytes(0, count: 512), sector[510] == 0x55, sector[511] == 0xAA else {
            return nil
        }
        for entry in stride(from: 446, to: 510, by: 16) where sector[entry + 4] != 0 {
            let heads = Int(sector[entry + 5]) + 1
            if sector[entry + 6] & 0x3F == 63, [16, 32, 64, 128, 240, 255].contains(heads) { return heads }
        }
        return nil
    }
}
