public import Debugger
import Glibc

/// vCPUs that come while kvmscope is attached, and those whose threads end.
extension AttachedTarget: VCPUAppearing {
    public var vcpuCount: Int { members.count }

    /// Takes on vCPUs that the VMM has made since, with those that stand still: all or none of them stop too.
    func takeOnNewVCPUs() throws(AttachError) {
        if let kernel = try? KernelReader.shared(), let vcpu = members[0].kernelVCPU(),
            let count = kernel.vcpuCount(vcpu)
        {
            // Those that have not run are not waited for: nothing of them can go on unseen.
            guard count > members.count else { return }
        }
        guard let now = GuestFinder().guest(process: guest.process) else { return }
        let known = Set(members.map(\.identity.id))
        let new = now.vcpus.filter { $0.thread != nil && !known.contains($0.id) }
        guard !new.isEmpty else { return }
        let traced = new.compactMap { vcpu in
            vcpu.thread.map { TracedVCPU(id: Int32(vcpu.id), descriptor: vcpu.descriptor, thread: $0) }
        }
        _ = try client.ask(.add(vcpus: traced))
        guard case .stopped(let standings, let spread) = try client.ask(.stop),
            standings.count == members.count + new.count
        else { throw AttachError(.tracer, "the tracer did not take on the new vCPUs") }
        note(spread: spread)
        for vcpu in new {
            let member: AttachedVCPU
            do {
                member = try makeMember(vcpu, index: members.count)
            } catch {
                throw AttachError(.tracer, "vCPU \(vcpu.id) cannot be taken on: \(error)")
            }
            member.stood(standings[members.count])
            member.isFree = hasOrders && isForAll
            members.append(member)
        }
    }

    /// The tracer has seen a change, while something of ours is in a guest that runs: vCPUs that have come are driven
    /// as the others are, and patches that are gone are planted again. What can only be told with the guest standing
    /// still makes it stand still for a moment.
    func lookAround() throws(AttachError) {
        guard phase == .running, hasOrders, report == nil else {
            return try client.tell(.noticed(isPending: true))
        }
        let count = vmmVCPUCount
        let (news, isPending) = holder == nil ? newcomers(count) : ([], count > members.count)
        try client.tell(.noticed(isPending: isPending))
        let isOverwritten = holder == nil && patchesAreOverwritten
        guard !news.isEmpty || isOverwritten else { return }
        try hold()
        if isOverwritten { patchesOverwritten?() }
        letGoMeasured()
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

    /// Those that run by now; and whether there are others that do not yet.
    private func newcomers(_ count: Int) -> (running: [HostVCPU], isPending: Bool) {
        guard count > members.count, let now = GuestFinder().guest(process: guest.process) else {
            return ([], false)
        }
        let known = Set(members.map(\.identity.id))
        let new = now.vcpus.filter { !known.contains($0.id) }
        let running = new.filter { $0.thread != nil }
        return (running, running.count < new.count)
    }

    /// Gives vCPUs that came while all run someone who decides about them. All stand still.
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

    /// Whether the VMM lives on although the thread of one of its vCPUs has ended: it unplugged the vCPU.
    func outlives(_ member: AttachedVCPU) -> Bool {
        let others = members.filter { $0 !== member && !$0.isGone }
        guard !others.isEmpty else { return false }
        // The threads of a process that is killed end one after the other.
        usleep(10_000)
        return others.contains { other in
            let thread = other.isAbsent ? guest.process : other.identity.thread
            guard let status = ProcessFiles(guest.process).text("task/\(thread)/stat"),
                let end = status.lastIndex(of: ")")
            else { return false }
            let state = status[end...].dropFirst(2).first
            return state != "Z" && state != "X"
        }
    }
}
