import DebugTarget
import Glibc
import SystemPackage
import Testing

@testable import Machine

/// A directory that goes with the test.
struct Folder: ~Copyable {
    let path: String

    init() throws {
        var template = Array("/tmp/kvmscope-test-XXXXXX".utf8CString)
        // SAFETY: the template is writable and ends in zero, as mkdtemp wants it.
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        try #require(made)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func file(_ name: String, _ bytes: [UInt8], permissions: FilePermissions = .ownerReadWrite) throws
        -> String
    {
        let path = path + "/" + name
        let file = try FileDescriptor.open(
            FilePath(path), .writeOnly, options: [.create, .truncate], permissions: permissions)
        try file.closeAfter { _ = try file.writeAll(bytes) }
        return path
    }

    deinit {
        for name in ["a", "b"] { unlink(path + "/" + name) }
        rmdir(path)
    }
}

struct ImageTests {
    @Test func bootSector() throws {
        let folder = try Folder()
        let bytes = [UInt8](repeating: 0x90, count: 512)
        let plain = try GuestImage.bootSector(path: folder.file("a", bytes))
        #expect(plain.entry == .bootSector(drive: 0x80))
        #expect(plain.parts == [GuestImage.Part("boot sector", at: 0x7C00, bytes)])
    }

    @Test func bootSectorTooLarge() throws {
        let folder = try Folder()
        let path = try folder.file("a", [UInt8](repeating: 0, count: 513))
        let error = #expect(throws: MachineError.self) { try GuestImage.bootSector(path: path) }
        #expect(error?.code == .oversized)
        #expect(error?.advice == .loadFlat)
    }

    @Test func badFiles() throws {
        let folder = try Folder()
        let empty = try folder.file("a", [])
        #expect(throws: MachineError.self) { try GuestImage.bootSector(path: empty) }
        func code(_ path: String, at address: UInt64 = 0x1000, ramSize: UInt64 = 1 << 20) -> MachineError
            .Code?
        {
            do {
                _ = try GuestImage.flat(path: path, at: address, ramSize: ramSize)
                return nil
            } catch { return error.code }
        }
        #expect(code(empty) == .empty)
        #expect(code(folder.path) == .unreadable)
        #expect(code(folder.path + "/none") == .unreadable)
        #expect(code(folder.path + "/a/b") == .unreadable)
        // A device without end is read no further than there is room.
        #expect(code("/dev/zero") == .oversized)
        #expect(code("/dev/null") == .empty)
        let two = try folder.file("b", [1, 2])
        #expect(code(two) == nil)
        #expect(code(two, at: 0x1FFF, ramSize: 0x2000) == .oversized)
        #expect(code(two, at: 0x2000, ramSize: 0x2000) == .oversized)
    }

    /// A file that cannot fit costs nothing, however large it is, and the remedy is one that helps.
    @Test func fileTooLarge() throws {
        let folder = try Folder()
        let path = try folder.file("a", [1])
        try #require(truncate(path, 1 << 42) == 0)
        func description(at address: UInt64, ramSize: UInt64) -> String? {
            #expect(throws: MachineError.self) {
                try GuestImage.flat(path: path, at: address, ramSize: ramSize)
            }?.description
        }
        #expect(
            description(at: 0x1000, ramSize: 64 << 20)
                == "\(path) has 4398046511104 bytes, and from 0x1000 on there are 67104768 bytes of RAM; "
                + "give more memory with -m")
        #expect(
            description(at: 0x1000, ramSize: 4 << 30)
                == "\(path) has 4398046511104 bytes, and from 0x1000 on there are 3221221376 bytes of RAM; "
                + "RAM ends at 0xc0000000, where devices begin; give a lower address")
        #expect(
            description(at: 0xC000_0000, ramSize: 4 << 30)?.hasSuffix(
                "0xc0000000 to 0xffffffff belongs to devices; give another address") == true)
        let endless = #expect(throws: MachineError.self) { try GuestImage.bootSector(path: "/dev/zero") }
        #expect(
            endless?.description
                == "/dev/zero is more than 512 bytes, and a boot sector has 512 at most; give a file")
    }

    @Test func pipeIsRefusedAtOnce() throws {
        let folder = try Folder()
        try #require(mkfifo(folder.path + "/a", 0o600) == 0)
        let error = #expect(throws: MachineError.self) {
            try GuestImage.flat(path: folder.path + "/a", at: 0, ramSize: 4096)
        }
        #expect(error?.code == .unreadable)
    }

    @Test(.enabled(if: geteuid() != 0, "root may read everything"))
    func forbiddenFile() throws {
        let folder = try Folder()
        let path = try folder.file("a", [1], permissions: [])
        let error = #expect(throws: MachineError.self) {
            try GuestImage.flat(path: path, at: 0, ramSize: 4096)
        }
        #expect(error?.description.contains("permission") == true)
    }

    @Test(arguments: [
        (UInt64(0x7C00), GuestImage.Entry.realMode(segment: 0, offset: 0x7C00)),
        (0x17C00, .realMode(segment: 0x1000, offset: 0x7C00)),
        (0xFFFFF, .realMode(segment: 0xF000, offset: 0xFFFF)),
        (0x100000, .protectedMode(0x100000)), (0xFFFF_FFFF, .protectedMode(0xFFFF_FFFF)),
    ])
    func entryOfAnAddress(address: UInt64, entry: GuestImage.Entry) {
        #expect(GuestImage.Entry.at(address) == entry)
        #expect(entry.address == address)
    }

    @Test func noEntryBeyond4GiB() {
        #expect(GuestImage.Entry.at(1 << 32) == nil)
        #expect(throws: MachineError.self) { try GuestImage(name: "x", bytes: [0x90], at: 1 << 32) }
    }
}

struct ConfigurationTests {
    private func configuration(ram: UInt64, at address: UInt64 = 0x7C00, size: Int = 512) throws
        -> MachineConfiguration
    {
        var configuration = MachineConfiguration()
        configuration.ramSize = ram
        configuration.image = try GuestImage(
            name: "x", bytes: [UInt8](repeating: 0, count: size), at: address, entry: 0)
        return configuration
    }

    @Test func ramHasAHole() throws {
        #expect(try RAMLayout(size: 64 << 20).ranges == [0..<64 << 20])
        #expect(try RAMLayout(size: 3 << 30).ranges == [0..<3 << 30])
        let large = try RAMLayout(size: 5 << 30)
        #expect(large.ranges == [0..<3 << 30, 4 << 30..<6 << 30])
    }

    @Test(arguments: [0, 1, 4095, 4097, UInt64.max, 1 << 62])
    func badRAM(size: UInt64) {
        #expect(throws: MachineError.self) { try RAMLayout(size: size) }
    }

    @Test func imageMustFit() throws {
        #expect(try configuration(ram: 0x8000).check().ranges == [0..<0x8000])
        #expect(throws: MachineError.self) { try configuration(ram: 0x8000, size: 0x401).check() }
        #expect(throws: MachineError.self) { try configuration(ram: 0x7000).check() }
        // In the hole, and across its start.
        #expect(throws: MachineError.self) { try configuration(ram: 4 << 30, at: 0xD000_0000).check() }
        #expect(throws: MachineError.self) { try configuration(ram: 4 << 30, at: 0xBFFF_FFFF).check() }
        #expect(throws: MachineError.self) { try configuration(ram: 4 << 30, at: .max).check() }
    }

    @Test func vcpusMustBe() {
        var configuration = MachineConfiguration()
        configuration.vcpus = 0
        #expect(throws: MachineError.self) { try configuration.check() }
    }
}
