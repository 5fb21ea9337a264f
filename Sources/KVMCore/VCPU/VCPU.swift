import CKVM
import Locking
import SystemPackage
public import X86

/// What making a vCPU cost, in wall time.
public struct CreationCost: Sendable, Hashable {
    /// KVM_CREATE_VCPU.
    public var create: Duration
    /// mmap of `kvm_run`.
    public var map: Duration
    /// - Parameters:
    ///   - create: of KVM_CREATE_VCPU.
    ///   - map: of the mmap.
    public init(create: Duration, map: Duration) {
        self.create = create
        self.map = map
    }
}

/// One vCPU: a virtual processor that runs while a thread is in KVM_RUN.
///
/// Not `Sendable`: make all calls from one thread, which is best the vCPU's own, and send it there once. Only
/// an ``ImmediateExit`` may be used from others. Debug builds stop where a call comes while another thread is in
/// KVM_RUN. Its descriptor and its mapping keep the VM alive, with its memory, also when the ``VirtualMachine`` is gone.
///
/// Registers come with the exit: where KVM_CAP_SYNC_REGS is there, ``registers()`` and ``specialRegisters()`` after a
/// run make no system call. While I/O is pending (``isIOPending``) they are not final.
public final class VCPU {
    let handle: Handle
    let page: RunPage
    let state: VMState
    /// Unique in the VM; the APIC id.
    public let id: Int
    /// What making it cost; nil for a vCPU of another process.
    public let creationCost: CreationCost?
    /// The size of the XSAVE area in bytes, or 0 where the kernel has KVM_GET_XSAVE alone.
    let xsaveSize: Int
    /// Whether INIT and SIPI may come from a local APIC in the kernel.
    let mayHaveLocalAPIC: Bool
    /// The debug controls that this KVM has; nil where that was not asked.
    let guestDebugControls: GuestDebug.Control?

    /// The kernel counts the words of KVM_EXIT_SYSTEM_EVENT. Before it did (KVM_CAP_SYSTEM_EVENT_DATA) there was one
    /// word, and where the count is now was padding, which holds whatever an exit before it has left there.
    private let countsEventData: Bool
    /// Where the VM has dirty rings.
    var dirtyRing: DirtyRing?

    /// What KVM_CAP_SYNC_REGS said.
    private let supportedSync: UInt64
    /// The classes of registers (KVM_SYNC_X86_*) that each run leaves in the page.
    private var synced: UInt64
    // SAFETY of the two that are unchecked: a vCPU is not `Sendable`, so that one thread uses it at a time, and no
    // closure is called while one of them is being changed. The check would cost a step as much as reading a register.

    /// Those of them that are in the page and current.
    @exclusivity(unchecked) private var current: UInt64 = 0

    /// The last exit waits for KVM_RUN to complete it: I/O, MMIO, MSR accesses and hypercalls. Registers are
    /// not final, and setting them is refused, because the completion could undo it.
    @exclusivity(unchecked) public private(set) var isIOPending = false

    static let syncRegisters = UInt64(KVM_SYNC_X86_REGS)
    static let syncSpecialRegisters = UInt64(KVM_SYNC_X86_SREGS)
    static let syncEvents = UInt64(KVM_SYNC_X86_EVENTS)

