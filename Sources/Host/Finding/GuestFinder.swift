import Glibc

/// Looks through /proc for the guests of this host.
public struct GuestFinder: Sendable {
    /// What this process may do.
    let privileges: Privileges
    private let kernel: KernelReader?

    /// - Parameter readsKernel: ask the kernel's own structures (BPF) for threads and memory maps where this is
    ///   permitted; otherwise /proc alone.
    public init(readsKernel: Bool = true) {
        privileges = Privileges()
        kernel = readsKernel ? try? KernelReader.shared() : nil
    }

    /// Every guest, by process id.
    public func guests() -> GuestList {
        var hidden = 0
        var guests = [HostGuest]()
        for process in ProcessFiles.numbers(in: "/proc") ?? [] {
            let files = ProcessFiles(process)
            guard let descriptors = files.kvmDescriptors else {
                // A process without a command line is the kernel's own and hides nothing.
                if !files.arguments.isEmpty { hidden += 1 }
                continue
            }
            // One that merely holds descriptors of another's VM is no VMM.
            if let guest = guest(files, descriptors), !guest.isForeign { guests.append(guest) }
        }
        return GuestList(guests: guests, hiddenProcesses: hidden)
    }

    /// The guest of one process, if it has one.
    public func guest(process: Int32) -> HostGuest? {
        let files = ProcessFiles(process)
        guard let descriptors = files.kvmDescriptors else { return nil }
        return guest(files, descriptors)
    }

    /// The guest of a process whose vCPUs are known already, as from its calls.
    ///
    /// - Parameter tracer: the process that may trace the VMM: our own.
    package func guest(process: Int32, vcpus: [HostVCPU], tracer: Int32) -> HostGuest? {
        let files = ProcessFiles(process)
        guard let descriptors = files.kvmDescriptors else { return nil }
        return guest(files, descriptors, known: vcpus, tracer: tracer)
    }

    /// - Parameters:
    ///   - known: the vCPUs, where they need not be looked for.
    ///   - tracer: the process that may trace the VMM: our own.
    private func guest(
        _ files: ProcessFiles, _ descriptors: [(descriptor: Int32, kind: KVMDescriptor)],
        known: [HostVCPU] = [], tracer: Int32 = 0
    ) -> HostGuest? {
        let kinship = kernel?.kinship(of: files.process, descriptors)
        let (vms, found, machines) = Self.machines(descriptors, kinship)
        guard !vms.isEmpty || !found.isEmpty else { return nil }
        var vcpus = known.isEmpty ? found : known
        vcpus.sort { $0.id < $1.id }
        let facts = kernel?.facts(of: files.process, vm: vms.first, vcpus: vcpus)
        for index in vcpus.indices {
            if known.isEmpty, let thread = facts?.threads[vcpus[index].id] {
                vcpus[index].thread = thread
                vcpus[index].threadSource = .kernel
            }
            vcpus[index].isUntouched =
                known.isEmpty && facts?.untouched.contains(vcpus[index].id) == true
        }
        let busy = VCPUThreads(files, vms: vms).fill(&vcpus)

        let arguments = files.arguments
        let command =
            files.text("comm").map { $0.split(separator: "\n").first.map(String.init) ?? $0 }
            ?? "\(files.process)"
        let executable = files.link("exe") ?? arguments.first ?? command
        let vmm = VMMKind(executable: executable, command: command)
        var guest = HostGuest(
            process: files.process,
            name: vmm.guestName(arguments) ?? vmm.defaultName(executable: executable, command: command),
            vmm: vmm,
            arguments: arguments, vmDescriptors: vms, vcpus: vcpus, ram: facts?.ram,
            uptime: Self.uptime(stat: files.text("stat"), system: ProcessFiles.bytes("/proc/uptime")))
        guest.busyThreads = busy
        guest.isKnownToKernel = facts != nil
        guest.machines = machines
        guest.isForeign = kinship.map { !$0.foreign.isEmpty && $0.foreign.count == machines } ?? false
        guest.obstacle = obstacle(to: guest, files, facts, tracer: tracer)
        return guest
    }

    /// The VMs and vCPUs that descriptors stand for, without a VM that has no vCPU, as some programs make to try what KVM
    /// can do, where another one has.
    ///
    /// - Returns: a descriptor of each VM that has one, a descriptor of each vCPU, and how many VMs there are.
    package static func machines(
        _ descriptors: [(descriptor: Int32, kind: KVMDescriptor)], _ kinship: KernelReader.Kinship?
    ) -> (vms: [Int32], vcpus: [HostVCPU], count: Int) {
        var vcpus = [HostVCPU]()
        for (descriptor, kind) in descriptors {
            guard case .vcpu(let id) = kind else { continue }
            // A descriptor that was duplicated is the same vCPU.
            let machine = kinship?.machines[descriptor]
            guard !vcpus.contains(where: { $0.id == id && kinship?.machines[$0.descriptor] == machine })
            else { continue }
            vcpus.append(HostVCPU(id: id, descriptor: descriptor))
        }
        let all = descriptors.filter { $0.kind == .vm }.map(\.descriptor)
        guard let kinship else { return (all, vcpus, max(all.count, 1)) }
        var seen = Set<UInt64>()
        let populated = Set(vcpus.compactMap { kinship.machines[$0.descriptor] })
        let vms = all.filter { descriptor in
            guard let machine = kinship.machines[descriptor] else { return true }
            return (populated.isEmpty || populated.contains(machine)) && seen.insert(machine).inserted
        }
        return (vms, vcpus, max(populated.union(seen).count, 1))
    }

    /// How long a process has run, from its start (field 22 of its `stat`) and the system's uptime.
    package static func uptime(stat: String?, system: [UInt8]?) -> Duration? {
        guard let stat, let end = stat.utf8.lastIndex(of: UInt8(ascii: ")")), let system else { return nil }
        let fields = stat[stat.utf8.index(after: end)...].split(whereSeparator: \.isWhitespace)
        guard fields.count > 19, let ticks = Double(fields[19]),
            let up = String(decoding: system, as: UTF8.self).split(separator: " ").first.flatMap({
                Double($0)
            })
        else { return nil }
        let started = ticks / Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
        return .milliseconds(Int64(max(0, up - started) * 1000))
    }
}
