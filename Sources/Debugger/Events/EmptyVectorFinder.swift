import DebugTarget
import X86

/// Finds by registers and memory how a vCPU came, or is about to come, to 0000:0000. Changes nothing.
struct EmptyVectorFinder {
    let registers: GeneralRegisters
    let view: LinearMemory

    private var special: SpecialRegisters { view.special }
    private var isReal: Bool { !special.cr0.contains(.pe) }

    /// The entry of a vector in real mode is 0000:0000.
    private func isEmpty(_ vector: UInt8) -> Bool {
        let offset = UInt64(vector) * 4
        guard isReal, offset + 3 <= UInt64(special.idt.limit) else { return false }
        return view.word(special.idt.base &+ offset, size: 4) == 0
    }

    /// Some vector that a BIOS fills holds 0000:0000: one that has not been there, or has gone.
    var hasEmptyVectors: Bool { isReal && (0..<0x20).contains { isEmpty($0) } }

    /// The vCPU is in protected or 64-bit mode, and zeros stand at linear address 0: a jump there leads to no code. Zeros
    /// are instructions (ADD), which would run on to whatever comes after them.
    var hasZerosAtZero: Bool {
        !isReal && !registers.rflags.contains(.vm) && view.word(0, size: 8) == 0 && view.word(8, size: 8) == 0
    }

    /// The software interrupt at hand goes nowhere.
    func atHand(_ opcode: OpcodeClass) -> EmptyVector? {
        guard case .softwareInterrupt(let vector) = opcode, isEmpty(vector) else { return nil }
        // INTO.
        let isInto = view.word(VCPUSnapshot.pc(registers, special), size: 1) == 0xCE
        guard !isInto || registers.rflags.contains(.of) else { return nil }
        return EmptyVector(
            way: .software(vector: vector),
            from: SegmentedAddress(selector: special.cs.selector, offset: registers.rip))
    }

    /// The vCPU has just come to 0000:0000 in real mode, or to zeros at 0 in another; nil where it is somewhere else, or
    /// where code stands there.
    func arrived() -> EmptyVector? {
        guard VCPUSnapshot.pc(registers, special) == 0 else { return nil }
        if hasZerosAtZero {
            return EmptyVector(
                way: .zeros, from: SegmentedAddress(selector: special.cs.selector, offset: registers.rip))
        }
        guard isReal, special.cs.selector == 0 else { return nil }
        guard let pushed = pushed() else {
            return EmptyVector(way: .jump, from: SegmentedAddress(selector: 0, offset: 0))
        }
        if let vector = pushed.software {
            return EmptyVector(way: .software(vector: vector), from: pushed.place)
        }
        let scene = FaultScene(
            registers: pushed.registers, view: LinearMemory(memory: view.memory, special: pushed.special))
        if let link = scene.firstFault()?.link, isEmpty(link.vector), link.cause != .singleStep {
            return EmptyVector(way: .exception(vector: link.vector), from: pushed.place)
        }
        return pushed.mayInterrupt
            ? EmptyVector(way: .interrupt, from: pushed.place)
            : EmptyVector(way: .jump, from: SegmentedAddress(selector: 0, offset: 0))
    }

    /// What lies on the stack, taken for what an interrupt has pushed.
    struct Pushed {
        /// Of the instruction: where an INT stands, or what was interrupted.
        var place: SegmentedAddress
        /// As they were before it.
        var registers: GeneralRegisters
        var special: SpecialRegisters
        /// An INT through an empty vector stands right before the return address.
        var software: UInt8?
        /// IF was set, and is clear: an interrupt came from outside.
        var mayInterrupt: Bool
    }

    func pushed() -> Pushed? {
        func word(_ offset: UInt64) -> UInt64? {
            view.word(special.ss.base &+ (registers.rsp &+ offset) & 0xFFFF, size: 2)
        }
        // Bit 1 of FLAGS is always set, 3, 5 and 15 never. Source: SDM volume 1, 3.4.3.
        guard let ip = word(0), let selector = word(2), let flags = word(4), flags & 0x802A == 2 else {
            return nil
        }
        var old = registers
        old.rip = ip
        old.rsp = registers.rsp & ~0xFFFF | (registers.rsp &+ 6) & 0xFFFF
        old.rflags = RFlags(rawValue: registers.rflags.rawValue & ~0xFFFF | flags)
        var segments = special
        segments.cs = .real(UInt16(selector), code: true)
        let base = segments.cs.base
        func code(_ back: UInt64) -> UInt64? { view.word(base &+ (ip &- back) & 0xFFFF, size: 1) }
        var software: (vector: UInt8, length: UInt64)?
        if code(2) == 0xCD, let vector = code(1).map({ UInt8($0) }), isEmpty(vector) {
            software = (vector, 2)
        }
        if software == nil, code(1) == 0xCC, isEmpty(3) { software = (3, 1) }
        if software == nil, code(1) == 0xCE, isEmpty(4), old.rflags.contains(.of) { software = (4, 1) }
        if let software { old.rip = (ip &- software.length) & 0xFFFF }
        return Pushed(
            place: SegmentedAddress(selector: UInt16(selector), offset: old.rip), registers: old,
            special: segments, software: software?.vector,
            mayInterrupt: old.rflags.contains(.if) && !registers.rflags.contains(.if))
    }
}
