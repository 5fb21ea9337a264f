/// What an image is, and so how it is started.
public enum ImageKind: String, Sendable, Hashable, CaseIterable {
    /// 512 bytes at most, for 0000:7C00.
    case boot
    case floppy
    /// A hard disk, partitioned or not.
    case disk
    /// ISO 9660, with or without an El Torito boot record.
    case iso
    /// An ELF program of no kernel's own protocol.
    case elf
    case multiboot
    case multiboot2
    /// A Linux kernel with its setup code.
    case bzimage
    /// A Linux kernel as ELF, uncompressed.
    case vmlinux
    /// Bytes for an address that the user gives.
    case flat

    /// With its article, for sentences.
    public var words: String {
        switch self {
        case .boot: "a boot sector"
        case .floppy: "a floppy image"
        case .disk: "a hard disk image"
        case .iso: "an ISO 9660 image"
        case .elf: "an ELF program"
        case .multiboot: "a Multiboot kernel"
        case .multiboot2: "a Multiboot 2 kernel"
        case .bzimage: "a Linux bzImage"
        case .vmlinux: "a Linux kernel as ELF"
        case .flat: "a flat binary"
        }
    }
}

/// What was found in an image's bytes.
public struct ImageIdentity: Sendable, Hashable {
    public var kind: ImageKind
    /// What tells, for people: `55 AA at 510, FAT12`; may be empty.
    public var evidence: [String]

    public init(_ kind: ImageKind, _ evidence: [String] = []) {
        self.kind = kind
        self.evidence = evidence
    }
}

extension ImageIdentity: CustomStringConvertible {
    public var description: String {
        evidence.isEmpty ? kind.words : "\(kind.words) (\(evidence.joined(separator: ", ")))"
    }
}
