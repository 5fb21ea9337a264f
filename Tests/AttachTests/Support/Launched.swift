import Attach
import Foundation
import Host
import TargetConformance
import Testing

/// A VMM started by kvmscope's own means; ended with its last reference, whatever became of it.
final class Launched {
    let log: URL
    let output: URL
    let vmm: LaunchedVMM
    private(set) var process: Int32 = 0

    /// - Parameter command: what is started; `LOG` in it stands for the file that TinyVMM keeps.
    init(_ command: [String], input: String = "/dev/null") throws {
        let base = URL(filePath: NSTemporaryDirectory()).appending(path: "launched-\(UUID().uuidString)")
        log = base.appendingPathExtension("log")
        output = base.appendingPathExtension("out")
        let path = log.path
        vmm = try LaunchedVMM(
            command.map { $0.replacingOccurrences(of: "LOG", with: path) }, input: input, output: output.path,
            tracer: Built.tracer)
    }

    /// TinyVMM with so many vCPUs.
    convenience init(tiny vcpus: Int, _ options: String...) throws {
        try self.init([Built.tinyVMM, "LOG", "\(vcpus)"] + options)
    }

    deinit {
        if process > 0 { kill(process, SIGKILL) }
        for file in [log, output] { try? FileManager.default.removeItem(at: file) }
    }

    /// Waits until its guest is about to run.
    func target(readsKernel: Bool = true) throws -> AttachedTarget {
        let deadline = ContinuousClock.now + .paced(30)
        while try vmm.progress() != .ready {
            guard ContinuousClock.now < deadline else { throw Failure("the VMM does not come to KVM_RUN") }
            usleep(5000)
        }
        let target = try vmm.target(readsKernel: readsKernel)
        process = target.guest.process
        return target
    }

    var printed: String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

    private func words() throws -> [UInt64] {
        let bytes = [UInt8](try Data(contentsOf: log))
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
    }

    /// A slot of TinyVMM's log: GPA, size, HVA, flags.
    func slots() throws -> [[UInt64]] {
        let all = try words()
        return (0..<3).map { Array(all[1 + $0 * 4..<5 + $0 * 4]) }
    }

    struct Counts {
        var thread, returns, interrupted, debug, other, rounds, wrong, signals: UInt64
    }

    func counts(_ vcpu: Int = 0) throws -> Counts {
        let all = try words()
        let size = (all.count - 13) / 8
        let at = 13 + vcpu * size
        return Counts(
            thread: all[at], returns: all[at + 1], interrupted: all[at + 3], debug: all[at + 4],
            other: all[at + 5], rounds: all[at + 7], wrong: all[at + 8], signals: all[at + 11])
    }

    /// Waits for rounds of right sums, and for nothing else.
    func expectGoesOn(_ vcpus: Int, _ location: SourceLocation = #_sourceLocation) throws {
        for vcpu in 0..<vcpus {
            let start = try counts(vcpu).rounds
            let deadline = ContinuousClock.now + .paced(20)
            while try counts(vcpu).rounds < start + 3 {
                guard ContinuousClock.now < deadline else { throw Failure("vCPU \(vcpu) does not go on") }
                usleep(1000)
            }
            let now = try counts(vcpu)
            #expect(now.debug == 0 && now.other == 0 && now.wrong == 0, sourceLocation: location)
            #expect(now.interrupted <= now.signals, sourceLocation: location)
        }
    }

    /// Threads of the VMM that some process traces.
    func traced() -> [String] {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
        return tasks.filter { task in
            let status = try? String(contentsOfFile: "/proc/\(process)/task/\(task)/status", encoding: .utf8)
            return status?.contains("TracerPid:\t0\n") == false
        }
    }

    /// Whether the process is there, and no zombie.
    static func isAlive(_ process: Int32) -> Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else {
            return false
        }
        return !stat.contains(") Z ") && !stat.contains(") X ")
    }

    static func waitForEnd(of process: Int32) -> Bool {
        let deadline = ContinuousClock.now + .paced(10)
        while isAlive(process), ContinuousClock.now < deadline { usleep(1000) }
        return !isAlive(process)
    }
}
