import DebugTarget
import KVMCore
import Synchronization
import X86

/// Interrupts and time of a machine with a PC's devices; the boot processor's thread alone.
extension VCPURunner {
    /// How often a guest that runs freely is left for its timer, at most, in nanoseconds: one that asks for an interrupt
    /// each microsecond must get on all the same.
    static let shortestAlarm: UInt64 = 50_000

    /// How soon one interrupt may follow another into a guest that runs freely, in nanoseconds. A guest whose interrupts
    /// come faster than their handlers end, as with a timer of one tick, gets on between them; where each exit takes long,
    /// so do the handlers.
    ///
    /// - Parameter exit: the least that a KVM_RUN has taken, in nanoseconds.
    static func interruptGap(exit: UInt64) -> UInt64 {
        max(shortestAlarm, min(exit, longestExit) * 8)
    }
    /// No host's exits take longer: what did was a guest that ran.
    private static let longestExit: UInt64 = 2_000_000

    /// Before KVM_RUN: gives the guest an interrupt, or asks to hear when it can be given one, and sees to it that the
    /// guest is left when the next is due.
    func prepareEntry(_ chips: MachineChips, _ pace: RunPace) throws(KVMError) {
        if !isAdvanced { chips.advance() }
        isAdvanced = false
        var wantsWindow = false
        var held: UInt64?
        if !pace.holdsOffInterrupts, chips.controllers.hasRequest {
            held = heldUntil(pace)
            if held == nil { wantsWindow = try giveInterrupt(chips, pace) }
        }
        takesInterruptNow = false
        if vcpu.requestsInterruptWindow != wantsWindow { vcpu.requestsInterruptWindow = wantsWindow }
        // One that waits for its window needs no alarm: KVM says when it opens.
        leaveGuest(for: pace.isStepping || wantsWindow ? nil : chips.nextInterrupt, chips.clock, or: held)
    }

    /// Gives the guest the interrupt that is asked for, if it can be given now. Whether one is still to be given.
    private func giveInterrupt(_ chips: MachineChips, _ pace: RunPace) throws(KVMError) -> Bool {
        let isReady = isReadinessKnown && vcpu.isReadyForInterrupt
        if isReady || takesInterruptNow, let vector = chips.controllers.acknowledge() {
            parts.inputs.pass(.interrupt(vector: vector))
            if pace.isStepping || !vcpu.interruptWithNextRun(vector: vector) {
                try vcpu.interrupt(vector: vector)
            }
            lastInterrupt = monotonicTime()
            isReadinessKnown = false
        }
        return chips.controllers.hasRequest
    }

    /// Until when the interrupt that is asked for has to wait after the last one; nil where it need not.
    private func heldUntil(_ pace: RunPace) -> UInt64? {
        // One that ends a HLT keeps the guest from nothing.
        guard !pace.isStepping, !takesInterruptNow else { return nil }
        let end = lastInterrupt &+ Self.interruptGap(exit: leastRun)
        return end > monotonicTime() ? end : nil
    }

    /// Before KVM_RUN where the controllers are in the kernel: the devices' lines are raised there, and the guest is left when
    /// the next is due, also out of a HLT in the kernel.
    func prepareEntry(_ devices: BoardDevices, _ pace: RunPace) {
        devices.advance()
        leaveGuest(for: pace.isStepping ? nil : devices.nextInterrupt, devices.clock)
    }

    /// The guest is left when `time` of its own has come, and not too soon; and when the vCPU is to be looked at.
    ///
    /// - Parameter held: likewise, by the host's clock.
    private func leaveGuest(for time: UInt64?, _ clock: GuestClock, or held: UInt64? = nil) {
        guard let timer else { return }
        let look = min(held ?? .max, nextLook ?? .max)
        guard let time else { return timer.set(look == .max ? nil : look) }
        let now = clock.now
        let alarm = monotonicTime() &+ max(time > now ? time - now : 0, Self.shortestAlarm)
        timer.set(min(alarm, look))
    }

