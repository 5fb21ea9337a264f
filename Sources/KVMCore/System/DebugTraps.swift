import Synchronization
import SystemPackage
import X86

/// What of guest debug works beyond what every KVM has: the capabilities say what a call takes, not what fires.
public struct DebugTraps: OptionSet, Sendable, Hashable {
    /// The kernel's bits.
    public var rawValue: UInt8
    /// - Parameter rawValue: the kernel's bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// INT3 exits with KVM_GUESTDBG_USE_SW_BP, in real and in protected mode. Not where KVM's emulator runs the
    /// guest.
    public static let int3 = DebugTraps(rawValue: 1 << 0)
    /// Data breakpoints in DR0 to DR3 exit with KVM_GUESTDBG_USE_HW_BP, in real and in protected mode.
    public static let dataBreakpoints = DebugTraps(rawValue: 1 << 1)

    /// A single step whose instruction raises an exception ends in front of the handler's first instruction or behind
    /// it, in real and in protected mode: no more of a handler runs unseen. Not where hosts step with TF, which an
    /// exception clears (SDM volume 3A, 6.8).
    public static let handlers = DebugTraps(rawValue: 1 << 2)

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
        // UD2; the handler is a NOP and a HLT.
        let step = GuestDebug(control: [.enable, .singleStep])
        if Probe.allModes.allSatisfy({
            Probe(code: [0x0F, 0x0B], debug: step).endsInHandler(kvm, isProtected: $0)
        }) {
            found.insert(.handlers)
        }
        return found
    }()
}

/// A few bytes of code in a VM of their own.
private struct Probe {
    static let allModes = [false, true]
    private static let entry: UInt64 = 0x1000
    /// Where vectors 3 and 6 lead to: a NOP and a HLT.
    static let handler: UInt64 = 0x1100
    private static let idt: UInt64 = 0x800
    private static let gdt: UInt64 = 0x900

    var code: [UInt8]
    var debug: GuestDebug

    /// Whether the code ends in KVM_EXIT_DEBUG.
    func fires(_ kvm: borrowing KVM, isProtected: Bool) -> Bool {
        do {
            return try run(kvm, isProtected: isProtected, isVectored: !isProtected).isDebug
        } catch {
            return false
        }
    }

    /// Whether that is so, with no more than the handler's first instruction executed; or the guest came to an end
    /// before, where KVM cannot deliver an exception.
    func endsInHandler(_ kvm: borrowing KVM, isProtected: Bool) -> Bool {
        do {
            let end = try run(kvm, isProtected: isProtected, isVectored: true)
            if end.isDebug { return end.rip == Self.handler || end.rip == Self.handler + 1 }
            return end.rip == Self.entry
        } catch {
            return false
        }
    }

    /// - Parameter isVectored: there is a table of handlers.
    private func run(
        _ kvm: borrowing KVM, isProtected: Bool, isVectored: Bool
    ) throws -> (isDebug: Bool, rip: UInt64) {
        let vm = try kvm.createVM()
        // What VMX without "unrestricted guest" needs.
        try vm.setTSSAddress(0xFFFB_D000)
        try vm.setIdentityMapAddress(0xFFFB_C000)
        let memory = try GuestMemory(size: 0x4000)
        try memory.write(Self.entry, code)
        try memory.write(Self.handler, [0x90, 0xF4])
        for vector in [UInt64(3), 6] {
            // 0000:1100; and an interrupt gate to 08:1100 (SDM volume 3A, 6.11).
            try memory.write(vector * 4, [0x00, 0x11, 0, 0])
            try memory.write(Self.idt + vector * 8, [0x00, 0x11, 0x08, 0, 0, 0x8E, 0, 0])
        }
        // Flat code and data of 32 bits, at 08 and 10 (SDM volume 3A, 3.4.5).
        try memory.write(Self.gdt + 8, [0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0])
        try memory.write(Self.gdt + 16, [0xFF, 0xFF, 0, 0, 0, 0x93, 0xCF, 0])
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        let vcpu = try vm.createVCPU(id: 0)
        var special = try vcpu.specialRegisters()
        for name in SegmentName.allCases where name != .tr && name != .ldt {
            special[name] = isProtected ? Self.flat(isCode: name == .cs) : .real(0, code: name == .cs)
        }
        special.gdt = DescriptorTable(base: Self.gdt, limit: 23)
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        if isProtected {
            special.idt = DescriptorTable(base: Self.idt, limit: isVectored ? 63 : 0)
            special.cr0.insert(.pe)
        }
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
            case .debug: return (true, try vcpu.registers().rip)
            case .interrupted: continue
            default: return (false, try vcpu.registers().rip)
            }
        }
        return (false, try vcpu.registers().rip)
    }

    private static func flat(isCode: Bool) -> Segment {
        Segment(
            base: 0, limit: 0xFFFF_FFFF, selector: isCode ? 0x08 : 0x10,
            attributes: SegmentAttributes(rawValue: isCode ? 0xC09B : 0xC093))
    }
}
