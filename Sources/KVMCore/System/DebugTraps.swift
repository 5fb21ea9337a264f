import Synchronization
import SystemPackage
import X86

/// What of guest debug works beyond what every KVM has: the capabilities say what a call takes, not what fires.
public struct DebugTraps: OptionSet, Sendable, Hashable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// INT3 exits with KVM_GUESTDBG_USE_SW_BP, in real and in protected mode. Not where KVM's emulator runs the
    /// guest.
    public static let int3 = DebugTraps(rawValue: 1 << 0)
    /// Data breakpoints in DR0 to DR3 exit with KVM_GUESTDBG_USE_HW_BP, in real and in protected mode.
    public static let dataBreakpoints = DebugTraps(rawValue: 1 << 1)

    /// What fires on this host, found by trying each with a tiny VM, once in the life of the process. Empty where
    /// there is no KVM.
    public static let ofHost: DebugTraps = {
        guard let kvm = try? KVM.open() else { return [] }
        var found: DebugTraps = []
        // INT3, where vector 3 leads to a HLT.
        let int3 = GuestDebug(control: [.enable, .softwareBreakpoints])
        if Probe.allModes.allSatisfy({ Probe(code: [0xCC, 0xF4], debug: int3).fires(kvm, isProtected: $0) }) {
            found.insert(.int3)
        }
        // mov [0x2000], al, with DR0 there: length 1, writes, global (SDM volume 3B, 17.2.4).
        let data = GuestDebug(
            control: [.enable, .hardwareBreakpoints], addresses: SIMD4(0x2000, 0, 0, 0), dr7: 0x1_0402)
        let codes: [Bool: [UInt8]] = [
            false: [0xA2, 0x00, 0x20, 0xF4], true: [0xA2, 0x00, 0x20, 0, 0, 0xF4],
        ]
        if Probe.allModes.allSatisfy({
            Probe(code: codes[$0] ?? [0xF4], debug: data).fires(kvm, isProtected: $0)
        }) {
            found.insert(.dataBreakpoints)
        }
        return found
    }()
}

/// A few bytes of code in a VM of their own.
private struct Probe {
    static let allModes = [false, true]
    private static let entry: UInt64 = 0x1000

    var code: [UInt8]
    var debug: GuestDebug

    /// Whether the code ends in KVM_EXIT_DEBUG.
    func fires(_ kvm: borrowing KVM, isProtected: Bool) -> Bool {
        do {
            let vm = try kvm.createVM()
            // What VMX without "unrestricted guest" needs.
            try vm.setTSSAddress(0xFFFB_D000)
            try vm.setIdentityMapAddress(0xFFFB_C000)
            let memory = try GuestMemory(size: 0x4000)
            try memory.write(Self.entry, code)
            // Vector 3 of the real-mode table leads to 0000:1100, a HLT.
            try memory.write(0x0C, [0x00, 0x11, 0, 0])
            try memory.write(0x1100, [0xF4])
            try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
            let vcpu = try vm.createVCPU(id: 0)
            var special = try vcpu.specialRegisters()
            for name in SegmentName.allCases where name != .tr && name != .ldt {
                special[name] = isProtected ? Self.flat(isCode: name == .cs) : .real(0, code: name == .cs)
            }
            special.idt = DescriptorTable(base: 0, limit: isProtected ? 0 : 0x3FF)
            if isProtected { special.cr0.insert(.pe) }
            try vcpu.setSpecialRegisters(special)
            var registers = GeneralRegisters()
            registers.rip = Self.entry
            registers.rsp = 0x3000
            registers.rflags = .reserved1
            try vcpu.setRegisters(registers)
            try vcpu.setGuestDebug(debug)
            // What the guest does ends in one exit or another; a signal may come before.
            for _ in 0..<16 {
                switch try vcpu.run() {
                case .debug: return true
                case .interrupted: continue
                default: return false
                }
            }
        } catch {
            return false
        }
        return false
    }

    private static func flat(isCode: Bool) -> Segment {
        Segment(
            base: 0, limit: 0xFFFF_FFFF, selector: isCode ? 0x08 : 0x10,
            attributes: SegmentAttributes(rawValue: isCode ? 0xC09B : 0xC093))
    }
}
