import Glibc

extension GuestFinder {
    /// What speaks against attaching, without trying.
    package func obstacle(
        to guest: HostGuest, _ files: ProcessFiles, _ facts: KernelReader.Facts?, tracer: Int32
    ) -> HostGuestError? {
        var seen = VMMFacts(isOwn: guest.process == getpid())
        seen.status = files.text("status").flatMap(ProcessStatus.init)
        seen.executable = ProcessFiles.head("/proc/\(files.process)/exe", count: 5) ?? []
        // One that no thread is known to run may be run by any.
        let isOpen = guest.vcpus.contains { $0.isUntouched || $0.thread == nil && facts == nil }
        for thread in isOpen ? files.threads : [guest.process] + guest.vcpus.compactMap(\.thread) {
            guard let status = files.text("task/\(thread)/status").flatMap(ProcessStatus.init) else {
                continue
            }
            seen.threads.append((thread, status))
        }
        for tracer in Set(seen.threads.map(\.status.tracer)) where tracer != 0 {
            seen.tracers[tracer] = ProcessFiles(tracer).text("comm")?.split(separator: "\n").first.map(
                String.init)
        }
        seen.links = files.descriptorLinks
        return Self.obstacle(to: guest, seen, facts, privileges, tracer: tracer)
    }

    /// What was seen of a VMM from outside.
    struct VMMFacts: Sendable {
        /// It is this process.
        var isOwn = false
        /// Nil for a process that has ended.
        var status: ProcessStatus?
        /// The first bytes of its executable; empty if it cannot be read.
        var executable: [UInt8] = []
        /// Its main thread and those of its vCPUs.
        var threads: [(thread: Int32, status: ProcessStatus)] = []
        /// The commands of the processes that trace them.
        var tracers: [Int32: String] = [:]
        /// What its descriptors are.
        var links: [String] = []
    }

    /// What speaks against attaching, by these facts alone.
    static func obstacle(
        to guest: HostGuest, _ seen: VMMFacts, _ facts: KernelReader.Facts?, _ privileges: Privileges,
        tracer: Int32
    ) -> HostGuestError? {
        if seen.isOwn {
            return HostGuestError(
                .ownProcess, "process \(guest.process) is this kvmscope",
                remedy: "its own guest is debugged without attaching")
        }
        guard let status = seen.status else {
            return HostGuestError(.noProcess, "process \(guest.process) has ended")
        }
        if let error = privileges.obstacle(to: status, process: guest.process) { return error }
        if is32Bit(elf: seen.executable) {
            return HostGuestError(
                .bits32, "the VMM (process \(guest.process)) is a 32-bit program",
                remedy: "only 64-bit VMMs can be attached to")
        }
        for (thread, status) in seen.threads {
            if status.tracer != 0, status.tracer != tracer {
                let isOurs = seen.tracers[status.tracer] == HostGuest.tracerName
                let name = isOurs ? "kvmscope" : seen.tracers[status.tracer]
                return HostGuestError(
                    isOurs ? .attachedElsewhere : .traced,
                    "thread \(thread) of the VMM is already traced by process \(status.tracer)"
                        + (name.map { " (\($0))" } ?? ""),
                    remedy: isOurs ? nil : "end that debugger (or strace) first")
            }
            if status.seccomp == 2, !privileges.has(.systemAdministration) {
                return HostGuestError(
                    .seccomp, "the VMM filters the system calls of its thread \(thread) (seccomp)",
                    remedy:
                        "lifting the filter while kvmscope works needs CAP_SYS_ADMIN: run kvmscope as root")
            }
        }
        if guest.isForeign {
            return HostGuestError(
                .noGuest,
                "process \(guest.process) has descriptors of a VM that another process made and runs",
                remedy: "attach to that one")
        }
        if let sign = encryption(facts, links: seen.links, arguments: guest.arguments) {
            return HostGuestError(
                .encrypted, "the guest of process \(guest.process) is encrypted (SEV or TDX): \(sign)",
                remedy: "its memory and registers cannot be read from the host, by design")
        }
        if let debugged = facts?.guestDebug.first(where: { $0.value != 0 }) {
            return HostGuestError(
                .guestDebugInUse,
                "the VMM debugs vCPU \(debugged.key) itself (KVM_SET_GUEST_DEBUG; a gdbstub in use?)",
                remedy: "disconnect its debugger and delete its breakpoints first")
        }
        guard guest.machines <= 1 else {
            return HostGuestError(
                .unsupported, "process \(guest.process) runs \(guest.machines) VMs",
                remedy: "only a VMM with one VM can be attached to")
        }
        let threads = Dictionary(grouping: guest.vcpus.filter { $0.thread != nil }, by: \.thread)
        if let shared = threads.values.filter({ $0.count > 1 }).min(by: { $0[0].id < $1[0].id }) {
            return HostGuestError(
                .unsupported,
                "thread \(shared[0].thread ?? 0) of process \(guest.process) runs vCPUs \(shared[0].id) and "
                    + "\(shared[1].id) in turn",
                remedy: "only a VMM with a thread for each vCPU can be attached to")
        }
        // Where the kernel does not say who runs a vCPU, that is found out with all threads of the VMM stopped.
        if facts != nil, let first = guest.vcpus.first(where: { $0.thread == nil && !$0.isUntouched }) {
            return HostGuestError(
                .notRunning, "no thread of process \(guest.process) was seen to run vCPU \(first.id)",
                remedy: "try again once the guest runs, or as root, so that the kernel can be asked")
        }
        return nil
    }

    /// By the class byte of its ELF header.
    static func is32Bit(elf head: [UInt8]) -> Bool { head.starts(with: [0x7F, 0x45, 0x4C, 0x46, 1]) }

    /// By what an encrypted guest gives itself away; nil if by nothing.
    package static func encryption(_ facts: KernelReader.Facts?, links: [String], arguments: [String])
        -> String?
    {
        if let kind = facts?.machineType.flatMap(protectedKind) { return "KVM made it a VM of type \(kind)" }
        if facts?.isProtected == true { return "KVM protects its registers (SEV-ES, SEV-SNP, TDX)" }
        // Plain SEV protects memory alone, and where the kernel cannot be asked nothing else tells of the others.
        if usesSEV(links: links) { return "its VMM uses /dev/sev" }
        let objects = zip(arguments, arguments.dropFirst()).filter { $0.0 == "-object" }.map(\.1)
        let kinds = ["sev-guest", "sev-snp-guest", "tdx-guest"]
        return kinds.first { kind in
            // `kind,id=...`, `qom-type=kind` or JSON.
            objects.contains { object in
                object.split { !($0.isLetter || $0.isNumber || $0 == "-") }.first { $0 != "qom-type" }.map {
                    $0 == kind
                } == true || object.contains("\"qom-type\":\"\(kind)\"")
            }
        }.map { "its VMM was given a \($0)" }
    }

    /// KVM_X86_SEV_VM and those after it. Source: <asm/kvm.h>.
    private static func protectedKind(_ type: UInt8) -> String? {
        [2: "SEV", 3: "SEV-ES", 4: "SEV-SNP", 5: "TDX"][type]
    }

    /// A VMM whose guest is encrypted by SEV holds the device of the security processor open.
    static func usesSEV(links: [String]) -> Bool { links.contains("/dev/sev") }
}
