import KVMCore
import X86

/// What of a processor's means works in a guest on this host, each tried once: some emulated processors take a call
/// and do not do what it asks for. A case that needs one says so in its trait, and is counted where it is left out.
enum HostTrial {
    /// An execution breakpoint in DR0 makes an exit.
    static let executionBreakpointsFire: Bool = tried {
        let guest = try Guest([0x90, 0xF4])  // nop; hlt
        // DR7: L0, length 0 and type 0 for execution. SDM volume 3B, 17.2.4.
        try guest.vcpu.setGuestDebug(
            GuestDebug(
                control: [.enable, .hardwareBreakpoints], addresses: SIMD4(Guest.start + 1, 0, 0, 0),
                dr7: 0x401))
        return try guest.vcpu.run().debugExit != nil
    }

    /// Whether a VM here can do something.
    static func has(_ capability: Capability) -> Bool {
        tried { try KVM.open().createVM().check(capability) > 0 }
    }

    /// The kernel was built with the VFIO device.
    static let hasVFIODevice: Bool = tried { try KVM.open().createVM().canCreateDevice(.vfio) }

    /// vCPUs have the attribute, and keep what it is set to: a KVM that gives guests the host's TSC, or whose host's TSC
    /// is not stable, does not.
    static let keepsTSCOffset: Bool = tried {
        let vcpu = try Guest([0xF4]).vcpu
        try vcpu.setAttribute(.tscOffset, 1 << 20)
        return try vcpu.attribute(.tscOffset) == 1 << 20
    }

    /// The guest's SSE instructions are executed: KVM's emulator, where it runs the guest, does not have all of them.
    static let executesSSE: Bool = tried {
        let guest = try Guest([0x0F, 0x11, 0x0E, 0x00, 0x20, 0x0F, 0xAE, 0x1E, 0x10, 0x20, 0xF4])
        var special = try guest.vcpu.specialRegisters()
        special.cr4.insert(.osfxsr)
        try guest.vcpu.setSpecialRegisters(special)
        return try guest.vcpu.run() == .hlt
    }

    private static func tried(_ body: () throws -> Bool) -> Bool {
        guard liveTestsRun else { return false }
        do { return try body() } catch { return false }
    }
}
