import KVMCore

/// What the host's KVM says of itself; what every KVM has, where /dev/kvm may not be opened.
struct HostAbilities {
    var debug: GuestDebug.Control = [.enable, .singleStep, .softwareBreakpoints, .hardwareBreakpoints]
    /// KVM_SYNC_X86_*. A class that this KVM does not know would make KVM_RUN fail: none where it is not known.
    var sync: UInt64 = 0
    var xsaveSize = 0
    /// Of a vCPU's `kvm_run` with what lies after it, in bytes. Everywhere on x86: the structure, the data of I/O, the
    /// coalesced writes.
    var runSize: UInt64 = 3 * 4096

    init() {
        guard let kvm = try? KVM.open() else { return }
        let abilities = GuestDebug.Control(rawValue: UInt32(bitPattern: kvm.check(.setGuestDebug2)))
        if !abilities.isEmpty { debug = abilities }
        sync = UInt64(UInt32(bitPattern: kvm.check(.syncRegs))) & 7
        xsaveSize = Int(kvm.check(.xsave2))
        if let size = try? kvm.runMappingSize() { runSize = UInt64(size) }
    }
}

extension AttachedTarget {
    /// A VMM that was started for us.
    struct Launch {
        var machine: LaunchedMachine
        /// The file that its output goes to.
        var output: String
        /// The kernel may be asked for the memory map.
        var readsKernel: Bool
    }
}
