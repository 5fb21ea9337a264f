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
            if let guest = guest(files, descriptors) { guests.append(guest) }
        }
        return GuestList(guests: guests, hiddenProcesses: hidden)
    }

    /// The guest of one process, if it has one.
    public func guest(process: Int32) -> HostGuest? {
        let files = ProcessFiles(process)
        guard let descriptors = files.kvmDescriptors else { return nil }
        return guest(files, descriptors)
    }

    /// The guest of a VMM that was launched: its vCPUs are known from its calls.
    func guest(_ machine: LaunchedMachine, tracer: Int32) -> HostGuest? {
        let files = ProcessFiles(machine.process)
        guard let descriptors = files.kvmDescriptors else { return nil }
        let vcpus = machine.vcpus.map {
            HostVCPU(id: Int($0.id), descriptor: $0.descriptor, thread: $0.thread, threadSource: .calls)
        }
        return guest(files, descriptors, known: vcpus, tracer: tracer)
    }

    /// - Parameters:
    ///   - known: the vCPUs, where they need not be looked for.
    ///   - tracer: the process that may trace the VMM: our own.
    private func guest(
        _ files: ProcessFiles, _ descriptors: [(descriptor: Int32, kind: KVMDescriptor)],
        known: [HostVCPU] = [], tracer: Int32 = 0
    ) -> HostGuest? {
        let vms = descriptors.filter { $0.kind == .vm }.map(\.descriptor)
        var vcpus = known
        for (descriptor, kind) in descriptors where known.isEmpty {
            // A descriptor that was duplicated is the same vCPU.
            if case .vcpu(let id) = kind, !vcpus.contains(where: { $0.id == id }) {
                vcpus.append(HostVCPU(id: id, descriptor: descriptor))
            }
        }
        guard !vms.isEmpty || !vcpus.isEmpty else { return nil }
        vcpus.sort { $0.id < $1.id }
        let facts = kernel?.facts(of: files.process, vm: vms.first, vcpus: vcpus)
        for index in vcpus.indices {
            if known.isEmpty, let thread = facts?.threads[vcpus[index].id] {
                vcpus[index].thread = thread
                vcpus[index].threadSource = .kernel
            }
        }
        VCPUThreads(files, vms: vms).fill(&vcpus)

        let arguments = files.arguments
        let command =
            files.text("comm").map { $0.split(separator: "\n").first.map(String.init) ?? $0 }
            ?? "\(files.process)"
        let vmm = VMMKind(executable: files.link("exe") ?? arguments.first ?? command)
        var guest = HostGuest(
            process: files.process, name: vmm.guestName(arguments) ?? command, vmm: vmm,
            arguments: arguments, vmDescriptors: vms, vcpus: vcpus, ram: facts?.ram,
            uptime: Self.uptime(stat: files.text("stat"), system: ProcessFiles.bytes("/proc/uptime")))
        guest.obstacle = obstacle(guest, files, facts, tracer: tracer)
        return guest
    }

    /// How long a process has run, from its start (field 22 of its `stat`) and the system's uptime.
    static func uptime(stat: String?, system: [UInt8]?) -> Duration? {
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

    /// What speaks against attaching, without trying.
    private func obstacle(
        _ guest: HostGuest, _ files: ProcessFiles, _ facts: KernelReader.Facts?, tracer: Int32
    ) -> AttachError? {
        if guest.process == getpid() {
            return AttachError(
                .ownProcess, "process \(guest.process) is this kvmscope",
                remedy: "its own guest is debugged without attaching")
        }
        guard let status = files.text("status").flatMap(ProcessStatus.init) else {
            return AttachError(.noProcess, "process \(guest.process) has ended")
        }
        if let error = privileges.obstacle(to: status, process: guest.process) { return error }
        if Self.is32Bit(files) {
            return AttachError(
                .bits32, "the VMM (process \(guest.process)) is a 32-bit program",
                remedy: "only 64-bit VMMs can be attached to")
        }
        for thread in [guest.process] + guest.vcpus.compactMap(\.thread) {
            guard let status = files.text("task/\(thread)/status").flatMap(ProcessStatus.init) else {
                continue
            }
            if status.tracer != 0, status.tracer != tracer {
                return AttachError(
                    .traced, "thread \(thread) of the VMM is already traced by process \(status.tracer)",
                    remedy: "end that debugger (or strace) first")
            }
            if status.seccomp == 2, !privileges.has(.systemAdministration) {
                return AttachError(
                    .seccomp, "the VMM filters the system calls of its thread \(thread) (seccomp)",
                    remedy:
                        "lifting the filter while kvmscope works needs CAP_SYS_ADMIN: run kvmscope as root")
            }
        }
        if facts?.isProtected == true || Self.usesSEV(files) {
            return AttachError(
                .encrypted, "the guest of process \(guest.process) is encrypted (SEV or TDX)",
                remedy: "its memory and registers cannot be read from the host, by design")
        }
        if let debugged = facts?.guestDebug.first(where: { $0.value != 0 }) {
            return AttachError(
                .guestDebugInUse,
                "the VMM debugs vCPU \(debugged.key) itself (KVM_SET_GUEST_DEBUG; a gdbstub in use?)",
                remedy: "disconnect its debugger and delete its breakpoints first")
        }
        guard guest.vmDescriptors.count <= 1 else {
            return AttachError(
                .unsupported, "process \(guest.process) runs \(guest.vmDescriptors.count) VMs",
                remedy: "only a VMM with one VM can be attached to")
        }
        if let lost = guest.vcpus.first(where: { $0.thread == nil }) {
            return AttachError(
                .notRunning, "no thread of process \(guest.process) is known to run vCPU \(lost.id)",
                remedy: "try again once the guest runs, or as root, so that the kernel can be asked")
        }
        return nil
    }

    /// By the class byte of its ELF header.
    private static func is32Bit(_ files: ProcessFiles) -> Bool {
        guard let map = ProcessFiles.head("/proc/\(files.process)/exe", count: 5), map.count == 5 else {
            return false
        }
        return map[...] == [0x7F, 0x45, 0x4C, 0x46, 1]
    }

    /// A VMM whose guest is encrypted by SEV holds the device of the security processor open.
    private static func usesSEV(_ files: ProcessFiles) -> Bool {
        (ProcessFiles.numbers(in: "/proc/\(files.process)/fd") ?? []).contains {
            files.link("fd/\($0)") == "/dev/sev"
        }
    }
}

