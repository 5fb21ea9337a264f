import CBench
import Debugger
import Glibc
import Interface
import X86

/// What GDB's remote protocol costs over loopback, beside QEMU's stub on the same boot sector.
func remoteFigures(program: String, count: Int, rounds: Int) throws -> [Figure] {
    let image = "/tmp/kvmscope-bench-\(getpid()).img"
    defer { unlink(image) }
    return [
        try stepFigure(program, image, count: min(count, 2000), rounds: min(rounds, 5)),
        try memoryFigure(program, image, rounds: min(rounds, 5)),
        try manyFigure(program, image, rounds: min(rounds, 5)),
        try conditionFigure(program, image, count: min(count, 60_000), rounds: min(rounds, 5)),
        try interruptFigure(program, image, rounds: max(rounds, 20)),
    ]
}

/// A boot sector with a bench's code.
private func write(_ guest: cbench_guest, to path: String) throws {
    var bytes = guestCode(guest)
    bytes += [UInt8](repeating: 0, count: 510 - bytes.count) + [0x55, 0xAA]
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    defer { close(file) }
    guard file >= 0, Glibc.write(file, bytes, bytes.count) == bytes.count else {
        throw BenchFailure("\(path) cannot be written (errno \(errno))")
    }
}

/// One step, and the stop reply with its registers, which is all that a client needs after it.
private func stepFigure(_ program: String, _ image: String, count: Int, rounds: Int) throws -> Figure {
    try write(CBENCH_STEP, to: image)
    let ours = try RemoteClient(program) { ["--gdb", "127.0.0.1:\($0)", image] }
    var times: [Double] = []
    for _ in 0..<rounds {
        times.append(
            try timed { for _ in 0..<count { try ours.expect("T05", to: "vCont;s:1") } } / Double(count))
    }
    var parts = [("ours", median(times) / 1000, "us")]
    if let theirs = try qemuSteps(image, count: min(count, 500), rounds: rounds) {
        parts += [("QEMU's with `g`", theirs / 1000, "us"), ("times faster", theirs / median(times), "")]
    }
    return Figure(
        name: "remote stepi over loopback, with its registers", value: median(times) / 1000, unit: "us",
        line: .under(300), parts: parts)
}

/// The same on QEMU's stub, whose stop reply has no registers: they are asked for. Nil without QEMU.
private func qemuSteps(_ image: String, count: Int, rounds: Int) throws -> Double? {
    let qemu = "/usr/bin/qemu-system-x86_64"
    guard access(qemu, X_OK) == 0 else { return nil }
    let client = try RemoteClient(qemu) {
        [
            "-accel", "kvm", "-display", "none", "-serial", "none", "-monitor", "none", "-m", "64", "-drive",
            "file=\(image),format=raw,snapshot=on", "-gdb", "tcp:127.0.0.1:\($0)", "-S",
        ]
    }
    // Through the BIOS, which takes some seconds.
    try client.expect("OK", to: "Z1,7c00,1")
    try client.expect("T", to: "vCont;c")
    try client.expect("OK", to: "z1,7c00,1")
    var times: [Double] = []
    for _ in 0..<rounds {
        times.append(
            try timed {
                for _ in 0..<count {
                    try client.expect("T05", to: "vCont;s:1")
                    _ = try client.ask("g")
                }
            } / Double(count))
    }
    return median(times)
}

/// From the byte that Ctrl-C is to the stop reply, of a guest that makes no exits: the longest of all rounds.
private func interruptFigure(_ program: String, _ image: String, rounds: Int) throws -> Figure {
    try write(CBENCH_STEP, to: image)
    let client = try RemoteClient(program) { ["--gdb", "127.0.0.1:\($0)", image] }
    var times: [Double] = []
    for _ in 0..<rounds {
        try client.send("vCont;c")
        usleep(20_000)
        times.append(
            try timed {
                try client.interrupt()
                let reply = try client.receive()
                guard reply.starts(with: "T02".utf8) else {
                    throw BenchFailure("Ctrl-C gave \(String(decoding: reply.prefix(40), as: UTF8.self))")
                }
            } / 1e6)
    }
    return Figure(
        name: "Ctrl-C of a client, to the stop reply", value: times.max() ?? .nan, unit: "ms",
        line: .under(50),
        parts: [("median", median(times), "ms")])
}

