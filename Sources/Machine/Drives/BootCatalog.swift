import DebugTarget

/// Where a CD says that its boot code is. Source: El Torito 1.0, sections 2 to 5.
struct BootCatalog: Sendable, Hashable {
    /// Where it is to be loaded.
    var segment: UInt16
    /// How many sectors of 512 bytes.
    var count: UInt16
    /// The CD's sector of 2048 bytes.
    var sector: UInt32
    /// 0 none; 1, 2 and 3 a floppy of 1.2, 1.44 and 2.88 MB; 4 a hard disk.
    var medium: UInt8

    /// Nil where the CD is no bootable one, its catalog is not in it, or it asks for what the specification has not.
    init?(_ drive: Drive) {
        guard drive.kind == .cdrom, let record = drive.image.bytes(17 * 2048, count: 2048) else { return nil }
        guard Array(record[1..<6]) == Array("CD001".utf8), record[0] == 0,
            Array(record[7..<30]) == Array("EL TORITO SPECIFICATION".utf8)
        else { return nil }
        let place = (0..<4).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(record[0x47 + $1]) }
        guard place < drive.sectors, let catalog = drive.image.bytes(place * 2048, count: 64) else {
            return nil
        }
        // The validation entry's words add up to 0.
        let sum = stride(from: 0, to: 32, by: 2).reduce(UInt16(0)) {
            $0 &+ (UInt16(catalog[$1]) | UInt16(catalog[$1 + 1]) << 8)
        }
        guard catalog[0] == 1, catalog[30] == 0x55, catalog[31] == 0xAA, sum == 0 else { return nil }
        // Bootable.
        guard catalog[32] == 0x88, catalog[33] & 0xF <= 4 else { return nil }
        medium = catalog[33] & 0xF
        let segment = UInt16(catalog[34]) | UInt16(catalog[35]) << 8
        self.segment = segment == 0 ? 0x7C0 : segment
        let count = UInt16(catalog[38]) | UInt16(catalog[39]) << 8
        self.count = max(count, 1)
        sector = (40..<44).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(catalog[$1]) }
        guard UInt64(sector) + (UInt64(self.count) + 3) / 4 <= drive.sectors else { return nil }
    }

    /// The part of the CD that is the medium; nil without emulation. It ends with the CD where the catalog promises more.
    func window(of drive: Drive) -> Range<UInt64>? {
        guard medium != 0 else { return nil }
        let start = UInt64(sector) * 2048
        let end = drive.sectors * 2048
        guard let floppy = DriveGeometry(medium: medium) else { return start..<max(start, end) }
        return start..<max(start, min(end, start + floppy.total * 512))
    }

    /// What INT 13h AH=4Bh tells: the specification packet, 19 bytes.
    func packet(drive: UInt8, _ geometry: DriveGeometry) -> [UInt8] {
        func bytes(_ value: UInt32, _ count: Int) -> [UInt8] {
            (0..<UInt32(count)).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        var packet: [UInt8] = [0x13, medium, drive, 0] + bytes(sector, 4)
        // The device, and no buffer.
        packet += [0, 0, 0, 0] + bytes(UInt32(segment), 2) + bytes(UInt32(count), 2)
        guard medium != 0 else { return packet + [0, 0, 0] }
        // As INT 13h AH=08h gives it.
        let last = UInt32(clamping: max(0, geometry.cylinders - 1))
        packet += bytes(last, 1)
        packet.append(
            UInt8(truncatingIfNeeded: UInt32(geometry.sectorsPerTrack & 0x3F) | last >> 2 & 0xC0))
        packet.append(UInt8(truncatingIfNeeded: max(0, geometry.heads - 1)))
        return packet
    }
}
