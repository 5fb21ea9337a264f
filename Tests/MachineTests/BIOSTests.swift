import DebugTarget
import Foundation
import Locking
import TargetConformance
import Testing
import X86

@testable import Machine

/// BIOS services without KVM: registers and memory in, registers and memory out.
final class BIOSTests {
    let memory = FakeMemory(size: 2 << 20)
    let chips = MachineChips(origin: 1_700_000_000)
    let console = ConsoleBuffer()
    let screen = TextAdapter()
    private let folder: URL
    let bios: BIOS
    /// Sector by sector, each filled with its number.
    private static let diskSectors = 16 * 63 * 4

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "bios-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var disk = Data()
        for sector in 0..<Self.diskSectors {
            disk += Data(repeating: UInt8(truncatingIfNeeded: sector), count: 512)
        }
        let diskPath = folder.appending(path: "disk.img").path
        try disk.write(to: URL(filePath: diskPath))
        let floppyPath = folder.appending(path: "floppy.img").path
        // Shorter than its medium.
        try Data(repeating: 0x5A, count: 1024).write(to: URL(filePath: floppyPath))
        let cdPath = folder.appending(path: "cd.iso").path
        try bootableDisc(sectors: 24, medium: 0, count: 4, at: 22, [0xEB, 0xFE])
            .write(to: URL(filePath: cdPath))
        let drives = [
            Drive(.floppy, number: 0, image: try DiskImage(path: floppyPath)),
            Drive(.disk, number: 0x80, image: try DiskImage(path: diskPath)),
            Drive(.cdrom, number: 0xE0, image: try DiskImage(path: cdPath)),
        ]
        bios = BIOS(
            BIOS.Hardware(
                drives: drives, chips: chips, serialPort: UART(output: console), ramSize: 64 << 20,
                ranges: [0..<64 << 20], screen: screen))
        try BIOSSetup(rom: bios.rom, drives: drives, secondOfDay: 3600).write(to: memory)
        chips.controllers.initialiseAsBIOS()
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    // MARK: calling

    /// Calls a vector as INT does from 1000:0102, with flags on the stack.
    @discardableResult
    func call(
        _ vector: UInt8, flags: UInt16 = 0x0202, mode: (inout SpecialRegisters) -> Void = { _ in },
        _ set: (inout GeneralRegisters) -> Void
    ) throws -> BIOS.Result {
        var general = GeneralRegisters()
        var special = SpecialRegisters()
        special.cs = .real(0xF000, code: true)
        for name in [SegmentName.ds, .es, .fs, .gs, .ss] { special[name] = .real(0) }
        general.rsp = 0x7000
        set(&general)
        mode(&special)
        memory.store([0x02, 0x01, 0x00, 0x10, UInt8(flags & 0xFF), UInt8(flags >> 8)], at: 0x7000)
        general.rip = UInt64(BIOSROM.stub(vector)) + 2
        let entry = try #require(bios.entry(general, special))
        #expect(entry == .service(vector))
        return bios.perform(entry, general, special, memory)
    }

