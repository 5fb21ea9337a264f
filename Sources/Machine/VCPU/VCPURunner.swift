import DebugTarget
import KVMCore
import Locking
import Synchronization
import SystemPackage
import X86

/// What the threads of all vCPUs of a machine share.
final class MachineParts: Sendable {
    let board: Board
    let coordinator: RunCoordinator
    let memory: MachineMemory
    let barrier = PauseBarrier()
    let powerOff = Lock<PowerOff?>(nil)
    let ioDebug: IODebugPort
    let inputs = GuestInputs()
    let assist: AssistRecord
    /// Nil where the interrupt controllers are in the kernel, or there are none.
    let chips: MachineChips?
    /// Keyboard, clock and what else a PC has; nil without interrupt controllers.
    let devices: BoardDevices?
    /// Nil where the guest has none, or its own.
    let bios: BIOS?
    private let serialPort: UART?

    init(
        board: Board, coordinator: RunCoordinator, memory: MachineMemory,
        assist: AssistRecord = AssistRecord(), ioDebug: IODebugPort = IODebugPort(),
        chips: MachineChips? = nil, devices: BoardDevices? = nil, serialPort: UART? = nil,
        bios: BIOS? = nil
    ) {
        self.devices = chips?.devices ?? devices
        self.assist = assist
        self.bios = bios
        self.ioDebug = ioDebug
        self.chips = chips
        self.serialPort = serialPort
        self.memory = memory
        self.board = board
        self.coordinator = coordinator
    }

    /// What the user types would interrupt the guest.
    var mayTypeInterrupt: Bool {
        guard let chips else { return false }
        return chips.controllers.isOpen(1) && chips.keyboard.canInterrupt
            || chips.controllers.isOpen(4) && serialPort?.canInterrupt ?? false
    }
}

/// What a vCPU's thread does: waits for work, and runs the guest under a controller.
// SAFETY: `serve(_:)` is the one way in, is called once, on the vCPU's own thread, and everything else is reached from it;
// `run` checks that in debug builds. What other threads use is `thread`, which is a constant and Sendable.
final class VCPURunner: @unchecked Sendable {
    let vcpu: VCPU
    let thread: VCPUThread
    let parts: MachineParts
    /// Of the guest's processor, once they were asked for.
    var abilities: Set<AssistState.Ability>?
    let recorder: ExitRecorder
    /// Of the boot processor alone, which interrupts go to.
    let chips: MachineChips?
    /// Likewise, wherever the controllers are.
    let devices: BoardDevices?
    private let pass: PauseBarrier.Pass
    /// No irqchip can send this application processor a SIPI, and it was given no entry: it waits until its
    /// registers say otherwise.
    private var waitsForEntry: Bool
    /// As it was made.
    private let waitedForEntry: Bool
    /// An exit was recorded, and its handling is not over.
    var isHandling = false
    /// It waits in a HLT for an interrupt, with RIP after it.
    var isHalted = false
    var haltedAt: UInt64?
    /// Interrupts were switched on in its registers, with no exit since.
    var takesInterruptNow = false
    /// A run has just begun: if it is a step, it goes on after the HLT.
    var mayLeaveHalt = false
    /// What `kvm_run` says of interrupts is of now: nothing was changed since the last exit.
    var isReadinessKnown = false
    private var powerOff: PowerOff?
    /// When the run at hand began; 0 before its first KVM_RUN.
    private var begun: UInt64 = 0
    /// When its last KVM_RUN was over, with what belonged to it.
    private var ended: UInt64 = 0
    private var exitsBefore: UInt64 = 0
    /// The controller wants to hear of an access to a protected page.
    private var isSeen = false
    /// Gets the vCPU out of the guest at a time.
    var timer: KickTimer?
    /// When a vCPU that has not left the guest since is to be looked at; nil where the host leaves every instruction.
    var nextLook: UInt64?
    /// Asked for when the guest runs first: finding it out makes a VM.
    lazy var hostStaysAtHighInterrupts = Self.staysAtHighInterrupts
    /// The devices have done what was due, and no time has passed since.
    var isAdvanced = false
    /// When the last interrupt was given to the guest, and the least that a KVM_RUN has taken.
    var lastInterrupt: UInt64 = 0
    private(set) var leastRun = UInt64.max
    /// Jobs were done since the vCPU halted: its registers may be other ones.
    var mayBeEdited = false
    /// RIP at the last entry, where the instruction there may be one that the host never leaves.
    private var enteredAt: UInt64?

