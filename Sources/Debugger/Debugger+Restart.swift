import DebugTarget
import KVMCore

/// A breakpoint or watchpoint that is disabled since the guest was started again.
public struct LostBreakpoint: Sendable, Hashable {
    public var number: Int
    /// Why it could not be set in the guest as it is at its start.
    public var reason: String
}

/// Starting the guest again, and its end: for a guest of our own.
extension Debugger {
    /// The guest can be started again.
    public var isRestartable: Bool { target is any Restarting }

    /// The guest asked for a reset, which the next order does; after a triple fault where that was wished.
    public var isAtReset: Bool {
        guard isRestartable, !isRunning else { return false }
        switch latestStop.reason {
        case .guestReset: return true
        case .tripleFault: return resetsAtTripleFault
        default: return false
        }
    }

    /// Puts the guest back to its start, its image read anew; one that runs is stopped first. Breakpoints,
    /// watchpoints, symbols and the stops before are kept.
    ///
    /// - Returns: the new stop, at the first instruction. Breakpoints that the guest as it is at its start does not let
    ///   be set are disabled and listed in it.
    /// - Throws: `.refused` where another program runs the guest; `.target` where the image cannot be read any more, and
    ///   the guest is then as it was.
    @discardableResult
    public func restart() throws(DebuggerError) -> Stop {
        let target = try restartable("started again")
        try stopToEnd()
        let enabled = breakpoints.filter(\.isEnabled).map(\.number)
        try setBreakpoints(enabled, enabled: false)
        do {
            try target.restart()
        } catch {
            // What could be set in this guest can be set in it again.
            _ = enableAll(enabled)
            throw DebuggerError("starting the guest again", error)
        }
        vcpus = try Self.vcpus(of: target, beside: [], patching)
        let first =
            vcpus.first { vcpu in target.vcpus.contains { $0.id == vcpu.id && $0.isBoot } } ?? vcpus[0]
        selectedVCPU = first.id
        begin(.created, about: first.id)
        live.forgetRegisters()
        placement.placedBy = nil
        refreshImageSymbols()
        stop.lost = enableAll(enabled)
        return stop
    }

    /// Starts the guest again and resumes all vCPUs.
    public func startRunAgain() throws(DebuggerError) {
        lostAtRestart = try restart().lost
        try startContinue()
    }

    /// Starts the guest again and steps the boot processor until something stops it: what led to the end is then in
    /// the black box, also on hosts whose KVM resets a vCPU that shuts down.
    public func startSteppingAgain() throws(DebuggerError) {
        lostAtRestart = try restart().lost
        try startStep(count: Int(Int32.max))
    }

    /// Ends the guest where it is: what it was can still be looked at, and it can be started again.
    @discardableResult
    public func kill() throws(DebuggerError) -> Stop {
        _ = try restartable("ended")
        try stopToEnd()
        for vcpu in vcpus { vcpu.last.snapshot.activity = .dead }
        begin(.killed, about: selectedVCPU)
        return stop
    }

    private func restartable(_ what: String) throws(DebuggerError) -> any Restarting {
        try checkAttached()
        guard let target = target as? any Restarting else {
            throw DebuggerError(
                .refused, "another program runs the guest, and the guest cannot be \(what) from here",
                advice: .restartThere)
        }
        return target
    }

    private func stopToEnd() throws(DebuggerError) {
        if isRunning {
            interrupt()
            guard try collectStop(timeout: .seconds(60)) != nil else {
                throw DebuggerError(.target, "the guest does not stop within 60 s", advice: .stopGuest)
            }
        }
        returnToPresent()
    }

    /// A new stop that no run led to.
    private func begin(_ reason: StopReason, about vcpu: Int) {
        let next = Stop(
            number: stop.number + 1, vcpu: vcpu, reason: reason, vcpus: vcpus.map(\.snapshot),
            exitsSince: account.exitsSince(target.exits.total), elapsed: .zero)
        past.follow(&stop, with: next)
    }

    /// Enables them one by one: what cannot be set stays disabled.
    private func enableAll(_ numbers: [Int]) -> [LostBreakpoint] {
        var lost: [LostBreakpoint] = []
        for number in numbers {
            do throws(DebuggerError) {
                try setBreakpoint(number, enabled: true)
            } catch {
                lost.append(LostBreakpoint(number: number, reason: error.message))
            }
        }
        return lost
    }
}