    /// The guest ran from `start` to `end`, by the host's clock.
    ///
    /// - Parameter isWhole: something happened; false where a signal ended it.
    func passTime(_ devices: BoardDevices, _ pace: RunPace, isWhole: Bool, end: UInt64) {
        if pace.isStepping {
            if isWhole { devices.clock.stepped() }
        } else {
            devices.clock.end(at: end)
        }
        parts.inputs.pass(.time(devices.clock.now))
        isReadinessKnown = true
    }

    /// How a wait at a HLT ended.
    enum HaltEnd {
        case interrupt
        /// Something is wanted of the thread.
        case attention
        /// Nothing can raise an interrupt.
        case never
    }

    /// How long after the end of a wait in a HLT the timer would ring, in nanoseconds.
    private static let timerAfterHalt: UInt64 = 2_000_000

    /// Waits in a HLT for an interrupt; a kick ends it at once.
    ///
    /// It waits for its time by itself. The timer is put off past it, and not switched off: a guest that soon halts again
    /// costs one call for it.
    func waitAtHalt(_ chips: MachineChips) -> HaltEnd {
        while true {
            let token = thread.kicks.token
            chips.advance()
            if chips.controllers.hasRequest {
                isAdvanced = true
                return .interrupt
            }
            if thread.attention.load(ordering: .sequentiallyConsistent) { return .attention }
            let next = chips.nextInterrupt
            guard next != nil || parts.mayTypeInterrupt else { return .never }
            let now = monotonicTime()
            let passed = chips.clock.now
            let end = next.map { now &+ ($0 > passed ? $0 - passed : 0) }
            timer?.putOff(to: end.map { $0 &+ Self.timerAfterHalt })
            chips.clock.begin(at: now)
            thread.kicks.wait(since: token, until: end, spins: false)
            chips.clock.end(at: monotonicTime())
            parts.inputs.pass(.time(chips.clock.now))
            watchForStandstill()
        }
    }

    /// The vCPU stands after a HLT that waits for an interrupt: how the run goes on. Nil: KVM_RUN is next.
    func continueHalt(
        _ chips: MachineChips, _ controller: any RunController
    ) throws(KVMError) -> Departure? {
        guard isHalted else { return nil }
        if mayLeaveHalt {
            // The user steps on from it.
            mayLeaveHalt = false
            let pace = controller.pace
            if pace.isStepping, pace.holdsOffInterrupts {
                isHalted = false
                return nil
            }
        }
        if isHandling {
            recorder.handled(at: monotonicTime())
            isHandling = false
        }
        switch waitAtHalt(chips) {
        case .interrupt:
            isHalted = false
            // The HLT is done, and its interrupt comes before the next instruction: also where a kick has come between,
            // after which KVM's own word on that is out of date.
            takesInterruptNow = mayBeEdited ? try vcpu.registers().rflags.contains(.if) : true
            return departure(try controller.woke(vcpu))
        case .attention: return nil
        case .never: return .parked
        }
    }

    /// A HLT is not the end of a run where interrupts are on and a device can raise one.
    func waits(for verdict: Verdict) -> Bool {
        guard case .park = verdict, chips != nil, vcpu.interruptFlag else { return false }
        haltedAt = try? vcpu.registers().rip
        isHalted = true
        mayBeEdited = false
        mayLeaveHalt = false
        // It goes on with an interrupt, and most likely soon halts again.
        vcpu.keepsEvents = true
        return true
    }

    /// A run begins: the vCPU is in its HLT still, unless it was put elsewhere.
    func resumeHalt() {
        isReadinessKnown = false
        takesInterruptNow = false
        mayLeaveHalt = true
        mayBeEdited = true
        isAdvanced = false
        if isHalted, (try? vcpu.registers().rip) != haltedAt { isHalted = false }
    }
}
