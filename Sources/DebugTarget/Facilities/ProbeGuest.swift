import KVMCore
import X86

/// The VM in which facilities are tried: 40 KiB of memory, a read-only page, and the tables that exceptions need in each
/// mode, so that whatever happens ends at a HLT and never in a triple fault.
///
/// Every vector leads to a NOP and a HLT of its own, so that RIP tells which one was taken. Linear addresses are
/// physical ones.
struct ProbeGuest: ~Copyable {
    static let entry: UInt64 = 0x1000
    static let data: UInt64 = 0x2000
    static let readOnly: UInt64 = 0xA000
    /// IA32_SYSENTER_CS, whose writes are denied.
    static let deniedMSR: UInt32 = 0x174

    private static let idt32: UInt64 = 0x800
    private static let gdt: UInt64 = 0xA00
    private static let tss32: UInt64 = 0xB00
    private static let tss64: UInt64 = 0xC00
    private static let handlers: UInt64 = 0x1800
    private static let stack: UInt64 = 0x3F00
    private static let kernelStack: UInt64 = 0x4F00
    private static let idt64: UInt64 = 0x5000
    private static let pageTables: UInt64 = 0x6000
    /// The processor's exceptions. Source: SDM volume 3A, 6.3.1.
    private static let vectors = 32

    /// GDT: 32-bit code, data, 64-bit code, and the same for CPL 3 (SDM volume 3A, 3.4.5).
    private static let descriptors: [UInt64] = [
        0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00AF_9B00_0000_FFFF,
        0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF, 0x00AF_FB00_0000_FFFF,
    ]

    private let vm: VirtualMachine
    private let memory: GuestMemory
    /// CPUID as this host's KVM supports it: without it there is no 64-bit mode.
    let cpuid: [CPUIDEntry]
    let canFilterMSRs: Bool
    private var nextID = 0
    /// TR's attributes: an available TSS, or a busy one. VMX enters no guest without the latter (SDM volume 3C,
    /// 26.3.1.2); SVM has no use for it, and QEMU, where it emulates SVM, ends at an exception from CPL 3 with it.
    private var taskAttributes: UInt32 = 0x89

    init(_ kvm: borrowing KVM) throws(KVMError) {
        let vm = try kvm.createVM()
        // What VMX without "unrestricted guest" needs.
        try vm.setTSSAddress(0xFFFB_D000)
        try vm.setIdentityMapAddress(0xFFFB_C000)
        let cpuid = try kvm.supportedCPUID()
        let memory = try GuestMemory(size: Self.readOnly)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
        if kvm.check(.readonlyMem) > 0 {
            let page = try GuestMemory(gpa: Self.readOnly, size: 0x1000)
            try vm.setMemoryRegion(slot: 1, gpa: Self.readOnly, memory: page, flags: .readOnly)
        }
        var canFilter = kvm.check(.x86MSRFilter) > 0 && kvm.check(.x86UserSpaceMSR) > 0
        if canFilter {
            do {
                try vm.enableMSRFilterExits()
                try vm.setMSRFilter(
                    MSRFilter(deniedWrites: [MSRFilter.Range(first: Self.deniedMSR, count: 1)]))
            } catch {
                canFilter = false
            }
        }
        self.vm = vm
        self.memory = memory
        self.cpuid = cpuid
        canFilterMSRs = canFilter
        fill()
    }

    /// A vCPU as at reset. One that has met an error is not used again.
    mutating func makeVCPU() throws(KVMError) -> VCPU {
        let vcpu = try vm.createVCPU(id: nextID)
        nextID += 1
        try vcpu.setCPUID(cpuid)
        return vcpu
    }

    /// Finds what this host wants TR to be, by running a HLT.
    mutating func settleTask() throws(KVMError) {
        for attributes: UInt32 in [0x89, 0x8B] {
            taskAttributes = attributes
            let vcpu = try makeVCPU()
            try prepare(vcpu, [0xF4], .protectedKernel, reset: try vcpu.specialRegisters())
            for _ in 0..<16 {
                switch try vcpu.run() {
                case .hlt: return
                case .interrupted: continue
                default: break
                }
                break
            }
        }
    }

    private func store(_ word: UInt64, _ gpa: UInt64) { _ = try? memory.store(word, at: gpa) }