    /// - Parameters:
    ///   - supportedSync: what KVM_CAP_SYNC_REGS said.
    ///   - guestDebugControls: see ``GuestDebug/Control/init(capability:)``.
    ///   - countsEventData: KVM_CAP_SYSTEM_EVENT_DATA is there.
    init(
        id: Int, handle: consuming Handle, page: RunPage, state: VMState, supportedSync: UInt64,
        xsaveSize: Int, guestDebugControls: GuestDebug.Control? = nil, countsEventData: Bool = true,
        cost: CreationCost?
    ) throws(KVMError) {
        guard page.bytes.count >= RunLayout.size else {
            throw KVMError(
                Request.getVCPUMmapSize.name, .invalidArgument,
                advice: "kvm_run is \(page.bytes.count) bytes long, and \(RunLayout.size) are needed")
        }
        self.id = id
        self.handle = handle
        self.page = page
        self.state = state
        self.xsaveSize = xsaveSize
        self.guestDebugControls = guestDebugControls
        self.countsEventData = countsEventData
        creationCost = cost
        let ringSize: Int
        (mayHaveLocalAPIC, ringSize) = state.contents.withLock { ($0.mayHaveLocalAPIC, $0.dirtyRingSize) }
        if ringSize > 0 { dirtyRing = try DirtyRing(of: self.handle.descriptor, size: ringSize) }
        self.supportedSync = supportedSync
        synced = supportedSync & (Self.syncRegisters | Self.syncSpecialRegisters)
        page.bytes.setField(RunLayout.validRegisters, synced)
    }

    /// A vCPU of another process: its calls are made there, and its `kvm_run` is mapped here.
    ///
    /// The page is not changed; whether it carries registers is the owner's choice, see ``observeExit(isCompleted:)``.
    ///
    /// - Parameters:
    ///   - id: as that process gave it.
    ///   - descriptor: the vCPU's descriptor in that process.
    ///   - channel: makes the calls there.
    ///   - localDescriptor: the same open file in this process (`pidfd_getfd`); it may be closed afterwards.
    ///   - mappingSize: what ``KVM/runMappingSize()`` says.
    ///   - xsaveSize: what ``Capability/xsave2`` says of that VM.
    ///   - guestDebugControls: those that ``setGuestDebug(_:)`` passes on; nil for all.
    public init(
        id: Int, descriptor: Int32, channel: any RemoteChannel, localDescriptor: Int32, mappingSize: Int,
        xsaveSize: Int = 0, guestDebugControls: GuestDebug.Control? = nil
    ) throws(KVMError) {
        guard mappingSize >= RunLayout.size else {
            throw KVMError(
                Request.getVCPUMmapSize.name, .invalidArgument,
                advice: "kvm_run is \(mappingSize) bytes long, and \(RunLayout.size) are needed")
        }
        self.id = id
        handle = Handle(borrowing: descriptor, channel: .remote(channel))
        page = RunPage(try Mapping(descriptor: localDescriptor, size: mappingSize))
        state = VMState(mayHaveLocalAPIC: true)
        self.xsaveSize = xsaveSize
        self.guestDebugControls = guestDebugControls
        countsEventData = true
        creationCost = nil
        mayHaveLocalAPIC = true
        supportedSync = 0
        synced = 0
    }

    /// The vCPU's descriptor, in the process that owns it: `anon_inode:kvm-vcpu:N`.
    public var descriptor: Int32 { handle.descriptor }

    // MARK: Running

    /// Runs the guest until something happens that user mode has to know of.
    ///
    /// - Returns: the exit, with its payload; ``VCPUExit/interrupted`` if a signal came or `immediate_exit` was
    ///   set, which is not tried again here.
    /// - Throws: EAGAIN when a vCPU that waited for INIT has got it: run again. EINVAL, ENOEXEC, EFAULT and
    ///   others as api.rst, 4.10 has them.
    ///
    /// Corresponds to `KVM_RUN`.
    public func run() throws(KVMError) -> VCPUExit {
        let result = handle.run()
        guard result >= 0 else { return try runFailed(result) }
        current = synced
        let exit = VCPUExit(page: page.bytes)
        isIOPending = exit.needsCompletion
        return countsEventData ? exit : exit.withOneEventWord(page.bytes)
    }

    private func runFailed(_ result: Int32) throws(KVMError) -> VCPUExit {
        if result == -Errno.interrupted.rawValue {
            // Pending I/O is completed, and the registers stored, before KVM looks at immediate_exit.
            current = synced
            isIOPending = false
            return .interrupted
        }
        current = 0
        throw KVMError(.run, result) { errno in
            switch errno {
            case .resourceTemporarilyUnavailable:
                "the vCPU waited for INIT or SIPI and has been woken; run it again"
            case .badAddress: "the guest uses memory that the host cannot give it"
            default: nil
            }
        }
    }

