/// A KVM guest that runs on this host.
public struct HostGuest: Sendable, Hashable {
    public var process: Int32
    /// What its VMM's command line calls it, else the command.
    public var name: String
    public var vmm: VMMKind
    /// The VMM's command line.
    public var arguments: [String]
    /// The descriptors of VMs in the VMM; of one VM, as a rule.
    public var vmDescriptors: [Int32]
    /// How many VMs the VMM has.
    public var machines = 1
    /// The process has descriptors of a VM that another process made, and may not run it.
    public var isForeign = false
    /// By id.
    public var vcpus: [HostVCPU]
    /// The RAM that the guest sees, in bytes, where the memory map is readable.
    public var ram: UInt64?
    /// How long the VMM has run; nil if /proc does not say.
    public var uptime: Duration?
    /// Threads that may run the vCPUs whose thread is not known: attaching finds out, by a look at them.
    public var busyThreads: [Int32] = []
    /// The kernel was asked about it: what protects its registers would be known.
    public var isKnownToKernel = false
    /// Why it cannot be attached to; nil if nothing speaks against it.
    public var obstacle: HostGuestError?

    /// What the tracer of an attached guest is called in `ps` and TASK_COMM: whoever kills kvmscope by its name does not
    /// mean the one that cleans up after it.
    package static let tracerName = "kvm-scope-guard"

    public init(
        process: Int32, name: String, vmm: VMMKind, arguments: [String], vmDescriptors: [Int32],
        vcpus: [HostVCPU], ram: UInt64? = nil, uptime: Duration? = nil, obstacle: HostGuestError? = nil
    ) {
        self.process = process
        self.name = name
        self.vmm = vmm
        self.arguments = arguments
        self.vmDescriptors = vmDescriptors
        self.vcpus = vcpus
        self.ram = ram
        self.uptime = uptime
        self.obstacle = obstacle
    }
}

/// A vCPU of another program.
public struct HostVCPU: Sendable, Hashable {
    public var id: Int
    /// Its descriptor in the VMM.
    public var descriptor: Int32
    /// The thread that issues its KVM_RUN; nil if that is not known (yet).
    public var thread: Int32?
    /// How the thread was found.
    public var threadSource: ThreadSource?
    /// The kernel says that no thread has run it: there is none to be found.
    public var isUntouched = false

    public init(id: Int, descriptor: Int32, thread: Int32? = nil, threadSource: ThreadSource? = nil) {
        self.id = id
        self.descriptor = descriptor
        self.thread = thread
        self.threadSource = threadSource
    }

    /// From the best to the weakest.
    public enum ThreadSource: String, Sendable, Hashable {
        /// `struct kvm_vcpu` in the kernel, read by BPF.
        case kernel = "BPF"
        /// `kvm/PID-FD/vcpuN/pid` in debugfs.
        case debugfs = "debugfs"
        /// The thread was seen in ioctl(KVM_RUN) on the descriptor.
        case systemCall = "/proc syscall"
        /// The thread was stopped for a moment, in KVM_RUN on the descriptor.
        case stopped = "a look at the stopped thread"
        /// The thread's calls were watched from its start.
        case calls = "its own calls"
        /// The thread's name (`CPU N/KVM`, `fc_vcpu N`, `vcpuN`).
        case name = "thread name"
    }

    /// The vCPU that a thread's name says it runs: QEMU's with debug-threads, Firecracker's, cloud-hypervisor's
    /// and kvmtool's.
    package static func id(fromThreadName name: String) -> Int? {
        for (prefix, suffix) in [
            ("CPU ", "/KVM"), ("fc_vcpu ", ""), ("vcpu", ""), ("kvm-vcpu-", ""), ("crosvm_vcpu", ""),
        ] where name.hasPrefix(prefix) && name.hasSuffix(suffix) && name.count > prefix.count + suffix.count {
            if let id = Int(name.dropFirst(prefix.count).dropLast(suffix.count)), id >= 0 { return id }
        }
        return nil
    }
}

/// Every guest of the host.
public struct GuestList: Sendable, Hashable {
    /// By process.
    public var guests: [HostGuest]
    /// Processes whose descriptors this user may not see, so that guests may be missing.
    public var hiddenProcesses: Int

    public init(guests: [HostGuest], hiddenProcesses: Int) {
        self.guests = guests
        self.hiddenProcesses = hiddenProcesses
    }

    /// The guest that `text` means: a process id or a whole name.
    ///
    /// - Throws: `HostGuestError`, with those whose names begin so where none is called just that.
    public func guest(matching text: String) throws(HostGuestError) -> HostGuest {
        if let process = Int32(text), let guest = guests.first(where: { $0.process == process }) {
            return guest
        }
        func listed(_ guests: [HostGuest]) -> String {
            guests.map { "\($0.process) \($0.name)" }.joined(separator: ", ")
        }
        let found = guests.filter { $0.name == text }
        if found.count == 1, let guest = found.first { return guest }
        guard found.isEmpty else {
            throw HostGuestError(
                .ambiguous, "\(found.count) guests are called \"\(text)\": \(listed(found))",
                remedy: "give the process id")
        }
        if let process = Int32(text) { throw Self.noGuest(process) }
        let wanted = text.lowercased()
        let begun = text.isEmpty ? [] : guests.filter { $0.name.lowercased().hasPrefix(wanted) }
        let hidden =
            hiddenProcesses > 0
            ? "\(hiddenProcesses) processes of other users could not be looked into (run as root to see them)"
            : nil
        throw HostGuestError.denied(
            "no KVM guest is called \"\(text)\"", as: .noGuest,
            remedy: begun.isEmpty
                ? hidden
                : "give the whole name or the process id: \(listed(begun))")
    }

    /// Why the process has no guest that could be meant.
    private static func noGuest(_ process: Int32) -> HostGuestError {
        let files = ProcessFiles(process)
        guard process > 0, files.text("stat") != nil else {
            return HostGuestError.denied(
                "there is no process \(process)", as: .noProcess, remedy: nil)
        }
        guard files.kvmDescriptors != nil else {
            return HostGuestError.denied(
                "the descriptors of process \(process) may not be looked at",
                remedy: "run kvmscope as the user that runs the VMM, or as root (CAP_SYS_PTRACE)")
        }
        return HostGuestError.denied(
            "process \(process) runs no KVM guest", as: .noGuest,
            remedy: nil)
    }
}
