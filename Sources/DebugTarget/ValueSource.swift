public import KVMCore

/// Where one kind of value comes from, and how fresh it is.
public struct ValueSource: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// General, segment, control and descriptor-table registers.
        case registers
        /// Debug registers, FPU, MSRs, local APIC, events: what only a vCPU that is stopped tells.
        case otherRegisters
        case memory
        /// Which guest-physical address lies where in the VMM.
        case memoryMap
        /// The kernel's counters of the VM and of its vCPUs.
        case statistics
        case exits
        /// Which thread runs which vCPU.
        case threads
    }

    /// How the values are had, from the best to the weakest of each kind.
    public enum Way: String, Sendable, Hashable {
        /// The registers that KVM leaves in the shared kvm_run at each exit.
        case syncRegisters = "kvm_run (KVM_CAP_SYNC_REGS)"
        /// ioctls made in the VMM by its own vCPU threads.
        case injectedCalls = "ioctls in the VMM (ptrace)"
        /// process_vm_readv and process_vm_writev of the VMM's mapping.
        case processMemory = "the VMM's mapping (process_vm_readv)"
        /// The calls that the VMM made before its first KVM_RUN.
        case watchedCalls = "the VMM's own calls (launch)"
        /// KVM's structures in the kernel.
        case kernelMemory = "KVM's memory slots (BPF and BTF)"
        case kernelVCPU = "struct kvm_vcpu (BPF and BTF)"
        /// The VMM's largest mapping, from /proc/PID/maps.
        case largestMapping = "the VMM's largest mapping (/proc/PID/maps)"
        case statisticsDescriptor = "statistics descriptor (KVM_GET_STATS_FD)"
        /// Exits that the tracer sees; of a guest that runs untraced, none.
        case tracedExits = "exits that are traced"
        case debugfs
        case threadSystemCall = "/proc/TID/syscall"
        case stoppedThread = "a look at the stopped threads (ptrace)"
        case threadName = "the threads' names"
        case none = "none"
    }

    /// A better way that is closed here.
    public struct Missing: Sendable, Hashable {
        public var way: Way
        /// Why, in the words of who refused it.
        public var reason: String
        public init(_ way: Way, _ reason: String) {
            self.way = way
            self.reason = reason
        }
    }

    public var kind: Kind
    /// Nil where it is about all vCPUs, or about none.
    public var vcpu: Int?
    public var way: Way
    public var age: ValueAge
    /// Whether it was compared with another source that cannot be wrong in the same way; nil where there is
    /// nothing to compare.
    public var isChecked: Bool?
    public var missing: [Missing]

    public init(
        _ kind: Kind, vcpu: Int? = nil, _ way: Way, _ age: ValueAge, isChecked: Bool? = nil,
        missing: [Missing] = []
    ) {
        self.kind = kind
        self.vcpu = vcpu
        self.way = way
        self.age = age
        self.isChecked = isChecked
        self.missing = missing
    }
}

/// Of when a value is.
public enum ValueAge: Sendable, Hashable {
    /// As it is while it is read.
    case live
    /// As the vCPU's last exit to its VMM left it; the guest has run on since. `unchanged`: for how long looks at
    /// it have shown the same; nil before the second look.
    case lastExit(unchanged: Duration?)
    /// As it was when the vCPU was last stopped, which it is since `standing`, or did so long ago.
    case lastStop(Duration)
    /// As it was when it was last asked for.
    case read(Duration)
    /// It cannot be had.
    case unknown
}

/// How long a guest was made to stop for what was done to it.
public struct Standstills: Sendable, Hashable {
    /// Standstills that are over.
    public var count: UInt64
    /// From the first thread held to the last one resumed.
    public var last: Duration
    /// All that are over, together.
    public var total: Duration
    /// How often several vCPUs were stopped together.
    public var commonStops: UInt64
    /// The last time: from the first of them held to the last one held. Zero if there was none.
    public var spread: Duration

    public init(
        count: UInt64 = 0, last: Duration = .zero, total: Duration = .zero, commonStops: UInt64 = 0,
        spread: Duration = .zero
    ) {
        self.count = count
        self.last = last
        self.total = total
        self.commonStops = commonStops
        self.spread = spread
    }
}

/// What detaching put back.
public struct Detachment: Sendable, Hashable {
    /// The VMM.
    public var process: Int32
    /// Threads that were traced and are no more.
    public var threads: Int
    /// vCPUs whose guest debug (breakpoints, single-step) was on and is off.
    public var guestDebug: Int
    /// vCPUs whose kvm_run is again as the VMM had left it.
    public var runPages: Int
    /// Bytes of guest memory that breakpoints had patched.
    public var patchedBytes: Int
    /// How long the guest was stopped for it; nil if it never did.
    public var standstill: Duration?

    public init(
        process: Int32, threads: Int, guestDebug: Int, runPages: Int, patchedBytes: Int = 0,
        standstill: Duration? = nil
    ) {
        self.patchedBytes = patchedBytes
        self.process = process
        self.threads = threads
        self.guestDebug = guestDebug
        self.runPages = runPages
        self.standstill = standstill
    }
}

/// Counters that the kernel keeps of a VM or of a vCPU.
public struct KernelStatistics: Sendable {
    /// Nil for the VM's own.
    public var vcpu: Int?
    /// What the kernel calls them: `kvm-1234`, `kvm-1234/vcpu-0`.
    public var name: String
    public var values: [Statistic]
    public init(vcpu: Int?, name: String, values: [Statistic]) {
        self.vcpu = vcpu
        self.name = name
        self.values = values
    }
}