    /// Completes a pending exit without running the guest further, so that registers are final.
    ///
    /// An IN, a read of MMIO or of an MSR must have been answered before, or the guest reads what happens to
    /// be there.
    ///
    /// - Returns: ``VCPUExit/interrupted`` when it is completed and nothing else happened (also when nothing
    ///   was pending), or the exit that it led to: ``VCPUExit/debug(_:)`` at the end of a step, the next
    ///   ``VCPUExit/io(_:)`` of a REP, an error.
    ///
    /// Corresponds to `KVM_RUN` with `immediate_exit`; needs KVM_CAP_IMMEDIATE_EXIT.
    public func completeIO() throws(KVMError) -> VCPUExit {
        guard isIOPending else { return .interrupted }
        page.setImmediateExit(RunPage.ImmediateExitBit.completing)
        defer { page.clearImmediateExit(RunPage.ImmediateExitBit.completing) }
        return try run()
    }

    /// Takes in an exit that was not ours: of a vCPU that another process runs, and that is stopped now.
    ///
    /// Registers are read from the page if its owner asked KVM to leave them there (`kvm_valid_regs`).
    ///
    /// - Parameter isCompleted: the exit was handled and a KVM_RUN with `immediate_exit` has completed it, so
    ///   that registers are final although the page still holds the exit.
    @discardableResult
    public func observeExit(isCompleted: Bool = false) -> VCPUExit {
        current =
            page.bytes.field(RunLayout.validRegisters, as: UInt64.self)
            & (Self.syncRegisters | Self.syncSpecialRegisters | Self.syncEvents)
        let exit = VCPUExit(page: page.bytes)
        isIOPending = !isCompleted && exit.needsCompletion
        return exit
    }

    /// Whatever the page holds is not to be relied on: the process that runs the vCPU may have changed its state
    /// since. Registers are asked for, and may be set; what is pending there is not known.
    public func forgetExit() {
        forgetRegisters()
        isIOPending = false
    }

    /// A handle that makes KVM_RUN return, for other threads.
    public var immediateExit: ImmediateExit { ImmediateExit(page: page) }

    /// An interrupt can be given with ``interrupt(vector:)`` now (`kvm_run.ready_for_interrupt_injection`).
    public var isReadyForInterrupt: Bool {
        page.bytes.field(RunLayout.readyForInterruptInjection, as: UInt8.self) != 0
    }

    /// RFLAGS.IF at the last exit (`kvm_run.if_flag`).
    public var interruptFlag: Bool { page.bytes.field(RunLayout.interruptFlag, as: UInt8.self) != 0 }

    /// Asks for ``VCPUExit/irqWindowOpen`` as soon as an interrupt can be given
    /// (`kvm_run.request_interrupt_window`).
    public var requestsInterruptWindow: Bool {
        get { page.bytes.field(RunLayout.requestInterruptWindow, as: UInt8.self) != 0 }
        set {
            page.bytes.setField(RunLayout.requestInterruptWindow, (newValue ? 1 : 0) as UInt8)
        }
    }

    // MARK: Registers in the page

    /// Whether a class of registers can be read from the page.
    @inline(__always)
    func isCurrent(_ registers: UInt64) -> Bool { current & registers != 0 }

    /// State has changed behind the page, or may have. What waits there for the next run stays.
    func forgetRegisters() { current = waiting }

    /// ``setRegistersWithNextRun(_:)`` can be used.
    public var canSetRegistersWithNextRun: Bool { synced & Self.syncRegisters != 0 }

    /// The classes that the page has for the next KVM_RUN to take.
    private var waiting: UInt64 {
        get {
            supportedSync == 0
                ? 0 : page.bytes.field(RunLayout.dirtyRegisters, as: UInt64.self) & supportedSync
        }
        set { page.bytes.setField(RunLayout.dirtyRegisters, newValue) }
    }

