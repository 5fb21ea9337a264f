import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing

@testable import Attach

/// Refusals by really being what is refused.
@Suite(
    "Refused for real", .enabled(if: Host.runsKVM && getuid() == 0, "needs /dev/kvm and root"), .serialized)
struct RefusalLiveTests {
    private struct Answer {
        var status: Int32
        var output: String
        var errors: String
    }

    /// kvmscope as someone with fewer rights.
    private func kvmscope(_ arguments: [String], as rights: [String]) throws -> Answer {
        try run("/usr/bin/setpriv", rights + [Built.tracer.path] + arguments)
    }

    private func run(_ program: String, _ arguments: [String]) throws -> Answer {
        let process = Process()
        let (output, errors) = (Pipe(), Pipe())
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        let said = output.fileHandleForReading.readDataToEndOfFile()
        let wrong = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Answer(
            status: process.terminationStatus, output: String(decoding: said, as: UTF8.self),
            errors: String(decoding: wrong, as: UTF8.self))
    }

    private static let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]

    /// Refused with all of these words, in one line, with the status of a guest that could not be had.
    private func expectRefused(
        _ answer: Answer, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer.status == 2, sourceLocation: sourceLocation)
        #expect(answer.output == "", sourceLocation: sourceLocation)
        for word in words {
            #expect(
                answer.errors.contains(word), "\(word) in \(answer.errors)", sourceLocation: sourceLocation)
        }
    }

    @Test("another user's VMM")
    func otherUser() throws {
        let tiny = try TinyGuest()
        expectRefused(
            try kvmscope(["attach", "\(tiny.pid)", "--batch"], as: Self.nobody), "may not be looked at",
            "as the user that runs the VMM, or as root (CAP_SYS_PTRACE)")
        let list = try kvmscope(["list"], as: Self.nobody)
        #expect(list.status == 0 && list.output.contains("run as root to see them"))
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("a VMM whose threads have a filter that may not be lifted")
    func filtered() throws {
        let tiny = try TinyGuest(vcpus: 2, "filter")
        let rights = ["--bounding-set=-sys_admin"]
        expectRefused(
            try kvmscope(["attach", "\(tiny.pid)", "--batch", "-ex", "stop"], as: rights), "seccomp",
            "CAP_SYS_ADMIN")
        let list = try kvmscope(["list"], as: rights)
        #expect(list.output.contains("filters the system calls"))
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("nobody without a right to trace the VMM keeps others off it")
    func strangersName() throws {
        let tiny = try TinyGuest()
        // An abstract socket, which any user may bind: by such a name guards once knew of each other.
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array("kvmscope-attached-\(tiny.pid)".utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: [0] + name) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.count))
            }
        }
        try #require(bound == 0 && listen(socket, 5) == 0)
        let (target, debugger) = try tiny.stopped()
        #expect(try debugger.step(count: 2).steps == 2)
        try target.detach()
        // The file whose lock it is may be opened by nobody else.
        let answer = try run("/usr/bin/setpriv", Self.nobody + ["/usr/bin/cat", "/proc/\(tiny.pid)/mem"])
        #expect(answer.status != 0 && answer.errors.contains("Permission denied"), "\(answer.errors)")
    }

    @Test(
        "with too few descriptors no right is asked for, but descriptors", arguments: 6...12)
    func fewDescriptors(limit: Int) throws {
        let tiny = try TinyGuest()
        let answer = try run(
            "/bin/sh",
            [
                "-c",
                "ulimit -n \(limit); exec '\(Built.tracer.path)' attach \(tiny.pid) --batch -ex 'info registers'",
            ])
        guard answer.status != 0 else { return #expect(answer.output.contains("eip")) }
        #expect(
            answer.errors.contains("descriptors") || answer.errors.contains("Too many open files"),
            "\(answer.errors)")
        for wrong in ["CAP_SYS_PTRACE", "as root", "no process", "no KVM guest"] {
            #expect(!answer.errors.contains(wrong), "\(answer.errors)")
        }
        try tiny.expectUnnoticed()
    }

    @Test("one debugger at a time, also while the guest runs untraced")
    func twoDebuggers() throws {
        let tiny = try TinyGuest(vcpus: 1, "filter")
        do {
            let first = try tiny.attach()
            for _ in 0..<3 {
                let error = #expect(throws: HostGuestError.self) { try tiny.attach() }
                #expect(error?.code == .attachedElsewhere)
                #expect(error?.advice == .detachThere)
                #expect(error?.message.contains("another kvmscope") == true)
            }
            // The one that was refused has changed nothing.
            _ = try first.withVCPU(0) { try $0.registers() }
            #expect(first.standstills.count == 0)
            try first.detach()
        }
        let second = try tiny.attach()
        try second.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("a VMM that another debugger traces")
    func traced() throws {
        let tiny = try TinyGuest()
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        debugger.interrupt()
        _ = try debugger.collectStop(timeout: .paced(10))
        expectRefused(
            try kvmscope(["attach", "\(tiny.pid)", "--batch"], as: []), "already traced by process",
            "(kvmscope); `detach` or `quit` there first")
        try debugger.detach()
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }

    @Test("a process that is gone, one with no guest, an unknown name")
    func nothing() throws {
        expectRefused(
            try kvmscope(["attach", "1073741823", "--batch"], as: []), "there is no process 1073741823")
        expectRefused(
            try kvmscope(["attach", "\(getppid())", "--batch"], as: []), "runs no KVM guest", "kvmscope list")
        expectRefused(
            try kvmscope(["attach", "no such guest", "--batch"], as: []), "no KVM guest is called",
            "kvmscope list")
    }

    @Test("kvmscope itself")
    func itself() throws {
        let machine = try KVM.open().createVM()
        let own = try #require(GuestFinder().guest(process: getpid()))
        #expect(own.obstacle?.code == .ownProcess)
        #expect(throws: HostGuestError.self) { try AttachedTarget(own, tracer: Built.tracer) }
        _ = machine.descriptor
    }

    @Test("a QEMU whose gdbstub is in use", .enabled(if: Host.runsQEMU, "needs QEMU"))
    func gdbstub() throws {
        let path = NSTemporaryDirectory() + "gdb-\(UUID().uuidString.prefix(8))"
        defer { unlink(path) }
        let qemu = try QEMU(["-gdb", "unix:\(path),server=on,wait=off"])
        #expect(try #require(GuestFinder().guest(process: qemu.pid)).obstacle == nil)
        let debugger = try GDBClient(path)
        // It may have told of the stop at once; what it says to the question is the same.
        try debugger.settle()
        // A hardware breakpoint far away, and on: KVM_SET_GUEST_DEBUG is the VMM's now.
        #expect(try debugger.ask("Z1,fff00,1") == "OK")
        try debugger.send("c")
        let deadline = ContinuousClock.now + .paced(10)
        var obstacle: HostGuestError?
        repeat {
            usleep(10_000)
            obstacle = GuestFinder().guest(process: qemu.pid)?.obstacle
        } while obstacle == nil && ContinuousClock.now < deadline
        #expect(obstacle?.code == .guestDebugInUse)
        expectRefused(
            try kvmscope(["attach", "\(qemu.pid)", "--batch"], as: []), "KVM_SET_GUEST_DEBUG", "gdbstub",
            "delete its breakpoints")
    }

    @Test(
        "a QEMU that was told to wait is attached to, says why it does not step, and is continued from its monitor",
        .enabled(if: Host.runsQEMU, "needs QEMU"))
    func neverRan() throws {
        let qemu = try QEMU(["-S"], waits: false)
        let answer = try kvmscope(
            ["attach", "\(qemu.pid)", "--batch", "-ex", "vcpu list", "-ex", "stop", "-ex", "step"], as: [])
        #expect(answer.status == 0, "\(answer.errors)")
        #expect(answer.output.contains("paused") && answer.output.contains("f000:fff0"))
        #expect(answer.output.contains("QEMU has not begun to run vCPU 0"), "\(answer.output)")
        let front = Process(of: Built.tracer.path, [])
        let (output, errors) = (Pipe(), Pipe())
        front.arguments? += [
            "attach", "\(qemu.pid)", "--batch", "-ex", "stop", "-ex", "break 0xfe05b", "-ex", "continue",
        ]
        front.standardOutput = output
        front.standardError = errors
        front.standardInput = FileHandle.nullDevice
        try front.run()
        // It says what it waits for, and waits.
        let said = String(decoding: errors.fileHandleForReading.availableData, as: UTF8.self)
        #expect(said.contains("`cont` in QEMU's monitor") && said.contains("Ctrl-C"), "\(said)")
        #expect(front.isRunning)
        try qemu.ask("cont")
        let told = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        front.waitUntilExit()
        #expect(front.terminationStatus == 0 && told.contains("Breakpoint 1."), "\(told)")
        #expect(try qemu.ask("info status").contains("running"))
    }

    /// A patch would stand where the memory map, which is a guess then, has the place.
    @Test(
        "without BPF, too, a guest that has not begun to run is attached to, and caught when it begins",
        .enabled(if: Host.registerBreakpoints > 0, "needs debug registers fire on this host"))
    func neverRanWithoutBPF() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        let rights = ["--bounding-set=-bpf,-perfmon,-sys_admin"]
        let answer = try kvmscope(
            ["attach", "\(tiny.pid)", "--batch", "-ex", "vcpu list", "-ex", "stop", "-ex", "step"], as: rights
        )
        #expect(answer.status == 0 && answer.output.contains("paused"), "\(answer.output) \(answer.errors)")
        #expect(answer.output.contains("none of its threads was seen in KVM_RUN"), "\(answer.output)")
        let front = Process(of: "/usr/bin/setpriv", [])
        let output = Pipe()
        front.arguments? +=
            rights + [
                Built.tracer.path, "attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "break 0x1002",
            ]
            + ["-ex", "continue", "-ex", "step 3"]
        front.standardOutput = output
        front.standardInput = FileHandle.nullDevice
        try front.run()
        // Until its threads are watched.
        let tasks = { (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(tiny.pid)/task")) ?? [] }
        let deadline = ContinuousClock.now + .paced(20)
        while !tasks().allSatisfy({ task in
            let status = try? String(contentsOfFile: "/proc/\(tiny.pid)/task/\(task)/status", encoding: .utf8)
            return status?.contains("TracerPid:\t0\n") == false && status?.contains("tracing stop") == false
        }), ContinuousClock.now < deadline { usleep(1000) }
        kill(tiny.pid, SIGUSR1)
        let told = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        front.waitUntilExit()
        #expect(front.terminationStatus == 0 && told.contains("Breakpoint 1."), "\(told)")
        #expect(told.contains("Stepped 3 instructions."), "\(told)")
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            try tiny.expectUnnoticed(vcpu: vcpu)
        }
    }

    @Test("without BPF the memory map is searched for, and said not to be the kernel's")
    func withoutBPF() throws {
        let tiny = try TinyGuest()
        let answer = try kvmscope(
            [
                "attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "step", "-ex", "info sources",
            ]
                // More than there are debug registers: the last one would be a patch.
                + (0..<5).flatMap { ["-ex", "break *\(0x8000 + $0 * 16)"] } + [
                    "-ex", "info breakpoints", "-ex", "detach",
                ],
            as: ["--bounding-set=-bpf,-perfmon,-sys_admin"])
        #expect(answer.status == 0, "\(answer.errors)")
        #expect(answer.output.contains("the VMM's largest mapping (/proc/PID/maps)"))
        #expect(
            answer.output.contains(
                "not from KVM's memory slots (BPF and BTF): the kernel refuses BPF programs"))
        #expect(answer.output.contains("CAP_BPF and CAP_PERFMON"))
        #expect(answer.output.contains("no patch, as the guest's memory map is a guess (`info sources`)"))
        #expect(!answer.output.contains("the guest can read the patch"))
        let written = try kvmscope(
            ["attach", "\(tiny.pid)", "--batch", "-ex", "stop", "-ex", "setpmem 0x8000 1 2"],
            as: ["--bounding-set=-bpf,-perfmon,-sys_admin"])
        #expect(written.errors.contains("nothing is written by a guess"), "\(written)")
        try tiny.waitForRounds()
        try tiny.expectUnnoticed()
    }
}

