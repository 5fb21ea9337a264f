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

    /// In which mode a kernel or an ELF program starts; nil for what its format says.
    public var mode: EntryMode?
    /// For a kernel.
    public var commandLine: String?
    /// The file of a kernel's initial RAM disk; of a Multiboot kernel the first module.
    public var initrd: String?

    public init(
        path: String, kind: ImageKind? = nil, address: UInt64? = nil, entry: UInt64? = nil,
        mode: EntryMode? = nil, commandLine: String? = nil, initrd: String? = nil
    ) {
        self.mode = mode
        self.commandLine = commandLine
        self.initrd = initrd
        self.path = path
        self.kind = kind
        self.address = address
        self.entry = entry
    }

    /// Reads the file.
    ///
    /// - Parameter machine: what it is loaded into: its RAM, its vCPUs and its interrupt controllers count.
    /// - Throws: where the file cannot be read, contradicts itself, is of a kind that does not run here, or does not
    ///   fit.
    public func load(_ machine: MachineConfiguration) throws(MachineError) -> GuestImage {
        let context = LoadContext(
            layout: try RAMLayout(size: machine.ramSize), vcpus: machine.vcpus,
            hasAPICs: machine.interruptController == .kernel, entry: mode, commandLine: commandLine,
            initrd: initrd)
        // Where bytes go as they are, nothing is asked of them: a device may be read, too.
        if address != nil || kind == .flat {
            try refuseOptions(.flat, context)
            var image = try GuestImage.flat(
                path: path, at: address ?? GuestImage.bootAddress, entry: entry, ramSize: machine.ramSize)
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
        var image = try load(bytes, identity, context)
        image.identity = identity
        return image
    }

    /// The drive that the file is; nil where it is none.
    func drive() throws(MachineError) -> (MachineConfiguration.Drive, ImageIdentity)? {
        guard address == nil, entry == nil, mode == nil, commandLine == nil, initrd == nil else { return nil }
        let identity: ImageIdentity
        if let kind {
            identity = ImageIdentity(kind, ["as was said"])
        } else {
            // A device has no size to be told by.
            guard try ImageFile.size(path) != nil else { return nil }
            identity = try ImageDetection.identify(try ImageBytes(path: path))
        }
        switch identity.kind {
        case .floppy: return (.init(.floppy, path: path), identity)
        // A boot sector by itself is one of a disk.
        case .boot, .disk: return (.init(.disk, path: path), identity)
        case .iso: return (.init(.cdrom, path: path), identity)
        case .elf, .multiboot, .multiboot2, .bzimage, .vmlinux, .flat: return nil
        }
    }

    func load(
        _ bytes: ImageBytes, _ identity: ImageIdentity, _ context: LoadContext
    ) throws(MachineError) -> GuestImage {
        switch identity.kind {
        case .boot:
            try refuseOptions(.boot, context)
            return try GuestImage.bootSector(path: path)
        case .elf: return try ELFLoader.load(bytes, context)
        case .multiboot: return try MultibootLoader.load(bytes, context)
        case .multiboot2: return try MultibootLoader.load2(bytes, context)
        case .bzimage: return try LinuxLoader.bzImage(bytes, context)
        case .vmlinux: return try LinuxLoader.vmlinux(bytes, context)
        case .flat:
            throw MachineError(
                .unsupported,
                "\(path) has \(bytes.size) bytes, and nothing in them says what it is: no boot sector, which has "
                    + "\(GuestImage.sectorSize) at most, no disk, no kernel",
                advice: .loadFlat)
        case .floppy, .disk, .iso:
            throw MachineError(
                .unsupported, "\(path) is \(identity), which BIOS services start", advice: .chipsForBIOS)
        }
    }

    /// What is for kernels alone.
    private func refuseOptions(_ kind: ImageKind, _ context: LoadContext) throws(MachineError) {
        try context.refuse(commandLine: true, initrd: true, path, kind.words)
        guard mode == nil else {
            throw MachineError(
                .unsupported, "\(path) is \(kind.words), and the mode that it starts in is given",
                advice: .chooseEntry)
        }
    }
}
