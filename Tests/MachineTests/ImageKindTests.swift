import DebugTarget
import Testing

@testable import Machine

/// Images made of the marks that tell what they are.
struct MadeImage: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var bytes: [UInt8]

    init(_ name: String, size: Int, _ make: (inout [UInt8]) -> Void) {
        testDescription = name
        bytes = [UInt8](repeating: 0, count: size)
        make(&bytes)
    }

    static func mark(_ bytes: inout [UInt8]) { bytes.put(UInt16(0xAA55), at: 510) }

    static func fat(_ bytes: inout [UInt8]) {
        mark(&bytes)
        bytes.put(UInt16(512), at: 11)
        bytes[13] = 1
        bytes[21] = 0xF0
    }

    static func partition(
        _ bytes: inout [UInt8], status: UInt8 = 0x80, type: UInt8 = 0x83, start: UInt32 = 63
    ) {
        mark(&bytes)
        bytes[446] = status
        bytes[450] = type
        bytes.put(start, at: 454)
        bytes.put(UInt32(1000), at: 458)
    }

    static func multiboot(_ bytes: inout [UInt8], at place: Int, flags: UInt32 = 0) {
        bytes.put(UInt32(0x1BAD_B002), at: place)
        bytes.put(flags, at: place + 4)
        bytes.put(0 &- 0x1BAD_B002 &- flags, at: place + 8)
    }

    static func multiboot2(_ bytes: inout [UInt8], at place: Int) {
        bytes.put(UInt32(0xE852_50D6), at: place)
        bytes.put(UInt32(24), at: place + 8)
        bytes.put(0 &- UInt32(0xE852_50D6) &- 24, at: place + 12)
        bytes.put(UInt32(8), at: place + 20)
    }

    /// A header, and program headers at 64 (or 52).
    static func elf(_ bytes: inout [UInt8], is64: Bool, segments: Int = 0) {
        bytes.replaceSubrange(0..<7, with: ELFFile.magic + [is64 ? 2 : 1, 1, 1])
        bytes.put(UInt16(2), at: 16)
        bytes.put(UInt16(is64 ? 62 : 3), at: 18)
        if is64 {
            bytes.put(UInt64(0x10_0000), at: 24)
            bytes.put(UInt64(64), at: 32)
            bytes.put(UInt16(56), at: 54)
            bytes.put(UInt16(segments), at: 56)
        } else {
            bytes.put(UInt32(0x10_0000), at: 24)
            bytes.put(UInt32(52), at: 28)
            bytes.put(UInt16(32), at: 42)
            bytes.put(UInt16(segments), at: 44)
        }
    }

    static func note(_ bytes: inout [UInt8], owner: String, type: UInt32) {
        elf(&bytes, is64: true, segments: 1)
        bytes.put(UInt32(4), at: 64)
        bytes.put(UInt64(200), at: 72)
        bytes.put(UInt64(28), at: 96)
        bytes.put(UInt32(owner.utf8.count + 1), at: 200)
        bytes.put(UInt32(8), at: 204)
        bytes.put(type, at: 208)
        bytes.replaceSubrange(212..<212 + owner.utf8.count, with: owner.utf8)
    }

    static func linux(_ bytes: inout [UInt8]) {
        mark(&bytes)
        bytes[0x1F1] = 3
        bytes[0x201] = 0x6A
        bytes.put(UInt32(0x5372_6448), at: 0x202)
        bytes.put(UInt16(0x20F), at: 0x206)
    }

    static func iso(_ bytes: inout [UInt8], boots: Bool) {
        bytes[0x8000] = 1
        bytes.replaceSubrange(0x8001..<0x8006, with: "CD001".utf8)
        guard boots else { return }
        bytes.replaceSubrange(0x8801..<0x8806, with: "CD001".utf8)
        bytes.replaceSubrange(0x8807..<0x881E, with: "EL TORITO SPECIFICATION".utf8)
    }
}