    /// How a run of this vCPU ended.
    enum Departure {
        case parked
        case stopped(StopReason)
        /// Another vCPU, or the user, made it stop.
        case asked
    }

    init(
        _ vcpu: sending VCPU, thread: VCPUThread, parts: MachineParts, recorder: ExitRecorder,
        waitsForEntry: Bool
    ) {
        chips = vcpu.id == 0 ? parts.chips : nil
        devices = vcpu.id == 0 ? parts.devices : nil
        self.vcpu = vcpu
        self.thread = thread
        self.parts = parts
        self.recorder = recorder
        pass = parts.barrier.pass(for: vcpu.id)
        self.waitsForEntry = waitsForEntry
        waitedForEntry = waitsForEntry
    }

    /// Until the thread is to end.
    func serve(_ own: KickTimer) {
        timer = own
        defer { timer = nil }
        while true {
            let token = thread.work.token
            switch thread.take() {
            case .job(let job): job.perform(vcpu)
            case .run(let controller): run(controller)
            case .quit: return
            case nil:
                thread.wait(since: token)
                // One run after another need not set it anew each time; a vCPU that stays stopped is left alone.
                if thread.work.token == token { timer?.putOff(to: nil) }
            }
        }
    }

    private func run(_ controller: any RunController) {
        assert(thread.isCurrent, "a vCPU is run by another thread than its own")
        let departure = depart(controller)
        thread.isBack()
        switch consume departure {
        case .parked: parts.coordinator.isBack(vcpu.id, reason: nil, isParked: true)
        case .asked: parts.coordinator.isBack(vcpu.id, reason: nil, isParked: false)
        case .stopped(let reason):
            guard !parts.coordinator.isAlone else {
                return parts.coordinator.isBackAlone(vcpu.id, reason: reason, measured)
            }
            parts.coordinator.stopAll(reason, by: vcpu.id)
            parts.coordinator.isBack(vcpu.id, reason: reason, isParked: false)
        }
    }

    /// The vCPU was put back to its start. On its thread, between two runs.
    func restart() {
        powerOff = nil
        isSeen = false
        isHandling = false
        waitsForEntry = waitedForEntry
        isReadinessKnown = false
        (isHalted, haltedAt, mayLeaveHalt) = (false, nil, false)
    }

    /// Whether the controller is to be told of an access to a protected page, once.
    func takeSeen() -> Bool {
        defer { isSeen = false }
        return isSeen
    }

    private var measured: StopReport.Measured {
        StopReport.Measured(exits: recorder.total &- exitsBefore, time: begun == 0 ? 0 : ended &- begun)
    }

    /// One run up to its end.
    private func depart(_ controller: any RunController) -> Departure {
        var departure: Departure
        exitsBefore = recorder.total
        begun = 0
        parts.barrier.enter(pass)
        if chips != nil { resumeHalt() }
        watchForStandstill()
        do throws(KVMError) {
            if let end = try begin(controller) {
                departure = end
            } else {
                departure = try loop(controller)
            }
        } catch {
            departure = .stopped(.failed(error))
        }
        ended = monotonicTime()
        if isHandling {
            recorder.handled(at: ended)
            isHandling = false
        }
        // The others are kicked before the controller reads registers: it all goes on at the same time.
        if case .stopped(let reason) = departure, !parts.coordinator.isAlone {
            parts.coordinator.stopAll(reason, by: vcpu.id)
        }
        do {
            try controller.end(vcpu)
        } catch {
            if case .stopped = departure {} else { departure = .stopped(.failed(error)) }
        }
        parts.barrier.leave(pass)
        return departure
    }

    func departure(_ verdict: Verdict) -> Departure? {
        switch verdict {
        case .resume: nil
        case .park: .parked
        case .stop(let reason): .stopped(reason)
        }
    }

    private func begin(_ controller: any RunController) throws(KVMError) -> Departure? {
        if let end = departure(try controller.begin(vcpu)) { return end }
        guard waitsForEntry else { return nil }
        guard try hasEntry() else { return .parked }
        waitsForEntry = false
        return nil
    }

