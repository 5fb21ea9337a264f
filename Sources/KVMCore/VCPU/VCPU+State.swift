import CKVM
import SystemPackage
public import X86

/// The value of one model-specific register.
public struct MSRValue: Sendable, Hashable {
    /// Its number.
    public var index: UInt32
    /// What it holds.
    public var value: UInt64
    /// - Parameters:
    ///   - index: its number.
    ///   - value: what it holds.
    public init(index: UInt32, value: UInt64) {
        self.index = index
        self.value = value
    }
}

/// An extended control register; 0 is XCR0. Source: SDM volume 3A, 2.6.
public struct XCR: Sendable, Hashable {
    /// Its number.
    public var index: UInt32
    /// What it holds.
    public var value: UInt64
    /// - Parameters:
    ///   - index: its number.
    ///   - value: what it holds.
    public init(index: UInt32, value: UInt64) {
        self.index = index
        self.value = value
    }
}

/// The XSAVE area in its standard form. Source: SDM volume 1, 13.4.
public struct XSAVEArea: Sendable, Hashable {
    /// 4096 bytes, or as many as ``Capability/xsave2`` says.
    public var bytes: [UInt8]
    /// - Parameter bytes: 4096, or as many as ``Capability/xsave2`` says.
    public init(bytes: [UInt8]) { self.bytes = bytes }
}

extension VCPU {
    /// x87 and SSE registers.
    ///
    /// Corresponds to `KVM_GET_XSAVE`, as `KVM_GET_FPU` leaves out MXCSR and gives stale bytes for what is as at
    /// reset; to `KVM_GET_FPU` where there is no XSAVE.
    public func fpu() throws(KVMError) -> FPURegisters {
        if let area = try xsaveWhereThereIs(), let registers = FPURegisters(area) { return registers }
        var argument = kvm_fpu()
        try handle.call(.getFPU, &argument)
        return FPURegisters(argument)
    }

    /// - Throws: EINVAL for an `st` that has not eight slots or an `xmm` that has not sixteen, or for reserved
    ///   bits of MXCSR.
    ///
    /// Corresponds to `KVM_SET_XSAVE`, as `KVM_SET_FPU` leaves out MXCSR and does not mark the state as in use, so
    /// that the guest would not see it; to `KVM_SET_FPU` where there is no XSAVE.
    public func setFPU(_ registers: FPURegisters) throws(KVMError) {
        guard var argument = registers.encoded else {
            throw KVMError(
                Request.setFPU.name, .invalidArgument,
                advice: "there are 8 x87 and 16 XMM registers, not \(registers.st.count) and "
                    + "\(registers.xmm.count)")
        }
        if var area = try xsaveWhereThereIs(), area.set(registers) { return try setXSAVE(area) }
        try handle.call(.setFPU, &argument)
    }

    /// Nil where the kernel has no such call; what else fails is an error.
    private func xsaveWhereThereIs() throws(KVMError) -> XSAVEArea? {
        do {
            return try xsave()
        } catch  where error.errno == .inappropriateIOCTLForDevice {
            return nil
        }
    }

    /// All extended state.
    ///
    /// Corresponds to `KVM_GET_XSAVE2`, or on kernels without it `KVM_GET_XSAVE`; needs KVM_CAP_XSAVE2 or
    /// KVM_CAP_XSAVE.
    public func xsave() throws(KVMError) -> XSAVEArea {
        var bytes = [UInt8](repeating: 0, count: max(xsaveSize, MemoryLayout<kvm_xsave>.size))
        try handle.call(xsaveSize > 0 ? .getXSave2 : .getXSave, bytes: &bytes)
        return XSAVEArea(bytes: bytes)
    }

    /// - Throws: EINVAL for an area of another size, or features that the guest does not have.
    ///
    /// Corresponds to `KVM_SET_XSAVE`; needs KVM_CAP_XSAVE.
    public func setXSAVE(_ area: XSAVEArea) throws(KVMError) {
        // The kernel reads as many bytes as KVM_CAP_XSAVE2 says, however many there are.
        let size = max(xsaveSize, MemoryLayout<kvm_xsave>.size)
        guard area.bytes.count == size else {
            throw KVMError(
                Request.setXSave.name, .invalidArgument,
                advice: "the area has \(area.bytes.count) bytes, and this VM's has \(size)")
        }
        var bytes = area.bytes
        try handle.call(.setXSave, bytes: &bytes) { errno in
            errno == .invalidArgument ? "it has features or MXCSR bits that this vCPU does not have" : nil
        }
    }

