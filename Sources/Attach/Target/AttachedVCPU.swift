import CLinux
import DebugTarget
import Glibc
import Host
import KVMCore
import X86

/// One vCPU of an attached guest, on this side.
final class AttachedVCPU {
    let index: Int
    private(set) var identity: VCPUIdentity
    /// The calls are made in the VMM while the vCPU is stopped.
    let vcpu: VCPU
    /// The shared page, for a look with no stop.
    private let page: SharedRunPage
    let hasRegisters: Bool
    /// The same while it is stopped.
    private(set) lazy var held = HeldVCPU(self)

    var controller: (any RunController)?
    /// The same, if it plans.
    var planner: (any PlanningController)?
    /// It was resumed under its controller, which has not been told the end yet.
    var isOut = false
    var isStanding = false
    /// It came while the guest runs, and goes along without a controller until the next stop.
    var isFree = false
    /// Its thread has ended.
    var isGone = false
    /// When it was last resumed.
    var began: UInt64 = 0
    /// What the last look at the shared page showed, and since when; monotonic nanoseconds.
    private var shown: (registers: GeneralRegisters, since: UInt64, looks: Int)?
    /// `struct kvm_vcpu`, once the kernel was asked for it.
    private var kernelObject: KernelReader.VCPUObject?
    private let process: Int32
    /// In the VMM.
    let descriptor: Int32
    private var thread: Int32 { identity.thread }
    /// Registers that were asked for with a stop, and when; monotonic nanoseconds.
    private var asked: (general: GeneralRegisters, special: SpecialRegisters, at: UInt64)?
    /// A system call other than KVM_RUN that its thread waits in, and since when it was seen there.
    private var sleep: (call: String, since: UInt64)?

    /// Reason and payload of the last exit that was told of and that the guest cannot go on from.
    private var toldDeadlyExit: [UInt8]?

    init(
        index: Int, process: Int32, vcpu: HostVCPU, client: TracerClient, mappingSize: Int, xsaveSize: Int,
        hasRegisters: Bool
    ) throws {
        self.index = index
        self.process = process
        self.descriptor = vcpu.descriptor
        identity = VCPUIdentity(id: vcpu.id, process: process, thread: vcpu.thread ?? 0, isBoot: vcpu.id == 0)
        let descriptor = try client.borrow(vcpu.descriptor)
        defer { close(descriptor) }
        self.vcpu = try VCPU(
            id: vcpu.id, descriptor: vcpu.descriptor, channel: client, localDescriptor: descriptor,
            mappingSize: mappingSize, xsaveSize: xsaveSize)
        page = try SharedRunPage(descriptor: descriptor, size: mappingSize)
        self.hasRegisters = hasRegisters
    }

    /// It is stopped for our sake.
    func stood(_ standing: TracerReply.Standing) {
        isStanding = standing != .running
        if standing == .gone { isGone = true }
        switch standing {
        case .debug, .handled, .interrupted, .patch, .fatal: vcpu.observeExit(isCompleted: true)
        case .elsewhere, .gone, .running, .absent: vcpu.forgetExit()
        }
    }

    /// What need not be told of after it is resumed again.
    var plan: UnattendedSteps? {
        guard hasRegisters, let plan = planner?.plan, plan.places.count <= UnattendedSteps.capacity else {
            return nil
        }
        return plan
    }

    /// What it did unseen, before it came to what is to be seen.
    func observe(_ log: ExitLog, passed: TracerReply.Passed) {
        guard passed.count > 0 else { return }
        let registers = passed.registers.withUnsafeBytes { SyncedRegisters($0) }
        guard let registers else { return }
        // A single step: DR6.BS.
        let step = DebugExit(exception: 1, pc: registers.general.rip, dr6: 1 << 14, dr7: 0)
        log.recorder(for: identity.id).passed(
            .debug(step), count: passed.count, guest: passed.last > began ? passed.last - began : 0)
        began = max(began, passed.last)
        planner?.wentOn(passed.count, registers)
    }

