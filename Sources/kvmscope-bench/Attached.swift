import Attach
import CBench
import DebugTarget
import Debugger
import Glibc
import Host
import Interface
import X86

/// A guest of another program: the tests' small VMM at work on the code that the bare loop runs.
final class ForeignGuest {
    private let program: WholeProgram
    private let log: String

    /// - Parameter loops: the code of the bare loop, which never leaves the guest; otherwise the VMM's own guest, which
    ///   exits now and then.
    init(_ path: String, vcpus: Int, loops: Bool = true) throws {
        log = "/tmp/kvmscope-bench-\(getpid())-\(cbench_now())"
        let image = log + ".image"
        defer { unlink(image) }
        let file = open(image, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard file >= 0 else { throw BenchFailure("\(image) cannot be written") }
        let code = guestCode(CBENCH_STEP)
        let written = write(file, code, code.count)
        close(file)
        guard written == code.count else { throw BenchFailure("\(image) cannot be written") }
        program = try WholeProgram(
            path, [log, "\(vcpus)"] + (loops ? ["image=\(image)"] : []), columns: 80, rows: 24)
        let deadline = cbench_now() + 5_000_000_000
        while (try? found())?.vcpus.count != vcpus || (try? found())?.vcpus.last?.thread == nil {
            guard cbench_now() < deadline else { throw BenchFailure("\(path) does not start") }
            usleep(10_000)
        }
    }

    deinit { unlink(log) }

    var pid: Int32 { program.pid }

    func found() throws -> HostGuest {
        guard let guest = GuestFinder().guest(process: pid) else {
            throw BenchFailure("the guest of process \(pid) is not found")
        }
        return guest
    }
}

/// Attached, and the guest stopped.
private func stopped(_ guest: HostGuest, _ tracer: TracerProgram) throws -> Debugger {
    let debugger = try Debugger(target: AttachedTarget(guest, tracer: tracer))
    try debugger.startContinue()
    debugger.interrupt()
    guard try debugger.collectStop(timeout: .seconds(10)) != nil else {
        throw BenchFailure("the guest does not stop")
    }
    return debugger
}

/// The bare ptrace loop, waiting asleep and by looking again as ours does, and ours in turns, each on a VMM of its own, and a guest of ours on the same code.
/// The ratio is to the faster of the bare two, round by round.
func attachedStepFigure(vmm: String, tracer: TracerProgram, count: Int, rounds: Int) throws -> Figure {
    let bareGuest = try ForeignGuest(vmm, vcpus: 1)
    let vcpu = try bareGuest.found().vcpus[0]
    let status = cbench_trace_open(bareGuest.pid, vcpu.thread ?? 0, vcpu.descriptor)
    guard status == 0 else { throw BenchFailure("the bare ptrace loop cannot begin (errno \(-status))") }
    defer { cbench_trace_close() }
    let ourGuest = try ForeignGuest(vmm, vcpus: 1)
    let debugger = try stopped(try ourGuest.found(), tracer)
    let owned = try Debugger(target: benchMachine(CBENCH_STEP))

    func bare() throws -> (asleep: Double, looking: Double) {
        var times: [UInt64] = [0, 0]
        for looks in 0..<2 {
            let status = cbench_trace_run(UInt64(count), Int32(looks), &times[looks])
            guard status == 0 else { throw BenchFailure("the bare ptrace loop failed (errno \(-status))") }
        }
        return (Double(times[0]), Double(times[1]))
    }
    func steps(_ debugger: Debugger, _ count: Int) throws -> Double {
        try timed {
            let stop = try debugger.step(count: count)
            guard stop.steps == count else { throw BenchFailure("\(count) steps ended in \(stop.reason)") }
        }
    }
    _ = try (bare(), steps(debugger, count), steps(owned, count))
    var times: [[Double]] = [[], [], [], [], []]
    var ratios: [Double] = []
    for round in 0..<rounds {
        let first = round % 2 == 0 ? try bare() : nil
        let ours = try steps(debugger, count)
        let theirs = try first ?? bare()
        ratios.append(min(theirs.asleep, theirs.looking) / ours)
        times[0].append(theirs.asleep / Double(count))
        times[1].append(theirs.looking / Double(count))
        times[2].append(ours / Double(count))
        let few = max(count / 10, 10)
        times[3].append(
            try timed { for _ in 0..<few { _ = try steps(debugger, 1) } } / Double(few))
        times[4].append(try steps(owned, count) / Double(count))
    }
    let parts = zip(
        ["bare ptrace, asleep", "bare ptrace, looking", "ours", "ours, a stop each", "owned guest"], times)
    return Figure(
        name: "a step of another program's guest", value: median(ratios), unit: "", line: .atLeast(0.90),
        parts: parts.map { ($0.0, median($0.1) / 1000, "us") })
}

/// From nothing to every register of a guest that runs and keeps running.
func attachFigure(vmm: String, program: String, rounds: Int) throws -> Figure {
    let guest = try ForeignGuest(vmm, vcpus: 2, loops: false)
    let program = TracerProgram(path: program)
    var times: [[Double]] = [[], [], [], []]
    for _ in 0..<rounds {
        let start = cbench_now()
        let tracer = try StartedTracer(program)
        let found = try guest.found()
        let seen = cbench_now()
        let target = try AttachedTarget(found, tracer: tracer)
        let attached = cbench_now()
        let debugger = try Debugger(target: target)
        let isComplete = debugger.stop.vcpus.allSatisfy {
            $0.registers.rip != 0 && $0.special.cr0.rawValue != 0
        }
        guard debugger.stop.vcpus.count == 2, isComplete else { throw BenchFailure("registers are missing") }
        let end = cbench_now()
        guard target.standstills.count == 0 else { throw BenchFailure("attaching has stopped the guest") }
        try target.detach()
        let moments = [start, seen, attached, end].map { Double($0) / 1e6 }
        for part in 0..<3 { times[part].append(moments[part + 1] - moments[part]) }
        times[3].append(moments[3] - moments[0])
    }
    return Figure(
        name: "attach and read all registers, 2 vCPUs", value: median(times[3]), unit: "ms",
        line: .under(50),
        parts: zip(["find", "attach", "registers"], times).map { ($0.0, median($0.1), "ms") } + [
            ("fastest", times[3].min() ?? .nan, "ms"), ("slowest", times[3].max() ?? .nan, "ms"),
        ])
}

/// A running guest of two vCPUs made to stop, until the stop with its registers is there.
func attachedStopFigure(vmm: String, tracer: TracerProgram, rounds: Int) throws -> Figure {
    let guest = try ForeignGuest(vmm, vcpus: 2)
    let debugger = try stopped(try guest.found(), tracer)
    var times: [Double] = []
    for _ in 0..<rounds * 10 {
        try debugger.startContinue()
        _ = try debugger.collectStop(timeout: .milliseconds(5))
        times.append(
            try timed {
                debugger.interrupt()
                guard let stop = try debugger.collectStop(timeout: .seconds(5)), stop.vcpus.count == 2 else {
                    throw BenchFailure("the guest does not stop")
                }
            } / 1e6)
    }
    return Figure(
        name: "stop to registers, 2 vCPUs of another program", value: median(times), unit: "ms",
        line: .under(1),
        parts: [("fastest", times.min() ?? .nan, "ms"), ("slowest", times.max() ?? .nan, "ms")])
}

/// What the user waits for: the program started, attached, and the registers printed.
func attachCommandFigure(vmm: String, program: String, rounds: Int) throws -> Figure {
    let guest = try ForeignGuest(vmm, vcpus: 2, loops: false)
    var times: [Double] = []
    for _ in 0..<rounds {
        let start = cbench_now()
        let run = try WholeProgram(
            program, ["attach", "\(guest.pid)", "--batch", "-ex", "info registers"], columns: 120, rows: 40)
        let printed = run.drain(silence: 300)
        guard printed.bytes > 200 else { throw BenchFailure("no registers were printed") }
        times.append(Double(printed.last - start) / 1e6)
    }
    return Figure(
        name: "kvmscope attach, registers printed", value: median(times), unit: "ms", line: .under(100),
        parts: [("fastest", times.min() ?? .nan, "ms"), ("slowest", times.max() ?? .nan, "ms")])
}
