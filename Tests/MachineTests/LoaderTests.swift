import DebugTarget
import Testing
import X86

@testable import Machine

/// What loaders put where, and what they refuse, without KVM.
struct LoaderTests {
    private func error(_ make: () throws -> GuestImage) -> MachineError? {
        #expect(throws: MachineError.self) { try make() }
    }

    // MARK: ELF

    @Test func anELFProgramGoesWhereItSays() throws {
        var elf = MadeELF.one([0xF4, 1, 2], at: 0x10_0000, virtual: 0xFFFF_8000_0010_0000)
        elf.segments[0].memorySize = 0x3000
        elf.segments.append(.init(physical: 0x20_0000, virtual: 0x20_0000, bytes: [7]))
        elf.entry += 1
        let image = try loaded(elf.bytes)
        #expect(image.parts.filter { $0.name == "segment" }.map(\.address) == [0x10_0000, 0x20_0000])
        #expect(image.part("segment")?.bytes == [0xF4, 1, 2])
        let start = try #require(image.start)
        // A virtual entry is looked up in the segments.
        #expect(start.address == 0x10_0001)
        let tables = try #require(image.part("page tables"))
        #expect(start.mode == .long(pageTables: tables.address))
        #expect(tables.bytes.quad(at: 0) == tables.address + 4096 | 3)
        // The last page of 2 MiB of the four GiB.
        #expect(tables.bytes.quad(at: 6 * 4096 - 8) == 0xFFE0_0083)
        // Nothing lies on anything else.
        let ranges = image.parts.map { $0.address..<$0.address + UInt64($0.bytes.count) }
        for (index, one) in ranges.enumerated() {
            for other in ranges[(index + 1)...] { #expect(!one.overlaps(other)) }
        }
    }

    @Test func modesOfAnELFProgram() throws {
        let high = MadeELF.one([0xF4], at: 0x10_0000).bytes
        #expect(try loaded(high, entry: .prot).start?.mode == .protected)
        #expect(error { try loaded(high, entry: .real) }?.advice == .chooseEntry)
        let low = MadeELF.one([0xF4], at: 0x1_8000, is64: false).bytes
        #expect(try loaded(low).start?.mode == .protected)
        #expect(try loaded(low, entry: .real).start?.mode == .real([.cs: 0x1000]))
        #expect(try loaded(low, entry: .real).start?.address == 0x1_8000)
        #expect(error { try loaded(low, entry: .long) }?.advice == .chooseEntry)
        #expect(error { try loaded(low, commandLine: "x") }?.code == .unsupported)
    }

    @Test(
        arguments: [
            ("no segment", MadeELF(entry: 0x10_0000, segments: []), .malformed),
            (
                "an entry nowhere",
                MadeELF(entry: 0x50_0000, segments: MadeELF.one([1], at: 0x10_0000).segments), .malformed
            ),
            ("outside of RAM", MadeELF.one([1], at: 1 << 40), .oversized),
            ("in the hole", MadeELF.one([1], at: 0xFEE0_0000), .oversized),
            ("at the end of addresses", MadeELF.one([1, 2], at: .max), .oversized),
            (
                "more memory than there is",
                MadeELF(
                    entry: 0x10_0000,
                    segments: [.init(physical: 0x10_0000, virtual: 0x10_0000, bytes: [1], memorySize: .max)]),
                .oversized
            ),
            (
                "more in the file than in memory",
                MadeELF(
                    entry: 0x10_0000,
                    segments: [.init(physical: 0x10_0000, virtual: 0x10_0000, bytes: [1, 2], memorySize: 1)]),
                .malformed
            ),
            (
                "beyond the file's end",
                MadeELF(
                    entry: 0x10_0000,
                    segments: [
                        .init(
                            physical: 0x10_0000, virtual: 0x10_0000, bytes: [1], memorySize: 4096,
                            fileSize: 4096)
                    ]),
                .malformed
            ),
            (
                "one on the other",
                MadeELF(
                    entry: 0x10_0000,
                    segments: [
                        .init(physical: 0x10_0000, virtual: 0x10_0000, bytes: [1], memorySize: 4096),
                        .init(physical: 0x10_0FFF, virtual: 0x10_0FFF, bytes: [1]),
                    ]), .malformed
            ),
        ] as [(String, MadeELF, MachineError.Code)])
    func damagedELFPrograms(_ what: String, _ elf: MadeELF, _ code: MachineError.Code) {
        #expect(error { try loaded(elf.bytes) }?.code == code, "\(what)")
    }

    /// All of RAM is the program's: no room for the page tables.
    @Test func noRoomIsSaid() {
        let elf = MadeELF(
            entry: 0x1000,
            segments: [.init(physical: 0x1000, virtual: 0x1000, bytes: [1], memorySize: (1 << 20) - 0x1000)])
        #expect(error { try loaded(elf.bytes, ram: 1 << 20) }?.message.contains("page tables") == true)
    }

    // MARK: Multiboot

    @Test func multibootSaysWhereItsFileGoes() throws {
        let image = try loaded(kernel("multiboot"), commandLine: "one two")
        #expect(image.identity == nil)
        #expect(image.part("kernel")?.address == 0x10_0000)
        let start = try #require(image.start)
        #expect(start.mode == .protected)
        #expect(start.registers[.rax] == 0x2BAD_B002)
        let info = try #require(image.part("Multiboot information"))
        #expect(start.registers[.rbx] == info.address)
        let line = Int(try #require(info.bytes.long(at: 16))) - Int(info.address)
        #expect(info.bytes[line...].prefix(8).elementsEqual("one two\0".utf8))
    }

    @Test(
        arguments: [
            ("video and a flag of 0x10", 4, UInt32(0x1_0013), .unsupported),
            ("a header before the kernel", 12, 0xF_0000, .malformed),
            ("a header far behind its start", 16, 0x1000, .malformed),
            ("an end before the start", 20, 0x1000, .malformed),
            ("an end beyond the file", 20, 0x80_0000, .malformed),
            ("zeroes that end too early", 24, 0x10_0001, .malformed),
            ("zeroes beyond RAM", 24, 0xFFFF_FFFF, .oversized),
            ("an entry outside", 28, 0x20_0000, .malformed),
        ] as [(String, Int, UInt32, MachineError.Code)])
    func damagedMultiboot(_ what: String, _ place: Int, _ value: UInt32, _ code: MachineError.Code) {
        var bytes = kernel("multiboot")
        bytes.put(value, at: place)
        if place == 4 { bytes.put(0 &- 0x1BAD_B002 &- value, at: 8) }
        #expect(error { try loaded(bytes, .multiboot) }?.code == code, "\(what)")
    }

    @Test func multibootIsProtectedMode() {
        #expect(error { try loaded(kernel("multiboot"), entry: .long) }?.advice == .chooseEntry)
        #expect(error { try loaded([1, 2, 3], .multiboot) }?.code == .malformed)
        #expect(error { try loaded([1, 2, 3], .multiboot2) }?.code == .malformed)
    }

    @Test(
        arguments: [
            ("a tag beyond the header", 20, UInt32(4096), .malformed),
            ("a tag of no size", 20, 0, .malformed),
            // The information request, at 56, asks for what is not given.
            ("EFI's tables", 64, 12, .unsupported),
        ] as [(String, Int, UInt32, MachineError.Code)])
    func damagedMultiboot2(_ what: String, _ place: Int, _ value: UInt32, _ code: MachineError.Code) {
        var bytes = kernel("multiboot2")
        bytes.put(value, at: place)
        #expect(error { try loaded(bytes) }?.code == code, "\(what)")
    }

    @Test func multiboot2TellsInTags() throws {
        let image = try loaded(kernel("multiboot2"), vcpus: 2, hasAPICs: true, commandLine: "hello")
        #expect(image.start?.registers[.rax] == 0x36D7_6289)
        let info = try #require(image.part("Multiboot information")).bytes
        #expect(info.long(at: 0) == UInt32(info.count))
        var types: [UInt32] = []
        var place = 8
        while let type = info.long(at: place), let size = info.long(at: place + 4) {
            types.append(type)
            if type == 0 { break }
            place += (Int(size) + 7) & ~7
        }
        #expect(types == [1, 2, 4, 6, 8, 14, 15, 0])
        #expect(place + 8 == info.count)
    }

    // MARK: Linux

    @Test func linuxGetsItsParameters() throws {
        let folder = try Folder()
        let disk = try folder.file("a", [UInt8](repeating: 9, count: 5000))
        let image = try loaded(kernel("bzimage"), commandLine: "console=ttyS0", initrd: disk)
        let start = try #require(image.start)
        #expect(image.part("kernel")?.address == 0x100_0000)
        #expect(start.address == 0x100_0200)
        #expect((start.code, start.data) == (0x10, 0x18))
        let page = try #require(image.part("boot_params"))
        #expect(start.registers[.rsi] == page.address)
        #expect(page.bytes.count == 4096)
        #expect(page.bytes.long(at: 0x202) == 0x5372_6448)
        #expect(page.bytes[0x210] == 0xFF)
        #expect(page.bytes.long(at: 0x228).map(UInt64.init) == image.part("command line")?.address)
        let module = try #require(image.part("initrd"))
        #expect(page.bytes.long(at: 0x218).map(UInt64.init) == module.address)
        #expect(page.bytes.long(at: 0x21C) == 5000)
        // As high as it may be.
        #expect(module.address + 8192 == 64 << 20)
        // e820: base memory, firmware, all above 1 MiB.
        #expect(page.bytes[0x1E8] == 3)
        #expect(page.bytes.quad(at: 0x2D0) == 0 && page.bytes.quad(at: 0x2D8) == 0x9FC00)
        #expect(page.bytes.long(at: 0x2D0 + 36) == 2)
        #expect(page.bytes.quad(at: 0x2D0 + 48) == (64 << 20) - 0x10_0000)
        #expect(page.bytes.quad(at: 0x70) == 0xE0000)
    }

    @Test func linuxGoesLowWhereItHasTo() throws {
        // What it prefers is beyond this RAM.
        let image = try loaded(kernel("bzimage"), ram: 8 << 20)
        #expect(image.part("kernel")?.address == 0x20_0000)
        #expect(try loaded(kernel("bzimage"), entry: .prot).start?.mode == .protected)
        let real = try loaded(kernel("bzimage"), entry: .real)
        #expect(real.start?.address == 0x9_0200)
        #expect(real.part("kernel")?.address == 0x10_0000)
    }

    @Test(
        arguments: [
            ("zImage", 0x211, [0], .unsupported), ("no setup sectors left", 0x1F1, [200], .malformed),
            ("more kernel than file", 0x1F4, [0xFF, 0xFF, 0xFF, 0x7F], .malformed),
            ("an alignment of 3 MiB", 0x230, [0, 0, 0x30, 0], .malformed),
            ("more room than RAM", 0x260, [0xFF, 0xFF, 0xFF, 0xFF], .oversized),
        ] as [(String, Int, [UInt8], MachineError.Code)])
    func damagedLinux(_ what: String, _ place: Int, _ value: [UInt8], _ code: MachineError.Code) {
        var bytes = kernel("bzimage")
        bytes.replaceSubrange(place..<place + value.count, with: value)
        #expect(error { try loaded(bytes) }?.code == code, "\(what)")
    }

    @Test func linuxOptionsAreChecked() throws {
        var old = kernel("bzimage")
        old.put(UInt16(0), at: 0x236)
        #expect(error { try loaded(old, entry: .long) }?.advice == .chooseEntry)
        #expect(try loaded(old).start?.mode == .protected)
        let long = String(repeating: "x", count: 256)
        #expect(error { try loaded(kernel("bzimage"), commandLine: long) }?.message.contains("255") == true)
        #expect(error { try loaded(kernel("bzimage"), initrd: "/none") }?.code == .unreadable)
        let folder = try Folder()
        let disk = try folder.file("a", [UInt8](repeating: 9, count: 9 << 20))
        #expect(error { try loaded(kernel("bzimage"), ram: 8 << 20, initrd: disk) }?.code == .oversized)
    }

    @Test func vmlinuxByBothEntries() throws {
        var elf = MadeELF.one(kernel("pvh"), at: 0x100_0000, virtual: 0xFFFF_FFFF_8100_0000)
        elf.segments.append(MadeELF.note("Xen", 18, [0, 0, 0, 1]))
        elf.segments.append(MadeELF.note("Linux", 0x100, [0, 0, 0, 0]))
        let long = try loaded(elf.bytes)
        #expect(long.start?.address == 0x100_0000)
        #expect(long.start?.registers[.rsi] == long.part("boot_params")?.address)
        let pvh = try loaded(elf.bytes, entry: .prot)
        #expect(pvh.start?.mode == .protected)
        let info = try #require(pvh.part("hvm_start_info"))
        #expect(pvh.start?.registers[.rbx] == info.address)
        #expect(info.bytes.long(at: 0) == 0x336E_C578)
        #expect(error { try loaded(elf.bytes, entry: .real) }?.advice == .chooseEntry)
        elf.segments[1] = MadeELF.note("Xen", 18, [0, 0, 0, 9])
        #expect(error { try loaded(elf.bytes, entry: .prot) }?.code == .malformed)
    }

    // MARK: hostile bytes

    /// Every cut of each kernel, and each with single bytes changed, is loaded inside RAM or refused.
    @Test(arguments: ["multiboot", "multiboot2", "bzimage", "elf64", "pvh"])
    func damagedKernelsAreRefusedOrFit(_ name: String) throws {
        var bytes = kernel(name)
        if name == "elf64" { bytes = MadeELF.one(bytes, at: 0x10_0000).bytes }
        if name == "pvh" {
            var elf = MadeELF.one(bytes, at: 0x10_0000)
            elf.segments.append(MadeELF.note("Xen", 18, [0, 0, 0x10, 0]))
            bytes = elf.bytes
        }
        func check(_ bytes: [UInt8]) {
            guard let image = try? loaded(bytes, ram: 32 << 20) else { return }
            for part in image.parts {
                #expect(part.address + UInt64(part.bytes.count) <= 32 << 20, "\(part.name)")
            }
        }
        check(bytes)
        for end in stride(from: 1, to: bytes.count, by: 3) { check(Array(bytes[..<end])) }
        for place in bytes.indices.prefix(0x280) {
            for value in [0, 1, 0x7F, 0xFF] as [UInt8] {
                var changed = bytes
                changed[place] = value
                check(changed)
            }
        }
    }
}

struct FirmwareTableTests {
    private func context(_ vcpus: Int, hasAPICs: Bool = true, ram: UInt64 = 64 << 20) throws -> LoadContext {
        LoadContext(layout: try RAMLayout(size: ram), vcpus: vcpus, hasAPICs: hasAPICs)
    }

    /// From the RSDP on, as a kernel walks them: each table's sum is 0.
    @Test(arguments: [1, 2, 255, 300, 1024])
    func tablesAreFoundByTheirPointers(_ vcpus: Int) throws {
        let tables = try FirmwareTables(context(vcpus))
        let memory = try #require(tables.parts.first)
        func bytes(_ address: UInt64, _ count: Int) -> ArraySlice<UInt8> {
            let offset = Int(address - memory.address)
            return memory.bytes[offset..<offset + count]
        }
        func table(_ address: UInt64) throws -> ArraySlice<UInt8> {
            let size = Int(try #require(bytes(address, 36).long(at: 4)))
            let all = bytes(address, size)
            #expect(all.reduce(0, &+) == 0)
            return all
        }
        func signature(_ table: ArraySlice<UInt8>) -> String {
            String(decoding: table.prefix(4), as: UTF8.self)
        }
        let root = bytes(tables.rsdp, 36)
        #expect(String(decoding: root.prefix(8), as: UTF8.self) == "RSD PTR ")
        #expect(root.prefix(20).reduce(0, &+) == 0 && root.reduce(0, &+) == 0)
        let extended = try table(try #require(root.quad(at: 24)))
        #expect(signature(extended) == "XSDT")
        let narrow = try table(UInt64(try #require(root.long(at: 16))))
        #expect(signature(narrow) == "RSDT")
        #expect(narrow.long(at: 36).map(UInt64.init) == extended.quad(at: 36))
        let fixed = try table(try #require(extended.quad(at: 36)))
        #expect(signature(fixed) == "FACP")
        #expect(fixed.long(at: 64) == 0x604)
        #expect(fixed.quad(at: 120) == 0xCF9 && fixed.byte(at: 128) == 6)
        #expect(signature(try table(UInt64(try #require(fixed.long(at: 40))))) == "DSDT")
        let processors = try table(try #require(extended.quad(at: 44)))
        #expect(signature(processors) == "APIC")
        var counts: [UInt8: Int] = [:]
        var place = 44
        while let type = processors.byte(at: place), let size = processors.byte(at: place + 1), size > 0 {
            counts[type, default: 0] += 1
            place += Int(size)
        }
        #expect(place == processors.count)
        #expect(counts[0, default: 0] == min(vcpus, 255))
        #expect(counts[9, default: 0] == max(0, vcpus - 255))
        #expect(counts[1] == 1)
        // The MP table.
        let pointer = try #require(tables.parts.last)
        #expect(pointer.address == 0x9FFF0)
        #expect(pointer.bytes.reduce(0, &+) == 0)
        let config = UInt64(try #require(pointer.bytes.long(at: 4)))
        let size = Int(try #require(bytes(config, 44).word(at: 4)))
        let all = bytes(config, size)
        #expect(all.reduce(0, &+) == 0)
        #expect(all.filter { _ in true }.word(at: 34).map(Int.init) == min(vcpus, 254) + 2 + 15 + 2)
    }

    @Test func withoutAPICsThereIsNoneInThem() throws {
        let tables = try FirmwareTables(context(1, hasAPICs: false))
        #expect(tables.parts.count == 1)
        #expect(try FirmwareTables(context(1, ram: 512 << 10)).parts.isEmpty)
        #expect(throws: MachineError.self) { try FirmwareTables(context(4096)) }
    }

    @Test func powerEventsKeepWhatIsEnabled() {
        let device = PowerEventRegisters()
        _ = device.write(2, size: 2, 0x0123)
        #expect(device.read(2, size: 2) == 0x0123)
        _ = device.write(3, size: 1, 0x45)
        #expect(device.read(2, size: 2) == 0x4523)
        _ = device.write(0, size: 2, 0xFFFF)
        #expect(device.read(0, size: 2) == 0)
        device.reset()
        #expect(device.read(2, size: 2) == 0)
    }
}