    /// It came to an exit of ours.
    func observe(_ log: ExitLog) -> VCPUExit {
        let exit = vcpu.observeExit()
        log.recorder(for: identity.id).entered(exit, start: began, end: monotonicTime())
        return exit
    }

    /// It came to an exit that its VMM has handled.
    func observe(_ log: ExitLog, handled page: [UInt8]) -> VCPUExit {
        vcpu.observeExit(isCompleted: true)
        let exit = VCPUExit(runArea: page)
        log.recorder(for: identity.id).entered(exit, start: began, end: monotonicTime())
        return exit
    }

    /// Registers as KVM left them in the shared page at the last exit, with no stop; nil where it has not.
    ///
    /// The kernel may write the page meanwhile: only what two looks agree on counts.
    func registersAtLastExit() -> (GeneralRegisters, SpecialRegisters)? {
        guard hasRegisters else { return nil }
        for _ in 0..<100 {
            vcpu.observeExit(isCompleted: true)
            guard let general = try? vcpu.registers(), let special = try? vcpu.specialRegisters() else {
                return nil
            }
            vcpu.observeExit(isCompleted: true)
            if let again = try? vcpu.registers(), again == general, let other = try? vcpu.specialRegisters(),
                other == special
            {
                guard general.rflags.rawValue != 0 else { return nil }
                noticed(general)
                return (general, special)
            }
        }
        return nil
    }

    private func noticed(_ registers: GeneralRegisters) {
        if let before = shown, before.registers == registers {
            shown?.looks = before.looks + 1
        } else {
            shown = (registers, monotonicTime(), 1)
        }
    }

    /// KVM has left registers in the shared page since we asked it to.
    func checkForRegisters() -> Bool { shown != nil || registersAtLastExit() != nil }

    /// For how long looks at the page have shown the same; nil before the second.
    var unchanged: Duration? {
        guard let shown, shown.looks > 1 else { return nil }
        return .nanoseconds(Int64(clamping: monotonicTime() &- shown.since))
    }

    // MARK: What keeps it from running

    /// No thread has run it yet, as far as is known.
    var isAbsent: Bool { identity.thread == 0 }

    func isRun(by thread: Int32) {
        identity.thread = thread
        asked = nil
    }

    /// It has never been in KVM_RUN, as the kernel says or, where that cannot be asked, as far as is known.
    var isUntouched: Bool {
        guard isAbsent else { return false }
        guard let kernel = try? KernelReader.shared(), let object = kernelVCPU() else {
            return !checkForRegisters()
        }
        return kernel.hasRun(object) == false
    }

    /// Registers of a vCPU that has never run do not change by themselves: what was asked for is good for a while.
    func remember(_ general: GeneralRegisters, _ special: SpecialRegisters) {
        asked = isAbsent ? (general, special, monotonicTime()) : nil
    }

    func forgetRegisters() { asked = nil }

    /// What was asked for, if it is still to be trusted.
    func rememberedRegisters() -> (GeneralRegisters, SpecialRegisters)? {
        guard let asked, monotonicTime() &- asked.at < Self.trust, isUntouched else { return nil }
        return (asked.general, asked.special)
    }

    /// How old they are; nil where there are none.
    var rememberedAge: Duration? {
        guard isAbsent, let asked else { return nil }
        let age = monotonicTime() &- asked.at
        return age < Self.trust ? .nanoseconds(Int64(clamping: age)) : nil
    }

    /// In nanoseconds.
    private static let trust: UInt64 = 1_000_000_000
    /// For so long a thread waits in one call before its vCPU is said to be kept from running, in nanoseconds.
    private static let long: UInt64 = 15_000_000

    /// The call in which its thread waits; nil where that is KVM_RUN, or it does not wait.
    private func seenAsleep() -> (call: Int, text: String)? {
        guard let text = ProcessFiles(process).text("task/\(thread)/syscall"),
            case .inCall(let number, _, _, _)? = ThreadSyscall(text),
            ThreadSyscall(text)?.runDescriptor == nil
        else { return nil }
        return (number, text)
    }