    private func fill() {
        for vector in 0..<UInt64(Self.vectors) {
            let handler = Self.handlers + vector * 2
            // nop; hlt
            try? memory.write(handler, [0x90, 0xF4])
            // 0000:handler
            try? memory.store(UInt32(handler), at: vector * 4)
            // Interrupt gates of DPL 3, so that INT3 passes at CPL 3, to the 32- and the 64-bit code segment (SDM volume
            // 3A, 6.11 and 6.14.1).
            store(handler | 0x08 << 16 | 0xEE00 << 32, Self.idt32 + vector * 8)
            store(handler | 0x18 << 16 | 0xEE00 << 32, Self.idt64 + vector * 16)
            store(0, Self.idt64 + vector * 16 + 8)
        }
        for (index, descriptor) in Self.descriptors.enumerated() {
            store(descriptor, Self.gdt + UInt64(index) * 8)
        }
        // ESP0 and SS0; RSP0 (SDM volume 3A, 7.2.1 and 7.7). The I/O bitmap is of zeros: ports are free to CPL 3.
        store(Self.kernelStack << 32, Self.tss32)
        store(0x10, Self.tss32 + 8)
        store(Self.kernelStack << 32, Self.tss64)
        store(0, Self.tss64 + 8)
        for tss in [Self.tss32, Self.tss64] { store(0x68 << 48, tss + 0x60) }
        // One page of 2 MiB for CPL 0 and 3, accessed and dirty (SDM volume 3A, 4.5).
        store(Self.pageTables + 0x1000 | 0x27, Self.pageTables)
        store(Self.pageTables + 0x2000 | 0x27, Self.pageTables + 0x1000)
        store(0xE7, Self.pageTables + 0x2000)
    }

    /// Puts `code` at ``entry``, and the vCPU before it.
    func prepare(_ vcpu: VCPU, _ code: [UInt8], _ context: CodeContext, reset: SpecialRegisters)
        throws(KVMError)
    {
        try? memory.write(Self.entry, code)
        var special = reset
        special.gdt = DescriptorTable(base: Self.gdt, limit: UInt16(Self.descriptors.count * 8 - 1))
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        if context != .real {
            special.cr0.insert(.pe)
            special.idt = DescriptorTable(base: Self.idt32, limit: UInt16(Self.vectors * 8 - 1))
            special.tr = Segment(
                base: Self.tss32, limit: 0x8F, selector: 0x38,
                attributes: SegmentAttributes(rawValue: taskAttributes))
        }
        switch context {
        case .longKernel, .longUser, .compatibilityUser:
            special.cr0.insert(.pg)
            special.cr4.insert(.pae)
            special.cr3 = Self.pageTables
            special.efer.formUnion([.lme, .lma])
            special.idt = DescriptorTable(base: Self.idt64, limit: UInt16(Self.vectors * 16 - 1))
            special.tr.base = Self.tss64
        case .real, .virtual8086, .protectedKernel, .protectedUser: break
        }
        for name in SegmentName.allCases where name != .tr && name != .ldt {
            special[name] = Self.segment(context, isCode: name == .cs)
        }
        try vcpu.setSpecialRegisters(special)
        var registers = GeneralRegisters()
        registers.rip = Self.entry
        registers.rsp = Self.stack
        registers.rcx = UInt64(Self.deniedMSR)
        registers.rflags = context == .virtual8086 ? [.reserved1, .vm] : .reserved1
        try vcpu.setRegisters(registers)
    }

    private static func segment(_ context: CodeContext, isCode: Bool) -> Segment {
        let selector: UInt16
        switch context {
        case .real: return .real(0, code: isCode)
        // SDM volume 3A, 26.3.1.2: what VMX asks of segments there.
        case .virtual8086:
            return Segment(
                base: 0, limit: 0xFFFF, selector: 0, attributes: SegmentAttributes(rawValue: 0xF3))
        case .protectedKernel: selector = isCode ? 0x08 : 0x10
        case .longKernel: selector = isCode ? 0x18 : 0x10
        case .protectedUser, .compatibilityUser: selector = isCode ? 0x23 : 0x2B
        case .longUser: selector = isCode ? 0x33 : 0x2B
        }
        let descriptor = descriptors[Int(selector >> 3)]
        return Segment(
            base: 0, limit: 0xFFFF_FFFF, selector: selector,
            attributes: SegmentAttributes(rawValue: UInt32(truncatingIfNeeded: descriptor >> 40 & 0xF0FF)))
    }

    /// The vector whose handler has ended at `rip`.
    static func vector(endingAt rip: UInt64) -> UInt8? {
        guard rip >= handlers, rip <= handlers + UInt64(vectors) * 2 else { return nil }
        return UInt8((rip - handlers - 1) / 2)
    }

    /// Where vector `vector` leads to.
    static func handler(_ vector: UInt8) -> UInt64 { handlers + UInt64(vector) * 2 }
}