/// As much of GDB's remote protocol as a breakpoint needs.
private final class GDBClient {
    private let socket: Int32

    init(_ path: String) throws {
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.copyBytes(from: Array(path.utf8.prefix(100)) + [0])
        }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Failure("QEMU's gdbstub does not answer") }
    }

    deinit { close(socket) }

    func send(_ packet: String) throws {
        let sum = packet.utf8.reduce(UInt8(0)) { $0 &+ $1 }
        let digits = String(sum, radix: 16)
        let bytes = Array("$\(packet)#\(digits.count < 2 ? "0" : "")\(digits)".utf8)
        guard write(socket, bytes, bytes.count) == bytes.count else { throw Failure("the gdbstub is gone") }
    }

    /// Asks why the guest is stopped, until no answer is left over.
    func settle() throws {
        _ = try ask("?")
        usleep(100_000)
        var buffer = [UInt8](repeating: 0, count: 4096)
        var ready = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        while poll(&ready, 1, 100) == 1, read(socket, &buffer, buffer.count) > 0 {}
    }

    /// The body of the answer.
    func ask(_ packet: String) throws -> String {
        try send(packet)
        var text = [UInt8]()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            if let start = text.firstIndex(of: UInt8(ascii: "$")),
                let end = text[start...].firstIndex(of: UInt8(ascii: "#")), text.count >= end + 3
            {
                _ = write(socket, "+", 1)
                return String(decoding: text[(start + 1)..<end], as: UTF8.self)
            }
            var ready = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 20_000) == 1 else { throw Failure("the gdbstub is silent") }
            let count = read(socket, &buffer, buffer.count)
            guard count > 0 else { throw Failure("the gdbstub is gone") }
            text += buffer.prefix(count)
        }
    }
}
