import Attach
import DebugTarget
import Debugger
import Foundation
import Host
import TargetConformance
import Testing
import X86

/// The programs that this package builds, found beside the running test bundle.
enum Built {
    static let directory: URL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent()
    static let tinyVMM = directory.appending(path: "TinyVMM").path
    static let tracer = TracerProgram(path: directory.appending(path: "kvmscope").path)
}

/// What a test needs of the host. With CI=true nothing is skipped: what is missing fails.
enum Host {
    static let isCI = ProcessInfo.processInfo.environment["CI"] == "true"
    static let runsKVM = isCI || access("/dev/kvm", R_OK | W_OK) == 0
    /// Attaching to a process that is our own child needs no more than KVM, if Yama does not say otherwise.
    static let qemu: String? =
        access("/usr/bin/qemu-system-x86_64", X_OK) == 0 ? "/usr/bin/qemu-system-x86_64" : nil
    static let runsQEMU = isCI || (runsKVM && qemu != nil)
    /// How many of several breakpoints in real mode are in debug registers: one is kept for steps.
    static let registerBreakpoints = DebugFacilities.ofHost.works(.executionBreakpoint, in: .real) ? 3 : 0
}

/// A VMM of the tests' own at work; ended with its last reference.
final class TinyGuest {
    let process = Process()
    private let log: URL

    struct VCPULog: Equatable {
        var thread, returns, io, interrupted, debug, other, otherReason, rounds, wrong, commands, lastCommand,
            signals, halts, unexplained: UInt64
    }

    /// How often one that kicks does so. A signal that comes before the step after the last one is done leaves no time for
    /// any, and on a slow host the signal takes as much longer as the step does.
    static func pace(of options: [String]) -> [String] {
        options.contains("kick") ? ["pause=\(Int(3000 * HostPace.factor * HostPace.factor))"] : []
    }

