import Commands
import DebugTarget
import Foundation
import Machine
import TargetConformance
import X86

/// BIOS services with whatever a guest may have in registers and memory when it calls one.
struct Firmware {
    /// Its state lasts for some inputs: a call may lay in memory what the next one stumbles over.
    private static let usesMost = 4096
    private static let ramSize: UInt64 = 0x11_0000
    private static let callSize = 48

    // SAFETY: libFuzzer calls from one thread, and so does the test.
    nonisolated(unsafe) private static var shared: (firmware: Firmware, uses: Int)?

    private let bios: BIOS
    private let drives: [Drive]
    private let memory = FakeMemory(size: Int(ramSize))

    static func calls(_ bytes: [UInt8]) {
        let (firmware, uses) = shared ?? (ofNoise(), 0)
        shared = uses + 1 < usesMost ? (firmware, uses + 1) : nil
        // What was written to the drives is kept in memory, and may not grow from input to input.
        defer { for drive in firmware.drives { drive.image.revert() } }
        for start in stride(from: 0, to: min(bytes.count, 16 * callSize), by: callSize) {
            var call = Array(bytes[start..<min(start + callSize, bytes.count)])
            call += [UInt8](repeating: 0, count: callSize - call.count)
            firmware.call(call)
        }
    }

    /// A CD whose boot catalog says anything, what is booted from it, and calls of a guest that was.
    ///
    /// The first byte says what is made right, the next four where the catalog is, the next 64 are the catalog, and calls
    /// follow.
    static func disc(_ bytes: [UInt8]) {
        guard let choice = bytes.first else { return }
        let content = Array(bytes.dropFirst()) + [UInt8](repeating: 0, count: 68)
        var image = [UInt8](repeating: 0x90, count: 24 * 2048)
        func put(_ part: some Sequence<UInt8>, at place: Int) {
            for (offset, byte) in part.enumerated() { image[place + offset] = byte }
        }
        put([0] + Array("CD001".utf8) + [1] + Array("EL TORITO SPECIFICATION".utf8), at: 17 * 2048)
        put(choice & 1 == 0 ? [18, 0, 0, 0] : Array(content[..<4]), at: 17 * 2048 + 0x47)
        var catalog = Array(content[4..<68])
        if choice & 2 == 0 {
            (catalog[0], catalog[30], catalog[31], catalog[32]) = (1, 0x55, 0xAA, 0x88)
            (catalog[28], catalog[29]) = (0, 0)
            let sum = stride(from: 0, to: 32, by: 2).reduce(UInt16(0)) {
                $0 &+ (UInt16(catalog[$1]) | UInt16(catalog[$1 + 1]) << 8)
            }
            (catalog[28], catalog[29]) = (UInt8(truncatingIfNeeded: 0 &- sum), UInt8((0 &- sum) >> 8))
        }
        put(catalog, at: 18 * 2048)
        // It may end anywhere after its first sector.
        let size = choice & 4 == 0 ? image.count : 2048 + Int(choice) * 183
        let made = withFile(image[..<size]) { path -> Firmware? in
            let others: [MachineConfiguration.Drive] =
                choice & 8 == 0 ? [] : [.init(choice & 16 == 0 ? .floppy : .disk, path: path)]
            guard let drives = try? Drive.opened([.init(.cdrom, path: path)] + others) else { return nil }
            return try? Firmware(drives)
        }
        guard let made else { return }
        if let code = made.bios.bootCode {
            precondition(!code.bytes.isEmpty && code.bytes.count <= image.count, "\(code.bytes.count) bytes")
            made.put(UInt64(code.segment) << 4, code.bytes)
        }
        for start in stride(from: 68, to: min(content.count, 68 + 4 * callSize), by: callSize) {
            var call = Array(content[start..<min(start + callSize, content.count)])
            call += [UInt8](repeating: 0, count: callSize - call.count)
            made.call(call)
        }
    }

    /// Gives `body` the path of a file that is gone afterwards, but for those who have opened it.
    private static func withFile<Result>(_ bytes: some Collection<UInt8>, _ body: (String) throws -> Result)
        rethrows -> Result
    {
        var path = Array("/dev/shm/kvmscope-fuzz-XXXXXX".utf8CString)
        // SAFETY: the array is terminated, and mkstemp writes within it.
        let file = mkstemp(&path)
        guard file >= 0 else { fatalError("no file in memory: errno \(errno)") }
        defer {
            close(file)
            unlink(path)
        }
        _ = Array(bytes).withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
        return try body("/proc/self/fd/\(file)")
    }

    /// A floppy, a disk and a CD, of noise: their partition tables and catalogues say anything.
    private static func ofNoise() -> Firmware {
        var state: UInt32 = 1
        let noise = (0..<200_000).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(truncatingIfNeeded: state >> 24)
        }
        do {
            return try withFile(noise) { path in
                let kinds: [DriveState.Kind] = [.disk, .floppy, .cdrom]
                return try Firmware(Drive.opened(kinds.map { .init($0, path: path) }))
            }
        } catch {
            fatalError("\(error)")
        }
    }

    private init(_ drives: [Drive]) throws {
        self.drives = drives
        bios = BIOS(
            BIOS.Hardware(
                drives: drives, chips: MachineChips(origin: 0), serialPort: UART(output: ConsoleBuffer()),
                ramSize: Self.ramSize, ranges: [0..<Self.ramSize], screen: TextAdapter()))
        try BIOSSetup(rom: bios.rom, drives: drives, secondOfDay: 0).write(to: memory)
    }

    private func call(_ bytes: [UInt8]) {
        func word(_ at: Int) -> UInt64 { UInt64(bytes[at]) | UInt64(bytes[at + 1]) << 8 }
        // Registers have upper halves, and segments bases of their own, where a caller was in protected mode before.
        let upper = bytes[1] & 1 == 0 ? 0 : UInt64(bytes[2]) &* 0x0101_0101_0100_0000
        var general = GeneralRegisters()
        general.rax = word(4) | upper
        general.rbx = word(6) | upper
        general.rcx = word(8) | upper
        general.rdx = word(10) | upper
        general.rsi = word(12) | upper
        general.rdi = word(14) | upper
        general.rbp = word(16) | upper
        let vector = bytes[0] & 0x80 == 0 ? 0x10 + bytes[0] % 11 : bytes[0]
        // Of characters, many only repeat what some do.
        let writesMany = vector == 0x10 && [0x09, 0x0A, 0x13].contains(word(4) >> 8)
        if writesMany { general.rcx &= ~0xFE00 }
        general.rip = UInt64(BIOSROM.stub(vector)) + 2
        general.rsp = 0x8000
        var special = SpecialRegisters()
        special.cs = .real(0xF000, code: true)
        special.ss = .real(0x3000)
        special.ds = .real(UInt16(word(18)))
        special.es = .real(UInt16(word(20)))
        if bytes[1] & 2 != 0 { special.es.base = word(20) << 16 | upper }
        put(0x38000, [0x34, 0x12, 0x78, 0x56, bytes[22], bytes[23]])
        put(special.ds.base &+ word(12), Array(bytes[24...]))
        guard let entry = bios.entry(general, special) else { return }
        let result = bios.perform(entry, general, special, memory)
        guard let call = result.call else { return }
        // A traced call can be shown, whatever it was.
        precondition(call.vector == vector && FirmwareText.text(call).utf8.count < 1000)
    }

    private func put(_ gpa: UInt64, _ bytes: [UInt8]) { bytes.withUnsafeBytes { try? memory.write(gpa, $0) } }
}