/// All of RAM, in packets as large as the stub takes.
private func memoryFigure(_ program: String, _ image: String, rounds: Int) throws -> Figure {
    try write(CBENCH_STEP, to: image)
    let client = try RemoteClient(program) { ["--gdb", "127.0.0.1:\($0)", "-m", "64M", image] }
    func rate(_ client: RemoteClient, _ letter: String) throws -> Double {
        let (size, total) = (0xF000, 32 << 20)
        let time = try timed {
            for place in stride(from: 0x10000, to: total, by: size) {
                let text = "\(letter)\(String(place, radix: 16)),\(String(size, radix: 16))"
                guard try client.ask(text).count > 1 else { throw BenchFailure("\(text) gave nothing") }
            }
        }
        return Double(total - 0x10000) / time * 1000
    }
    var (binary, text): ([Double], [Double]) = ([], [])
    for _ in 0..<rounds {
        binary.append(try rate(client, "x"))
        text.append(try rate(client, "m"))
    }
    return Figure(
        name: "memory read through the protocol", value: median(binary), unit: "MB/s", line: .atLeast(100),
        parts: [("as bytes (x)", median(binary), "MB/s"), ("as digits (m)", median(text), "MB/s")])
}

/// A thousand breakpoints, one request each, and taken out again.
private func manyFigure(_ program: String, _ image: String, rounds: Int) throws -> Figure {
    try write(CBENCH_STEP, to: image)
    let client = try RemoteClient(program) { ["--gdb", "127.0.0.1:\($0)", image] }
    var (set, out): ([Double], [Double]) = ([], [])
    for _ in 0..<rounds {
        let places = (0..<1000).map { String(0x8000 + $0 * 3, radix: 16) }
        set.append(try timed { for place in places { try client.expect("OK", to: "Z0,\(place),1") } } / 1e6)
        out.append(
            try timed {
                for place in places { try client.expect("OK", to: "z0,\(place),1") }
                // They go when the guest is resumed.
                try client.expect("T05", to: "vCont;r7c00,7c01:1")
            } / 1e6)
    }
    return Figure(
        name: "1,000 breakpoints set by a client", value: median(set), unit: "ms", line: .under(1000),
        parts: [("set", median(set), "ms"), ("taken out", median(out), "ms")])
}

/// A condition in GDB's bytecode that is false all the time but the last, to the same of the console's language.
private func conditionFigure(_ program: String, _ image: String, count: Int, rounds: Int) throws -> Figure {
    try write(CBENCH_BREAK, to: image)
    let client = try RemoteClient(program) { ["--gdb", "127.0.0.1:\($0)", image] }
    let debugger = try Debugger(target: benchMachine(CBENCH_BREAK))
    let place = UInt64(CBENCH_BREAK_AT)
    let breakpoint = try debugger.setBreakpoint(at: .linear(place))
    var (theirs, ours): ([Double], [Double]) = ([], [])
    // EAX, to 16 bits, is so much.
    let digits = String(count, radix: 16)
    let number = String(repeating: "0", count: 8 - digits.count) + digits
    let code = "260000" + "2a10" + "24" + number + "13" + "27"
    try client.expect(
        "OK", to: "Z1,\(String(place, radix: 16)),1;X\(String(code.utf8.count / 2, radix: 16)),\(code)")
    for _ in 0..<rounds {
        try client.expect("OK", to: "P0=00000000")
        ours.append(try timed { try client.expect("T05", to: "vCont;c") })
        try debugger.setRegister("ax", to: 0)
        try debugger.setBreakpoint(breakpoint.number, condition: "$ax == \(count)")
        theirs.append(try timed { _ = try debugger.continueRun() })
    }
    let rate = Double(count) / median(ours) * 1e9
    return Figure(
        name: "continue over a client's condition that is false", value: median(theirs) / median(ours),
        unit: "",
        line: .atLeast(0.8),
        parts: [("rate", rate, "hits/s"), ("console's", Double(count) / median(theirs) * 1e9, "hits/s")])
}
