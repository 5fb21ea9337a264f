import Foundation
import Testing

private enum TraceFS {
    static let instances = "/sys/kernel/tracing/instances"
    static let isThere = Host.runsKVM && access(instances, W_OK | X_OK) == 0
}

/// The trace instance of `kvmscope top --source tracefs` goes with the program, however that ends.
@Suite(.serialized, .enabled(if: TraceFS.isThere, "needs /dev/kvm, root and a mounted tracefs"))
struct TraceInstanceTests {
    private func instances(of process: Int32) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: TraceFS.instances).filter {
            $0.hasPrefix("kvmscope-\(process)-")
        }
    }

    /// The processes that keep an instance of this one.
    private func keepers(of process: Int32) throws -> [Int32] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.filter {
            number in
            let words = (try? Data(contentsOf: URL(filePath: "/proc/\(number)/cmdline"))) ?? Data()
            let text = String(decoding: words, as: UTF8.self)
            return text.contains("--trace-instance-keeper\0kvmscope-\(process)-")
        }
    }

    private func wait(_ what: String, until isDone: () throws -> Bool) throws {
        let end = ContinuousClock.now + .seconds(60)
        while try !isDone() {
            try #require(ContinuousClock.now < end, "\(what)")
            usleep(10_000)
        }
    }

    @Test(arguments: [SIGKILL, SIGTERM, SIGINT, SIGSEGV]) func itGoesWithTheProgram(_ signal: Int32) throws {
        let program = Process()
        program.executableURL = URL(filePath: Built.kvmscope)
        program.arguments = ["top", "--source", "tracefs", "--json", "-d", "0.1"]
        let output = Pipe()
        program.standardOutput = output
        program.standardError = FileHandle.nullDevice
        try program.run()
        let process = program.processIdentifier
        // The first interval is over.
        #expect(!output.fileHandleForReading.availableData.isEmpty)
        #expect(try instances(of: process).count == 1)
        let keepers = try keepers(of: process)
        #expect(keepers.count == 1)
        // What is meant for all of a job does not end the keeper before its time.
        for keeper in keepers {
            for other in [SIGTERM, SIGINT, SIGHUP] { kill(keeper, other) }
        }
        kill(process, signal)
        program.waitUntilExit()
        try wait("an instance is left") { try instances(of: process).isEmpty }
        try wait("a keeper is left") { try self.keepers(of: process).isEmpty }
    }

    private static let refusesPerf =
        (try? String(contentsOfFile: "/proc/sys/kernel/perf_event_paranoid", encoding: .utf8))
        .flatMap { Int($0.dropLast()) }.map { $0 > 0 } ?? false

    /// Root without capabilities, as in many containers: its files are still its own.
    @Test(
        .enabled(
            if: refusesPerf && Host.has("setpriv"), "needs kernel.perf_event_paranoid above 0 and setpriv"))
    func itIsTakenWhereProgramsAndRingsAreRefused() throws {
        let done = try run(
            "/usr/bin/setpriv", ["--bounding-set=-all", "--inh-caps=-all", Built.kvmscope, "top", "--once"])
        #expect(done.status == 0, "\(done.errors)")
        for line in ["source tracefs", "no BPF: ", "no perf rings: "] { #expect(done.output.contains(line)) }
        #expect(done.output.contains("CAP_PERFMON"))
    }

    @Test func itIsToldAsTheSource() throws {
        let done = try run(Built.kvmscope, ["top", "--once", "--source", "tracefs", "--json"])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains(#""source":"tracefs""#))
    }
}
