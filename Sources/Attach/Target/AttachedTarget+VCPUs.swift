public import DebugTarget
import Glibc
import Host

/// vCPUs that come while kvmscope is attached, and those whose threads end.
extension AttachedTarget: VCPUAppearing {
    public var vcpuCount: Int { members.count }

    /// Takes on vCPUs that the VMM has made since, with those that are stopped: all or none of them stop too.
    func takeOnNewVCPUs() throws(HostGuestError) {
        if let kernel = try? KernelReader.shared(), let vcpu = members[0].kernelVCPU(),
            let count = kernel.vcpuCount(vcpu)
        {
            guard count > members.count else { return }
        }
        guard let now = GuestFinder().guest(process: guest.process) else { return }
        let new = newcomers(now)
        guard !new.isEmpty else { return }
        let traced = new.map {
            TracedVCPU(id: Int32($0.id), descriptor: $0.descriptor, thread: $0.thread ?? 0)
        }
        _ = try client.ask(.add(vcpus: traced))
        guard case .stopped(let standings, let spread) = try client.ask(.stop),
            standings.count == members.count + new.count
        else { throw HostGuestError(.tracer, "the tracer did not take on the new vCPUs") }
        note(spread: spread)
        for vcpu in new {
            let member: AttachedVCPU
            do {
                member = try makeMember(vcpu, index: members.count)
            } catch {
                throw HostGuestError(.tracer, "vCPU \(vcpu.id) cannot be taken on: \(error)")
            }
            member.stood(standings[members.count])
            member.isFree = hasOrders && isForAll
            members.append(member)
        }
    }

    /// The tracer has seen a change, while something of ours is in a guest that runs: vCPUs that have come are driven
    /// as the others are, and patches that are gone are planted again. What can only be told with the guest standing
    /// still stops it for a moment.
    ///
    /// While a vCPU goes on alone nothing is looked at: ``lookIfDue()`` does it as soon as that vCPU's step is done. When the
    /// tracer tells of the change again is too late: where the guest comes to a patch all the time, that can be amid a step
    /// each time.
    func lookAround() throws(HostGuestError) {
        guard phase == .running, hasOrders, report == nil else {
            return try client.tell(.noticed(isPending: true))
        }
        guard holder == nil else {
            isLookDue = true
            return try client.tell(.noticed(isPending: true))
        }
        isLookDue = false
        let (news, isPending) = newcomers(vmmVCPUCount)
        try client.tell(.noticed(isPending: isPending))
        let isOverwritten = patchesAreOverwritten
        guard !news.isEmpty || isOverwritten else { return }
        try hold()
        if isOverwritten { patchesOverwritten?() }
        resumeHeldMeasured()
    }

    /// What was put off while a vCPU went on alone.
    func lookIfDue() {
        guard isLookDue, holder == nil else { return }
        do throws(HostGuestError) {
            try lookAround()
        } catch {
            lost(error)
        }
    }

    /// How many vCPUs the VM has.
    private var vmmVCPUCount: Int {
        if let kernel = try? KernelReader.shared(), let vcpu = members[0].kernelVCPU(),
            let count = kernel.vcpuCount(vcpu)
        {
            return count
        }
        let kinds = ProcessFiles(guest.process).kvmDescriptors ?? []
        return Set(
            kinds.compactMap { entry -> Int? in if case .vcpu(let id) = entry.kind { id } else { nil } }
        ).count
    }

    /// Those that can be taken on; and whether there are others that cannot yet.
    private func newcomers(_ count: Int) -> (ready: [HostVCPU], isPending: Bool) {
        guard count > members.count, let now = GuestFinder().guest(process: guest.process) else {
            return ([], false)
        }
        let ready = newcomers(now)
        return (ready, ready.count < count - members.count)
    }

    /// vCPUs that have come: those that a thread runs, and those that none has run, so that whoever will is caught at
    /// their first instruction. One that was run by a thread which is gone is nobody's.
    private func newcomers(_ now: HostGuest) -> [HostVCPU] {
        let known = Set(members.map(\.identity.id))
        return now.vcpus.filter {
            !known.contains($0.id) && ($0.thread != nil || $0.isUntouched || !now.isKnownToKernel)
        }
    }

    /// Gives vCPUs that came while all run someone who decides about them. All are stopped.
    func driveNewcomers() {
        for member in members where member.isFree && member.isStanding && !member.isGone {
            guard let controller = newcomerController?(member.identity.id) else { continue }
            member.isFree = false
            drive(member, controller)
        }
    }

    /// Which threads were found to run vCPUs that none had run when they were taken on.
    func learnThreads() {
        guard members.contains(where: \.isAbsent),
            case .found(let found)? = try? client.ask(.find(process: guest.process, threads: []))
        else { return }
        for member in members where member.isAbsent {
            if let thread = found.first(where: { $0.descriptor == member.descriptor })?.thread {
                member.isRun(by: thread)
            }
        }
    }

    func makeMember(_ vcpu: HostVCPU, index: Int) throws -> AttachedVCPU {
        try AttachedVCPU(
            index: index, process: guest.process, vcpu: vcpu, client: client, mappingSize: mappingSize,
            xsaveSize: host.xsaveSize, hasRegisters: host.sync & 3 == 3)
    }

    /// Why no vCPU is there any more.
    func awaitEndOfVMM() -> HostGuestError {
        // The vCPUs' threads are gone a moment before their process is, or is another program.
        let end = ContinuousClock.now + .seconds(2)
        while ContinuousClock.now < end {
            let state = ProcessFiles(guest.process).state()
            if state == nil || state == "Z" || state == "X" || client.isVMMGone { break }
            if ProcessFiles(guest.process).kvmDescriptors?.isEmpty == true {
                // One that ends has closed its descriptors before it is seen to have ended.
                usleep(5000)
                if client.isVMMGone { break }
                return HostGuestError(
                    .ended, "the VMM has ended: process \(guest.process) runs another program now (exec)")
            }
            usleep(1000)
        }
        return .ended(guest.process)
    }

    /// Whether the VMM lives on although the thread of one of its vCPUs has ended: it unplugged the vCPU.
    func outlives(_ member: AttachedVCPU) -> Bool {
        let others = members.filter { $0 !== member && !$0.isGone }
        guard !others.isEmpty else { return false }
        // The threads of a process that is killed end one after the other, and each takes its own SIGKILL a moment before
        // it is seen to end.
        usleep(10_000)
        let files = ProcessFiles(guest.process)
        return others.contains { !files.isEnding(thread: $0.isAbsent ? guest.process : $0.identity.thread) }
    }
}

extension AttachedTarget: ProcessorTimeProviding {
    public func processorTime(vcpu id: Int) -> ProcessorTime? {
        vcpus.first { $0.id == id }.flatMap {
            ThreadSample.processorTime(process: $0.process, thread: $0.thread)
        }.map { ProcessorTime(used: $0.used, isReady: $0.isReady) }
    }
}