    private func loop(_ controller: any RunController) throws(KVMError) -> Departure {
        var isKicked = false
        while true {
            if isKicked || thread.attention.load(ordering: .sequentiallyConsistent) {
                isKicked = false
                if let end = try attend(controller) { return end }
            }
            if let chips {
                if let end = try continueHalt(chips, controller) { return end }
                if isHalted { continue }
            }
            let pace = controller.pace
            if let chips {
                try prepareEntry(chips, pace)
            } else if let devices {
                prepareEntry(devices, pace)
            }
            enteredAt = nil
            if pace.isStepping {
                if pace.mayBeIRET || pace.mayBeINT, let verdict = try assistStep(controller) {
                    if let devices { passTime(devices, pace, isWhole: true, end: monotonicTime()) }
                    if let end = departure(verdict) { return end }
                    continue
                }
                if pace.mayBeINT { enteredAt = try placeToLeave() }
            }
            let start = monotonicTime()
            if begun == 0 { begun = start }
            if isHandling {
                recorder.handled(at: start)
                isHandling = false
            }
            let exit: VCPUExit
            if let devices, !pace.isStepping { devices.clock.begin(at: start) }
            do throws(KVMError) {
                exit = try vcpu.run()
            } catch {
                devices?.clock.end(at: monotonicTime())
                // A vCPU that waited for SIPI was woken.
                if error.errno == .resourceTemporarilyUnavailable { continue }
                throw error
            }
            let end = monotonicTime()
            let isInterrupted = if case .interrupted = exit { true } else { false }
            if let devices { passTime(devices, pace, isWhole: !isInterrupted, end: end) }
            if isInterrupted {
                // A kick, the timer, or a signal from elsewhere: look, and go on.
                timer?.rang()
                vcpu.keepsEvents = false
                isKicked = true
                continue
            }
            recorder.entered(exit, start: start, end: end)
            leastRun = min(leastRun, end &- start)
            isHandling = true
            let verdict = try dispatch(exit, controller)
            if waits(for: verdict) { continue }
            if let end = departure(verdict) { return end }
        }
    }

    /// The reset vector is all a waiting application processor has.
    private func hasEntry() throws(KVMError) -> Bool {
        let special = try vcpu.specialRegisters()
        return try vcpu.registers().rip != 0xFFF0 || special.cs.base != 0xFFFF_0000
    }

    /// Does what the vCPU was kicked for.
    private func attend(_ controller: any RunController) throws(KVMError)
        -> Departure?
    {
        thread.acknowledge()
        let further = try settle(controller)
        for job in thread.takeJobs() {
            job.perform(vcpu)
            mayBeEdited = true
        }
        isReadinessKnown = false
        takesInterruptNow = false
        if let further, let end = departure(try dispatch(further, controller)) { return end }
        if let powerOff { return .stopped(reason(powerOff)) }
        if isSeen {
            isSeen = false
            if let end = departure(try controller.decide(.handled(.interrupted), vcpu)) { return end }
        }
        if parts.coordinator.isStopping { return .asked }
        try assistStuck(controller)
        watchForStandstill()
        parts.barrier.check(pass)
        return nil
    }

    /// Does the machine's part of an exit, then asks the controller.
    private func dispatch(_ exit: VCPUExit, _ controller: any RunController)
        throws(KVMError) -> Verdict
    {
        if case .debug(let debug) = exit {
            let done = try assistStuck(debug, since: enteredAt, controller)
            return try controller.decide(.debug(done ?? debug), vcpu)
        }
        if case .io = exit, try controller.claims(exit, vcpu) {
            // A breakpoint: no device gets it.
            _ = try settle(controller)
            return try controller.decide(.claimed(exit), vcpu)
        }
        if case .writeMSR = exit, try controller.claims(exit, vcpu) {
            try vcpu.acceptMSR()
            _ = try settle(controller)
            return try controller.decide(.claimed(exit), vcpu)
        }
        if mayCallFirmware(exit), let call = try firmwareCall(exit) {
            return try callFirmware(call, exit, controller)
        }
        guard try handle(exit, controller) else {
            if let verdict = try assist(exit, controller) { return verdict }
            return try controller.decide(.fatal(exit), vcpu)
        }
        // Running freely, the next KVM_RUN completes it.
        let isWanted = controller.exited(exit)
        guard isWanted || isSeen || powerOff != nil else { return .resume }
        let further = try settle(controller)
        isSeen = false
        if let powerOff { return .stop(reason(powerOff)) }
        switch further {
        case nil:
            return try controller.decide(.handled(exit), vcpu)
        case .debug(let debug) where debug.matched == 0:
            // The single step's trap at the end of this very instruction: one instruction, one event.
            return try controller.decide(.handled(exit), vcpu)
        case .debug(let debug):
            return try controller.decide(.debug(debug), vcpu)
        case let other?:
            return try controller.decide(.fatal(other), vcpu)
        }
    }

