import CKVM

/// One kind of KVM call: its request number and the kernel's name of it, for errors.
///
/// The numbers are those of the kernel's header (CKVM.h). What looks at the calls of another process takes them from here.
package struct Request: Sendable {
    /// The kernel's name, as `KVM_SET_SREGS`.
    package let name: String
    /// The second argument of `ioctl`.
    package let number: UInt

    /// The same as the kernel sees it: 32 bits wide.
    package var command: UInt32 { UInt32(truncatingIfNeeded: number) }

    init(_ name: String, _ number: UInt) {
        self.name = name
        self.number = number
    }

    // System.
    static var getAPIVersion: Request { Request("KVM_GET_API_VERSION", ckvm_get_api_version) }
    package static var createVM: Request { Request("KVM_CREATE_VM", ckvm_create_vm) }
    static var checkExtension: Request { Request("KVM_CHECK_EXTENSION", ckvm_check_extension) }
    static var getVCPUMmapSize: Request { Request("KVM_GET_VCPU_MMAP_SIZE", ckvm_get_vcpu_mmap_size) }
    static var getSupportedCPUID: Request { Request("KVM_GET_SUPPORTED_CPUID", ckvm_get_supported_cpuid) }
    static var getMSRIndexList: Request { Request("KVM_GET_MSR_INDEX_LIST", ckvm_get_msr_index_list) }

    // VM.
    package static var setUserMemoryRegion: Request {
        Request("KVM_SET_USER_MEMORY_REGION", ckvm_set_user_memory_region)
    }
    /// The same with private memory: its argument begins as that of KVM_SET_USER_MEMORY_REGION. Since Linux 6.8.
    package static var setUserMemoryRegion2: Request {
        Request("KVM_SET_USER_MEMORY_REGION2", ckvm_set_user_memory_region2)
    }
    static var getDirtyLog: Request { Request("KVM_GET_DIRTY_LOG", ckvm_get_dirty_log) }
    static var clearDirtyLog: Request { Request("KVM_CLEAR_DIRTY_LOG", ckvm_clear_dirty_log) }
    package static var createVCPU: Request { Request("KVM_CREATE_VCPU", ckvm_create_vcpu) }
    static var setBootCPUID: Request { Request("KVM_SET_BOOT_CPU_ID", ckvm_set_boot_cpu_id) }
    static var resetDirtyRings: Request { Request("KVM_RESET_DIRTY_RINGS", ckvm_reset_dirty_rings) }
    static var setGSIRouting: Request { Request("KVM_SET_GSI_ROUTING", ckvm_set_gsi_routing) }
    static var irqfd: Request { Request("KVM_IRQFD", ckvm_irqfd) }
    static var ioeventfd: Request { Request("KVM_IOEVENTFD", ckvm_ioeventfd) }
    static var createDevice: Request { Request("KVM_CREATE_DEVICE", ckvm_create_device) }
    static var setTSSAddr: Request { Request("KVM_SET_TSS_ADDR", ckvm_set_tss_addr) }
    static var setIdentityMapAddr: Request {
        Request("KVM_SET_IDENTITY_MAP_ADDR", ckvm_set_identity_map_addr)
    }
    static var createIRQChip: Request { Request("KVM_CREATE_IRQCHIP", ckvm_create_irqchip) }
    static var getIRQChip: Request { Request("KVM_GET_IRQCHIP", ckvm_get_irqchip) }
    static var setIRQChip: Request { Request("KVM_SET_IRQCHIP", ckvm_set_irqchip) }
    static var createPIT2: Request { Request("KVM_CREATE_PIT2", ckvm_create_pit2) }
    static var getPIT2: Request { Request("KVM_GET_PIT2", ckvm_get_pit2) }
    static var setPIT2: Request { Request("KVM_SET_PIT2", ckvm_set_pit2) }
    static var irqLine: Request { Request("KVM_IRQ_LINE", ckvm_irq_line) }
    static var signalMSI: Request { Request("KVM_SIGNAL_MSI", ckvm_signal_msi) }
    static var getClock: Request { Request("KVM_GET_CLOCK", ckvm_get_clock) }
    static var setClock: Request { Request("KVM_SET_CLOCK", ckvm_set_clock) }
    static var enableCap: Request { Request("KVM_ENABLE_CAP", ckvm_enable_cap) }
    static var getStatsFD: Request { Request("KVM_GET_STATS_FD", ckvm_get_stats_fd) }
    static var setMSRFilter: Request { Request("KVM_X86_SET_MSR_FILTER", ckvm_set_msr_filter) }

    // Devices, vCPUs and whatever else has attributes.
    static var setDeviceAttr: Request { Request("KVM_SET_DEVICE_ATTR", ckvm_set_device_attr) }
    static var getDeviceAttr: Request { Request("KVM_GET_DEVICE_ATTR", ckvm_get_device_attr) }
    static var hasDeviceAttr: Request { Request("KVM_HAS_DEVICE_ATTR", ckvm_has_device_attr) }

    // vCPU.
    package static var run: Request { Request("KVM_RUN", ckvm_run) }
    package static var getRegs: Request { Request("KVM_GET_REGS", ckvm_get_regs) }
    package static var setRegs: Request { Request("KVM_SET_REGS", ckvm_set_regs) }
    static var getSRegs: Request { Request("KVM_GET_SREGS", ckvm_get_sregs) }
    static var setSRegs: Request { Request("KVM_SET_SREGS", ckvm_set_sregs) }
    static var getFPU: Request { Request("KVM_GET_FPU", ckvm_get_fpu) }
    static var setFPU: Request { Request("KVM_SET_FPU", ckvm_set_fpu) }
    static var getXSave: Request { Request("KVM_GET_XSAVE", ckvm_get_xsave) }
    static var getXSave2: Request { Request("KVM_GET_XSAVE2", ckvm_get_xsave2) }
    static var setXSave: Request { Request("KVM_SET_XSAVE", ckvm_set_xsave) }
    static var getXCRs: Request { Request("KVM_GET_XCRS", ckvm_get_xcrs) }
    static var setXCRs: Request { Request("KVM_SET_XCRS", ckvm_set_xcrs) }
    static var getDebugRegs: Request { Request("KVM_GET_DEBUGREGS", ckvm_get_debugregs) }
    static var setDebugRegs: Request { Request("KVM_SET_DEBUGREGS", ckvm_set_debugregs) }
    static var getMSRs: Request { Request("KVM_GET_MSRS", ckvm_get_msrs) }
    static var setMSRs: Request { Request("KVM_SET_MSRS", ckvm_set_msrs) }
    static var getCPUID2: Request { Request("KVM_GET_CPUID2", ckvm_get_cpuid2) }
    static var setCPUID2: Request { Request("KVM_SET_CPUID2", ckvm_set_cpuid2) }
    static var getLAPIC: Request { Request("KVM_GET_LAPIC", ckvm_get_lapic) }
    static var setLAPIC: Request { Request("KVM_SET_LAPIC", ckvm_set_lapic) }
    static var getMPState: Request { Request("KVM_GET_MP_STATE", ckvm_get_mp_state) }
    static var setMPState: Request { Request("KVM_SET_MP_STATE", ckvm_set_mp_state) }
    static var getVCPUEvents: Request { Request("KVM_GET_VCPU_EVENTS", ckvm_get_vcpu_events) }
    static var setVCPUEvents: Request { Request("KVM_SET_VCPU_EVENTS", ckvm_set_vcpu_events) }
    static var getTSCKHz: Request { Request("KVM_GET_TSC_KHZ", ckvm_get_tsc_khz) }
    static var setTSCKHz: Request { Request("KVM_SET_TSC_KHZ", ckvm_set_tsc_khz) }
    static var translate: Request { Request("KVM_TRANSLATE", ckvm_translate) }
    static var interrupt: Request { Request("KVM_INTERRUPT", ckvm_interrupt) }
    static var nmi: Request { Request("KVM_NMI", ckvm_nmi) }
    static var smi: Request { Request("KVM_SMI", ckvm_smi) }
    static var getNestedState: Request { Request("KVM_GET_NESTED_STATE", ckvm_get_nested_state) }
    static var setNestedState: Request { Request("KVM_SET_NESTED_STATE", ckvm_set_nested_state) }
    package static var setGuestDebug: Request { Request("KVM_SET_GUEST_DEBUG", ckvm_set_guest_debug) }
}
