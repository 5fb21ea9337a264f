import X86

/// Finds what an image is, from its bytes and its size.
///
/// What decides is a format's own mark and, where marks are short or several formats fit (an ISO that is a hard disk,
/// too; a bzImage that is a floppy, too), what must be true beside it.
enum ImageDetection {
    /// Where Multiboot headers may be (Multiboot 0.6.96, 3.1.1; Multiboot 2, 3.1.1).
    static let multibootReach = 8192
    static let multiboot2Reach = 32768

    /// The sizes of floppies in KiB, from 5.25 inch with one side to 3.5 inch ED.
    static let floppySizes: [UInt64] = [160, 180, 320, 360, 720, 1200, 1440, 1680, 1720, 2880]
    static let largestFloppy: UInt64 = 2880 << 10

    /// - Throws: where the image cannot be read, or is packed so that nothing can run it.
    static func identify(_ image: ImageBytes) throws(MachineError) -> ImageIdentity {
        let head = try image.read(0, multiboot2Reach)
        try refuseContainers(head, image.name)
        if head.starts(with: ELFFile.magic) { return try identifyELF(image, head) }
        if let linux = LinuxHeader(head) {
            return ImageIdentity(
                .bzimage, ["HdrS, boot protocol \(linux.version >> 8).\(padded(linux.version))"])
        }
        if let iso = try identifyISO(image) { return iso }
        if image.size <= UInt64(GuestImage.sectorSize), multiboot(head) == nil {
            return ImageIdentity(.boot, mark(head))
        }
        if let drive = identifyDrive(image.size, head) { return drive }
        return multiboot(head) ?? ImageIdentity(.flat, ["\(image.size) bytes"])
    }

    private static func padded(_ version: UInt16) -> String {
        let minor = "\(version & 0xFF)"
        return minor.count < 2 ? "0" + minor : minor
    }

    private static func hasMark(_ head: [UInt8]) -> Bool { head.word(at: 510) == 0xAA55 }

    private static func mark(_ head: [UInt8]) -> [String] {
        [hasMark(head) ? "55 AA at 510" : "without the mark 55 AA, which a BIOS asks for"]
    }

