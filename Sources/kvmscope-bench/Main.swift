import ArgumentParser
import Attach
import Commands
import Glibc
import Interface

@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kvmscope-bench",
        abstract: "What kvmscope costs, beside the bare C loop of the same ioctls, in one run.")

    @Option(help: "Rounds, ours and the bare loop's in turns; medians are shown.")
    var rounds = 9

    @Option(help: "Exits or steps a round.")
    var count = 20_000

    @Flag(help: "Print JSON alone.")
    var json = false

    func validate() throws {
        guard rounds > 0, count >= 100 else {
            throw ValidationError("at least 1 round of at least 100 steps")
        }
    }

    @Option(
        help: """
            Measure only these: vcpu, command, find, walk, port, boot, break, view, program, remote, watch, attach (repeatable).
            """)
    var only: [String] = []

    @Option(help: .private)
    var draw: Int?

    @Option(help: .private)
    var drawReport = ""

    @Flag(help: .private)
    var refresh = false

    mutating func run() throws {
        if let draw {
            try drawFrames(draw, report: drawReport)
            return
        }
        if refresh {
            try refreshHost(report: drawReport)
            return
        }
        var figures: [Figure] = []
        for (name, work) in try works() where only.isEmpty || only.contains(name) { figures += try work() }
        let exit = try BareLoop.exitPrice()
        if exit > BareLoop.dearestExit {
            // A host on another host's processor: what an exit costs there hides what is beside it.
            for place in figures.indices { figures[place].line = .reported }
            warn("An exit costs \(decimal(exit)) us here: no line is judged.")
        }
        if !json { print(figures.table) }
        print(figures.json)
        if figures.contains(where: { !$0.isReached }) { throw ExitCode(1) }
    }

    private func warn(_ text: String) {
        let line = "kvmscope-bench: \(text)\n"
        _ = line.withCString { write(2, $0, strlen($0)) }
    }

    private func works() throws -> [(String, () throws -> [Figure])] {
        let (count, rounds) = (count, rounds)
        let program = try sibling("kvmscope")
        return [
            ("vcpu", { [try vcpuStepFigure(count: count, rounds: rounds)] }),
            ("find", { [try findFigure(mebibytes: 1024, rounds: min(rounds, 5))] }),
            ("walk", { [try pageWalkFigure(count: 100_000, rounds: min(rounds, 5))] }),
            ("port", { [try portOutFigure(count: count, rounds: rounds)] }),
            (
                "command",
                {
                    [
                        try singleStepFigure(count: min(count, 5000), rounds: rounds),
                        try commandFigure(count: 100_000, rounds: min(rounds, 5)),
                    ]
                }
            ),
            ("boot", { try bootFigures(program: program, rounds: rounds) }),
            ("break", { try breakpointFigures(count: count, rounds: rounds) }),
            ("view", { [try viewFigure(program: try sibling("kvmscope-bench"), frames: 200)] }),
            ("program", { try wholeProgramFigures(program, rounds: rounds) }),
            ("remote", { try remoteFigures(program: program, count: count, rounds: rounds) }),
            (
                "watch",
                {
                    try watchFigures(
                        program: program, bench: try sibling("kvmscope-bench"), count: count, rounds: rounds)
                }
            ),
            (
                "attach",
                {
                    let vmm = try sibling("TinyVMM")
                    let tracer = TracerProgram(path: program)
                    return [
                        try attachedStepFigure(
                            vmm: vmm, tracer: tracer, count: min(count, 5000), rounds: rounds),
                        try attachedStopFigure(vmm: vmm, tracer: tracer, rounds: rounds),
                        try attachFigure(vmm: vmm, program: program, rounds: rounds),
                        try attachCommandFigure(vmm: vmm, program: program, rounds: rounds),
                    ]
                }
            ),
        ]
    }

    /// A program of this package, which stands beside this one in the build folder.
    private func sibling(_ name: String) throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard length > 0 else { throw BenchFailure("/proc/self/exe could not be read") }
        let own = String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let path = own.dropLast(own.split(separator: "/").last?.count ?? 0) + name
        guard access(String(path), X_OK) == 0 else {
            throw BenchFailure("\(path) is not built; run: swift build -c release")
        }
        return String(path)
    }
}
