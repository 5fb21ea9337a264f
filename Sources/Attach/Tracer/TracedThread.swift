import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore

/// The thread that runs one vCPU of another program, under ptrace.
///
/// Used by the tracer's one thread alone, as ptrace wants. Where it stands is told by ``state``; what becomes of
/// its stops is decided in `TracedThread+Stops.swift`, calls in its name are in `TracedThread+Calls.swift`.
final class TracedThread {
    /// How the thread was last resumed.
    enum How: Int32 {
        /// Nothing of it is seen until it is interrupted.
        case free = 7
        /// One instruction, which is the `syscall` of KVM_RUN: one stop when it is back.
        case run = 9
        /// To the next entry to, or exit from, a system call.
        case toSystemCall = 24
    }

    enum State {
        /// Not traced (yet, or any more).
        case untraced
        case going(How)
        case held(Hold)
        /// In a call of ours that does not come back; held again once it has.
        case away(Hold)
        /// Killed, or replaced by an exec. Its end has still to be taken in: until then its process cannot end, nor
        /// become another program.
        case lost
        case gone
    }

    /// A thread that is stopped, and how it goes on.
    struct Hold {
        /// The VMM's own registers.
        var registers: user_regs_struct
        /// At the call site of KVM_RUN, which is to be made again: `registers.rip` is after it. Otherwise the
        /// thread is elsewhere, and goes on with just these registers.
        var isAtRun: Bool
        var standing: TracerReply.Standing
        /// CLOCK_MONOTONIC, nanoseconds.
        var since: UInt64
    }

    let process: Int32
    let vcpu: TracedVCPU
    let page: SharedRunPage
    /// Where the VMM has mapped the page.
    let pageAddress: UInt64
    /// `kvm_valid_regs` as the VMM left it.
    let validRegisters: UInt64
    /// What the VMM's page held where KVM leaves registers.
    let registerArea: [UInt8]
    /// The thread of the vCPU, or of one that no thread has run yet the one that makes calls for it; 0 for none.
    var thread: Int32
    /// No thread has run it yet, as far as is known.
    var isAbsent: Bool

    var state = State.untraced { didSet { if case .held(let hold) = state { noteHold(hold) } } }
    var mode = GoMode.run
    /// The front end waits for it to stop.
    var stopWanted = false
    /// It did not get to KVM_RUN in time: it is held wherever it is.
    var isImpatient = false
    /// The argument of the last KVM_SET_GUEST_DEBUG, which is ours; empty before the first.
    var guestDebug: [UInt8] = []
    /// Guest debug is on.
    var isArmed: Bool { Self.arms(guestDebug) }
    /// It has been left alone for a while: see ``disarmWhileIdle()``.
    var isIdle = false
    /// Guest debug as it is to be when it is no longer.
    var suspendedDebug: [UInt8]?
    /// immediate_exit is set by us, to complete an exit.
    var isCompleting = false
    /// KVM_RUN was interrupted by nothing that was seen, and is made again, unseen by the VMM. A stop of ours alone does
    /// that: at its end the kernel has the thread look for signals to its process that another thread is about to take.
    /// A signal to this thread comes before KVM_RUN does, and the VMM sees both. Where it is interrupted once more, the
    /// VMM sees that: KVM_SET_SIGNAL_MASK is how a signal ends KVM_RUN and is not delivered.
    var isIssuedAgain = false
    /// An exit that the VMM is handling, to be reported when it has.
    var handledExit: [UInt8]?
    /// The OUT of a patch, which is being completed.
    var claimedExit: [UInt8]? {
        didSet { if claimedExit == nil, oldValue != nil { forget(.completing) } }
    }
    /// Where it is told what has to be put back in the thread.
    var place: Place?
    var isHoldNoted = false
    /// What a tracer that was killed has told there, until the thread stops.
    var inherited: ThreadRecord?
    /// Of all threads together.
    var ledger: PatchLedger?
    /// The SIGTRAP of an interrupted step is still to come.
    var trapIsPending = false
    /// The address of a `syscall` instruction of the VMM.
    var site: UInt64?
    /// Where the memory map is known from the VMM's calls alone.
    var calls: CallWatch?
    /// Of all threads together.
    let meter: PauseMeter
    /// Debug exits that are not to be told of, and those that were not.
    var plan: UnattendedSteps?
    var passed = TracerReply.Passed()
    var untold = UntoldTime()
    /// With these KVM_RUN was last issued.
    private var runRegisters = user_regs_struct()
    /// The guest's, to see which instruction comes next; nil where it is not known.
    var memory: AttachedMemory?

