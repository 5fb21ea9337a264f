import DebugTarget
import X86

/// An image file and how it is to be loaded. It is read each time that the guest is started, so that a file which
/// was built anew is what runs.
public struct ImageRequest: Sendable, Hashable {
    public var path: String
    /// Nil: found from its bytes.
    public var kind: ImageKind?
    /// Where a flat binary goes, guest-physical; nil for 0x7C00.
    public var address: UInt64?
    /// Where a flat binary starts; nil for its first byte.
    public var entry: UInt64?

    public init(path: String, kind: ImageKind? = nil, address: UInt64? = nil, entry: UInt64? = nil) {
        self.path = path
        self.kind = kind
        self.address = address
        self.entry = entry
    }

    /// Reads the file.
    ///
    /// - Parameter ramSize: the guest's RAM in bytes.
    /// - Throws: where the file cannot be read, contradicts itself, is of a kind that does not run here, or does not
    ///   fit.
    public func load(ramSize: UInt64) throws(MachineError) -> GuestImage {
        // Where bytes go as they are, nothing is asked of them: a device may be read, too.
        if address != nil || kind == .flat {
            var image = try GuestImage.flat(
                path: path, at: address ?? GuestImage.bootAddress, entry: entry, ramSize: ramSize)
            image.identity = ImageIdentity(.flat, ["as was said"])
            return image
        }
        let bytes = try ImageBytes(path: path)
        let identity: ImageIdentity
        if let kind {
            identity = ImageIdentity(kind, ["as was said"])
        } else {
            identity = try ImageDetection.identify(bytes)
        }
        var image = try load(bytes, identity)
        image.identity = identity
        return image
    }

    private func load(_ bytes: ImageBytes, _ identity: ImageIdentity) throws(MachineError) -> GuestImage {
        switch identity.kind {
        case .boot: return try GuestImage.bootSector(path: path)
        case .flat:
            throw MachineError(
                .unsupported,
                "\(path) has \(bytes.size) bytes, and nothing in them says what it is: no boot sector, which has "
                    + "\(GuestImage.sectorSize) at most, no disk, no kernel",
                advice: .loadFlat)
        case .floppy, .disk, .iso, .elf, .multiboot, .multiboot2, .bzimage, .vmlinux:
            throw MachineError(
                .unsupported, "\(path) is \(identity), and none is started yet", advice: .chooseKind)
        }
    }
}
