import CKVM
import X86

// The kernel's structures to this project's values and back. Each pair is a round trip, bit for bit.

extension GeneralRegisters {
    @inline(__always)
    init(_ regs: kvm_regs) {
        self.init()
        rax = regs.rax
        rbx = regs.rbx
        rcx = regs.rcx
        rdx = regs.rdx
        rsi = regs.rsi
        rdi = regs.rdi
        rsp = regs.rsp
        rbp = regs.rbp
        r8 = regs.r8
        r9 = regs.r9
        r10 = regs.r10
        r11 = regs.r11
        r12 = regs.r12
        r13 = regs.r13
        r14 = regs.r14
        r15 = regs.r15
        rip = regs.rip
        rflags = RFlags(rawValue: regs.rflags)
    }

    var encoded: kvm_regs {
        kvm_regs(
            rax: rax, rbx: rbx, rcx: rcx, rdx: rdx, rsi: rsi, rdi: rdi, rsp: rsp, rbp: rbp, r8: r8, r9: r9,
            r10: r10, r11: r11, r12: r12, r13: r13, r14: r14, r15: r15, rip: rip, rflags: rflags.rawValue)
    }
}

extension Segment {
    @inline(__always)
    init(_ segment: kvm_segment) {
        var attributes = UInt32(segment.type & 0xF)
        attributes |= UInt32(segment.s & 1) << 4
        attributes |= UInt32(segment.dpl & 3) << 5
        attributes |= UInt32(segment.present & 1) << 7
        attributes |= UInt32(segment.avl & 1) << 12
        attributes |= UInt32(segment.l & 1) << 13
        attributes |= UInt32(segment.db & 1) << 14
        attributes |= UInt32(segment.g & 1) << 15
        attributes |= UInt32(segment.unusable & 1) << 16
        self.init(
            base: segment.base, limit: segment.limit, selector: segment.selector,
            attributes: SegmentAttributes(rawValue: attributes))
    }

    var encoded: kvm_segment {
        func bit(_ value: Bool) -> UInt8 { value ? 1 : 0 }
        return kvm_segment(
            base: base, limit: limit, selector: selector, type: attributes.type,
            present: bit(attributes.isPresent), dpl: attributes.privilege, db: bit(attributes.isBig),
            s: bit(attributes.isCodeOrData), l: bit(attributes.isLong), g: bit(attributes.isPageGranular),
            avl: bit(attributes.isAvailable), unusable: bit(attributes.isUnusable), padding: 0)
    }
}

extension DescriptorTable {
    @inline(__always)
    init(_ table: kvm_dtable) { self.init(base: table.base, limit: table.limit) }

    var encoded: kvm_dtable { kvm_dtable(base: base, limit: limit, padding: (0, 0, 0)) }
}

extension SpecialRegisters {
    @inline(__always)
    init(_ sregs: kvm_sregs) {
        self.init()
        cs = Segment(sregs.cs)
        ds = Segment(sregs.ds)
        es = Segment(sregs.es)
        fs = Segment(sregs.fs)
        gs = Segment(sregs.gs)
        ss = Segment(sregs.ss)
        tr = Segment(sregs.tr)
        ldt = Segment(sregs.ldt)
        gdt = DescriptorTable(sregs.gdt)
        idt = DescriptorTable(sregs.idt)
        cr0 = CR0(rawValue: sregs.cr0)
        cr2 = sregs.cr2
        cr3 = sregs.cr3
        cr4 = CR4(rawValue: sregs.cr4)
        cr8 = sregs.cr8
        efer = EFER(rawValue: sregs.efer)
        apicBase = sregs.apic_base
        let words = sregs.interrupt_bitmap
        interruptBitmap = InterruptBitmap(words: SIMD4(words.0, words.1, words.2, words.3))
    }

    var encoded: kvm_sregs {
        let words = interruptBitmap.words
        return kvm_sregs(
            cs: cs.encoded, ds: ds.encoded, es: es.encoded, fs: fs.encoded, gs: gs.encoded, ss: ss.encoded,
            tr: tr.encoded, ldt: ldt.encoded, gdt: gdt.encoded, idt: idt.encoded, cr0: cr0.rawValue, cr2: cr2,
            cr3: cr3, cr4: cr4.rawValue, cr8: cr8, efer: efer.rawValue, apic_base: apicBase,
            interrupt_bitmap: (words[0], words[1], words[2], words[3]))
    }
}

extension DebugRegisters {
    init(_ registers: kvm_debugregs) {
        self.init()
        dr0 = registers.db.0
        dr1 = registers.db.1
        dr2 = registers.db.2
        dr3 = registers.db.3
        dr6 = registers.dr6
        dr7 = registers.dr7
    }

    var encoded: kvm_debugregs {
        var registers = kvm_debugregs()
        registers.db = (dr0, dr1, dr2, dr3)
        registers.dr6 = dr6
        registers.dr7 = dr7
        return registers
    }
}