    /// Its process is stopped by a signal (SIGSTOP, SIGTSTP): it may not go on before SIGCONT.
    var isGroupStopped = false
    /// So many traps came in a row from one and the same instruction.
    var idleTraps = 0

    // What is changed while calls are made in the thread's name, and put back.
    var savedMask: UInt64?
    var isFilterLifted = false
    /// What the page held where the argument of the call is that it is away in.
    var borrowed: (start: Int, bytes: [UInt8])?
    /// Why the last call was not made, or did not come back.
    var trouble: HostGuestError?
    /// Where calls are made, if not at ``site``: the VMM has changed its code there.
    var otherSite: UInt64?
    /// With these it is to go on once it is back from where it is away.
    var leave: (mode: GoMode, plan: UnattendedSteps?)?
    /// It is to be detached then.
    var isLeftBehind = false
    var trapWasBlocked = false
    var isTrapOpen = false
    var hasFilter = false

    init(
        process: Int32, vcpu: TracedVCPU, page: consuming SharedRunPage, pageAddress: UInt64,
        meter: PauseMeter
    ) {
        self.meter = meter
        self.process = process
        self.vcpu = vcpu
        thread = vcpu.thread
        isAbsent = vcpu.thread == 0
        validRegisters =
            vcpu.legacy?.validRegisters ?? page.load(RunLayout.validRegisters)
        registerArea = Array(UnsafeRawBufferPointer(rebasing: page.bytes[RunLayout.syncedRegisters]))
        if let legacy = vcpu.legacy {
            guestDebug = legacy.isArmed ? [Self.guestDebugEnable] : []
            page.clearImmediateExit()
            inherited = legacy.record
            // The trap of a step may not have been taken in.
            trapIsPending = true
        }
        self.page = page
        self.pageAddress = pageAddress
    }

    var isHeld: Bool { if case .held = state { true } else { false } }
    var isGoing: Bool { if case .going = state { true } else { false } }
    var isAway: Bool { if case .away = state { true } else { false } }
    var isGone: Bool {
        switch state {
        case .lost, .gone: true
        case .untraced, .going, .held, .away: false
        }
    }
    var standing: TracerReply.Standing {
        switch state {
        case .held(let hold): hold.standing
        case .lost, .gone: .gone
        case .untraced where isAbsent: .absent
        case .untraced, .going, .away: .running
        }
    }

    // MARK: The shared page

    /// Makes KVM leave these classes of registers in the page at each exit. RFLAGS is never 0 in what it leaves:
    /// with a 0 there nothing has been left yet.
    func synchronise(_ mask: UInt64) {
        // What a VMM that uses them itself has there is its own: it may be about to give it to KVM (kvm_dirty_regs). And
        // where a tracer has been before, they are those of the exit that it has left.
        if !isUsedByVMM, vcpu.legacy == nil {
            page.bytes[RunLayout.syncedRegisters].copyBytes(
                from: [UInt8](repeating: 0, count: registerArea.count))
        }
        page.store(validRegisters | mask, at: RunLayout.validRegisters)
    }

    private var isUsedByVMM: Bool { validRegisters != 0 }

    func restorePage() {
        if isCompleting {
            isCompleting = false
            page.clearImmediateExit()
        }
        page.store(validRegisters, at: RunLayout.validRegisters)
        if !isUsedByVMM { page.bytes[RunLayout.syncedRegisters].copyBytes(from: registerArea) }
    }

    // MARK: Seizing

    static let options = clinux_option_sysgood | clinux_option_exec

    /// Begins to trace the thread, which goes on running.
    func seize() throws(HostGuestError) {
        guard case .untraced = state else { return }
        // A number that is no thread of the VMM any more may be one of another program.
        guard let status = ProcessFiles(process).text("task/\(thread)/status").flatMap(ProcessStatus.init)
        else { throw Self.seizeError(ESRCH, thread) }
        if status.tracer != 0 {
            throw HostGuestError(
                .traced, "thread \(thread) of the VMM is already traced by process \(status.tracer)",
                remedy: "end that debugger (or strace) first")
        }
        let result = clinux_ptrace_seize(thread, Self.options)
        guard result >= 0 else { throw Self.seizeError(-result, thread) }
        state = .going(.free)
        hasFilter = status.seccomp == 2
    }

    /// Takes over a thread that is traced from its start: one that stands at the entry to KVM_RUN, which then returns
    /// before the guest has run, or one on its way to a system call. It is to stop.
    func adopt(isAtRun: Bool) {
        let status = ProcessFiles(process).text("task/\(thread)/status").flatMap(ProcessStatus.init)
        hasFilter = status?.seccomp == 2
        state = .going(.toSystemCall)
        stopWanted = true
        guard isAtRun else { return }
        let isKicked: UInt8 = page.load(RunLayout.immediateExit)
        if isKicked == 0 {
            isCompleting = true
            page.setImmediateExit()
        }
        go(.toSystemCall)
    }