/// Which thread runs which vCPU, by what /proc and debugfs say.
struct VCPUThreads {
    private let files: ProcessFiles
    private let vms: [Int32]

    init(_ files: ProcessFiles, vms: [Int32]) {
        self.files = files
        self.vms = vms
    }

    /// Finds the threads that are still missing.
    func fill(_ vcpus: inout [HostVCPU]) {
        func missing() -> Bool { vcpus.contains { $0.thread == nil } }
        guard missing() else { return }
        // Kernel threads that KVM hangs under the VMM (`kvm-nx-lpage-recovery`) are no threads of the VMM.
        let threads = files.threads.filter { !(files.text("task/\($0)/comm") ?? "").hasPrefix("kvm-nx-") }
        fillFromDebugFS(&vcpus, threads)
        guard missing() else { return }
        // A thread on a processor shows no system call: look a few times.
        for attempt in 0..<20 where missing() {
            if attempt > 0 { usleep(500) }
            for thread in threads {
                guard
                    let descriptor = files.text("task/\(thread)/syscall").flatMap(ThreadSyscall.init)?
                        .runDescriptor,
                    let index = vcpus.firstIndex(where: { $0.descriptor == descriptor && $0.thread == nil })
                else { continue }
                vcpus[index].thread = thread
                vcpus[index].threadSource = .systemCall
            }
        }
        guard missing() else { return }
        for thread in threads {
            guard
                let id = files.text("task/\(thread)/comm").flatMap({
                    HostVCPU.id(fromThreadName: String($0.prefix { $0 != "\n" }))
                }), let index = vcpus.firstIndex(where: { $0.id == id && $0.thread == nil })
            else { continue }
            vcpus[index].thread = thread
            vcpus[index].threadSource = .name
        }
    }

    /// debugfs names a VM by the *thread* that made it and its descriptor.
    private func fillFromDebugFS(_ vcpus: inout [HostVCPU], _ threads: [Int32]) {
        for vm in vms {
            for creator in threads {
                let folder = "/sys/kernel/debug/kvm/\(creator)-\(vm)"
                for index in vcpus.indices where vcpus[index].thread == nil {
                    guard
                        let text = ProcessFiles.bytes("\(folder)/vcpu\(vcpus[index].id)/pid"),
                        let thread = Int32(String(decoding: text, as: UTF8.self).prefix { $0.isNumber }),
                        threads.contains(thread)
                    else { continue }
                    vcpus[index].thread = thread
                    vcpus[index].threadSource = .debugfs
                }
            }
        }
    }
}
