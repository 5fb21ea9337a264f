import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

@Suite("Launched under the debugger", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct LaunchLiveTests {
    @Test(
        "a VMM stands before its guest's first instruction, and notices nothing",
        arguments: [(1, []), (2, []), (2, ["filter"]), (2, ["kick"])] as [(Int, [String])])
    func first(vcpus: Int, options: [String]) throws {
        let launched = try Launched(
            [Built.tinyVMM, "LOG", "\(vcpus)", "stay"] + options + TinyGuest.pace(of: options))
        let target = try launched.target()
        let debugger = try Debugger(target: target)
        #expect(target.vcpus.map(\.id) == Array(0..<vcpus))
        for vcpu in 0..<vcpus {
            let snapshot = try #require(debugger.stop[vcpu])
            #expect(snapshot.registers.rip == 0x1000 && snapshot.registers.rsi == 12345 + UInt64(vcpu))
            // The EINTR of a signal of its own is its own.
            let counts = try launched.counts(vcpu)
            #expect(counts.returns == counts.interrupted && counts.interrupted <= counts.signals)
        }
        // The map is what it asked KVM for, and the kernel says the same.
        #expect(target.attachedMemory.source == .calls(isChecked: true))
        #expect(
            try target.memory.regions
                == launched.slots().enumerated().map { index, slot in
                    MemoryRegion(
                        slot: index, gpa: slot[0], size: slot[1], hva: slot[2], isReadOnly: slot[3] & 2 != 0)
                })
        // Only the vCPUs' threads are traced still.
        #expect(launched.traced().count == vcpus)

        let stop = try debugger.step(count: 5)
        // in, add, mov, imul, add: one round through the loop has begun.
        #expect(stop[stop.vcpu]?.registers.rip == 0x1019, "\(stop.reason), after \(stop.steps)")
        _ = try debugger.setBreakpoint(at: .linear(0x1034))
        for _ in 0..<10 { #expect(try debugger.continueRun().reason == .breakpoint([1])) }
        #expect(target.attachedMemory.source == .kernel)
        try debugger.detach()
        #expect(launched.traced().isEmpty)
        try launched.expectGoesOn(vcpus)
    }

    @Test("it is found after a program that becomes it, and as the child of one", arguments: ["exec ", ""])
    func wrapped(prefix: String) throws {
        let launched = try Launched(["sh", "-c", "\(prefix)'\(Built.tinyVMM)' 'LOG' 1; exit 3"])
        let target = try launched.target()
        #expect(target.guest.vmm.rawValue == "TinyVMM")
        let debugger = try Debugger(target: target)
        #expect(debugger.stop.vcpus[0].registers.rip == 0x1000)
        #expect(try debugger.step(count: 3).steps == 3)
    }

    @Test("it ends with the debugger")
    func end() throws {
        let process: Int32
        do {
            let launched = try Launched(tiny: 2, "stay")
            process = try launched.target().guest.process
            #expect(Launched.isAlive(process))
        }
        #expect(Launched.waitForEnd(of: process))
    }

    @Test(
        "it ends with a front end that is killed, before its guest runs and while it is stepped",
        arguments: [0, 1])
    func killed(stage: Int) throws {
        let log = NSTemporaryDirectory() + "launched-\(UUID().uuidString)"
        defer { unlink(log) }
        let front = Process(of: Built.tracer.path, [])
        front.arguments? +=
            ["launch", "--batch", "--output", "/dev/null", "-ex", "step 100000000", "--"]
            + (stage == 0
                ? ["sh", "-c", "echo $$ > \(log); exec sleep 100"] : [Built.tinyVMM, log, "1", "stay"])
        front.standardOutput = FileHandle.nullDevice
        front.standardError = FileHandle.nullDevice
        front.standardInput = FileHandle.nullDevice
        try front.run()
        var process: Int32 = 0
        let deadline = ContinuousClock.now + .paced(20)
        while process == 0, ContinuousClock.now < deadline {
            usleep(2000)
            if stage == 0 {
                process =
                    (try? String(contentsOfFile: log, encoding: .utf8)).flatMap { Int32($0.dropLast()) } ?? 0
            } else if let bytes = try? [UInt8](Data(contentsOf: URL(filePath: log))), bytes.count > 200 {
                // The first vCPU's thread, once steps have led to exits.
                let word = { (at: Int) in
                    bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at * 8, as: UInt64.self) }
                }
                if word(14) > 0 {
                    let status = try String(contentsOfFile: "/proc/\(word(13))/status", encoding: .utf8)
                    process =
                        Int32(
                            status.split(separator: "\n").first { $0.hasPrefix("Tgid:") }?.split(
                                separator: "\t"
                            ).last
                                ?? "") ?? 0
                }
            }
        }
        #expect(process > 0)
        kill(front.processIdentifier, SIGKILL)
        front.waitUntilExit()
        #expect(process > 0 && Launched.waitForEnd(of: process))
    }

    @Test("what it prints is a console, and its standard input is what was asked for")
    func console() throws {
        let input = NSTemporaryDirectory() + "input-\(UUID().uuidString)"
        defer { unlink(input) }
        try "typed".write(toFile: input, atomically: true, encoding: .utf8)
        let launched = try Launched(
            ["sh", "-c", "cat; echo '; a message' >&2; exec '\(Built.tinyVMM)' 'LOG' 1"], input: input)
        let target = try launched.target()
        let console = try #require(target.consoles.first)
        let text = Array("typed; a message\n".utf8)
        #expect(target.consoleOutput(console) == ConsoleOutput(total: UInt64(text.count), bytes: text))
        #expect(!target.consoleInput(console, [1]))
        #expect(target.consoleOutput(.serial) == nil)
    }

    @Test("what cannot be launched is refused with the reason")
    func refusals() throws {
        func code(_ command: [String], _ output: String = "/dev/null") -> HostGuestError? {
            #expect(throws: HostGuestError.self) {
                let vmm = try LaunchedVMM(command, output: output, tracer: Built.tracer)
                let deadline = ContinuousClock.now + .paced(20)
                while try vmm.progress() != .ready {
                    guard ContinuousClock.now < deadline else { throw Failure("neither refused nor ready") }
                    usleep(2000)
                }
            }
        }
        let missing = code(["/no/such/program"])
        #expect(missing?.code == .launch && missing?.description.contains("No such file") == true)
        let folder = code(["/"])
        #expect(folder?.code == .launch && folder?.description.contains("Permission denied") == true)
        #expect(code([])?.code == .launch)
        #expect(code([Built.tinyVMM], "/no/such/folder/log")?.code == .launch)
        let output = NSTemporaryDirectory() + "output-\(UUID().uuidString)"
        defer { unlink(output) }
        let ended = code(["sh", "-c", "echo no machine; exit 7"], output)
        #expect(ended?.code == .ended)
        #expect(ended?.description.contains("status 7") == true)
        #expect(ended?.remedy?.contains("no machine") == true)
        let narrow = code([Built.tinyVMM, "/dev/null", "1", "bits32"])
        #expect(narrow?.code == .bits32)
    }

    @Test(
        "QEMU stands at the reset vector, and its boot sector is reached through SeaBIOS",
        .enabled(if: Host.runsQEMU, "needs QEMU"))
    func bootSector() throws {
        let disk = NSTemporaryDirectory() + "disk-\(UUID().uuidString)"
        defer { unlink(disk) }
        // inc cx; mov [0x600], cx; jmp back
        var sector: [UInt8] = [0x41, 0x89, 0x0E, 0x00, 0x06, 0xEB, 0xF9]
        sector += [UInt8](repeating: 0, count: 510 - sector.count) + [0x55, 0xAA]
        try Data(sector + [UInt8](repeating: 0, count: 1 << 20)).write(to: URL(filePath: disk))
        let launched = try Launched([
            try #require(Host.qemu), "-accel", "kvm", "-display", "none", "-m", "64", "-smp", "2",
            "-nodefaults",
            "-drive", "file=\(disk),format=raw",
        ])
        let target = try launched.target()
        let debugger = try Debugger(target: target)
        let reset = debugger.stop.vcpus[0]
        #expect(reset.special.cs.selector == 0xF000 && reset.special.cs.base == 0xFFFF_0000)
        #expect(reset.registers.rip == 0xFFF0 && reset.pc == 0xFFFF_FFF0)
        #expect(debugger.stop.vcpus[1].activity == .waiting)
        // The far jump of every BIOS.
        #expect(try debugger.readMemory(.linear(0xFFFF_FFF0), count: 1)[0] == 0xEA)
        #expect(target.attachedMemory.source == .calls(isChecked: true))
        _ = try debugger.setBreakpoint(at: .linear(0x7C00))
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(120)))
        #expect(stop.reason == .breakpoint([1]))
        #expect(stop.vcpus[0].pc == 0x7C00)
        let image = try debugger.readMemory(.linear(0x7C00), count: 512)
        #expect((0..<512).map { image[$0] ?? 0 } == Array(sector))
        try debugger.deleteAllBreakpoints()
        let before = stop.vcpus[0].registers.rcx & 0xFFFF
        #expect(try debugger.step(count: 3).vcpus[0].registers.rcx & 0xFFFF == before + 1)
        try debugger.detach()
        // The guest counts on.
        let again = try #require(GuestFinder().guest(process: launched.process))
        #expect(again.obstacle == nil)
        let other = try AttachedTarget(again, tracer: Built.tracer)
        func count() throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 2)
            try bytes.withUnsafeMutableBytes { try other.memory.read(0x600, into: $0) }
            return bytes
        }
        let one = try count()
        let deadline = ContinuousClock.now + .paced(10)
        while try count() == one, ContinuousClock.now < deadline { usleep(1000) }
        #expect(try count() != one)
    }

    @Test(
        "without the kernel's word the memory map is kept by the VMM's calls, sandboxed too",
        .enabled(if: Host.runsQEMU, "needs QEMU"))
    func mapByCalls() throws {
        let disk = NSTemporaryDirectory() + "disk-\(UUID().uuidString)"
        defer { unlink(disk) }
        var sector: [UInt8] = [0xEB, 0xFE]
        sector += [UInt8](repeating: 0, count: 510 - sector.count) + [0x55, 0xAA]
        try Data(sector + [UInt8](repeating: 0, count: 1 << 20)).write(to: URL(filePath: disk))
        let launched = try Launched([
            try #require(Host.qemu), "-accel", "kvm", "-display", "none", "-m", "64", "-smp", "2", "-sandbox",
            "on",
            "-nodefaults", "-vga", "std", "-drive", "file=\(disk),format=raw",
        ])
        let target = try launched.target(readsKernel: false)
        let debugger = try Debugger(target: target)
        func kernelRegions() throws -> [MemoryRegion] {
            try #require(GuestMemoryMap.fromKernel(target.guest)).regions
        }
        let first = target.memory.regions
        #expect(target.attachedMemory.source == .calls(isChecked: false))
        #expect(try first == kernelRegions())
        _ = try debugger.setBreakpoint(at: .linear(0x7C00))
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(120)))
        #expect(stop.reason == .breakpoint([1]))
        // The firmware has moved memory about: its copy in RAM, the screen.
        #expect(target.memory.regions != first)
        #expect(try target.memory.regions == kernelRegions())
        try debugger.detach()
        #expect(launched.traced().isEmpty && Launched.isAlive(launched.process))
    }

    @Test("QEMU that was told to wait has a VM and does not run", .enabled(if: Host.runsQEMU, "needs QEMU"))
    func waiting() throws {
        let launched = try Launched([
            try #require(Host.qemu), "-accel", "kvm", "-display", "none", "-m", "64", "-S", "-nodefaults",
        ])
        let deadline = ContinuousClock.now + .paced(20)
        while try launched.vmm.progress() == .starting, ContinuousClock.now < deadline { usleep(2000) }
        #expect(try launched.vmm.progress() == .hasMachine)
        #expect(throws: HostGuestError.self) { try launched.vmm.target() }
    }
}