    /// What is known to hold an image in another form.
    private static func refuseContainers(_ head: [UInt8], _ name: String) throws(MachineError) {
        let packed: [(mark: [UInt8], words: String, tool: String)] = [
            ([0x1F, 0x8B, 8], "compressed with gzip", "gunzip"),
            ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], "compressed with xz", "unxz"),
            ([0x28, 0xB5, 0x2F, 0xFD], "compressed with zstd", "unzstd"),
            ([0x42, 0x5A, 0x68], "compressed with bzip2", "bunzip2"),
            ([0x51, 0x46, 0x49, 0xFB], "a qcow2 image", "qemu-img convert -O raw"),
            ([0x4B, 0x44, 0x4D, 0x56], "a VMDK image", "qemu-img convert -O raw"),
            (Array("vhdxfile".utf8), "a VHDX image", "qemu-img convert -O raw"),
        ]
        guard let found = packed.first(where: { head.starts(with: $0.mark) }), !hasMark(head) else { return }
        throw MachineError(
            .unsupported, "\(name) is \(found.words), and raw images are what can be run",
            remedy: "make one with `\(found.tool)`")
    }

    // MARK: kernels

    private static func identifyELF(_ image: ImageBytes, _ head: [UInt8]) throws(MachineError)
        -> ImageIdentity
    {
        let file = try ELFFile(image)
        let facts = ["\(file.is64Bit ? 64 : 32)-bit, entry \(hex(file.entry))"]
        let notes = try file.notes(image)
        let hasPVH = notes.contains { $0.isPVHEntry }
        if hasPVH || notes.contains(where: { $0.owner == "Linux" }) {
            return ImageIdentity(.vmlinux, facts + (hasPVH ? ["with a PVH entry"] : []))
        }
        if let kernel = multiboot(head) { return ImageIdentity(kernel.kind, facts + kernel.evidence) }
        return ImageIdentity(.elf, facts)
    }

    /// Multiboot 2 before Multiboot: a kernel with both means the newer.
    private static func multiboot(_ head: [UInt8]) -> ImageIdentity? {
        if let place = multiboot2Header(head) {
            return ImageIdentity(.multiboot2, ["header at \(hex(UInt64(place)))"])
        }
        return multibootHeader(head).map { ImageIdentity(.multiboot, ["header at \(hex(UInt64($0)))"]) }
    }

    /// Where the Multiboot header is: magic, flags and a checksum that makes the sum 0.
    static func multibootHeader(_ head: [UInt8]) -> Int? {
        stride(from: 0, to: min(head.count, multibootReach), by: 4).first { place in
            guard head.long(at: place) == 0x1BAD_B002, let flags = head.long(at: place + 4),
                let checksum = head.long(at: place + 8)
            else { return false }
            return 0x1BAD_B002 &+ flags &+ checksum == 0
        }
    }

    /// Where the Multiboot 2 header is, for i386: magic, architecture, length and checksum.
    static func multiboot2Header(_ head: [UInt8]) -> Int? {
        stride(from: 0, to: min(head.count, multiboot2Reach), by: 8).first { place in
            guard head.long(at: place) == 0xE852_50D6, let architecture = head.long(at: place + 4),
                let length = head.long(at: place + 8), let checksum = head.long(at: place + 12)
            else { return false }
            return architecture == 0 && 0xE852_50D6 &+ length &+ checksum == 0
        }
    }

    // MARK: drives

    /// The volume descriptors begin at sector 16, each 2,048 bytes (ECMA-119, 8); El Torito's record is the second
    /// (El Torito 1.0, 2.0).
    private static func identifyISO(_ image: ImageBytes) throws(MachineError) -> ImageIdentity? {
        let primary = try image.read(16 * 2048, 6)
        guard primary.count == 6, primary[0] == 1, primary[1...].elementsEqual("CD001".utf8) else {
            return nil
        }
        let record = try image.read(17 * 2048, 75)
        let boots =
            record.count == 75 && record[0] == 0 && record[1...5].elementsEqual("CD001".utf8)
            && record[7..<30].elementsEqual("EL TORITO SPECIFICATION".utf8)
        return ImageIdentity(
            .iso,
            [
                boots
                    ? "with an El Torito boot record"
                    : "without an El Torito boot record: nothing boots from it"
            ])
    }

    private static func identifyDrive(_ size: UInt64, _ head: [UInt8]) -> ImageIdentity? {
        let facts = ["\(size) bytes"] + mark(head)
        let isFloppySize = size % 1024 == 0 && floppySizes.contains(size / 1024)
        if isFloppySize, isFAT(head) { return ImageIdentity(.floppy, facts + ["FAT"]) }
        if head.count > 520, head[512..<520].elementsEqual("EFI PART".utf8) {
            return ImageIdentity(.disk, facts + ["GPT"])
        }
        let partitions = partitions(head)
        if partitions > 0 {
            return ImageIdentity(
                .disk, facts + ["\(partitions) partition\(partitions == 1 ? "" : "s")"])
        }
        if isFloppySize { return ImageIdentity(.floppy, facts) }
        guard hasMark(head) else { return nil }
        return ImageIdentity(size <= largestFloppy ? .floppy : .disk, facts + ["no partition table"])
    }

    /// A BIOS parameter block: 512-byte sectors, a cluster size that is a power of two, a media byte.
    private static func isFAT(_ head: [UInt8]) -> Bool {
        guard let sector = head.word(at: 11), let cluster = head.byte(at: 13), let media = head.byte(at: 21)
        else { return false }
        return sector == 512 && cluster.nonzeroBitCount == 1 && media >= 0xF0
    }

    /// How many partitions the table at 446 has; 0 where it is none: each of its four rows must make sense.
    private static func partitions(_ head: [UInt8]) -> Int {
        guard hasMark(head) else { return 0 }
        var used = 0
        for row in stride(from: 446, to: 510, by: 16) {
            guard head[row] & 0x7F == 0, let start = head.long(at: row + 8),
                let count = head.long(at: row + 12)
            else { return 0 }
            if head[row + 4] == 0 { continue }
            guard start > 0, count > 0 else { return 0 }
            used += 1
        }
        return used
    }
}

extension ELFFile.Note {
    /// XEN_ELFNOTE_PHYS32_ENTRY: where a PVH guest starts, in 32-bit protected mode without paging
    /// (Linux, include/xen/interface/elfnote.h).
    var isPVHEntry: Bool { owner == "Xen" && type == 18 && bytes.count >= 4 }
}