    /// As ``checkWithheld()``, with more than one look where one does not tell: a thread that we have just resumed is on
    /// its way back to its call, and one that is seen in a call may be there for a moment. Sleeps for some 30 ms at most.
    func waitForWithheld(looks budget: Int = 10) -> Bool {
        if isStoppedBySignal { return true }
        if checkWithheld() { return true }
        if isAbsent { return false }
        var looks = checkForRegisters() ? 0 : budget
        while sleep == nil, looks > 0 {
            usleep(1000)
            if checkWithheld() { return true }
            looks -= 1
        }
        guard sleep != nil else { return false }
        usleep(UInt32(Self.long / 1000) + 1000)
        return checkWithheld()
    }

    /// One look at whether its VMM keeps it from running: its thread has waited in one and the same call since an earlier
    /// look. What it sees is kept for the next look.
    func checkWithheld() -> Bool {
        if isAbsent { return isUntouched }
        guard let seen = seenAsleep() else {
            sleep = nil
            return false
        }
        guard let before = sleep, before.call == seen.text else {
            sleep = (seen.text, monotonicTime())
            return false
        }
        return monotonicTime() &- before.since >= Self.long
    }

    /// The exit that the guest cannot go on from by itself, if that is the last one and the VMM keeps the vCPU from running
    /// since: a shutdown, a failed entry, an internal error of KVM. Sleeps for some 30 ms at most, where there is one.
    func waitForDeadlyExit() -> VCPUExit? {
        guard page.isFatal, !isAbsent, !isGone else { return nil }
        let facts = page.exitFacts
        let exit = VCPUExit(runArea: page.exitCopy())
        // While it is handled it may still be the guest's reset; and KVM_RUN begins by taking the reason away.
        guard waitForWithheld(), page.isFatal, page.exitFacts == facts else { return nil }
        return exit
    }

    /// The same, once: nil for one that was told of.
    func newDeadlyExit() -> VCPUExit? {
        guard page.isFatal else {
            toldDeadlyExit = nil
            return nil
        }
        guard page.exitFacts != toldDeadlyExit, let exit = waitForDeadlyExit() else { return nil }
        return exit
    }

    func toldOfDeadlyExit() { toldDeadlyExit = page.exitFacts }

    /// Its VMM is stopped by a signal: some thread that nobody traces says so.
    var isStoppedBySignal: Bool {
        let files = ProcessFiles(process)
        // The first to be asked is the main thread, which runs no vCPU as a rule.
        return files.state() == "T" || files.threads.contains { files.state(thread: $0) == "T" }
    }

    /// The name of the call that its thread waits in now.
    var waitsIn: String? { seenAsleep().map { SystemCall.name($0.call) } }

    /// `struct kvm_vcpu`, where the kernel can be asked.
    func kernelVCPU() -> KernelReader.VCPUObject? {
        kernelObject =
            kernelObject ?? (try? KernelReader.shared())?.object(of: process, vcpu: descriptor)
        return kernelObject
    }

    /// What the vCPU waits for, as the kernel has it.
    func kernelMPState() -> MPState? {
        guard let kernel = try? KernelReader.shared(), let object = kernelVCPU() else { return nil }
        return kernel.mpState(object).map { MPState(rawValue: $0) }
    }

    /// What the vCPU waits for, with no stop; nil where that cannot be found out.
    func mpStateWithoutStop() -> MPState? {
        if let state = kernelMPState() { return state }
        // Asleep in KVM_RUN, it waits for an interrupt or to be started; which, only KVM knows.
        guard
            let call = ProcessFiles(process).text("task/\(thread)/syscall").flatMap(ThreadSyscall.init),
            case .running = call
        else { return nil }
        return .runnable
    }

    /// A little-endian number of the VMM's memory, for page walks.
    static func word(_ process: Int32, _ address: UInt64, _ count: Int) -> UInt64? {
        guard (1...8).contains(count) else { return nil }
        var value: UInt64 = 0
        // SAFETY: at most eight bytes are read into eight.
        let got = withUnsafeMutableBytes(of: &value) {
            clinux_process_read(process, address, $0.baseAddress, count)
        }
        return got == count ? value : nil
    }
}
