import CLinux
import Foundation
import Host
import TargetConformance
import Testing

@testable import Attach

/// ptrace belongs to the thread that traces: each case stays on the one that runs it.
@Suite("Threads of a VMM that run no vCPU yet", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct NonVCPUThreadsTests {
    private func tasks(_ tiny: TinyGuest) -> Set<Int32> { Set(ProcessFiles(tiny.pid).threads) }

    private func tracers(_ tiny: TinyGuest) -> [Int32: Int32] {
        tasks(tiny).reduce(into: [:]) { tracers, thread in
            let status = ProcessFiles(tiny.pid).text("task/\(thread)/status").flatMap(ProcessStatus.init)
            tracers[thread] = status?.tracer
        }
    }

    /// - Parameter unexplained: EINTRs of KVM_RUN that no signal to the VMM explains, a vCPU, at most.
    private func expectGoesOn(_ tiny: TinyGuest, unexplained: UInt64 = 0) throws {
        #expect(tracers(tiny).values.allSatisfy { $0 == 0 }, "\(tracers(tiny))")
        kill(tiny.pid, SIGUSR1)
        for vcpu in 0..<2 {
            try tiny.waitForRounds(3, vcpu: vcpu)
            let log = try tiny.vcpu(vcpu)
            #expect(log.debug == 0 && log.other == 0 && log.wrong == 0 && log.rounds > 0, "\(log)")
            #expect(log.unexplained <= unexplained)
        }
    }

    @Test("all but those that are known are stopped, one can carry calls, and all go on untraced")
    func hold() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        let known = Int32(truncatingIfNeeded: try tiny.vcpu(1).thread)
        let others = NonVCPUThreads(tiny.pid, PendingDetaches(tiny.pid))
        #expect(others.isEmpty)
        #expect(try others.hold(except: [known]) { _ in true }.isEmpty)
        #expect(Set(others.threads.keys) == tasks(tiny).subtracting([known]))
        for thread in others.threads.keys {
            #expect(ProcessFiles(tiny.pid).state(thread: thread) == "t")
            guard case .held? = others.threads[thread] else { throw Failure("\(thread) is not held") }
        }
        #expect(tracers(tiny)[known] == 0)
        #expect(others.carrier.map { others.threads[$0.thread] != nil } == true)
        // None was in KVM_RUN.
        #expect(others.takeRunner(of: 7) == nil)
        others.detach()
        #expect(others.isEmpty && !others.isWatching)
        try expectGoesOn(tiny)
    }

    @Test(
        "watched, the threads that are about to run a vCPU are found at the entry to KVM_RUN, before the guest has run"
    )
    func watch() throws {
        let tiny = try TinyGuest(vcpus: 2, "prompt")
        let others = NonVCPUThreads(tiny.pid, PendingDetaches(tiny.pid))
        #expect(try others.hold(except: []) { _ in true }.isEmpty)
        others.watch()
        #expect(others.isWatching)
        kill(tiny.pid, SIGUSR1)
        var runners: [NonVCPUThreads.Runner] = []
        let end = ContinuousClock.now + .paced(20)
        while runners.count < 2, ContinuousClock.now < end {
            runners += others.collect { _ in true }
            usleep(500)
        }
        let guest = try #require(GuestFinder().guest(process: tiny.pid))
        #expect(Set(runners.map(\.descriptor)) == Set(guest.vcpus.map(\.descriptor)))
        let threads = try (0..<2).map { Int32(truncatingIfNeeded: try tiny.vcpu($0).thread) }
        #expect(Set(runners.map(\.thread)) == Set(threads))
        for vcpu in 0..<2 { #expect(try tiny.vcpu(vcpu).returns == 0) }
        // They are the caller's.
        #expect(runners.allSatisfy { others.threads[$0.thread] == nil })
        let pending = PendingDetaches(tiny.pid)
        for runner in runners {
            _ = clinux_ptrace_interrupt(runner.thread)
            _ = clinux_ptrace_go(clinux_go_free, runner.thread, 0)
            pending.add(runner.thread)
        }
        while !pending.isEmpty, ContinuousClock.now < end { if !pending.collect() { usleep(500) } }
        others.detach()
        // The test interrupts them at the entry to KVM_RUN, and no one makes that call again for them.
        try expectGoesOn(tiny, unexplained: 1)
    }

    @Test("where one is traced by another process, none is held")
    func traced() throws {
        let tiny = try TinyGuest(vcpus: 2)
        let (target, _) = try tiny.stopped()
        let others = NonVCPUThreads(tiny.pid, PendingDetaches(tiny.pid))
        let error = #expect(throws: HostGuestError.self) { _ = try others.hold(except: []) { _ in true } }
        #expect(error?.code == .traced)
        #expect(others.isEmpty)
        #expect(tracers(tiny).values.allSatisfy { $0 != getpid() })
        try target.detach()
        for vcpu in 0..<2 { try tiny.waitForRounds(3, vcpu: vcpu) }
    }
}

@Suite("Threads that are detached when they stop", .serialized)
struct PendingDetachesTests {
    private func start() throws -> Process {
        let process = Process(of: "/bin/sleep", ["100"])
        try process.run()
        // Until it is that program.
        let end = ContinuousClock.now + .paced(20)
        while ProcessFiles(process.processIdentifier).text("comm") != "sleep\n", ContinuousClock.now < end {
            usleep(1000)
        }
        return process
    }

    private func tracer(_ process: Int32) -> Int32? {
        ProcessFiles(process).text("status").flatMap(ProcessStatus.init)?.tracer
    }

    private func collect(_ pending: PendingDetaches) {
        let end = ContinuousClock.now + .paced(20)
        while !pending.isEmpty, ContinuousClock.now < end { if !pending.collect() { usleep(500) } }
    }

    @Test("one that stops later is detached then, and goes on in its call")
    func stops() throws {
        let process = try start()
        defer { kill(process.processIdentifier, SIGKILL) }
        let thread = process.processIdentifier
        try #require(clinux_ptrace_seize(thread, TracedThread.options) >= 0)
        let pending = PendingDetaches(thread)
        pending.add(thread)
        #expect(!pending.isEmpty && !pending.collect())
        #expect(tracer(thread) != 0)
        _ = clinux_ptrace_interrupt(thread)
        collect(pending)
        #expect(pending.isEmpty && tracer(thread) == 0)
        usleep(20_000)
        #expect(process.isRunning && ProcessFiles(thread).state() == "S")
    }

    @Test("one at the entry to a system call is detached at its next stop")
    func systemCall() throws {
        let process = try start()
        defer { kill(process.processIdentifier, SIGKILL) }
        let thread = process.processIdentifier
        try #require(clinux_ptrace_seize(thread, TracedThread.options) >= 0)
        _ = clinux_ptrace_interrupt(thread)
        func stop() throws -> Int32 {
            var status: Int32 = 0
            let end = ContinuousClock.now + .paced(20)
            while clinux_wait(thread, &status, 0) == 0 {
                guard ContinuousClock.now < end else { throw Failure("no stop") }
                usleep(500)
            }
            return status
        }
        _ = try stop()
        // To the entry of its sleep, which it makes again.
        _ = clinux_ptrace_go(clinux_go_syscall, thread, 0)
        let status = try stop()
        try #require(TracedThread.Stop(status: status) == .systemCall)
        #expect(!PendingDetaches.detach(thread, thread, status))
        #expect(tracer(thread) != 0)
        let pending = PendingDetaches(thread)
        pending.add(thread)
        collect(pending)
        #expect(pending.isEmpty && tracer(thread) == 0 && process.isRunning)
    }

    @Test("one that ends, and one that is somebody's again, are waited for no more")
    func ends() throws {
        let process = try start()
        let thread = process.processIdentifier
        let pending = PendingDetaches(thread)
        pending.add(thread)
        pending.remove(thread)
        #expect(pending.isEmpty)
        try #require(clinux_ptrace_seize(thread, TracedThread.options) >= 0)
        pending.add(thread)
        kill(thread, SIGKILL)
        collect(pending)
        #expect(pending.isEmpty)
    }
}
