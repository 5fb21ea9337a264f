import CBench
import DebugTarget
import Debugger
import Glibc
import Interface
import KVMCore
import Machine
import X86

/// What the PC that boot code runs on costs.
func bootFigures(program: String, rounds: Int) throws -> [Figure] {
    let folder = try TemporaryFile(sectors: 256)
    return [
        try firstInstructionFigure(folder, rounds: rounds), try promptFigure(program, rounds: rounds),
        try idleFigure(folder),
    ] + (try callFigures(folder, rounds: rounds))
}

/// From exec to GRUB legacy's prompt on its own floppy: to its first call for a key, with the screen printed.
private func promptFigure(_ program: String, rounds: Int) throws -> Figure {
    let name = "GRUB legacy's prompt after exec"
    let folder = "/usr/lib/grub/x86_64-pc"
    guard let first = fileBytes("\(folder)/stage1"), let second = fileBytes("\(folder)/stage2") else {
        return Figure(
            name: name, value: .nan, unit: "ms", line: .reported,
            parts: [("grub-legacy is not installed", 0, "")])
    }
    let floppy = try TemporaryFile(sectors: 2880)
    try floppy.write(first + second)
    var times: [Double] = []
    for _ in 0..<rounds {
        let start = cbench_now()
        let whole = try WholeProgram(
            program,
            [
                "--no-init", "--batch", "-ex", "catch bios 16", "-ex", "continue", "-ex", "info screen",
                floppy.path,
            ], columns: 100, rows: 40)
        var drawn: [UInt8] = []
        let last = whole.drain(silence: 5000) { drawn += $0 }.last
        guard String(decoding: drawn, as: UTF8.self).contains("grub>") else {
            throw BenchFailure("GRUB legacy showed no prompt")
        }
        times.append(Double(last - start) / 1e6)
    }
    return Figure(
        name: name, value: median(times), unit: "ms", line: .under(1500),
        parts: [("fastest", times.min() ?? .nan, "ms"), ("slowest", times.max() ?? .nan, "ms")])
}

/// A whole file; nil where it cannot be read.
private func fileBytes(_ path: String) -> [UInt8]? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = fread(&bytes, 1, bytes.count, file)
    return Array(bytes.prefix(count))
}

/// A disk image that is gone with this.
private final class TemporaryFile {
    let path: String

    init(sectors: Int) throws {
        var name = Array("/tmp/kvmscope-bench-XXXXXX".utf8CString)
        // SAFETY: the array is terminated, and mkstemp writes within it.
        let file = mkstemp(&name)
        guard file >= 0 else { throw BenchFailure("no temporary file (errno \(errno))") }
        close(file)
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.sectors = sectors
    }

    private let sectors: Int

    /// Puts code into the first sector, and zeros after it.
    func write(_ code: [UInt8]) throws {
        let bytes = code + [UInt8](repeating: 0, count: sectors * 512 - code.count)
        guard let file = fopen(path, "w") else { throw BenchFailure("\(path) cannot be written") }
        defer { fclose(file) }
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
            throw BenchFailure("\(path) cannot be written")
        }
    }

    deinit { unlink(path) }

    func machine(_ code: [UInt8]) throws -> OwnedMachine {
        try write(code)
        var configuration = MachineConfiguration()
        configuration.interruptController = .user
        configuration.hasBIOS = true
        configuration.drives = [.init(.disk, path: path)]
        return try OwnedMachine(configuration)
    }
}

/// From nothing to the end of the first instruction of a disk's boot sector, within the process.
private func firstInstructionFigure(_ file: TemporaryFile, rounds: Int) throws -> Figure {
    var times: [Double] = []
    for _ in 0..<rounds {
        try file.write([0x90])
        let start = cbench_now()
        let debugger = try Debugger(target: try file.machine([0x90]))
        try debugger.step()
        times.append(Double(cbench_now() - start) / 1e6)
    }
    return Figure(
        name: "a boot sector's first instruction, from its image on", value: times.sorted()[times.count / 2],
        unit: "ms", line: .under(20), parts: [])
}