struct ImageKindTests {
    @Test(
        arguments: [
            (.boot, MadeImage("a sector", size: 512, MadeImage.mark)),
            (.boot, MadeImage("three bytes", size: 3) { _ in }),
            (.floppy, MadeImage("1.44 MB", size: 1440 << 10, MadeImage.fat)),
            (.floppy, MadeImage("1.44 MB, nothing on it", size: 1440 << 10) { _ in }),
            (.floppy, MadeImage("two sectors of somebody's system", size: 1024, MadeImage.mark)),
            // A FAT floppy whose boot code looks like a table.
            (
                .floppy,
                MadeImage("1.44 MB and a table", size: 1440 << 10) {
                    MadeImage.partition(&$0)
                    MadeImage.fat(&$0)
                }
            ),
            (.disk, MadeImage("partitioned", size: 4096) { MadeImage.partition(&$0) }),
            (.disk, MadeImage("unpartitioned", size: 4 << 20, MadeImage.fat)),
            (.disk, MadeImage("GPT", size: 4096) { $0.replaceSubrange(512..<520, with: "EFI PART".utf8) }),
            // Tables that lie are none.
            (.floppy, MadeImage("a status of 7F", size: 4096) { MadeImage.partition(&$0, status: 0x7F) }),
            (
                .floppy,
                MadeImage("a partition over the table", size: 4096) { MadeImage.partition(&$0, start: 0) }
            ),
            (.iso, MadeImage("El Torito", size: 1 << 16) { MadeImage.iso(&$0, boots: true) }),
            (.iso, MadeImage("data", size: 1 << 16) { MadeImage.iso(&$0, boots: false) }),
            (
                .iso,
                MadeImage("isohybrid", size: 1 << 16) {
                    MadeImage.partition(&$0)
                    MadeImage.iso(&$0, boots: true)
                }
            ),
            (.elf, MadeImage("ELF 64", size: 200) { MadeImage.elf(&$0, is64: true) }),
            (.elf, MadeImage("ELF 32", size: 200) { MadeImage.elf(&$0, is64: false) }),
            (
                .multiboot,
                MadeImage("ELF with a header", size: 512) {
                    MadeImage.elf(&$0, is64: false)
                    MadeImage.multiboot(&$0, at: 0x100)
                }
            ),
            (
                .multiboot,
                MadeImage("a header alone", size: 64) { MadeImage.multiboot(&$0, at: 0, flags: 1 << 16) }
            ),
            (
                .multiboot,
                MadeImage("at the end of its reach", size: 1 << 14) { MadeImage.multiboot(&$0, at: 8180) }
            ),
            (.flat, MadeImage("beyond its reach", size: 1 << 14) { MadeImage.multiboot(&$0, at: 8192) }),
            (.flat, MadeImage("not aligned", size: 1 << 14) { MadeImage.multiboot(&$0, at: 1026) }),
            (
                .flat,
                MadeImage("a wrong sum", size: 1 << 14) {
                    MadeImage.multiboot(&$0, at: 1024)
                    $0[1032] ^= 1
                }
            ),
            (.multiboot2, MadeImage("Multiboot 2", size: 1 << 15) { MadeImage.multiboot2(&$0, at: 32744) }),
            (
                .multiboot2,
                MadeImage("both", size: 1 << 14) {
                    MadeImage.multiboot(&$0, at: 0)
                    MadeImage.multiboot2(&$0, at: 64)
                }
            ),
            // GRUB's core has the header, and stands on a disk.
            (
                .disk,
                MadeImage("a disk with GRUB", size: 1 << 14) {
                    MadeImage.partition(&$0)
                    MadeImage.multiboot(&$0, at: 1024)
                }
            ),
            (.bzimage, MadeImage("bzImage", size: 4096, MadeImage.linux)),
            (
                .bzimage,
                MadeImage("bzImage on a floppy", size: 1440 << 10) {
                    MadeImage.fat(&$0)
                    MadeImage.linux(&$0)
                }
            ),
            (.vmlinux, MadeImage("PVH", size: 512) { MadeImage.note(&$0, owner: "Xen", type: 18) }),
            (
                .vmlinux,
                MadeImage("Linux's note", size: 512) { MadeImage.note(&$0, owner: "Linux", type: 0x100) }
            ),
            (.elf, MadeImage("a program's note", size: 512) { MadeImage.note(&$0, owner: "GNU", type: 1) }),
            (.flat, MadeImage("zeros", size: 1 << 20) { _ in }),
        ] as [(ImageKind, MadeImage)])
    func kinds(_ kind: ImageKind, _ image: MadeImage) throws {
        let found = try ImageDetection.identify(ImageBytes(name: "x", image.bytes))
        #expect(found.kind == kind, "\(found)")
        #expect(found.description.hasPrefix(kind.words))
    }