    /// - Parameter image: runs these bytes at 0000:7C00 instead of the guest of its own.
    init(vcpus: Int = 1, image: [UInt8]? = nil, _ options: String...) throws {
        log = URL(filePath: NSTemporaryDirectory()).appending(path: "tiny-\(UUID().uuidString)")
        let file = log.appendingPathExtension("image")
        var options = options
        if let image {
            try Data(image).write(to: file)
            options.append("image=\(file.path)")
        }
        defer { try? FileManager.default.removeItem(at: file) }
        process.executableURL = URL(filePath: Built.tinyVMM)
        process.arguments = [log.path, "\(vcpus)"] + options + Self.pace(of: options)
        // As with any VMM, a signal that it does not expect is its end.
        process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) {
            $1
        }
        try process.run()
        let deadline = ContinuousClock.now + .paced(20)
        while (try? words().first) != UInt64(vcpus) {
            guard process.isRunning, ContinuousClock.now < deadline else {
                throw Failure("TinyVMM does not start")
            }
            usleep(1000)
        }
        guard image == nil, !options.contains("prompt"), !options.contains("busy") else { return }
        for index in 0..<vcpus { try waitForRounds(1, vcpu: index) }
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: log)
    }

    var pid: Int32 { process.processIdentifier }

    private func words() throws -> [UInt64] {
        let bytes = [UInt8](try Data(contentsOf: log))
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
    }

    func vcpu(_ index: Int = 0) throws -> VCPULog {
        let all = try words()
        let at = 1 + 3 * 4 + index * 14
        guard all.count >= at + 14 else { throw Failure("the log is short") }
        return VCPULog(
            thread: all[at], returns: all[at + 1], io: all[at + 2], interrupted: all[at + 3],
            debug: all[at + 4],
            other: all[at + 5], otherReason: all[at + 6], rounds: all[at + 7], wrong: all[at + 8],
            commands: all[at + 9], lastCommand: all[at + 10], signals: all[at + 11], halts: all[at + 12],
            unexplained: all[at + 13])
    }

    /// GPA, size, HVA, flags.
    func slots() throws -> [[UInt64]] {
        let all = try words()
        return (0..<3).map { Array(all[1 + $0 * 4..<5 + $0 * 4]) }
    }

    /// The process that it has forked; 0 before.
    var heir: Int32 {
        get throws { Int32(truncatingIfNeeded: try words()[1 + 3 * 4 + 8 * 14]) }
    }

    /// How many signals its threads have taken.
    var signals: UInt64 {
        get throws {
            let all = try words()
            return try all[1 + 3 * 4 + 8 * 14 + 1] + (0..<Int(all[0])).reduce(0) { try $0 + vcpu($1).signals }
        }
    }

    /// Waits until the guest has finished `count` more rounds of right sums.
    func waitForRounds(_ count: UInt64 = 3, vcpu index: Int = 0) throws {
        let start = try vcpu(index).rounds
        let deadline = ContinuousClock.now + .paced(20)
        while try vcpu(index).rounds < start + count {
            guard process.isRunning else {
                throw Failure("TinyVMM has ended (status \(process.terminationStatus))")
            }
            guard ContinuousClock.now < deadline else {
                throw Failure("the guest does not go on: \(try vcpu(index))")
            }
            usleep(1000)
        }
    }

    /// No exit of ours has come to it, and no EINTR but by a signal: one that is sent to the process is taken by whichever
    /// thread is there first.
    func expectNothingOfOurs(vcpu index: Int = 0, _ location: SourceLocation = #_sourceLocation) throws {
        let log = try vcpu(index)
        #expect(log.debug == 0 && log.unexplained == 0, "\(log)", sourceLocation: location)
    }

    /// Nothing but its own exits, and right sums.
    func expectUnnoticed(vcpu index: Int = 0, _ location: SourceLocation = #_sourceLocation) throws {
        try expectNothingOfOurs(vcpu: index, location)
        let log = try vcpu(index)
        #expect(log.other == 0, "reason \(log.otherReason)", sourceLocation: location)
        #expect(log.wrong == 0, sourceLocation: location)
        #expect(log.rounds > 0, sourceLocation: location)
    }

    /// Whether some tracer has the thread of a vCPU.
    func isTraced(_ index: Int) throws -> Bool {
        let path = "/proc/\(pid)/task/\(try vcpu(index).thread)/status"
        return try !String(contentsOfFile: path, encoding: .utf8).contains("TracerPid:\t0\n")
    }

    /// Attaches, and makes the vCPUs stop.
    func stopped() throws -> (AttachedTarget, Debugger) {
        let target = try attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        return (target, debugger)
    }

    func attach() throws -> AttachedTarget {
        guard let guest = GuestFinder().guest(process: pid) else { throw Failure("the guest is not found") }
        return try AttachedTarget(guest, tracer: Built.tracer)
    }
}

extension Debugger {
    /// Breakpoints where no guest of these tests comes by: of those set after them, some are patches. Three leave a fourth
    /// register free where the host has one for steps.
    func fillDebugRegisters(places count: Int) throws {
        for offset in 0..<UInt64(count) { try setBreakpoint(at: .linear(0x9000 + offset)) }
    }
}

extension Process {
    /// A program that ends with this process, by whatever that ends.
    convenience init(of program: String, _ arguments: [String]) {
        self.init()
        executableURL = URL(filePath: Built.tinyVMM)
        self.arguments = ["run-with", "\(getpid())", program] + arguments
        standardInput = FileHandle.nullDevice
    }
}

struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// How often the long cases do what they do: ATTACH_ROUNDS=full takes minutes. A slow host does fewer.
enum Rounds {
    /// - Parameter least: those that it takes to see what the case is there for.
    static func scaled(_ few: Int, full: Int, atLeast least: Int = 1) -> Int {
        let isFull = ProcessInfo.processInfo.environment["ATTACH_ROUNDS"] == "full"
        return HostPace.rounds(isFull ? full : few, atLeast: least)
    }
}
