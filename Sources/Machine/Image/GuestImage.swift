import DebugTarget
import X86

/// What is loaded into a machine's RAM, and where a vCPU starts in it.
public struct GuestImage: Sendable, Hashable {
    /// Where execution starts, and in which state.
    public enum Entry: Sendable, Hashable {
        /// Real mode at `segment:offset`, the data segments 0.
        case realMode(segment: UInt16, offset: UInt16)
        /// What a BIOS does with a boot sector: real mode at 0000:7C00 with `drive` in DL.
        case bootSector(drive: UInt8)
        /// 32-bit protected mode with flat segments in the caches and no descriptor table behind them: the guest
        /// must load its own before it loads a segment register.
        case protectedMode(UInt32)
        /// As a boot protocol says.
        case prepared(Preparation)

        /// What an address alone says: real mode below 1 MiB (64 KiB segments, the offset as large as it can be:
        /// 0x17C00 is 1000:7C00), protected mode above. Nil from 4 GiB on.
        public static func at(_ address: UInt64) -> Entry? {
            if address < 1 << 20 {
                return .realMode(
                    segment: UInt16((address >> 16) << 12), offset: UInt16(truncatingIfNeeded: address))
            }
            return UInt32(exactly: address).map { .protectedMode($0) }
        }

        /// The linear address of the first instruction.
        public var address: UInt64 {
            switch self {
            case .realMode(let segment, let offset): UInt64(segment) << 4 + UInt64(offset)
            case .bootSector: GuestImage.bootAddress
            case .protectedMode(let address): UInt64(address)
            case .prepared(let start): start.address
            }
        }
    }

    /// Where a BIOS loads a boot sector.
    public static let bootAddress: UInt64 = 0x7C00
    public static let sectorSize = 512

    /// Bytes that go to one place.
    public struct Part: Sendable, Hashable {
        /// What they are, for people.
        public var name: String
        /// Guest-physical.
        public var address: UInt64
        public var bytes: [UInt8]

        public init(_ name: String, at address: UInt64, _ bytes: [UInt8]) {
            self.name = name
            self.address = address
            self.bytes = bytes
        }
    }

    /// For people: a file's path, or an example's name.
    public var name: String
    /// In the order in which they are written: a later one overwrites.
    public var parts: [Part]
    public var entry: Entry
    /// What it was found or said to be; nil for bytes that came from no file.
    public var identity: ImageIdentity?

    public init(name: String, parts: [Part], entry: Entry, identity: ImageIdentity? = nil) {
        self.name = name
        self.parts = parts
        self.entry = entry
        self.identity = identity
    }

    /// An image whose bytes are known already, as an example guest's.
    /// - Parameter entry: nil for the load address; at 0x7C00 that is a boot sector's start, DL = 0x80.
    public init(name: String, bytes: [UInt8], at address: UInt64, entry: UInt64? = nil) throws(MachineError) {
        let start = entry ?? address
        guard let state = start == Self.bootAddress ? .bootSector(drive: 0x80) : Entry.at(start) else {
            throw MachineError(
                .configuration, "cannot start at \(hex(start))", remedy: "the entry must lie below 4 GiB")
        }
        guard !bytes.isEmpty else { throw MachineError(.empty, "\(name) is empty: there is nothing to run") }
        self.init(name: name, parts: [Part("image", at: address, bytes)], entry: state)
    }

    /// Reads a boot sector, for 0000:7C00 and DL = 0x80 (the first hard disk).
    ///
    /// Up to 512 bytes, so that one without the mark 55 AA runs, too: a BIOS would refuse it, a debugger need not.
    public static func bootSector(path: String, drive: UInt8 = 0x80) throws(MachineError) -> GuestImage {
        let bytes = try ImageFile.read(path, limit: UInt64(sectorSize)) { count in
            MachineError(
                .oversized,
                "\(path) is \(count.map(String.init) ?? "more than \(sectorSize)") bytes, and a boot sector has "
                    + "\(sectorSize) at most",
                remedy: count == nil ? "give a file" : nil, advice: count == nil ? nil : .loadFlat)
        }
        return GuestImage(
            name: path, parts: [Part("boot sector", at: bootAddress, bytes)], entry: .bootSector(drive: drive)
        )
    }

    /// Reads a flat binary.
    ///
    /// - Parameters:
    ///   - address: guest-physical, where its first byte goes.
    ///   - entry: nil for `address`. Real mode below 1 MiB, 32-bit protected mode above.
    ///   - ramSize: the guest's RAM in bytes. A file that does not fit there is refused before it is read.
    public static func flat(path: String, at address: UInt64, entry: UInt64? = nil, ramSize: UInt64)
        throws(MachineError) -> GuestImage
    {
        let layout = try RAMLayout(size: ramSize)
        let room = try layout.room(for: path, at: address)
        let bytes = try ImageFile.read(path, limit: room) { layout.oversized(path, $0, at: address) }
        return try GuestImage(name: path, bytes: bytes, at: address, entry: entry)
    }
}