extension FPURegisters {
    init(_ fpu: kvm_fpu) {
        self.init()
        // SAFETY: eight slots of 16 bytes, and `st` has eight.
        withUnsafeBytes(of: fpu.fpr) { bytes in
            for index in st.indices {
                st[index] = bytes.loadUnaligned(fromByteOffset: index * 16, as: Slot.self)
            }
        }
        // SAFETY: sixteen slots of 16 bytes, and `xmm` has sixteen.
        withUnsafeBytes(of: fpu.xmm) { bytes in
            for index in xmm.indices {
                xmm[index] = bytes.loadUnaligned(fromByteOffset: index * 16, as: Slot.self)
            }
        }
        controlWord = fpu.fcw
        statusWord = fpu.fsw
        tagWord = fpu.ftwx
        lastOpcode = fpu.last_opcode
        lastInstruction = fpu.last_ip
        lastOperand = fpu.last_dp
        mxcsr = fpu.mxcsr
    }

    /// Nil unless there are eight x87 and sixteen XMM registers.
    var encoded: kvm_fpu? {
        guard st.count == 8, xmm.count == 16 else { return nil }
        var fpu = kvm_fpu()
        // SAFETY: eight slots of 16 bytes, and `st` has eight: checked above.
        withUnsafeMutableBytes(of: &fpu.fpr) { bytes in
            for (index, slot) in st.enumerated() {
                bytes.storeBytes(of: slot, toByteOffset: index * 16, as: Slot.self)
            }
        }
        // SAFETY: sixteen slots of 16 bytes, and `xmm` has sixteen: checked above.
        withUnsafeMutableBytes(of: &fpu.xmm) { bytes in
            for (index, slot) in xmm.enumerated() {
                bytes.storeBytes(of: slot, toByteOffset: index * 16, as: Slot.self)
            }
        }
        fpu.fcw = controlWord
        fpu.fsw = statusWord
        fpu.ftwx = tagWord
        fpu.last_opcode = lastOpcode
        fpu.last_ip = lastInstruction
        fpu.last_dp = lastOperand
        fpu.mxcsr = mxcsr
        return fpu
    }
}

extension VCPUEvents {
    init(_ events: kvm_vcpu_events) {
        self.init()
        exceptionInjected = events.exception.injected != 0
        exceptionPending = events.exception.pending != 0
        exceptionVector = events.exception.nr
        exceptionHasErrorCode = events.exception.has_error_code != 0
        exceptionErrorCode = events.exception.error_code
        exceptionHasPayload = events.exception_has_payload != 0
        exceptionPayload = events.exception_payload
        interruptInjected = events.interrupt.injected != 0
        interruptVector = events.interrupt.nr
        interruptIsSoft = events.interrupt.soft != 0
        interruptShadow = events.interrupt.shadow
        nmiInjected = events.nmi.injected != 0
        nmiPending = events.nmi.pending
        nmiMasked = events.nmi.masked != 0
        sipiVector = events.sipi_vector
        flags = events.flags
        inSystemManagementMode = events.smi.smm != 0
        smiPending = events.smi.pending != 0
        smmInsideNMI = events.smi.smm_inside_nmi != 0
        latchedINIT = events.smi.latched_init != 0
        tripleFaultPending = events.triple_fault.pending != 0
    }

    var encoded: kvm_vcpu_events {
        func bit(_ value: Bool) -> UInt8 { value ? 1 : 0 }
        var events = kvm_vcpu_events()
        events.exception.injected = bit(exceptionInjected)
        events.exception.pending = bit(exceptionPending)
        events.exception.nr = exceptionVector
        events.exception.has_error_code = bit(exceptionHasErrorCode)
        events.exception.error_code = exceptionErrorCode
        events.exception_has_payload = bit(exceptionHasPayload)
        events.exception_payload = exceptionPayload
        events.interrupt.injected = bit(interruptInjected)
        events.interrupt.nr = interruptVector
        events.interrupt.soft = bit(interruptIsSoft)
        events.interrupt.shadow = interruptShadow
        events.nmi.injected = bit(nmiInjected)
        events.nmi.pending = nmiPending
        events.nmi.masked = bit(nmiMasked)
        events.sipi_vector = sipiVector
        events.flags = flags
        events.smi.smm = bit(inSystemManagementMode)
        events.smi.pending = bit(smiPending)
        events.smi.smm_inside_nmi = bit(smmInsideNMI)
        events.smi.latched_init = bit(latchedINIT)
        events.triple_fault.pending = bit(tripleFaultPending)
        return events
    }
}

extension MPState {
    /// The state of a KVM_MP_STATE_* number; ``other(_:)`` for one that x86 does not have.
    public init(rawValue: UInt32) {
        switch rawValue {
        case UInt32(KVM_MP_STATE_RUNNABLE): self = .runnable
        case UInt32(KVM_MP_STATE_UNINITIALIZED): self = .uninitialized
        case UInt32(KVM_MP_STATE_INIT_RECEIVED): self = .initReceived
        case UInt32(KVM_MP_STATE_HALTED): self = .halted
        case UInt32(KVM_MP_STATE_SIPI_RECEIVED): self = .sipiReceived
        default: self = .other(rawValue)
        }
    }

    var rawValue: UInt32 {
        switch self {
        case .runnable: UInt32(KVM_MP_STATE_RUNNABLE)
        case .uninitialized: UInt32(KVM_MP_STATE_UNINITIALIZED)
        case .initReceived: UInt32(KVM_MP_STATE_INIT_RECEIVED)
        case .halted: UInt32(KVM_MP_STATE_HALTED)
        case .sipiReceived: UInt32(KVM_MP_STATE_SIPI_RECEIVED)
        case .other(let rawValue): rawValue
        }
    }
}