    /// FLAGS as IRET would load them.
    var flags: UInt16 { UInt16(memory.word(0x7004, size: 2) ?? 0) }
    var carry: Bool { flags & 1 != 0 }
    func bytes(_ address: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(memory.word(address + UInt64($0), size: 1) ?? 0xEE) }
    }
    func ah(_ result: BIOS.Result) -> UInt64 { result.general.rax >> 8 & 0xFF }

    // MARK: entries

    @Test func onlyItsOwnStubsAreEntries() {
        var general = GeneralRegisters()
        var special = SpecialRegisters()
        special.cs = .real(0xF000, code: true)
        general.rip = UInt64(BIOSROM.stub(0x13)) + 2
        #expect(bios.entry(general, special) == .service(0x13))
        general.rip += 1
        #expect(bios.entry(general, special) == nil)
        general.rip -= 1
        special.cs = .real(0x1000, code: true)
        #expect(bios.entry(general, special) == nil)
        special.cs = .real(0xF000, code: true)
        special.cr0.insert(.pe)
        #expect(bios.entry(general, special) == nil)
        general.rflags.insert(.vm)
        #expect(bios.entry(general, special) == .service(0x13))
        general.rip = .max
        #expect(bios.entry(general, special) == nil)
    }

    @Test func vectorsLeadIntoTheROM() {
        #expect(memory.word(0x13 * 4, size: 4) == UInt64(0xF000) << 16 | UInt64(BIOSROM.stub(0x13)))
        #expect(memory.word(0x80 * 4, size: 4) == 0)
        #expect(bytes(0xFFFF0, 1) == [0xEA])
        #expect(bytes(BIOSROM.base + UInt64(BIOSROM.Place.plugAndPlay), 4) == Array("$PnP".utf8))
        let header = bytes(BIOSROM.base + UInt64(BIOSROM.Place.plugAndPlay), 0x21)
        #expect(header.reduce(0, &+) == 0)
    }

    // MARK: disks

    @Test func readsByCylinderHeadAndSector() throws {
        let result = try call(0x13) {
            $0.rax = 0x0203
            $0.rbx = 0x2000
            // Cylinder 1, head 2, sector 5.
            $0.rcx = 0x0105
            $0.rdx = 0x0280
        }
        #expect(!carry)
        #expect(result.general.rax & 0xFFFF == 3)
        let sector = (1 * 16 + 2) * 63 + 4
        for step in 0..<3 {
            #expect(bytes(0x2000 + UInt64(step) * 512, 1) == [UInt8(truncatingIfNeeded: sector + step)])
        }
        #expect(result.call?.transfer?.sector == UInt64(sector))
    }

    @Test func readsByLBAAndSaysWhere() throws {
        memory.store([16, 0, 2, 0, 0x00, 0x00, 0x00, 0x03, 10, 0, 0, 0, 0, 0, 0, 0], at: 0x600)
        let result = try call(0x13) {
            $0.rax = 0x4200
            $0.rsi = 0x600
            $0.rdx = 0x80
        }
        #expect(!carry && ah(result) == 0)
        #expect(bytes(0x3000, 1) == [10])
        #expect(bytes(0x3200, 1) == [11])
        #expect(
            result.call?.transfer
                == FirmwareCall.Transfer(.read, sector: 10, count: 2, segment: 0x300, offset: 0))
    }

    /// What a packet may lie about: size, count, sector and place.
    @Test(
        arguments: [
            ([15, 0, 1, 0], 0, 0x01), ([16, 0, 128, 0], 0, 0x01), ([16, 0, 1, 0], .max, 0x04),
            ([16, 0, 1, 0], 4032, 0x04),
        ] as [([UInt8], UInt64, UInt8)])
    func lyingPackets(head: [UInt8], sector: UInt64, status: UInt8) throws {
        let place = (0..<UInt64(8)).map { UInt8(truncatingIfNeeded: sector >> ($0 * 8)) }
        memory.store(head + [0, 0, 0, 3] + place, at: 0x600)
        let result = try call(0x13) {
            $0.rax = 0x4200
            $0.rsi = 0x600
            $0.rdx = 0x80
        }
        #expect(carry)
        #expect(ah(result) == UInt64(status))
        // The status is kept.
        let last = try call(0x13) {
            $0.rax = 0x0100
            $0.rdx = 0x80
        }
        #expect(ah(last) == UInt64(status))
    }

    @Test func aBufferBeyondRAMIsAnError() throws {
        // FFFF:FFFF is a flat address, beyond RAM.
        memory.store(
            [24, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0],
            at: 0x600)
        let result = try call(0x13) {
            $0.rax = 0x4200
            $0.rsi = 0x600
            $0.rdx = 0x80
        }
        #expect(carry && ah(result) == 0x09)
    }

    @Test func writesStayBesideTheImage() throws {
        memory.store([UInt8](repeating: 0xAB, count: 512), at: 0x2000)
        try call(0x13) {
            $0.rax = 0x0301
            $0.rbx = 0x2000
            $0.rcx = 0x0002
            $0.rdx = 0x0080
        }
        #expect(!carry)
        try call(0x13) {
            $0.rax = 0x0202
            $0.rbx = 0x4000
            $0.rcx = 0x0001
            $0.rdx = 0x0080
        }
        #expect(bytes(0x4000, 1) == [0])
        #expect(bytes(0x4200, 2) == [0xAB, 0xAB])
        let drive = try #require(bios.drive(0x80))
        #expect(drive.state.changed == 4096)
        #expect(try Data(contentsOf: URL(filePath: drive.image.path))[512] == 1)
        let saved = folder.appending(path: "saved.img")
        try drive.image.save(to: saved.path)
        let contents = try Data(contentsOf: saved)
        #expect(contents.count == Self.diskSectors * 512)
        #expect(contents[512] == 0xAB && contents[1024] == 2)
        #expect(throws: MachineError.self) { try drive.image.save(to: saved.path) }
        drive.image.revert()
        #expect(drive.image.bytes(512, count: 1) == [1])
    }

    @Test func aShortFloppyReadsAsZerosToItsEnd() throws {
        let result = try call(0x13) {
            $0.rax = 0x0202
            $0.rbx = 0x2000
            $0.rcx = 0x0002
            $0.rdx = 0
        }
        #expect(!carry && ah(result) == 0)
        #expect(bytes(0x2000, 1) == [0x5A] && bytes(0x2200, 1) == [0])
        // 80 cylinders, 2 heads, 18 sectors, one drive, 1.44 MB.
        let parameters = try call(0x13) {
            $0.rax = 0x0800
            $0.rdx = 0
        }
        #expect(parameters.general.rcx == 0x4F12 && parameters.general.rdx == 0x0101)
        #expect(parameters.general.rbx & 0xFF == 4)
        #expect(parameters.special.es.selector == 0xF000)
        // Extensions are not for floppies.
        try call(0x13) {
            $0.rax = 0x4100
            $0.rbx = 0x55AA
            $0.rdx = 0
        }
        #expect(carry)
    }

    @Test func diskParameters() throws {
        let old = try call(0x13) {
            $0.rax = 0x0800
            $0.rdx = 0x80
        }
        // Four cylinders of which the last is not told, 16 heads, 63 sectors.
        #expect(old.general.rcx == 0x023F && old.general.rdx == 0x0F01)
        memory.store([30, 0], at: 0x600)
        try call(0x13) {
            $0.rax = 0x4800
            $0.rsi = 0x600
            $0.rdx = 0x80
        }
        #expect(!carry)
        #expect(memory.word(0x610, size: 8) == UInt64(Self.diskSectors))
        #expect(memory.word(0x618, size: 2) == 512)
        memory.store([25, 0], at: 0x600)
        try call(0x13) {
            $0.rax = 0x4800
            $0.rsi = 0x600
            $0.rdx = 0x80
        }
        #expect(carry)
        let check = try call(0x13) {
            $0.rax = 0x4100
            $0.rbx = 0x55AA
            $0.rdx = 0x80
        }
        #expect(!carry && check.general.rbx == 0xAA55 && check.general.rax >> 8 == 0x30)
    }

    @Test(arguments: [0x01, 0x81, 0xE1, 0xFF] as [UInt64])
    func drivesThatAreNotThere(_ number: UInt64) throws {
        let result = try call(0x13) {
            $0.rax = 0x0201
            $0.rcx = 1
            $0.rdx = number
        }
        #expect(carry && ah(result) == 1)
    }

    @Test func theCDSaysWhereItsBootCodeIs() throws {
        let result = try call(0x13) {
            $0.rax = 0x4B01
            $0.rsi = 0x600
            $0.rdx = 0xE0
        }
        #expect(!carry && ah(result) == 0)
        #expect(bytes(0x600, 8) == [0x13, 0, 0xE0, 0, 22, 0, 0, 0])
        memory.store([16, 0, 1, 0, 0x00, 0x20, 0, 0, 22, 0, 0, 0, 0, 0, 0, 0], at: 0x640)
        try call(0x13) {
            $0.rax = 0x4200
            $0.rsi = 0x640
            $0.rdx = 0xE0
        }
        #expect(bytes(0x2000, 2) == [0xEB, 0xFE])
        let drive = try #require(bios.drive(0xE0))
        let code = try #require(BIOS.bootCode(of: drive))
        #expect(code.segment == 0x7C0 && code.bytes.count == 2048 && code.drive == 0xE0)
    }

    // MARK: memory

    @Test func memoryMapIsWholeAndEnds() throws {
        var next: UInt64 = 0
        var usable: UInt64 = 0
        var entries = 0
        repeat {
            let result = try call(0x15) {
                $0.rax = 0xE820
                $0.rbx = next
                $0.rcx = 24
                $0.rdx = 0x534D_4150
                $0.rdi = 0x600
            }
            #expect(!carry && result.general.rax == 0x534D_4150 && result.general.rcx == 20)
            if memory.word(0x610, size: 4) == 1 { usable += memory.word(0x608, size: 8) ?? 0 }
            next = result.general.rbx
            entries += 1
        } while next != 0 && entries < 20
        #expect(entries == 4)
        #expect(usable == 0x9FC00 + (63 << 20))
        for (rbx, rcx, rdx) in [(0, 19, 0x534D_4150), (99, 20, 0x534D_4150), (0, 20, 1)]
            as [(UInt64, UInt64, UInt64)]
        {
            try call(0x15) {
                $0.rax = 0xE820
                $0.rbx = rbx
                $0.rcx = rcx
                $0.rdx = rdx
            }
            #expect(carry)
        }
    }

    @Test func oldMemorySizes() throws {
        #expect(try call(0x12) { _ in }.general.rax == 639)
        #expect(try call(0x15) { $0.rax = 0x8800 }.general.rax == 63 * 1024)
        let split = try call(0x15) { $0.rax = 0xE801 }
        #expect(split.general.rax == 0x3C00 && split.general.rbx == 48 * 16)
    }

    @Test func movesBlocksByDescriptors() throws {
        memory.store([UInt8](repeating: 0x77, count: 64), at: 0x2000)
        var table = [UInt8](repeating: 0, count: 0x30)
        table.replaceSubrange(0x10..<0x18, with: [0xFF, 0xFF, 0x00, 0x20, 0x00, 0x93, 0, 0])
        table.replaceSubrange(0x18..<0x20, with: [0xFF, 0xFF, 0x00, 0x00, 0x12, 0x93, 0, 0])
        memory.store(table, at: 0x600)
        let result = try call(0x15) {
            $0.rax = 0x8700
            $0.rcx = 32
            $0.rsi = 0x600
        }
        #expect(!carry && ah(result) == 0)
        #expect(bytes(0x120000, 2) == [0x77, 0x77])
        // Beyond RAM.
        table[0x1F] = 0x40
        memory.store(table, at: 0x600)
        try call(0x15) {
            $0.rax = 0x8700
            $0.rcx = 32
            $0.rsi = 0x600
        }
        #expect(carry)
    }

    @Test func a20IsSwitchedAndWraps() throws {
        try call(0x15) { $0.rax = 0x2400 }
        #expect(!carry && !chips.a20.isOn)
        #expect(try call(0x15) { $0.rax = 0x2402 }.general.rax & 0xFF == 0)
        // A read to FFFF:0010 is one to 0 then.
        memory.store([16, 0, 1, 0, 0x10, 0, 0xFF, 0xFF, 9, 0, 0, 0, 0, 0, 0, 0], at: 0x600)
        let ivt = bytes(0, 512)
        try call(0x13) {
            $0.rax = 0x4200
            $0.rsi = 0x600
            $0.rdx = 0x80
        }
        #expect(bytes(0, 1) == [9])
        memory.store(ivt, at: 0)
        try call(0x15) { $0.rax = 0x2401 }
        #expect(chips.a20.isOn)
    }

    @Test func waitsInTheGuestsTime() throws {
        let first = try call(0x15) {
            $0.rax = 0x8600
            $0.rdx = 50
        }
        #expect(first.ending == .waits(halting: false))
        #expect(first.general.rip == UInt64(BIOSROM.stub(0x15) + BIOSROM.Place.spinning))
        chips.clock.stepTime = 60_000
        chips.clock.stepped()
        let second = try call(0x15) {
            $0.rax = 0x8600
            $0.rdx = 50
        }
        #expect(second.ending == .returns && !carry)
    }

    @Test func unknownFunctionsAreListedOnce() throws {
        for _ in 0..<3 {
            let result = try call(0x15) { $0.rax = 0x7700 }
            #expect(carry && ah(result) == 0x86)
        }
        let counts = bios.log.counts.filter { !$0.isKnown }
        #expect(counts.map(\.function) == [0x77] && counts.map(\.count) == [3])
        #expect(bios.log.recent().map(\.repeats) == [3])
    }

    // MARK: flags

    @Test func onlyCFOfTheCallerChanges() throws {
        for before: UInt16 in [0x0002, 0x0202, 0x0ED7, 0x3046] {
            try call(0x13, flags: before) {
                $0.rax = 0x0200
                $0.rdx = 0x80
            }
            #expect(flags == before | 1)
            try call(0x12, flags: before) { _ in }
            #expect(flags == before)
        }
    }

    @Test func aStackOutsideOfRAMHurtsNobody() throws {
        let result = try call(
            0x13, mode: { $0.ss.base = 0x4000_0000 },
            {
                $0.rax = 0x4200
                $0.rdx = 0x80
            })
        #expect(result.call?.callerSegment == 0)
    }
}

extension FakeMemory {
    func store(_ bytes: [UInt8], at gpa: UInt64) {
        bytes.withUnsafeBytes { try? write(gpa, $0) }
    }
}