    /// The extended control registers that there are. Corresponds to `KVM_GET_XCRS`; needs KVM_CAP_XCRS.
    public func xcrs() throws(KVMError) -> [XCR] {
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<kvm_xcrs>.size)
        try handle.call(.getXCRs, bytes: &bytes)
        let count = min(Int(bytes.load(0, as: UInt32.self)), Int(KVM_MAX_XCRS))
        return (0..<count).map { XCR(index: bytes.load(8 + $0 * 16), value: bytes.load(16 + $0 * 16)) }
    }

    /// - Throws: EINVAL for a register or bits that the guest's CPUID does not have, or more than 16.
    ///
    /// Corresponds to `KVM_SET_XCRS`; needs KVM_CAP_XCRS.
    public func setXCRs(_ registers: [XCR]) throws(KVMError) {
        guard registers.count <= Int(KVM_MAX_XCRS) else {
            throw KVMError(
                Request.setXCRs.name, .invalidArgument, advice: "there are \(KVM_MAX_XCRS) at most")
        }
        var bytes = [UInt8](repeating: 0, count: MemoryLayout<kvm_xcrs>.size)
        bytes.store(UInt32(registers.count), at: 0)
        for (index, register) in registers.enumerated() {
            bytes.store(register.index, at: 8 + index * 16)
            bytes.store(register.value, at: 16 + index * 16)
        }
        try handle.call(.setXCRs, bytes: &bytes) { errno in
            errno == .invalidArgument ? "XCR0 has bit 0 set, and no bits that the guest's CPUID lacks" : nil
        }
        // CR4.OSXSAVE and CPUID go with it.
        forgetRegisters()
    }

    // MARK: MSRs

    /// One model-specific register.
    ///
    /// - Throws: EINVAL where the vCPU does not have it.
    ///
    /// Corresponds to `KVM_GET_MSRS`.
    public func msr(_ index: UInt32) throws(KVMError) -> UInt64 {
        try msrs([index])[0]
    }

    /// Model-specific registers, in the order asked for.
    ///
    /// - Throws: EINVAL where the vCPU does not have one of them, with its number.
    ///
    /// Corresponds to `KVM_GET_MSRS`.
    public func msrs(_ indices: [UInt32]) throws(KVMError) -> [UInt64] {
        var values: [UInt64] = []
        values.reserveCapacity(indices.count)
        for chunk in indices.chunks(of: Self.msrsAtOnce) {
            let request = chunk.map { MSRValue(index: $0, value: 0) }
            var bytes = ByteCoding.encode(msrs: request[...])
            let done = Int(try handle.call(.getMSRs, bytes: &bytes))
            guard done == chunk.count else {
                let failed = chunk[chunk.startIndex + min(done, chunk.count - 1)]
                throw KVMError(
                    Request.getMSRs.name, .invalidArgument,
                    advice: "the vCPU has no MSR 0x\(String(failed, radix: 16))")
            }
            values += ByteCoding.decodeMSRValues(bytes)
        }
        return values
    }

    /// Sets one model-specific register.
    ///
    /// - Throws: EINVAL where the vCPU does not have it or does not take the value.
    ///
    /// Corresponds to `KVM_SET_MSRS`.
    public func setMSR(_ index: UInt32, _ value: UInt64) throws(KVMError) {
        try setMSRs([MSRValue(index: index, value: value)])
    }

    /// Sets model-specific registers in order, as the guest's WRMSR would but for read-only ones.
    ///
    /// - Throws: EINVAL at the first that the vCPU does not have or whose value it does not take; those before
    ///   it are set.
    ///
    /// Corresponds to `KVM_SET_MSRS`.
    public func setMSRs(_ registers: [MSRValue]) throws(KVMError) {
        // EFER, the bases of FS and GS, and the APIC base are MSRs too.
        defer { forgetRegisters() }
        for chunk in registers.chunks(of: Self.msrsAtOnce) {
            var bytes = ByteCoding.encode(msrs: chunk)
            let done = Int(try handle.call(.setMSRs, bytes: &bytes))
            guard done == chunk.count else {
                let failed = chunk[chunk.startIndex + min(done, chunk.count - 1)]
                throw KVMError(
                    Request.setMSRs.name, .invalidArgument,
                    advice: "MSR 0x\(String(failed.index, radix: 16)) does not exist or does not take "
                        + "0x\(String(failed.value, radix: 16))")
            }
        }
    }

    /// MAX_IO_MSRS of the kernel, which answers E2BIG to more.
    private static let msrsAtOnce = 256

    // MARK: CPUID, local APIC, TSC

    /// What CPUID answers the guest: what was set, with the bits that follow the vCPU's state (OSXSAVE, the size of the
    /// XSAVE area) as they are now, and without leaves that the guest could not use. Corresponds to `KVM_GET_CPUID2`; needs KVM_CAP_EXT_CPUID.
    public func cpuid() throws(KVMError) -> [CPUIDEntry] {
        try handle.cpuidEntries(.getCPUID2)
    }

    /// Sets what CPUID answers the guest, best from ``KVM/supportedCPUID()``. Before the first run: later only
    /// the same entries are taken (older kernels take others too, with an effect that is not defined).
    ///
    /// - Throws: E2BIG for more than 256 entries; EINVAL after the first run, or for
    ///   contradictions.
    ///
    /// Corresponds to `KVM_SET_CPUID2`; needs KVM_CAP_EXT_CPUID.
    public func setCPUID(_ entries: [CPUIDEntry]) throws(KVMError) {
        var bytes = ByteCoding.encode(cpuid: entries, capacity: entries.count)
        try handle.call(.setCPUID2, bytes: &bytes) { errno in
            switch errno {
            case .argListTooLong:
                "\(entries.count) entries are more than KVM takes (256)"
            case .invalidArgument:
                "CPUID cannot change once the vCPU has run, or an entry contradicts another"
            default: nil
            }
        }
        forgetRegisters()
    }

    /// The local APIC's registers.
    ///
    /// - Throws: EINVAL without one in the kernel.
    ///
    /// Corresponds to `KVM_GET_LAPIC`; needs KVM_CAP_IRQCHIP.
    public func localAPIC() throws(KVMError) -> LocalAPICState {
        var bytes = [UInt8](repeating: 0, count: LocalAPICState.size)
        try handle.call(.getLAPIC, bytes: &bytes, advice: Self.localAPICAdvice)
        guard let state = LocalAPICState(bytes: bytes) else {
            throw KVMError(Request.getLAPIC.name, .invalidArgument)
        }
        return state
    }

    /// - Throws: EINVAL without one in the kernel, or for another APIC id.
    ///
    /// Corresponds to `KVM_SET_LAPIC`; needs KVM_CAP_IRQCHIP.
    public func setLocalAPIC(_ state: LocalAPICState) throws(KVMError) {
        var bytes = state.bytes
        try handle.call(.setLAPIC, bytes: &bytes, advice: Self.localAPICAdvice)
        forgetRegisters()
    }

    private static func localAPICAdvice(_ errno: Errno) -> String? {
        errno == .invalidArgument
            ? "the vCPU has no local APIC in the kernel (make the interrupt controllers before the vCPU)"
            : nil
    }

    /// The guest's TSC frequency in kHz. Corresponds to `KVM_GET_TSC_KHZ`; needs KVM_CAP_GET_TSC_KHZ.
    ///
    /// - Throws: EIO where the host's TSC is not stable.
    public func tscKHz() throws(KVMError) -> UInt32 {
        UInt32(try handle.call(.getTSCKHz, advice: Self.tscAdvice))
    }

    /// Sets the guest's TSC frequency in kHz; 0 is the host's.
    ///
    /// - Throws: EINVAL for a frequency that the host cannot give its guests (KVM_CAP_TSC_CONTROL).
    ///
    /// Corresponds to `KVM_SET_TSC_KHZ`; needs KVM_CAP_TSC_CONTROL for another frequency than the host's.
    public func setTSCKHz(_ frequency: UInt32) throws(KVMError) {
        try handle.call(.setTSCKHz, value: UInt(frequency), advice: Self.tscAdvice)
    }

    private static func tscAdvice(_ errno: Errno) -> String? {
        switch errno {
        case .ioError: "the host's TSC is not stable"
        case .invalidArgument: "the host cannot give its guests this frequency (KVM_CAP_TSC_CONTROL)"
        default: nil
        }
    }

    // MARK: Interrupts

    /// Gives the guest an external interrupt. It must be ready: ``isReadyForInterrupt``; the kernel does not
    /// ask, and one that is on its way already is replaced.
    ///
    /// - Throws: ENXIO with interrupt controllers in the kernel; with a local APIC alone there, EEXIST if one
    ///   is on its way.
    ///
    /// Corresponds to `KVM_INTERRUPT`.
    public func interrupt(vector: UInt8) throws(KVMError) {
        var argument = kvm_interrupt(irq: UInt32(vector))
        try handle.call(.interrupt, &argument) { errno in
            switch errno {
            case .noSuchAddressOrDevice:
                "the interrupt controllers are in the kernel; raise one of their lines (KVM_IRQ_LINE)"
            case .fileExists: "an interrupt is on its way already"
            default: nil
            }
        }
        dropWaiting(Self.syncEvents)
        forgetRegisters()
    }

    /// Gives the guest a non-maskable interrupt. Corresponds to `KVM_NMI`; needs KVM_CAP_USER_NMI.
    public func nmi() throws(KVMError) {
        try handle.call(.nmi)
        forgetRegisters()
    }

    /// Counters that the kernel keeps for this vCPU. Corresponds to `KVM_GET_STATS_FD`; needs
    /// KVM_CAP_BINARY_STATS_FD.
    public func statistics() throws(KVMError) -> StatisticsReader {
        try StatisticsReader(of: handle)
    }
}

extension Array {
    fileprivate func chunks(of size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}
