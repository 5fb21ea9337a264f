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
        let (firmware, uses) = shared ?? (Firmware(), 0)
        shared = uses + 1 < usesMost ? (firmware, uses + 1) : nil
        // What was written to the drives is kept in memory, and may not grow from input to input.
        defer { for drive in firmware.drives { drive.image.revert() } }
        for start in stride(from: 0, to: min(bytes.count, 16 * callSize), by: callSize) {
            var call = Array(bytes[start..<min(start + callSize, bytes.count)])
            call += [UInt8](repeating: 0, count: callSize - call.count)
            firmware.call(call)
        }
    }

    /// A floppy, a disk and a CD, of noise: their partition tables and catalogues say anything.
    private init() {
        var path = Array("/dev/shm/kvmscope-fuzz-XXXXXX".utf8CString)
        // SAFETY: the array is terminated, and mkstemp writes within it.
        let file = mkstemp(&path)
        guard file >= 0 else { fatalError("no file in memory: errno \(errno)") }
        defer {
            close(file)
            unlink(path)
        }
        var state: UInt32 = 1
        let noise = (0..<200_000).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(truncatingIfNeeded: state >> 24)
        }
        _ = noise.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
        let kinds: [(DriveState.Kind, UInt8)] = [(.floppy, 0), (.disk, 0x80), (.cdrom, 0xE0)]
        let ranges = [0..<Self.ramSize]
        do {
            drives = try kinds.map {
                Drive($0, number: $1, image: try DiskImage(path: "/proc/self/fd/\(file)"))
            }
            bios = BIOS(
                BIOS.Hardware(
                    drives: drives, chips: MachineChips(origin: 0), serialPort: UART(output: ConsoleBuffer()),
                    ramSize: Self.ramSize, ranges: ranges, screen: TextAdapter()))
            try BIOSSetup(rom: bios.rom, drives: drives, secondOfDay: 0).write(to: memory)
        } catch {
            fatalError("\(error)")
        }
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
