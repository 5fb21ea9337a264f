import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore

/// vCPUs that no thread has run yet: as of a QEMU that was started with `-S`, or whose VMM makes them ahead of time.
extension Tracer {
    private var absent: [TracedThread] { threads.filter { $0.isAbsent && !$0.isGone } }

    /// Stops all other threads of the VMM, and finds among them those that run the vCPUs by now.
    func holdNonVCPUThreads() throws(HostGuestError) {
        guard let process, !absent.isEmpty else { return }
        let all = nonVCPUThreads ?? NonVCPUThreads(process, pendingDetaches(of: process))
        nonVCPUThreads = all
        for thread in absent { thread.stopWanted = true }
        let known = Set(threads.filter { !$0.isAbsent }.map(\.thread))
        let runners = try all.hold(except: known) { descriptor in
            absent.contains { $0.vcpu.descriptor == descriptor }
        }
        for runner in runners { appeared(runner) }
        for thread in absent {
            guard let runner = all.takeRunner(of: thread.vcpu.descriptor) else { continue }
            thread.appeared(runner, process)
            // Stopped in KVM_RUN by us, or after an exit that is the VMM's.
            tell(thread, thread.handle(.event(signal: SIGTRAP)))
        }
        if absent.isEmpty { detachNonVCPUThreads() }
    }

    /// Lets calls be made for vCPUs without a thread, in the name of one that is stopped.
    func mount() throws(HostGuestError) {
        guard let all = nonVCPUThreads, let first = absent.first, !first.isHeld else { return }
        if first.isAway { throw first.awayError }
        guard let (thread, registers) = all.carrier else {
            throw HostGuestError(
                .notRunning, "no thread of the VMM waits in a system call, where calls can be made for it",
                remedy: "try again")
        }
        first.mount(thread, registers, process ?? 0)
    }

    /// After some vCPUs were resumed: the VMM's other threads go, too. One that is about to run a vCPU in which
    /// something of ours waits, or that was not resumed, is caught there.
    func resumeNonVCPUThreads(_ orders: [TracerRequest.Go]) {
        guard let all = nonVCPUThreads, !absent.isEmpty else { return }
        let ordered = Set(orders.map { Int($0.index) })
        for (index, thread) in threads.enumerated() where thread.isAbsent {
            thread.dismount()
            thread.stopWanted = !ordered.contains(index)
            guard let order = orders.first(where: { Int($0.index) == index }) else { continue }
            thread.mode = order.mode
            thread.plan = order.plan
        }
        if absent.contains(where: { $0.seesReturns || $0.stopWanted }) {
            all.watch()
        } else {
            detachNonVCPUThreads()
        }
    }

    private func detachNonVCPUThreads() {
        nonVCPUThreads?.detach()
        nonVCPUThreads = nil
    }

    /// Takes in what those that are watched have to say, and the ends of those that are stopped. True if one has ended, or
    /// if a vCPU has its thread now.
    func collectNonVCPUThreads() -> Bool {
        guard let all = nonVCPUThreads else { return false }
        var any = all.collectEnds()
        if all.isWatching {
            let runners = all.collect { descriptor in absent.contains { $0.vcpu.descriptor == descriptor } }
            for runner in runners { appeared(runner) }
            if !runners.isEmpty { any = true }
        }
        // Nobody is left who could run them.
        if all.isEmpty { lose() }
        if absent.isEmpty { detachNonVCPUThreads() }
        return any
    }

    private func lose() {
        for thread in absent {
            thread.state = .gone
            tell(thread, TracerReply.Event(index: 0, standing: .gone, stood: meter.tell(), page: []))
        }
    }

    /// At the entry to its first KVM_RUN.
    private func appeared(_ runner: NonVCPUThreads.Runner) {
        guard let process, let thread = absent.first(where: { $0.vcpu.descriptor == runner.descriptor })
        else { return }
        thread.appeared(runner.thread, process)
        _ = clinux_ptrace_options(runner.thread, TracedThread.options)
        thread.state = .going(.toSystemCall)
        tell(thread, thread.handle(.systemCall))
    }

    private func tell(_ thread: TracedThread, _ event: TracerReply.Event?) {
        guard var event, let index = threads.firstIndex(where: { $0 === thread }) else { return }
        event.index = UInt16(index)
        send(.event(event))
    }

    /// Guest debug of a vCPU for which another one's thread makes the calls.
    func noteDebug(_ descriptor: Int32, _ request: UInt64, _ argument: [UInt8]) {
        guard request == TracedThread.setGuestDebug else { return }
        for thread in absent where thread.vcpu.descriptor == descriptor {
            thread.guestDebug = argument
        }
    }

    /// Before all is detached.
    func disarmAbsent() {
        guard !absent.isEmpty else { return }
        if absent.contains(where: \.isArmed) || !ledger.isEmpty {
            try? holdNonVCPUThreads()
            try? mount()
        }
        if let carrier = absent.first(where: \.isHeld) {
            for thread in absent where thread.isArmed {
                var off = [UInt8](repeating: 0, count: TracedThread.guestDebugSize)
                _ = carrier.call(thread.vcpu.descriptor, TracedThread.setGuestDebug, &off)
                thread.guestDebug = []
            }
            carrier.dismount()
        }
    }
}

extension TracedThread {
    /// The thread that runs it is known from here on.
    fileprivate func appeared(_ thread: Int32, _ process: Int32) {
        dismount()
        self.thread = thread
        isAbsent = false
        state = .going(.free)
        hasFilter = Self.isFiltered(thread, process)
    }

    /// Calls are made in the name of a thread that is stopped, and is put back to where it stands.
    fileprivate func mount(_ thread: Int32, _ registers: user_regs_struct, _ process: Int32) {
        self.thread = thread
        site = nil
        hasFilter = Self.isFiltered(thread, process)
        let now = monotonicTime()
        state = .held(Hold(registers: registers, isAtRun: false, standing: .absent, since: now))
        stopWanted = false
        meter.held(at: now)
    }

    func dismount() {
        guard isAbsent, case .held(let hold) = state else { return }
        forgetCalls(hold)
        if isAway { return }
        var registers = hold.registers
        set(&registers)
        meter.went(at: monotonicTime())
        // What is known of the thread is of none that runs the vCPU.
        thread = 0
        site = nil
        (isTrapOpen, trapWasBlocked, hasFilter) = (false, false, false)
        state = .untraced
    }
}
