import Disassembler
import KVMCore
import X86

/// The state that a fault is looked for in.
struct FaultScene {
    let registers: GeneralRegisters
    let view: LinearMemory
    /// What the kernel had on its way into the guest.
    var events: VCPUEvents?
    /// The bytes at the instruction where they are known from before; else memory is read.
    var bytes: [UInt8]?

    var special: SpecialRegisters { view.special }
    var delivery: InterruptDelivery { InterruptDelivery(registers: registers, view: view) }
    var mode: CPUMode { CPUMode(registers, special) }
    var file: RegisterFile { RegisterFile(general: registers, special: special) }
    var pc: UInt64 { VCPUSnapshot.pc(registers, special) }

    /// The instruction that the vCPU stands at; nil where none of its bytes can be read.
    var instruction: Instruction? {
        let code = bytes ?? Array(view.read(pc, count: Instruction.maximumLength, .linear(pc)).leading)
        guard !code.isEmpty else { return nil }
        return Disassembler().decode(code, at: registers.rip, DecodeMode(registers, special))
    }
}

extension FaultChain {
    /// What leads from the instruction that a vCPU stands at to a triple fault.
    ///
    /// Found by looking: the processor does not tell. The first exception is what the instruction must raise in
    /// this state; each further one is what delivering the one before raises. Source: SDM volume 3A, 6.15, table 6-5.
    init(_ scene: FaultScene) {
        self.init(links: [], end: .unknown)
        guard let first = scene.firstFault() else { return }
        links.append(first.link)
        var isSoftware = first.isSoftware
        let delivery = scene.delivery
        // Benign, contributory or page fault, double fault, shutdown: each link is worse than the one before, but a
        // page fault may follow a contributory exception without a double fault.
        while links.count < 8, let last = links.last {
            let outcome = delivery.deliver(last.vector, errorCode: last.errorCode, isSoftware: isSoftware)
            isSoftware = false
            switch outcome {
            case .arrives(let arrival):
                end = .reachesHandler(linear: arrival.linear)
                return
            case .taskGate(let selector):
                end = .taskGate(selector: selector)
                return
            case .unreadable(let gpa):
                end = .unreadable(gpa: gpa)
                return
            case .faults(let next):
                links.append(next)
                guard last.vector != 8 else {
                    end = .shutdown
                    return
                }
                if Self.isDouble(last.vector, next.vector) {
                    let code: UInt32? = scene.special.cr0.contains(.pe) ? 0 : nil
                    links.append(Link(vector: 8, errorCode: code, cause: nil))
                }
            }
        }
    }

    /// Whether the second exception, raised while the first is delivered, makes a double fault of both.
    static func isDouble(_ first: UInt8, _ second: UInt8) -> Bool {
        switch first {
        case 0, 10, 11, 12, 13: [0, 10, 11, 12, 13].contains(second)
        case 14, 20: [0, 10, 11, 12, 13, 14, 20].contains(second)
        default: false
        }
    }
}

extension FaultScene {
    struct First {
        var link: FaultChain.Link
        /// By INT n or its kin.
        var isSoftware = false
    }

    private func first(_ vector: UInt8, _ code: UInt32?, _ cause: FaultCause) -> First {
        let hasCodes = special.cr0.contains(.pe)
        return First(
            link: FaultChain.Link(vector: vector, errorCode: hasCodes ? code : nil, cause: cause))
    }

    /// The exception that the instruction raises, or the interrupt that came before it.
    func firstFault() -> First? {
        if let fetch = fetchFault(at: registers.rip) { return fetch }
        guard let instruction else { return nil }
        switch instruction.validity {
        case .valid: break
        case .truncated:
            return fetchFault(at: registers.rip &+ UInt64(instruction.length))
                ?? fetchFault(at: registers.rip &+ UInt64(Instruction.maximumLength - 1))
        case .bad: return first(6, nil, .undefinedInstruction)
        }
        if let end = fetchFault(at: registers.rip &+ UInt64(instruction.length - 1)) { return end }
        if ["ud0", "ud1", "ud2"].contains(instruction.mnemonic.lowercased()) {
            return first(6, nil, .undefinedInstruction)
        }
        if let vector = instruction.interruptVector,
            vector != 4 || instruction.mnemonic != "into" || registers.rflags.contains(.of)
        {
            return First(
                link: FaultChain.Link(vector: vector, errorCode: nil, cause: .softwareInterrupt),
                isSoftware: true)
        }
        if let fault = privilegeFault(instruction) { return fault }
        for operand in instruction.memory where !operand.isAddressOnly {
            if let fault = accessFault(operand) { return fault }
        }
        if let fault = divideFault(instruction) ?? selectorFault(instruction) ?? registerFault(instruction) {
            return fault
        }
        return externalInterrupt()
    }

    // MARK: fetching

