import CLinux
import DebugTarget
import Debugger
import Glibc
import KVMCore
import Machine
import Synchronization
import SystemPackage
import TargetConformance
import Testing
import X86

@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct RunLiveTests {
    /// A kick may come before KVM_RUN, in it, or after it: none may be lost.
    @Test func noKickIsLost() throws {
        let machine = try machine("spin")
        let controller = FreeRun()
        let rounds = HostPace.rounds(3000, atLeast: 300)
        // Each delay once at least. Where a kick takes a second, as on a processor whose two CPUs are emulated in turn, no
        // more than some dozens.
        let end = ContinuousClock.now + .seconds(40)
        var done = 0
        for round in 0..<rounds where round < 50 || ContinuousClock.now < end {
            done += 1
            try machine.resume([RunOrder(vcpu: 0, controller: controller)])
            // From at once to some microseconds later: around the moment that the vCPU enters the guest.
            for _ in 0..<(round % 50) * 8 { clinux_pause() }
            machine.interrupt()
            let report = try #require(machine.waitForStop(timeout: .paced(20)), "round \(round)")
            #expect(report.reason == .interrupted)
        }
        #expect(controller.ends.load(ordering: .relaxed) == done)
    }

    /// Jobs in a running vCPU, as fast as they go.
    @Test func noJobIsLost() throws {
        let machine = try machine("spin")
        let controllers = try machine.go()
        let rounds = HostPace.rounds(3000, atLeast: 300)
        for round in 0..<rounds {
            let rax = try machine.withVCPU(0) { vcpu in
                var registers = try vcpu.registers()
                registers.rbx = UInt64(round)
                try vcpu.setRegisters(registers)
                return try vcpu.registers().rbx
            }
            #expect(rax == UInt64(round))
        }
        #expect(machine.isRunning)
        #expect((controllers[0] as? FreeRun)?.ends.load(ordering: .relaxed) == 0)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        #expect(try machine.withVCPU(0) { try $0.registers().rbx } == UInt64(rounds - 1))
    }

    /// The kernel's own counters, also while the guest runs.
    @Test func kernelCountersRise() throws {
        let machine = try machine("spin")
        func counts(_ machine: OwnedMachine) throws -> [UInt64] {
            let blocks = try machine.kernelStatistics()
            #expect(blocks.map(\.vcpu) == [nil, 0])
            return try blocks.dropFirst().map { block in
                #expect(block.name.hasPrefix("kvm-"))
                return try #require(block.values.first { $0.name == "exits" }).values[0]
            }
        }
        let before = try counts(machine)
        try machine.go()
        // Each look takes the vCPU out of KVM_RUN.
        for _ in 0..<10 { _ = try machine.withVCPU(0) { try $0.registers() } }
        let after = try counts(machine)
        #expect(machine.isRunning)
        #expect(after[0] >= before[0])
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        #expect(try counts(machine)[0] > before[0])
    }

    /// Edits between an IN and its completion are not undone, and the IN's value is not lost.
    @Test func editsWhileInputIsPending() throws {
        // again: in al, 0xE9; mov bl, al; inc ecx; jmp again
        let machine = try machine(code: [0xE4, 0xE9, 0x88, 0xC3, 0x66, 0x41, 0xEB, 0xF8])
        try machine.go()
        var before: UInt64 = 0
        for _ in 0..<4000 where before == 0 {
            #expect(machine.waitForStop(timeout: .milliseconds(1)) == nil)
            before = try machine.withVCPU(0) { try $0.registers().rcx }
        }
        for round in 0..<500 {
            let count = try machine.withVCPU(0) { vcpu in
                var registers = try vcpu.registers()
                registers.rdx = UInt64(round)
                try vcpu.setRegisters(registers)
                // AL is 0xE9 once the first IN is complete; RIP is at one of the four instructions.
                #expect([0x7C00, 0x7C02, 0x7C04, 0x7C06].contains(registers.rip))
                return registers.rcx
            }
            #expect(count >= before)
            before = count
        }
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        let registers = try machine.withVCPU(0) { try $0.registers() }
        #expect(registers.rdx == 499)
        // Jobs that follow each other at once may keep it from running; it ran before them.
        #expect(registers.rbx & 0xFF == 0xE9)
        #expect(registers.rcx > 0)
    }

    @Test func oneStopStopsAll() throws {
        // Both: mov eax, 1; cpuid; shr ebx, 24; jz hlt; jmp $;  hlt: out 0xF4, al
        let code: [UInt8] = [
            0x66, 0xB8, 1, 0, 0, 0, 0x0F, 0xA2, 0x66, 0xC1, 0xEB, 24, 0x74, 0x02, 0xEB, 0xFE, 0xE6, 0xF4,
        ]
        for _ in 0..<50 {
            let machine = try machine(code: code) { $0.vcpus = 4 }
            let report = try machine.runToStop()
            #expect(report.vcpu == 0)
            #expect(report.reason == .poweredOff)
            #expect(machine.powerOff?.cause == .debugExit)
            #expect(!machine.isRunning)
            for id in 1..<4 {
                let registers = try machine.withVCPU(id) { try $0.registers() }
                #expect(registers.rip >= 0x7C00 && registers.rip <= 0x7C0E)
            }
        }
    }

    @Test func everyControllerEndsOnce() throws {
        let machine = try machine("smp")
        let controllers = try machine.go()
        #expect(machine.waitForStop(timeout: .paced(60))?.reason == .hlt)
        for controller in controllers {
            #expect((controller as? FreeRun)?.ends.load(ordering: .relaxed) == 1)
        }
    }

    @Test func stepsEndOnInstructions() throws {
        // nop; in al, 0xE9; out 0xE9, al; mov [0x500], al; nop
        let machine = try machine(code: [0x90, 0xE4, 0xE9, 0xE6, 0xE9, 0xA2, 0x00, 0x05, 0x90, 0x90])
        let steps = Steps(5)
        let report = try machine.runToStop { steps }
        #expect(report.reason == .step(count: 5))
        #expect(steps.addresses == [0x7C01, 0x7C03, 0x7C05, 0x7C08, 0x7C09])
        #expect(machine.text(.debug).unicodeScalars.count == 1)
        #expect(machine.consoleOutput(.debug)?.bytes == [0xE9])
    }

    /// What is read through memory-mapped I/O is there when the step is over.
    @Test func stepOverMMIO() throws {
        let machine = try machine("exits")
        let steps = Steps(400)
        let report = try machine.runToStop { steps }
        // Hosts that step two instructions at once, as after MOV SS, come to the HLT before.
        let isOver = report.reason == .hlt
        #expect(isOver || report.reason == .step(count: 400), "\(report.reason)")
        // Of REP OUTSB each iteration may end a step, and of an access its exit and its trap may both be told.
        let moves = zip(steps.addresses, steps.addresses.dropFirst()).filter { $0 != $1 }.count
        #expect(moves > 300, "\(moves)")
        if !isOver { #expect(try machine.runToStop().reason == .hlt) }
        #expect(machine.text(.debug) == "string out: ok\nport: ok\nmmio: ok\ncpuid: ok\nmsr: ok\n")
    }

    @Test func stopDescriptorTellsOfAReport() throws {
        let machine = try machine("spin")
        func isReadable(_ timeout: Int32) -> Bool {
            var entry = pollfd(fd: machine.stopDescriptor, events: Int16(POLLIN), revents: 0)
            return poll(&entry, 1, timeout) == 1
        }
        for _ in 0..<20 {
            #expect(!isReadable(0))
            try machine.go()
            machine.interrupt()
            #expect(isReadable(20_000))
            #expect(machine.isRunning)
            #expect(machine.waitForStop(timeout: .zero)?.reason == .interrupted)
            #expect(!isReadable(0))
            #expect(machine.waitForStop(timeout: nil) == nil)
        }
    }

    @Test func resumeIsRefusedWhileRunning() throws {
        let machine = try machine("spin")
        try machine.go()
        let error = #expect(throws: MachineError.self) { try machine.go() }
        #expect(error?.code == .running)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20)) != nil)
        #expect(throws: MachineError.self) {
            try machine.resume([RunOrder(vcpu: 7, controller: FreeRun())])
        }
        #expect(throws: MachineError.self) { try machine.resume([]) }
        let twice = RunOrder(vcpu: 0, controller: FreeRun())
        #expect(throws: MachineError.self) { try machine.resume([twice, twice]) }
        #expect(throws: MachineError.self) { try machine.withVCPU(9) { _ in } }
        // None of these has left it running.
        #expect(!machine.isRunning)
    }

    /// An error of a job is the caller's, and the vCPU goes on.
    @Test func jobsThrow() throws {
        let machine = try machine("spin")
        try machine.go()
        struct Failure: Error {}
        #expect(throws: Failure.self) { try machine.withVCPU(0) { _ in throw Failure() } }
        #expect(machine.isRunning)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
    }

    @Test func failureOfAControllerIsAStop() throws {
        final class Failing: RunController {
            func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
                throw KVMError("begin", .badAddress)
            }
            func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict { .resume }
            func end(_ vcpu: any VCPUAccess) throws(KVMError) {}
        }
        let machine = try machine("spin")
        #expect(try machine.runToStop { Failing() }.reason == .failed(KVMError("begin", .badAddress)))
    }

    @Test func resetVectorWithoutROM() throws {
        var configuration = MachineConfiguration()
        configuration.ramSize = 1 << 20
        let machine = try OwnedMachine(configuration)
        let registers = try machine.withVCPU(0) { try $0.registers() }
        #expect(registers.rip == 0xFFF0)
        guard case .internalError = try machine.runToStop().reason else {
            Issue.record("code where nothing is must be an internal error")
            return
        }
    }

    @Test func exitsAreRecorded() throws {
        let machine = try machine("boot")
        #expect(try machine.runToStop().reason == .hlt)
        let statistics = machine.exits.statistics()
        let out = statistics.rows.first { $0.key == .io(port: 0xE9, direction: .out) }
        #expect(out?.count.count == UInt64(machine.text(.debug).utf8.count))
    }

    @Test func largeMemoryHasAHole() throws {
        let machine = try machine("boot") { $0.ramSize = 6 << 30 }
        #expect(machine.memory.regions.map(\.gpa) == [0, 4 << 30])
        var word: UInt64 = 0x1122_3344_5566_7788
        try withUnsafeBytes(of: &word) { try machine.memory.write((7 << 30) - 8, $0) }
        var read: UInt64 = 0
        try withUnsafeMutableBytes(of: &read) { try machine.memory.read((7 << 30) - 8, into: $0) }
        #expect(read == word)
        func fault(_ gpa: UInt64) -> UInt64? {
            var bytes = [UInt8](repeating: 0, count: 8)
            do {
                try bytes.withUnsafeMutableBytes { try machine.memory.read(gpa, into: $0) }
                return nil
            } catch { return (error as? MemoryFault)?.gpa }
        }
        #expect(fault(0xD000_0000) == 0xD000_0000)
        #expect(fault(0xBFFF_FFFC) == 0xC000_0000)
        #expect(fault((7 << 30) - 4) == 7 << 30)
        #expect(fault(.max) == .max)
        #expect(try machine.runToStop().reason == .hlt)
    }
}
