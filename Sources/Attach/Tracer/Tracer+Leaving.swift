import CLinux
import Glibc

/// The end of tracing, of one thread and of all.
extension Tracer {
    /// The other end is gone: a guest that was attached to goes on, one that was launched ends with its debugger.
    func end() {
        guard let follower else {
            putBackAndDetach()
            return awaitPendingDetaches()
        }
        follower.kill(process)
        var budget = WaitBudget(Self.limit)
        var status: Int32 = 0
        // -ECHILD: all are gone.
        while !budget.isOver() {
            let result = clinux_wait(-1, &status, 0)
            if result < 0 { break }
            if result == 0 { _ = clinux_next_signal(5_000_000) }
        }
    }

    /// Puts everything back and detaches.
    ///
    /// - Returns: how many threads were traced, how many vCPUs had guest debug on, how many bytes were patched.
    @discardableResult
    func putBackAndDetach() -> (traced: UInt16, armed: UInt16, patches: Int) {
        if isFollowing {
            isFollowing = false
            if let follower { _ = follower.handOver([], pendingDetaches(of: process ?? follower.root)) }
        }
        follower = nil
        defer {
            pause?.end()
            pause = nil
        }
        if pause != nil { stopThoseLeft() }
        let traced = threads.count { if case .untraced = $0.state { false } else { true } }
        let armed = threads.count { $0.isArmed || $0.suspendedDebug != nil }
        if nonVCPUThreads != nil { try? holdNonVCPUThreads() }
        for thread in threads {
            if thread.isGoing { try? thread.requestStop() }
        }
        // One that cannot be stopped is put back when it does stop.
        try? waitForAll()
        disarmAbsent()
        // While all are stopped.
        let patches = process.map { ledger.restoreAll($0) } ?? 0
        for thread in threads {
            thread.release()
            switch thread.state {
            case .away, .going: leftBehind.append(thread)
            case .lost: pendingDetaches(of: thread.process).add(thread.thread)
            case .untraced, .held, .gone: break
            }
        }
        nonVCPUThreads?.detach()
        nonVCPUThreads = nil
        threads = []
        return (UInt16(clamping: traced), UInt16(clamping: armed), patches)
    }

    /// The front end has gone amid a recovery, as it does with the tracer that it recovers from: as soon as that has ended
    /// the threads are stopped here.
    private func stopThoseLeft() {
        var budget = WaitBudget(Self.limit)
        while threads.contains(where: { if case .untraced = $0.state { !$0.isAbsent } else { false } }),
            (try? stopAll()) == nil, !budget.isOver()
        { usleep(5000) }
    }

    /// Of a thread that was lost: its end, or it is one of another program now.
    func takeEnd(of thread: TracedThread, _ stop: TracedThread.Stop?, _ status: Int32) {
        if stop != .ended, stop != .exec, !PendingDetaches.detach(thread.thread, thread.process, status) {
            pendingDetaches(of: thread.process).add(thread.thread)
        }
        thread.leave(stop == .exec ? .exec : .ended)
    }

    // MARK: Those that do not stop in time

    func pendingDetaches(of process: Int32) -> PendingDetaches {
        let pendingDetaches = pendingDetaches ?? PendingDetaches(process)
        self.pendingDetaches = pendingDetaches
        return pendingDetaches
    }

    /// Detaches those that have stopped by now. True if there was any.
    func collectPendingDetaches() -> Bool {
        var any = pendingDetaches?.collect() ?? false
        for thread in leftBehind {
            var status: Int32 = 0
            let result = clinux_wait(thread.thread, &status, 0)
            if result == 0 { continue }
            any = true
            if result < 0 {
                thread.leave(.ended)
            } else if let stop = TracedThread.Stop(status: status) {
                _ = thread.handle(stop)
                if thread.isHeld { thread.release() }
            } else {
                thread.go(.free)
            }
        }
        leftBehind.removeAll { !$0.isAway && !$0.isGoing }
        return any
    }

    /// How long a tracer without a front end waits for threads that are deep in the kernel, in nanoseconds.
    private static let leavingLimit: UInt64 = 60_000_000_000

    /// Stays for as long as there are some, within a bound: without it, what was changed in them would be left as it is.
    /// SIGTERM says that nobody wants to wait for that.
    private func awaitPendingDetaches() {
        var budget = WaitBudget(Self.leavingLimit)
        while !leftBehind.isEmpty || pendingDetaches?.isEmpty == false {
            if budget.isOver() || clinux_end_is_asked() != 0 && budget.spent > Self.limit { return }
            if !collectPendingDetaches() { _ = clinux_next_signal(10_000_000) }
        }
    }

    /// A thread is nobody's any more. One that calls exec has the number of its process from then on, and is detached when
    /// it is there.
    func followExec() {
        guard let process, !threads.contains(where: { $0.thread == process && !$0.isGone }),
            nonVCPUThreads?.threads[process] == nil
        else { return }
        pendingDetaches(of: process).add(process)
    }
}
