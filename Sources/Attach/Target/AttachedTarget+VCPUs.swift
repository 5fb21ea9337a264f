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