    @Test(
        arguments: [
            ("gunzip", [0x1F, 0x8B, 8, 0]), ("unxz", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]),
            ("unzstd", [0x28, 0xB5, 0x2F, 0xFD]),
            ("qemu-img", [0x51, 0x46, 0x49, 0xFB]),
        ] as [(String, [UInt8])])
    func containersAreRefused(_ tool: String, _ bytes: [UInt8]) {
        let error = #expect(throws: MachineError.self) {
            try ImageDetection.identify(ImageBytes(name: "x", bytes + [UInt8](repeating: 0, count: 1000)))
        }
        #expect(error?.code == .unsupported)
        #expect(error?.remedy?.contains(tool) == true)
    }

    /// Each cut of each image, and each with a byte of its first kilobyte changed, is something or is refused.
    @Test func damagedImagesAreSomethingOrRefused() {
        let made = [
            MadeImage("note", size: 512) { MadeImage.note(&$0, owner: "Xen", type: 18) },
            MadeImage("elf", size: 256) { MadeImage.elf(&$0, is64: false, segments: 3) },
            MadeImage("linux", size: 1024, MadeImage.linux),
            MadeImage("disk", size: 1024) { MadeImage.partition(&$0) },
        ]
        for image in made {
            for end in 1..<image.bytes.count {
                _ = try? ImageDetection.identify(ImageBytes(name: "x", Array(image.bytes[..<end])))
            }
            for place in image.bytes.indices {
                for value in [0, 1, 0x7F, 0x80, 0xFF] as [UInt8] {
                    var bytes = image.bytes
                    bytes[place] = value
                    _ = try? ImageDetection.identify(ImageBytes(name: "x", bytes))
                }
            }
        }
    }

    @Test(
        arguments: [
            ("class", 4, 3), ("big-endian", 5, 2), ("a core file", 16, 4), ("ARM", 18, 40),
            ("headers beyond the end", 33, 0xFF), ("headers of one byte", 54, 1), ("65535 headers", 57, 0xFF),
        ] as [(String, Int, UInt8)])
    func damagedELFIsRefused(_ what: String, _ place: Int, _ value: UInt8) {
        let image = MadeImage("elf", size: 512) {
            MadeImage.elf(&$0, is64: true, segments: 2)
            $0[place] = value
        }
        let error = #expect(throws: MachineError.self, "\(what)") {
            try ImageDetection.identify(ImageBytes(name: "x", image.bytes))
        }
        #expect(error?.code == .malformed)
    }

    /// A note that says it is longer than its segment ends the list.
    @Test func notesEndWithTheirSegment() throws {
        var image = MadeImage("note", size: 512) { MadeImage.note(&$0, owner: "Xen", type: 18) }
        image.bytes.put(UInt32.max, at: 200)
        let bytes = ImageBytes(name: "x", image.bytes)
        #expect(try ELFFile(bytes).notes(bytes).isEmpty)
    }

    private var small: MachineConfiguration {
        var small = MachineConfiguration()
        small.ramSize = 1 << 20
        return small
    }

    @Test func whatWasSaidCounts() throws {
        let folder = try Folder()
        let path = try folder.file("a", MadeImage("x", size: 512) { MadeImage.elf(&$0, is64: true) }.bytes)
        #expect(
            try ImageRequest(path: path, kind: .boot).load(small).entry == .bootSector(drive: 0x80)
        )
        let flat = try ImageRequest(path: path, kind: .flat).load(small)
        #expect(flat.parts.map(\.address) == [0x7C00])
        #expect(flat.identity?.kind == .flat)
        let moved = try ImageRequest(path: path, address: 0x2000).load(small)
        #expect(moved.parts.map(\.address) == [0x2000])
    }

    @Test func unknownBytesAreRefusedWithTheWayOut() throws {
        let folder = try Folder()
        let path = try folder.file("a", [UInt8](repeating: 0x90, count: 513))
        let error = #expect(throws: MachineError.self) { try ImageRequest(path: path).load(small) }
        #expect(error?.code == .unsupported)
        #expect(error?.advice == .loadFlat)
    }

    @Test(arguments: ["/dev/zero", "/dev/null", "/none", "/"])
    func whatIsNoImageIsRefused(_ path: String) {
        let error = #expect(throws: MachineError.self) { try ImageRequest(path: path).load(small) }
        #expect(error?.code == .unreadable)
    }
}
