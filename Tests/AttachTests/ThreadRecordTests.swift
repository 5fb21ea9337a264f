import CLinux
import Foundation
import Host
import TargetConformance
import Testing

@testable import Attach

@Suite("What a tracer tells of the threads that it changes")
struct ThreadRecordTests {
    private func memory() throws -> Int32 {
        let descriptor = clinux_shared_memory("records", ThreadRecords.size)
        try #require(descriptor >= 0)
        return descriptor
    }

    private func registers(_ seed: UInt64) -> user_regs_struct {
        var registers = user_regs_struct()
        (registers.r15, registers.rip, registers.rsp, registers.gs) = (seed, seed + 1, seed + 2, seed + 3)
        return registers
    }

    @Test("the other end reads what was written last, of each thread its own")
    func shared() throws {
        let descriptor = try memory()
        defer { close(descriptor) }
        let writer = try #require(ThreadRecords(descriptor: descriptor))
        let reader = try #require(ThreadRecords(descriptor: descriptor))
        #expect(reader[0] == ThreadRecord())
        let last = ThreadRecords.capacity - 1
        writer.hold(registers(10), atRun: true, of: 0)
        writer.hold(registers(20), atRun: false, of: last)
        writer.block(0xABCD, of: last)
        writer.takeBack(to: 0x7C00, of: 0)
        #expect(reader[0].flags == [.held, .atRun, .takingBack] && reader[0].rip == 0x7C00)
        #expect(reader[last].flags == [.held, .masked] && reader[last].mask == 0xABCD)
        let read = reader[last].registers.withUnsafeBytes { $0.loadUnaligned(as: user_regs_struct.self) }
        #expect([read.r15, read.rip, read.rsp, read.gs] == [20, 21, 22, 23])
        // One that is held elsewhere now is not at KVM_RUN any more.
        writer.hold(registers(30), atRun: false, of: 0)
        #expect(reader[0].flags == [.held, .takingBack])
        writer.clear([.held, .takingBack], of: 0)
        #expect(reader[0].flags == [])
        #expect(reader[1] == ThreadRecord())
    }

    @Test("of a thread beyond those that there can be nothing is told, nor read")
    func bounds() throws {
        let descriptor = try memory()
        defer { close(descriptor) }
        let records = try #require(ThreadRecords(descriptor: descriptor))
        for index in [-1, ThreadRecords.capacity, Int.max] {
            records.hold(registers(1), atRun: true, of: index)
            records.block(1, of: index)
            records.takeBack(to: 1, of: index)
            records.clear(.held, of: index)
            #expect(records[index] == ThreadRecord())
        }
        #expect(ThreadRecords(descriptor: -1) == nil)
    }
}

/// On a program that waits; without KVM.
@Suite("What another process does at a signal")
struct SignalActionTests {
    private func ignores(_ process: Int32) throws -> Bool {
        let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let mask = status.split(separator: "\n").first { $0.hasPrefix("SigIgn:") }?.split(separator: "\t")
            .last
        return try #require(mask.flatMap { UInt64($0, radix: 16) }) >> 4 & 1 == 1
    }

    private func sleeper(_ seconds: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sleep")
        process.arguments = [seconds]
        try process.run()
        let end = ContinuousClock.now + .paced(10)
        while try !String(contentsOfFile: "/proc/\(process.processIdentifier)/syscall", encoding: .utf8)
            .hasPrefix("230 ")
        {
            guard ContinuousClock.now < end else { throw Failure("it does not sleep") }
            usleep(1000)
        }
        return process
    }

    @Test(
        "is changed and put back, whether it runs or is stopped, and it sleeps on", arguments: [false, true])
    func exchange(isStopped: Bool) throws {
        let sleeper = try sleeper("2")
        let process = sleeper.processIdentifier
        defer { kill(process, SIGKILL) }
        if isStopped { kill(process, SIGSTOP) }
        let limit: UInt64 = 5_000_000_000
        #expect(try !ignores(process))
        let before = try #require(
            SignalAction.exchange(SIGTRAP, SignalAction.ignore, of: process, within: limit))
        #expect(before == [UInt8](repeating: 0, count: before.count))
        #expect(try ignores(process))
        kill(process, SIGTRAP)
        #expect(SignalAction.exchange(SIGTRAP, before, of: process, within: limit) == SignalAction.ignore)
        #expect(try !ignores(process))
        let files = ProcessFiles(process)
        #expect(files.text("status").flatMap(ProcessStatus.init)?.tracer == 0)
        if isStopped {
            let end = ContinuousClock.now + .paced(10)
            while files.state() != "T", ContinuousClock.now < end { usleep(1000) }
            #expect(files.state() == "T")
            kill(process, SIGCONT)
        }
        sleeper.waitUntilExit()
        #expect(sleeper.terminationReason == .exit && sleeper.terminationStatus == 0)
    }

    @Test(
        "a process that is about to be left by its tracer is kept from running, and goes on as it was",
        arguments: [false, true])
    func pause(isStopped: Bool) throws {
        let sleeper = try sleeper("2")
        let process = sleeper.processIdentifier
        defer { kill(process, SIGKILL) }
        if isStopped { kill(process, SIGSTOP) }
        let files = ProcessFiles(process)
        func awaitState(_ state: Set<Character>) {
            let end = ContinuousClock.now + .paced(10)
            while !state.contains(files.state() ?? "?"), ContinuousClock.now < end { usleep(1000) }
            #expect(state.contains(files.state() ?? "?"))
        }
        if isStopped { awaitState(["T"]) }
        let pause = VMMPause(process, threads: [])
        awaitState(["T"])
        #expect(try ignores(process))
        pause.end()
        #expect(try !ignores(process))
        // Who has stopped it by himself lets it go on by himself.
        awaitState(isStopped ? ["T"] : ["S"])
        kill(process, SIGCONT)
        sleeper.waitUntilExit()
        #expect(sleeper.terminationReason == .exit && sleeper.terminationStatus == 0)
    }

    @Test("nothing comes of one that is traced already, or not there")
    func refusals() throws {
        #expect(SignalAction.exchange(SIGTRAP, SignalAction.ignore, of: .max, within: 1_000_000) == nil)
        let sleeper = try sleeper("60")
        defer { kill(sleeper.processIdentifier, SIGKILL) }
        try #require(clinux_ptrace_seize(sleeper.processIdentifier, 0) >= 0)
        #expect(
            SignalAction.exchange(
                SIGTRAP, SignalAction.ignore, of: sleeper.processIdentifier, within: 1_000_000)
                == nil)
    }
}