    /// Sets the general registers, RIP and RFLAGS without a call: the next KVM_RUN takes them from the page before it does
    /// anything else, also one that only completes I/O. Until then no other state may be set that depends on them.
    ///
    /// Allowed while an OUT is pending, unlike ``setRegisters(_:)``: its completion moves RIP past the instruction and only
    /// where RIP is still at it. RIP must not be there.
    ///
    /// - Returns: false, and nothing set, without KVM_CAP_SYNC_REGS.
    ///
    /// Corresponds to `kvm_dirty_regs` with KVM_SYNC_X86_REGS.
    public func setRegistersWithNextRun(_ registers: GeneralRegisters) -> Bool {
        guard canSetRegistersWithNextRun else { return false }
        page.bytes.setField(RunLayout.registers, registers.encoded)
        waiting |= Self.syncRegisters
        current |= Self.syncRegisters
        return true
    }

    /// What waits in the page of these classes counts no more.
    func dropWaiting(_ registers: UInt64) {
        if waiting & registers != 0 { waiting &= ~registers }
    }

    /// Each run leaves the events in the page, too, which takes KVM as long as the general registers; they are asked for
    /// seldom otherwise. Stays false without KVM_CAP_SYNC_REGS.
    public var keepsEvents: Bool {
        get { synced & Self.syncEvents != 0 }
        set {
            guard newValue != keepsEvents, supportedSync & Self.syncEvents != 0 else { return }
            synced ^= Self.syncEvents
            page.bytes.setField(RunLayout.validRegisters, synced)
        }
    }

    /// What ``interrupt(vector:)`` does, without a call: the next KVM_RUN takes it from the page before it does anything else.
    ///
    /// - Returns: false, and nothing done, where the last run did not leave the events (``keepsEvents``), or they were
    ///   changed since, or something else is on its way into the guest already.
    ///
    /// Corresponds to `kvm_dirty_regs` with KVM_SYNC_X86_EVENTS. For a VM without interrupt controllers in the kernel.
    public func interruptWithNextRun(vector: UInt8) -> Bool {
        guard isCurrent(Self.syncEvents) else { return false }
        var events: kvm_vcpu_events = page.bytes.field(RunLayout.events)
        let others =
            events.exception.injected | events.exception.pending | events.interrupt.injected
            | events.nmi.injected | events.nmi.pending | events.smi.smm | events.smi.pending
            | events.triple_fault.pending
        guard others == 0 else { return false }
        events.interrupt.injected = 1
        events.interrupt.nr = vector
        events.interrupt.soft = 0
        // NMIs, SMIs and the shadow stay as they are, also where they change until then.
        events.flags = 0
        page.bytes.setField(RunLayout.events, events)
        waiting |= Self.syncEvents
        return true
    }

    /// Refuses a change that the completion of pending I/O could undo.
    func requireCompleted(_ request: Request) throws(KVMError) {
        guard isIOPending else { return }
        throw KVMError(
            request.name, .resourceBusy,
            advice:
                "an I/O exit is pending and its completion could undo this; complete it first (completeIO)")
    }
}

extension VCPUExit {
    /// A system event of a kernel that does not count its words: `kvm_run.system_event.flags` alone.
    fileprivate func withOneEventWord(_ page: UnsafeMutableRawBufferPointer) -> VCPUExit {
        guard case .systemEvent(let type, _) = self else { return self }
        return .systemEvent(type: type, data: [page.field(RunLayout.payload + 8)])
    }

    /// The kernel completes this exit at the next KVM_RUN (`vcpu->arch.complete_userspace_io`).
    @inline(__always)
    var needsCompletion: Bool {
        switch self {
        case .io, .mmio, .hypercall, .readMSR, .writeMSR, .hyperV, .xen, .tdx, .snpCertificates: true
        case .other(let reason, _): reason == UInt32(KVM_EXIT_IO) || reason == UInt32(KVM_EXIT_MMIO)
        default: false
        }
    }
}
