import CKVM
import Locking
import SystemPackage

/// A VM: memory, vCPUs and, if asked for, interrupt controllers in the kernel.
///
/// All calls may be made from any thread. Its descriptor is closed with it; the VM itself lives on as long as
/// any of its vCPUs does.
public struct VirtualMachine: ~Copyable, Sendable {
    let handle: Handle
    let state: VMState
    private let runMappingSize: Int

    init(handle: consuming Handle, runMappingSize: Int) {
        self.handle = handle
        self.runMappingSize = runMappingSize
        state = VMState()
    }

    /// A VM of another process. Its descriptor is not closed with this value.
    ///
    /// - Parameters:
    ///   - descriptor: the VM's descriptor in that process.
    ///   - channel: makes the calls there.
    ///   - slots: its memslots, as far as they are known; ``dirtyLog(slot:)`` needs their sizes.
    public init(descriptor: Int32, channel: any RemoteChannel, slots: [MemorySlot] = []) {
        handle = Handle(borrowing: descriptor, channel: .remote(channel))
        runMappingSize = 0
        state = VMState(slots: slots, mayHaveLocalAPIC: true)
    }

    /// The VM's descriptor, in the process that owns it.
    public var descriptor: Int32 { handle.descriptor }

    /// What this VM can do: see ``KVM/check(_:)``. Corresponds to `KVM_CHECK_EXTENSION`.
    public func check(_ capability: Capability) -> Int32 {
        max(0, handle.raw(.checkExtension, value: UInt(bitPattern: Int(capability.rawValue))))
    }

    /// Turns on what a VM does only when asked.
    ///
    /// - Parameters:
    ///   - capability: what.
    ///   - flags: 0 for all capabilities of x86.
    ///   - arguments: what they mean is each capability's own.
    /// - Throws: EINVAL for a capability that cannot be enabled on a VM, or arguments that it does not know.
    ///
    /// Corresponds to `KVM_ENABLE_CAP`; needs KVM_CAP_ENABLE_CAP_VM.
    public func enable(
        _ capability: Capability, flags: UInt32 = 0, arguments: SIMD4<UInt64> = .zero
    ) throws(KVMError) {
        var argument = kvm_enable_cap()
        argument.cap = UInt32(bitPattern: capability.rawValue)
        argument.flags = flags
        argument.args = (arguments[0], arguments[1], arguments[2], arguments[3])
        try handle.call(.enableCap, &argument) { errno in
            errno == .invalidArgument
                ? "KVM_CAP_\(capability) cannot be enabled on this VM, or not with these arguments or any more"
                : nil
        }
        if capability == .splitIRQChip { state.contents.withLock { $0.mayHaveLocalAPIC = true } }
    }

    // MARK: vCPUs

    /// Makes a vCPU, initialised as a processor after reset, with a local APIC if the VM has interrupt
    /// controllers in the kernel, and maps its `kvm_run`.
    ///
    /// - Parameter id: unique in the VM; the APIC id. KVM counts a vCPU until the VM is gone.
    /// - Throws: EEXIST for an id that is taken; EINVAL for an id over KVM_CAP_MAX_VCPU_ID or one vCPU more
    ///   than KVM_CAP_MAX_VCPUS. The VM is then as it was.
    ///
    /// Corresponds to `KVM_CREATE_VCPU`.
    public func createVCPU(id: Int) throws(KVMError) -> sending VCPU {
        guard case .direct = handle.channel else {
            throw KVMError(
                Request.createVCPU.name, .notSupported,
                advice: "the VM belongs to another process, which has to run its vCPUs itself")
        }
        // The kernel takes the id for 32 bits wide: a wider one could be taken for another.
        guard let value = UInt32(exactly: id) else {
            throw KVMError(
                Request.createVCPU.name, .invalidArgument, advice: limitAdvice(.invalidArgument, id: id))
        }
        let start = ckvm_monotonic()
        let descriptor = try handle.call(.createVCPU, value: UInt(value)) { limitAdvice($0, id: id) }
        let created = ckvm_monotonic()
        state.contents.withLock { $0.vcpusCreated += 1 }
        let vcpu = Handle(owning: descriptor)
        let page = RunPage(try Mapping(descriptor: descriptor, size: runMappingSize))
        let mapped = ckvm_monotonic()
        return try VCPU(
            id: id, handle: vcpu, page: page, state: state, supportedSync: UInt64(check(.syncRegs)),
            xsaveSize: Int(check(.xsave2)),
            guestDebugControls: GuestDebug.Control(capability: check(.setGuestDebug2)),
            countsEventData: check(.systemEventData) > 0,
            cost: CreationCost(
                create: .nanoseconds(Int64(created - start)), map: .nanoseconds(Int64(mapped - created))))
    }

    /// Which limit a refused vCPU met, and what to do.
    private func limitAdvice(_ errno: Errno, id: Int) -> String? {
        switch errno {
        case .fileExists:
            return "vCPU id \(id) is taken in this VM; choose another"
        case .invalidArgument:
            let count = check(.maxVCPUs)
            let ids = vcpuIDLimit
            if id < 0 || id >= ids {
                return
                    "id \(id) is out of range; this KVM takes 0 to \(ids - 1) (KVM_CAP_MAX_VCPU_ID is \(ids))"
            }
            let created = state.contents.withLock { $0.vcpusCreated }
            return "the VM has \(created) vCPUs and this KVM allows \(count) (KVM_CAP_MAX_VCPUS); "
                + "one that was closed counts until the VM is gone"
        default: return nil
        }
    }

    /// Names the vCPU that starts at the reset vector by itself; the others wait for INIT and SIPI. It is 0
    /// unless set. Only before the first vCPU is made.
    ///
    /// - Throws: EBUSY once there is a vCPU; EINVAL for an id that no vCPU can have, which kernels before 6.11 take
    ///   (the VM then has no boot vCPU, and none of them starts).
    ///
    /// Corresponds to `KVM_SET_BOOT_CPU_ID`; needs KVM_CAP_SET_BOOT_CPU_ID.
    public func setBootVCPU(id: Int) throws(KVMError) {
        let limit = vcpuIDLimit
        func advice(_ errno: Errno) -> String? {
            switch errno {
            case .resourceBusy: "the VM has vCPUs already; the boot vCPU is chosen before the first is made"
            case .invalidArgument: "id \(id) is out of range (KVM_CAP_MAX_VCPU_ID is \(limit))"
            default: nil
            }
        }
        guard id >= 0, id < limit else {
            throw KVMError(Request.setBootCPUID.name, .invalidArgument, advice: advice(.invalidArgument))
        }
        try handle.call(.setBootCPUID, value: UInt(id), advice: advice)
    }

    /// One more than the highest vCPU id. Kernels without KVM_CAP_MAX_VCPU_ID count as many ids as vCPUs.
    private var vcpuIDLimit: Int {
        let reported = check(.maxVCPUID)
        return Int(reported > 0 ? reported : check(.maxVCPUs))
    }

    /// Counters that the kernel keeps for this VM. Corresponds to `KVM_GET_STATS_FD`; needs
    /// KVM_CAP_BINARY_STATS_FD.
    public func statistics() throws(KVMError) -> StatisticsReader {
        try StatisticsReader(of: handle)
    }
}
