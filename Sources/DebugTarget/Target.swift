public import KVMCore
public import X86

/// A guest that can be debugged: one we own, one another program runs, or a made-up one in tests.
///
/// Every method may be called from any one thread at a time (the debugger's); a target runs its vCPUs on
/// threads of their own and reports through ``waitForStop(timeout:)``. All stop, all go: after a stop no vCPU
/// runs until ``resume(_:)``.
public protocol Target: AnyObject, Sendable {
    /// The guest's name and what kind of target this is, for people.
    var name: String { get }
    var memory: any PhysicalMemory { get }
    /// The vCPUs in the order of their creation.
    var vcpus: [VCPUIdentity] { get }
    /// Counts, times and the last exits of each vCPU. Safe to read at any time.
    var exits: ExitLog { get }
    /// True from ``resume(_:)`` until ``waitForStop(timeout:)`` has returned the report.
    var isRunning: Bool { get }
    /// What KVM_SET_GUEST_DEBUG accepts here: the value of KVM_CAP_SET_GUEST_DEBUG2 where the kernel has it.
    var debugAbilities: GuestDebug.Control { get }
    /// What the host's KVM honours in this guest, which its abilities do not tell.
    var debugFacilities: DebugFacilities { get }

    /// Runs `body` with the vCPU's calls, on the thread that may make them. A running vCPU is kicked out of
    /// KVM_RUN first and goes on afterwards; pending I/O is completed before, so that registers are final.
    func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R

    /// Lets the named vCPUs go, each under its controller; the others stay where they are. Returns at once.
    func resume(_ orders: [RunOrder]) throws

    /// Asks all running vCPUs to stop; the report then says ``StopReason/interrupted`` unless something else
    /// came first. Safe from any thread, and async-signal-safe callers may write to it through
    /// ``stopDescriptor``'s sibling in the front end.
    func interrupt()

    /// Waits until all vCPUs have stopped after ``resume(_:)`` and returns why, or nil after `timeout`.
    func waitForStop(timeout: Duration?) -> StopReport?

    /// A descriptor that polls readable while a stop report waits to be collected.
    var stopDescriptor: Int32 { get }
}

extension Target {
    /// What every KVM with guest debug has (api.rst, 4.87).
    public var debugAbilities: GuestDebug.Control {
        [.enable, .singleStep, .softwareBreakpoints, .hardwareBreakpoints]
    }

    /// Nothing was tried.
    public var debugFacilities: DebugFacilities { DebugFacilities() }
}

/// Who a vCPU is on the host. A vCPU is an ordinary thread of a process.
public struct VCPUIdentity: Sendable, Hashable {
    /// The id given to KVM_CREATE_VCPU, unique in its VM; the APIC id on x86.
    public var id: Int
    /// The process that the thread belongs to.
    public var process: Int32
    /// The thread that issues KVM_RUN; 0 if it has none yet.
    public var thread: Int32
    /// The boot processor (KVM_SET_BOOT_CPU_ID).
    public var isBoot: Bool
    public init(id: Int, process: Int32, thread: Int32, isBoot: Bool) {
        self.id = id
        self.process = process
        self.thread = thread
        self.isBoot = isBoot
    }
}

/// Guest-physical memory. Reads and writes never touch a device. Safe from any thread; a guest that runs may
/// change it at the same time.
public protocol PhysicalMemory: Sendable {
    /// The memslots that hold RAM or ROM, by GPA.
    var regions: [MemoryRegion] { get }
    /// Fills `buffer` from `gpa` on; throws where any byte is not backed, and then has read nothing of use.
    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault)
    /// Writes all of `bytes`, or throws before it has written any.
    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault)
    /// The guest reads it and cannot write it.
    func isROM(_ gpa: UInt64) -> Bool
    /// As a write of the guest's own: what is ROM keeps its contents. As ``write(_:_:)`` where a memory has none.
    func writeAsGuest(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault)
    /// The little-endian value of `size` bytes, eight at most; nil where any of them is not backed. What a step and a
    /// page walk read by: a memory that can do it for less than ``read(_:into:)`` does.
    func word(_ gpa: UInt64, size: Int) -> UInt64?
}

extension PhysicalMemory {
    public func isROM(_ gpa: UInt64) -> Bool { false }

    public func writeAsGuest(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        try write(gpa, bytes)
    }
}

/// A memslot as the debugger sees it.
public struct MemoryRegion: Sendable, Hashable {
    public var slot: Int
    public var gpa: UInt64
    /// In bytes.
    public var size: UInt64
    /// The host virtual address in the VMM.
    public var hva: UInt64
    public var isReadOnly: Bool
    public init(slot: Int, gpa: UInt64, size: UInt64, hva: UInt64, isReadOnly: Bool) {
        self.slot = slot
        self.gpa = gpa
        self.size = size
        self.hva = hva
        self.isReadOnly = isReadOnly
    }

    /// A slot as KVM has it, without its address space.
    package init(_ slot: MemorySlot) {
        self.init(
            slot: Int(slot.slot & 0xFFFF), gpa: slot.gpa, size: slot.size, hva: slot.hostAddress,
            isReadOnly: slot.flags.contains(.readOnly))
    }
}

/// Guest-physical addresses that cannot be read or written.
public struct MemoryFault: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Cause: Sendable, Hashable {
        /// No memslot backs them.
        case notBacked
        /// Of an earlier stop: nobody looked at them then.
        case notKept
    }

    /// The first address that cannot.
    public var gpa: UInt64
    public var cause: Cause
    public init(gpa: UInt64, cause: Cause = .notBacked) {
        self.gpa = gpa
        self.cause = cause
    }

    public var description: String {
        let place = "guest-physical 0x\(String(gpa, radix: 16))"
        return switch cause {
        case .notBacked: "no memory at \(place)"
        case .notKept: "\(place) was not looked at then, and is not kept"
        }
    }
}

/// The calls to one vCPU that a debugger makes. `KVMCore.VCPU` is one; tests bring another.
///
/// Only valid on the thread that lent it, while it is lent.
public protocol VCPUAccess: AnyObject {
    /// The vCPU is out of the guest from here to the end of the access: what is read is of now, and stays so. Without it a
    /// target may give the registers of the last exit, to spare the guest a stop.
    func holdStill() throws(KVMError)
    func registers() throws(KVMError) -> GeneralRegisters
    func setRegisters(_ registers: GeneralRegisters) throws(KVMError)
    func specialRegisters() throws(KVMError) -> SpecialRegisters
    func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError)
    func debugRegisters() throws(KVMError) -> DebugRegisters
    func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError)
    func fpu() throws(KVMError) -> FPURegisters
    func setFPU(_ registers: FPURegisters) throws(KVMError)
    func msr(_ index: UInt32) throws(KVMError) -> UInt64
    func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError)
    func localAPIC() throws(KVMError) -> LocalAPICState
    func mpState() throws(KVMError) -> MPState
    func setMPState(_ state: MPState) throws(KVMError)
    func events() throws(KVMError) -> VCPUEvents
    func setEvents(_ events: VCPUEvents) throws(KVMError)
    func translate(_ linear: UInt64) throws(KVMError) -> Translation
    func setGuestDebug(_ debug: GuestDebug) throws(KVMError)
}

extension VCPUAccess {
    /// Most targets give access to a vCPU only while it is out of the guest.
    public func holdStill() throws(KVMError) {}
}

extension VCPU: VCPUAccess {}
