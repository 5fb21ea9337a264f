import CKVM
import SystemPackage

/// Answers to exits that ask something. They take effect when the exit is completed: by the next ``run()`` or by
/// ``completeIO()``.
extension VCPU {
    /// Answers an IN with the low bytes of `value`. Each access of an INS with REP gets the same.
    ///
    /// - Throws: EINVAL if the last exit is not an IN.
    public func answer(io value: UInt32) throws(KVMError) {
        let io = try pendingIn()
        for access in 0..<io.count {
            for byte in 0..<io.size {
                page.bytes[io.offset + access * io.size + byte] =
                    UInt8(truncatingIfNeeded: value >> UInt32(byte * 8))
            }
        }
    }

    /// Answers an IN, also an INS with REP, with all `size * count` bytes.
    ///
    /// - Throws: EINVAL if the last exit is not an IN, or not of that length.
    public func answer(io bytes: [UInt8]) throws(KVMError) {
        let io = try pendingIn()
        guard bytes.count == io.length else {
            throw KVMError(
                "answer IN", .invalidArgument,
                advice: "\(bytes.count) bytes were given, and the guest reads \(io.length)")
        }
        for (index, byte) in bytes.enumerated() { page.bytes[io.offset + index] = byte }
    }

    private func pendingIn() throws(KVMError) -> PortIOFields {
        try require(KVM_EXIT_IO, "answer IN")
        guard let io = PortIOFields(page.bytes), io.direction == .in else {
            throw KVMError("answer IN", .invalidArgument, advice: "the guest writes to the port")
        }
        return io
    }

    /// Answers a read of MMIO with as many low bytes of `value` as the guest reads.
    ///
    /// - Throws: EINVAL if the last exit is not a read of MMIO.
    public func answer(mmio value: UInt64) throws(KVMError) {
        try require(KVM_EXIT_MMIO, "answer MMIO")
        let payload = RunLayout.payload
        guard page.bytes.field(payload + 20, as: UInt8.self) == 0 else {
            throw KVMError("answer MMIO", .invalidArgument, advice: "the guest writes to the address")
        }
        page.bytes.setField(payload + 8, value.littleEndian)
    }

    /// Answers RDMSR with a value.
    ///
    /// - Throws: EINVAL if the last exit is not ``VCPUExit/readMSR(_:)``.
    public func answer(msr value: UInt64) throws(KVMError) {
        try require(KVM_EXIT_X86_RDMSR, "answer RDMSR")
        page.bytes.setField(RunLayout.payload, 0 as UInt8)
        page.bytes.setField(RunLayout.payload + 16, value)
    }

    /// Lets a WRMSR pass as done.
    ///
    /// - Throws: EINVAL if the last exit is not ``VCPUExit/writeMSR(_:)``.
    public func acceptMSR() throws(KVMError) {
        try require(KVM_EXIT_X86_WRMSR, "accept WRMSR")
        page.bytes.setField(RunLayout.payload, 0 as UInt8)
    }

    /// Answers RDMSR or WRMSR with a general-protection exception in the guest.
    ///
    /// - Throws: EINVAL if the last exit is neither.
    public func refuseMSR() throws(KVMError) {
        if page.bytes.field(RunLayout.exitReason, as: UInt32.self) != UInt32(KVM_EXIT_X86_WRMSR) {
            try require(KVM_EXIT_X86_RDMSR, "refuse an MSR")
        } else {
            try require(KVM_EXIT_X86_WRMSR, "refuse an MSR")
        }
        page.bytes.setField(RunLayout.payload, 1 as UInt8)
    }

    /// Answers a hypercall with the value that the guest gets in RAX.
    ///
    /// - Throws: EINVAL if the last exit is not ``VCPUExit/hypercall(_:)``.
    public func answer(hypercall value: UInt64) throws(KVMError) {
        try require(KVM_EXIT_HYPERCALL, "answer a hypercall")
        page.bytes.setField(RunLayout.payload + 56, value)
    }

    private func require(_ reason: Int32, _ operation: String) throws(KVMError) {
        let last = ExitReason(rawValue: page.bytes.field(RunLayout.exitReason))
        guard isIOPending, last.rawValue == UInt32(reason) else {
            throw KVMError(
                operation, .invalidArgument,
                advice: isIOPending ? "the last exit was \(last)" : "no exit waits for an answer")
        }
    }
}
