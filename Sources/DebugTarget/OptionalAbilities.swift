public import KVMCore
public import X86

/// A target that shows what its guest prints.
public protocol ConsoleProviding: Target {
    /// The consoles the guest has, whether it has used them or not.
    var consoles: [ConsoleName] { get }
    /// What the guest wrote to `console`; nil if there is no such console. Safe from any thread.
    func consoleOutput(_ console: ConsoleName) -> ConsoleOutput?
    /// Gives `bytes` to the guest as input; false if the console takes none or has no room for all of them.
    func consoleInput(_ console: ConsoleName, _ bytes: [UInt8]) -> Bool
}

/// A console of a guest, by what users call it.
public struct ConsoleName: RawRepresentable, Sendable, Hashable {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    /// Port 0xE9 (Bochs, QEMU's isa-debugcon).
    public static let debug = ConsoleName(rawValue: "e9")
    /// The first serial port, 0x3F8.
    public static let serial = ConsoleName(rawValue: "com1")
}

/// What a guest wrote to one console.
public struct ConsoleOutput: Sendable, Hashable {
    /// How many bytes the guest has written in all.
    public var total: UInt64
    /// The last of them, raw; fewer than ``total`` if older ones were dropped.
    public var bytes: [UInt8]
    public init(total: UInt64, bytes: [UInt8]) {
        self.total = total
        self.bytes = bytes
    }
}

/// A target that loaded its guest from an image.
public protocol ImageProviding: Target {
    /// What was loaded; nil where nothing was. As of the last start.
    var loadedImage: LoadedImage? { get }
}

/// What was loaded into a guest, for people.
public struct LoadedImage: Sendable, Hashable {
    /// Bytes at one place.
    public struct Part: Sendable, Hashable {
        public var name: String
        /// Guest-physical.
        public var address: UInt64
        /// In bytes.
        public var size: UInt64
        public init(name: String, address: UInt64, size: UInt64) {
            self.name = name
            self.address = address
            self.size = size
        }
    }
    /// The file's path, or a built-in guest's name.
    public var name: String
    /// The kind in one word, as `--kind` takes it; nil for a guest that is built in.
    public var kind: String?
    /// What it was found to be, with what tells; nil for a guest that is built in.
    public var description: String?
    public var parts: [Part]
    /// The linear address of the first instruction.
    public var entry: UInt64

    public init(name: String, kind: String?, description: String?, parts: [Part], entry: UInt64) {
        self.name = name
        self.kind = kind
        self.description = description
        self.parts = parts
        self.entry = entry
    }
}

/// A target whose vCPUs are made by others, at any time.
public protocol VCPUAppearing: Target {
    /// How many there are by now; cheap.
    var vcpuCount: Int { get }
    /// Asked, on the thread that waits for the stop, for who decides about a vCPU that has come while all run, which
    /// is stopped meanwhile. Without an answer it goes along until the next stop.
    var newcomerController: ((_ vcpu: Int) -> (any RunController)?)? { get set }
}

/// A target whose vCPUs another program runs, which decides what becomes of one that has shut down or failed: it is let
/// go as any other, and that program sees the exit then.
public protocol ExitForwarding: Target {}

/// A target to which vCPUs can be added.
public protocol VCPUCreating: Target {
    /// Creates a vCPU, stopped or, if the guest runs, left standing until the next ``Target/resume(_:)``.
    ///
    /// - Parameters:
    ///   - id: unique in the VM, below KVM_CAP_MAX_VCPU_ID; nil for the lowest that is free.
    ///   - entry: where it starts. Below 1 MiB in real mode, above in flat 32-bit protected mode. Nil leaves it as
    ///     the processor is at reset: an application processor then waits for INIT and SIPI.
    /// - Throws: `KVMError` where KVM refuses; the VM is then as it was.
    func createVCPU(id: Int?, at entry: UInt64?) throws -> VCPUCreation
}

/// What creating a vCPU did and what each part cost.
public struct VCPUCreation: Sendable, Hashable {
    /// One part of the work.
    public struct Part: Sendable, Hashable {
        /// The kernel's name where it is one call, as `KVM_CREATE_VCPU`.
        public var name: String
        public var cost: Duration
        public init(_ name: String, _ cost: Duration) {
            self.name = name
            self.cost = cost
        }
    }
    public var identity: VCPUIdentity
    public var descriptor: Int32
    /// What /proc/self/fd says of the descriptor: `anon_inode:kvm-vcpu:N`. Nil if /proc does not say.
    public var descriptorName: String?
    /// The local APIC is in the kernel (KVM_CREATE_IRQCHIP came first).
    public var hasLocalAPIC: Bool
    public var mpState: MPState
    /// Where it was made to start; nil if it is as at reset.
    public var entry: UInt64?
    /// In the order done.
    public var parts: [Part]