    /// A call of the BIOS: what it asks for is done, and its OUT completed, here or with the next KVM_RUN.
    private func callFirmware(
        _ entered: EnteredFirmware, _ exit: VCPUExit, _ controller: any RunController
    ) throws(KVMError) -> Verdict {
        var entered = entered
        let pace = controller.pace
        if pace.isStepping || !vcpu.canSetRegistersWithNextRun {
            // The trap of a step at the end of the OUT is the same event.
            _ = try settle(controller)
            entered.general = try vcpu.registers()
        }
        let (call, off) = try serveFirmware(entered, pace) { () throws(KVMError) in
            _ = try settle(controller)
        }
        let isWanted = controller.called(call)
        guard off != nil || isWanted else { return .resume }
        _ = try settle(controller)
        if let off { return .stop(reason(off)) }
        return try controller.decide(.serviced(exit), vcpu)
    }

    /// The machine's part of an exit. False if nothing here can go on from it.
    private func handle(_ exit: VCPUExit, _ controller: any RunController) throws(KVMError) -> Bool {
        if case .mmio(let access) = exit, parts.memory.isRAM(access.gpa) {
            try answer(access, controller)
            return true
        }
        switch parts.board.handle(exit) {
        case .done: break
        case .answer(let value):
            switch exit {
            case .mmio(let access):
                parts.inputs.pass(.memory(access.gpa, value: value))
                try vcpu.answer(mmio: value)
            case .io(let access):
                parts.inputs.pass(.port(access.port, value: value))
                try vcpu.answer(io: UInt32(truncatingIfNeeded: value))
            default: try vcpu.answer(io: UInt32(truncatingIfNeeded: value))
            }
        case .answerString(let bytes):
            if case .io(let access) = exit { parts.inputs.pass(.portString(access.port, bytes: bytes)) }
            try vcpu.answer(io: bytes)
        case .refuseMSR: try vcpu.refuseMSR()
        case .powerOff(let how): powerOff = how
        case .fatal: return false
        }
        return true
    }

    /// An access to RAM that left the guest, because the page is protected.
    func answer(_ access: MMIO, _ controller: any RunController) throws(KVMError) {
        var value: UInt64 = 0
        if let answer = try controller.access(access, vcpu) {
            value = answer.value
            isSeen = isSeen || answer.isSeen
        } else {
            value = parts.memory.perform(access)
        }
        if !access.isWrite { try vcpu.answer(mmio: value) }
    }

    /// Completes pending I/O, so that registers are final and edits are not undone; a REP goes on to its end.
    ///
    /// - Returns: what the completion led to beyond I/O: the trap of a single step, or an exit that nothing here
    ///   can go on from.
    private func settle(_ controller: any RunController) throws(KVMError) -> VCPUExit? {
        while vcpu.isIOPending {
            let start = monotonicTime()
            if isHandling { recorder.handled(at: start) }
            isHandling = false
            let exit = try vcpu.completeIO()
            if case .interrupted = exit { continue }
            recorder.entered(exit, start: start, end: monotonicTime())
            isHandling = true
            if case .debug = exit { return exit }
            guard try handle(exit, controller) else { return exit }
            // INS and OUTS with REP: a further part of the same instruction.
            if controller.exited(exit) { isSeen = true }
        }
        return nil
    }

    private func reason(_ how: PowerOff) -> StopReason {
        powerOff = nil
        if let reset = how.reset { return .guestReset(reset) }
        parts.powerOff.withLock { $0 = how }
        return .poweredOff
    }
}