/// A guest that halts, and whose timer wakes it a hundred times a second.
private func idleFigure(_ file: TemporaryFile) throws -> Figure {
    let machine = try file.machine([
        0xB0, 0x34, 0xE6, 0x43,  // counter 0, both bytes, mode 2
        0xB0, 0x9C, 0xE6, 0x40, 0xB0, 0x2E, 0xE6, 0x40,  // 11932 ticks
        0xFB, 0xF4, 0xEB, 0xFD,  // sti; hlt; jmp hlt
    ])
    func used() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
    let debugger = try Debugger(target: machine)
    try debugger.startContinue()
    usleep(200_000)
    // What else the host does makes a wake-up dearer, never cheaper: the least is nearest to what the guest takes.
    let seconds = (0..<10).map { _ in
        let (before, start) = (used(), cbench_now())
        usleep(1_000_000)
        return (used() - before) / (Double(cbench_now() - start) / 1e9) * 100
    }.sorted()
    debugger.interrupt()
    _ = try debugger.collectStop(timeout: .seconds(10))
    let ticks = machine.deviceState.interrupts.reduce(0) { $0 + $1.count }
    guard ticks > 150 else { throw BenchFailure("the idle guest took \(ticks) interrupts only") }
    return Figure(
        name: "an idle guest with a timer of 100 Hz, the least of ten seconds", value: seconds[0],
        unit: "% of a core", line: .under(2),
        parts: [
            ("median", (seconds[4] + seconds[5]) / 2, "%"), ("most", seconds[9], "%"),
            ("interrupts", Double(ticks), ""),
        ])
}

/// Calls of the BIOS: what one costs beside the exits of a device's port, and reads of a disk beside memcpy.
private func callFigures(_ file: TemporaryFile, rounds: Int) throws -> [Figure] {
    let count = 2000
    let loop: [UInt8] = [0xBD, UInt8(count & 0xFF), UInt8(count >> 8)]
    /// Microseconds for each turn of a loop that does `body`.
    func turn(_ body: [UInt8], _ data: [UInt8] = []) throws -> Double {
        let back = UInt8(truncatingIfNeeded: -(body.count + 3))
        // mov si, data; mov bp, count; body; dec bp; jnz body; cli; hlt
        let head: [UInt8] = [0xBE, 0, 0x7C] + loop + body + [0x4D, 0x75, back, 0xFA, 0xF4]
        var code = head + data
        code[1] = UInt8(head.count)
        let debugger = try Debugger(target: try file.machine(code))
        let start = cbench_now()
        try debugger.startContinue()
        guard try debugger.collectStop(timeout: .seconds(60))?.reason == .hlt else {
            throw BenchFailure("a loop of BIOS calls stopped for \(debugger.stop.reason)")
        }
        return Double(cbench_now() - start) / 1e3 / Double(count)
    }
    // 127 sectors to 2000:0000.
    let packet: [UInt8] = [16, 0, 127, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0]
    // A packet of no sectors is all that a call is beside the copying.
    let reading: [UInt8] = [0xB4, 0x42, 0xB2, 0x80, 0xCD, 0x13]
    let nothing = Array(packet.prefix(2)) + [0, 0] + packet.dropFirst(4)
    // memcpy between exits, too: what it takes of the caches the exit after it has to get back.
    let plain = try BareLoop(CBENCH_PORT_OUT)
    let copying = try BareLoop(CBENCH_PORT_OUT)
    try copying.copy(127 * 512)
    var times: [String: [Double]] = [:]
    func measure(_ name: String, _ time: Double) -> Double {
        times[name, default: []].append(time)
        return time
    }
    var (reads, copies): ([Double], [Double]) = ([], [])
    for round in 0..<max(4 * rounds, 5) {
        if round % 2 == 0 {
            _ = measure("OUT", try turn([0xE6, 0x80]))
            _ = measure("INT 12h", try turn([0xCD, 0x12]))
        }
        // A copy is what is left of two times that are nearly equal: of two right after each other, the median of many.
        let call = measure("of no sectors", try turn(reading, nothing))
        reads.append(measure("INT 13h", try turn(reading, packet)) - call)
        let exit = measure("bare exit", try plain.run(count) / 1e3 / Double(count))
        copies.append(measure("with memcpy", try copying.run(count) / 1e3 / Double(count)) - exit)
    }
    // What comes between makes a round longer, never shorter: the least is nearest to what the work itself takes.
    func least(_ name: String) -> Double { times[name]?.min() ?? .nan }
    func part(_ name: String) -> (name: String, value: Double, unit: String) { (name, least(name), "us") }
    let (copy, read) = (median(copies), median(reads))
    // Faster than memcpy by far is no copy.
    let isTold = copy > 0 && read > copy / 4
    return [
        Figure(
            name: "a traced BIOS call beyond a port's exit", value: least("INT 12h") - least("OUT"),
            unit: "us",
            line: .under(20), parts: [part("INT 12h"), part("OUT")]),
        Figure(
            name: "INT 13h of 127 sectors, beyond one of none, beside memcpy at an exit"
                + (isTold ? "" : " (lost in the calls' own times: not told)"),
            value: isTold ? copy / read : 0, unit: "", line: isTold ? .atLeast(0.5) : .reported,
            parts: [("read", read, "us"), ("memcpy", copy, "us"), part("INT 13h"), part("bare exit")]),
    ]
}