    /// What a refusal of PTRACE_SEIZE means.
    static func seizeError(_ errno: Int32, _ thread: Int32) -> HostGuestError {
        switch errno {
        case ESRCH: HostGuestError(.ended, "thread \(thread) of the VMM has ended")
        case EPERM:
            HostGuestError(
                .notPermitted, "thread \(thread) of the VMM may not be traced",
                remedy:
                    "it needs CAP_SYS_PTRACE (run as root), or the same user and kernel.yama.ptrace_scope=0")
        default:
            HostGuestError(
                .unsupported, "thread \(thread) cannot be traced (\(String(cString: strerror(errno))))")
        }
    }

    /// Asks it to stop.
    func requestStop() throws(HostGuestError) {
        if isHeld || isGone { return }
        leave = nil
        if isAway { throw awayError }
        try seize()
        stopWanted = true
        isImpatient = false
        interrupt()
    }

    func interrupt() {
        if clinux_ptrace_interrupt(thread) == -ESRCH { state = .lost }
    }

    // MARK: Going on

    /// Lets it go; the guest runs.
    func resume(_ mode: GoMode, _ plan: UnattendedSteps? = nil) {
        if isAway { leave = (mode, plan) }
        rearm()
        guard case .held(let hold) = state, !isAbsent else { return }
        self.mode = mode
        self.plan = plan
        if mode == .run { handledExit = nil }
        endCalls()
        state = .going(.free)
        meter.went(at: monotonicTime())
        // It stops once more before it goes on, and tells whether it may.
        if isGroupStopped { interrupt() }
        if hold.isAtRun {
            issueRun(hold.registers)
        } else {
            var registers = hold.registers
            set(&registers)
            go(isWatched ? .toSystemCall : .free)
        }
    }

    /// Every return from KVM_RUN has to be looked at.
    var isWatched: Bool { seesReturns || stopWanted || handledExit != nil }

    /// KVM_RUN's own return has to be looked at, whatever it is.
    var seesReturns: Bool { isArmed || hasPatches || mode == .runReportingHandled || calls != nil }

    /// Makes KVM_RUN be issued again, as if it had never returned.
    func issueRun(_ returned: user_regs_struct) {
        runRegisters = atRun(returned)
        issueRunAgain()
    }

    /// The same once more: nothing but the guest has changed since.
    func issueRunAgain() {
        // What the page says then is of this KVM_RUN, which may end without saying anything. KVM_EXIT_INTR is what KVM
        // says where a signal ended it.
        if plan != nil { page.store(ExitReason.intr.rawValue, at: RunLayout.exitReason) }
        set(&runRegisters)
        go(howToRun)
    }

    /// A step is one stop with PTRACE_SINGLESTEP. But a thread whose tracer is killed keeps the trap flag, and its process
    /// dies of the next trap: a guest that is to run for longer costs two stops, of which nothing is left.
    var howToRun: How {
        guard seesReturns else { return .free }
        return isStepArmed ? .run : .toSystemCall
    }

    var isStepArmed: Bool { (guestDebug.first ?? 0) & Self.guestDebugStep != 0 }

    /// The registers with which KVM_RUN is about to be issued.
    func atRun(_ returned: user_regs_struct) -> user_regs_struct {
        var registers = returned
        registers.rip = returned.rip &- 2
        registers.rax = UInt64(SystemCall.ioctl)
        registers.orig_rax = .max
        registers.rdi = UInt64(bitPattern: Int64(vcpu.descriptor))
        registers.rsi = UInt64(SystemCall.kvmRun)
        return registers
    }

    func set(_ registers: inout user_regs_struct) {
        if clinux_ptrace_set_registers(thread, &registers) < 0 { lose() }
    }

    func registers() -> user_regs_struct? {
        var registers = user_regs_struct()
        guard clinux_ptrace_get_registers(thread, &registers) >= 0 else {
            lose()
            return nil
        }
        return registers
    }

    /// It does not stand where it stood.
    func lose() {
        if isHeld || isAway { meter.went(at: monotonicTime()) }
        state = .lost
    }

    func go(_ how: How, signal: Int32 = 0) {
        if isGone { return }
        forgetHold()
        if clinux_ptrace_go(how.rawValue, thread, signal) < 0 {
            lose()
        } else {
            state = .going(how)
        }
    }
}
