import DebugTarget
import Foundation
import TargetConformance
import Testing
import X86

@testable import Machine

/// BIOS services with anything in registers and memory: nothing is trusted, and only the caller's CF and ZF change.
///
/// `KVMSCOPE_BIOS_CALLS` says how many calls; some thousand by default.
struct BIOSRandomTests {
    /// SplitMix64: the same calls each time.
    private struct Numbers {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
            return value ^ value >> 31
        }

        mutating func below(_ limit: UInt64) -> UInt64 { next() % limit }
    }

    private static let vectors: [UInt8] = [
        0x10, 0x10, 0x11, 0x12, 0x13, 0x13, 0x13, 0x14, 0x15, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x77,
    ]

    @Test func anyCallIsAnswered() throws {
        let count = ProcessInfo.processInfo.environment["KVMSCOPE_BIOS_CALLS"].flatMap(Int.init) ?? 20_000
        let folder = FileManager.default.temporaryDirectory.appending(path: "random-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var numbers = Numbers(state: 1)
        let noise = Data((0..<200_000).map { _ in UInt8(truncatingIfNeeded: numbers.next()) })
        let path = folder.appending(path: "noise").path
        try noise.write(to: URL(filePath: path))
        let drives = try [(DriveState.Kind.floppy, UInt8(0)), (.disk, 0x80), (.cdrom, 0xE0)].map {
            Drive($0, number: $1, image: try DiskImage(path: path))
        }
        let memory = FakeMemory(size: 0x11_0000)
        let chips = MachineChips(origin: 0)
        let bios = BIOS(
            BIOS.Hardware(
                drives: drives, chips: chips, serialPort: UART(output: ConsoleBuffer()),
                ramSize: 0x11_0000,
                ranges: [0..<0x11_0000], screen: TextAdapter()))
        try BIOSSetup(rom: bios.rom, drives: drives, secondOfDay: 0).write(to: memory)
        for round in 0..<count {
            if round % 4096 == 0 { for drive in drives { drive.image.revert() } }
            try call(bios, memory, &numbers, round)
        }
        #expect(bios.log.counts.reduce(0) { $0 + $1.count } == UInt64(count))
    }

    private func call(
        _ bios: BIOS, _ memory: FakeMemory, _ numbers: inout Numbers, _ round: Int
    ) throws {
        var general = GeneralRegisters()
        var special = SpecialRegisters()
        let wild = numbers.below(4) == 0
        func value(_ numbers: inout Numbers) -> UInt64 {
            let any = numbers.next()
            return wild ? any : any & (numbers.below(3) == 0 ? 0xFF : 0xFFFF)
        }
        general.rax = value(&numbers)
        general.rbx = value(&numbers)
        general.rcx = value(&numbers)
        general.rdx = value(&numbers)
        general.rsi = value(&numbers)
        general.rdi = value(&numbers)
        general.rbp = value(&numbers)
        // Functions and drives that there are, more often than not.
        if numbers.below(2) == 0 { general.rax = numbers.below(0x60) << 8 | numbers.below(0x40) }
        if numbers.below(2) == 0 {
            general.rdx = general.rdx & ~0xFF | [0x00, 0x80, 0xE0, 0x81][Int(numbers.below(4))]
        }
        special.cs = .real(0xF000, code: true)
        for name in [SegmentName.ds, .es, .fs, .gs] {
            special[name] = .real(UInt16(truncatingIfNeeded: value(&numbers)))
            // As unreal mode has them.
            if wild { special[name].base = numbers.next() }
        }
        special.ss = .real(0x3000)
        general.rsp = 0x8000
        let flags = UInt16(truncatingIfNeeded: numbers.next())
        // Anything in the data area, and where a packet may be.
        for _ in 0..<numbers.below(4) {
            put(memory, 0x400 + numbers.below(0x100), [UInt8(truncatingIfNeeded: numbers.next())])
        }
        let packet = special.ds.base &+ (general.rsi & 0xFFFF)
        put(memory, packet, (0..<24).map { _ in UInt8(truncatingIfNeeded: numbers.next() >> 40) })
        if numbers.below(2) == 0 { put(memory, packet, [16, 0, UInt8(numbers.below(130)), 0]) }
        // Last: a packet may lie there, too.
        put(memory, 0x38000, [0x34, 0x12, 0x78, 0x56, UInt8(flags & 0xFF), UInt8(flags >> 8)])
        let vector = Self.vectors[Int(numbers.below(UInt64(Self.vectors.count)))]
        general.rip = UInt64(BIOSROM.stub(vector)) + 2
        let entry = try #require(bios.entry(general, special))
        let result = bios.perform(entry, general, special, memory)
        guard case .service = entry, result.ending == .returns else { return }
        // A call may have been told to write over its own stack; where it was not, only CF and ZF are others.
        let after = UInt16(memory.word(0x38004, size: 2) ?? 0)
        if memory.word(0x38000, size: 4) == 0x5678_1234, after & ~0x41 != flags & ~0x41 {
            let isOverwritten = result.call?.transfer != nil || [0x10, 0x15].contains(vector)
            #expect(isOverwritten, "flags \(flags) became \(after) by INT \(vector) in round \(round)")
        }
        #expect(result.general.rip == general.rip && result.general.rsp == general.rsp)
        #expect(result.general.rflags == general.rflags)
    }

    private func put(_ memory: FakeMemory, _ gpa: UInt64, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { try? memory.write(gpa, $0) }
    }
}