    public init(
        identity: VCPUIdentity, descriptor: Int32, descriptorName: String?, hasLocalAPIC: Bool,
        mpState: MPState,
        entry: UInt64?, parts: [Part]
    ) {
        self.identity = identity
        self.descriptor = descriptor
        self.descriptorName = descriptorName
        self.hasLocalAPIC = hasLocalAPIC
        self.mpState = mpState
        self.entry = entry
        self.parts = parts
    }
}

/// A target whose interrupt controllers can be read, while the guest runs, too. The local APIC is each vCPU's:
/// ``VCPUAccess/localAPIC()``.
public protocol InterruptControllerProviding: Target {
    /// False for a machine made without: the calls below then throw.
    var hasInterruptControllers: Bool { get }
    /// They are in the kernel: HLT waits there, and their ports never leave it.
    var areInterruptControllersInKernel: Bool { get }
    func picState(_ chip: PIC) throws(KVMError) -> PICState
    func ioapicState() throws(KVMError) -> IOAPICState
    func pitState() throws(KVMError) -> PITState
}

extension InterruptControllerProviding {
    public var areInterruptControllersInKernel: Bool { hasInterruptControllers }
}

/// A target that another program runs, and that can be detached from.
public protocol Detaching: Target {
    /// Puts back whatever was changed and lets the guest go on without a debugger. The guest must be stopped or
    /// run under no order. Afterwards every call to the target throws.
    func detach() throws -> Detachment
    var isDetached: Bool { get }
}

/// A target whose values come from several places and are not all of the same moment.
public protocol SourceProviding: Target {
    /// Where each kind of value comes from now. Stops nothing, and is cheap enough for every draw.
    var valueSources: [ValueSource] { get }
    /// Of when the registers are that reading them now gives.
    func registersAge(vcpu id: Int) -> ValueAge
}

/// A target that measures how long it keeps its guest from running.
public protocol StandstillMeasuring: Target {
    var standstills: Standstills { get }
}

/// A target whose kernel counters can be read, while the guest runs, too, and without stopping it.
public protocol StatisticsProviding: Target {
    /// The VM's counters, then each vCPU's.
    func kernelStatistics() throws -> [KernelStatistics]
}

/// A target that knows what its vCPUs' threads get of the host's processors.
public protocol ProcessorTimeProviding: Target {
    /// Of the thread that runs the vCPU; nil where that is not known. Stops nothing.
    func processorTime(vcpu id: Int) -> ProcessorTime?
}

/// What a thread has had of the host's processors.
public struct ProcessorTime: Sendable, Hashable {
    /// In nanoseconds, since it began.
    public var used: UInt64
    /// It runs, or waits for a processor; false while it sleeps.
    public var isReady: Bool

    public init(used: UInt64, isReady: Bool) {
        self.used = used
        self.isReady = isReady
    }
}

/// A target whose vCPUs are run by another program, which may keep them from running.
public protocol VCPUWithholding: Target {
    /// What keeps the vCPU from running, as far as looks at its thread tell; nil where nothing does. Stops nothing.
    func withholding(vcpu id: Int) -> Withholding?
}

/// Why a vCPU does not run although it was resumed.
public struct Withholding: Sendable, Hashable {
    /// For people: what is so, and what to do about it.
    public var reason: String
    public var remedy: String
    public init(_ reason: String, remedy: String) {
        self.reason = reason
        self.remedy = remedy
    }
}

/// A target whose interrupt controllers can be set as well.
public protocol InterruptControllerEditing: InterruptControllerProviding {
    func setPICState(_ chip: PIC, _ state: PICState) throws(KVMError)
    func setIOAPICState(_ state: IOAPICState) throws(KVMError)
    func setPITState(_ state: PITState) throws(KVMError)
}

/// A target that knows which MSRs its host's KVM saves and restores (KVM_GET_MSR_INDEX_LIST).
public protocol MSRListing: Target {
    var msrIndexes: [UInt32] { get }
}

/// Memory that can be looked at where it is, without a copy.
public protocol LendingMemory: PhysicalMemory {
    /// Lends `count` bytes from `gpa` on, which the guest may change meanwhile. The pointer must not leave `body`.
    /// - Throws: for a range that does not lie within one region.
    func withBytes<R>(
        _ gpa: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) -> R
    ) throws(MemoryFault) -> R
}

/// The calls to a vCPU for state that no step needs. `KVMCore.VCPU` has them; a vCPU made up for tests need not.
public protocol VCPUSystemAccess: VCPUAccess {
    func xsave() throws(KVMError) -> XSAVEArea
    func setXSAVE(_ area: XSAVEArea) throws(KVMError)
    func xcrs() throws(KVMError) -> [XCR]
    func setXCRs(_ registers: [XCR]) throws(KVMError)
    func cpuid() throws(KVMError) -> [CPUIDEntry]
    func setCPUID(_ entries: [CPUIDEntry]) throws(KVMError)
    func setLocalAPIC(_ state: LocalAPICState) throws(KVMError)
}

extension VCPU: VCPUSystemAccess {}