    private func fetchFault(at ip: UInt64) -> First? {
        let isLong = mode == .long64
        let offset = isLong ? ip : ip & 0xFFFF_FFFF
        if !isLong, offset > UInt64(special.cs.limit) {
            return first(13, 0, .codeLimit(offset: offset, limit: special.cs.limit))
        }
        let linear = special.linear(.cs, offset, mode: mode)
        let walk = view.walk(linear)
        let isUser = delivery.cpl == 3
        switch walk.outcome {
        case .mapped(let mapping):
            let isAllowed =
                mapping.isExecutable && (mapping.isUser || !isUser)
                && !(mapping.isUser && !isUser && special.cr4.contains(.smep))
            guard special.cr0.contains(.pg), !isAllowed else { return nil }
        case .nonCanonical: return first(13, 0, .nonCanonical(linear))
        case .unreadable: return nil
        case .notPresent, .reservedBits: break
        }
        let code = InterruptDelivery.pageError(
            walk, isWrite: false, isUser: isUser, isFetch: special.efer.contains(.nxe) && usesPAE)
        return first(14, code, .codePage(walk))
    }

    private var usesPAE: Bool { special.cr4.contains(.pae) }

    // MARK: data

    private func accessFault(_ operand: MemoryOperand) -> First? {
        guard let offset = operand.offset(in: file) else { return nil }
        let vector: UInt8 = operand.segment == .ss ? 12 : 13
        let segment = special[operand.segment]
        if mode != .long64 {
            if special.cr0.contains(.pe), !delivery.isVirtual {
                if segment.attributes.isUnusable {
                    return first(vector, 0, .unusableSegment(operand.segment))
                }
                if operand.isWritten, !segment.attributes.isWritableData {
                    return first(vector, 0, .readOnlySegment(operand.segment))
                }
            }
            let last = offset &+ UInt64(max(operand.size, 1)) - 1
            let limit = UInt64(segment.limit)
            let expandsDown = segment.attributes.isCodeOrData && segment.attributes.type & 0xC == 4
            if expandsDown ? offset <= limit : last > limit {
                return first(
                    vector, 0, .segmentLimit(operand.segment, offset: offset, limit: segment.limit))
            }
        }
        let linear = special.linear(operand.segment, offset, mode: mode)
        for place in [linear, view.cut(linear &+ UInt64(max(operand.size, 1) - 1))] {
            if let fault = pageFault(place, isWrite: operand.isWritten, stack: operand.segment == .ss) {
                return fault
            }
        }
        return nil
    }

    private func pageFault(_ linear: UInt64, isWrite: Bool, stack: Bool) -> First? {
        guard special.cr0.contains(.pg) else { return nil }
        let walk = view.walk(linear)
        let isUser = delivery.cpl == 3
        switch walk.outcome {
        case .mapped(let mapping):
            let isDenied =
                isUser && !mapping.isUser
                || isWrite && !mapping.isWritable && (isUser || special.cr0.contains(.wp))
                || !isUser && mapping.isUser && special.cr4.contains(.smap) && !registers.rflags.contains(.ac)
            guard isDenied else { return nil }
        case .nonCanonical: return first(stack ? 12 : 13, 0, .nonCanonical(linear))
        case .unreadable: return nil
        case .notPresent, .reservedBits: break
        }
        let code = InterruptDelivery.pageError(walk, isWrite: isWrite, isUser: isUser)
        return first(14, code, .dataPage(walk, isWrite: isWrite))
    }

    // MARK: what else an instruction may not do

    private func privilegeFault(_ instruction: Instruction) -> First? {
        let cpl = special.cr0.contains(.pe) ? delivery.cpl : 0
        if instruction.traits.contains(.privileged), cpl != 0 { return first(13, 0, .privilege(cpl: cpl)) }
        let needsIOPL =
            instruction.traits.contains(.portIO) || ["cli", "sti"].contains(instruction.mnemonic)
        if needsIOPL, cpl > registers.rflags.iopl {
            return first(13, 0, .portPrivilege(cpl: cpl, iopl: registers.rflags.iopl))
        }
        return nil
    }

    private func registerFault(_ instruction: Instruction) -> First? {
        switch instruction.mnemonic {
        case "wrmsr", "rdmsr": first(13, 0, .msr(UInt32(truncatingIfNeeded: registers.rcx)))
        case "mov" where instruction.traits.contains(.writesControl): first(13, 0, .control)
        case "lmsw", "xsetbv": first(13, 0, .control)
        default: nil
        }
    }

    private func externalInterrupt() -> First? {
        var vector: UInt8?
        if let events, events.interruptInjected { vector = events.interruptVector }
        if let events, events.nmiInjected { vector = 2 }
        if let events, events.exceptionInjected || events.exceptionPending {
            let code = events.exceptionHasErrorCode ? events.exceptionErrorCode : nil
            return First(
                link: FaultChain.Link(vector: events.exceptionVector, errorCode: code, cause: nil))
        }
        vector = vector ?? (0...255).first { special.interruptBitmap[$0] }
        return vector.map { First(link: FaultChain.Link(vector: $0, errorCode: nil, cause: .external)) }
    }
}
