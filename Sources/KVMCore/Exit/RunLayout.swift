import CKVM

/// Where the fields of `struct kvm_run` are, in bytes. CKVM.c asserts each at compile time.
package enum RunLayout {
    package static let requestInterruptWindow = 0
    package static let immediateExit = 1
    package static let exitReason = 8
    package static let readyForInterruptInjection = 12
    package static let interruptFlag = 13
    package static let flags = 14
    package static let cr8 = 16
    package static let apicBase = 24
    /// The union of payloads, and its size.
    package static let payload = 32
    package static let payloadSize = 256
    /// KVM_EXIT_IO: direction, size of an access, port, how many accesses, and where the data is in the mapping.
    package static let ioDirection = 32
    package static let ioSize = 33
    package static let ioPort = 34
    package static let ioCount = 36
    package static let ioDataOffset = 40
    package static let validRegisters = 288
    package static let dirtyRegisters = 296
    package static let registers = 304
    package static let specialRegisters = 448
    package static let events = 760
    /// `struct kvm_sync_regs`: registers, special registers, events.
    package static let syncedRegisters = registers..<events + MemoryLayout<kvm_vcpu_events>.size
    /// `struct kvm_regs`, which is also the argument of KVM_SET_REGS.
    package static let generalRegisters = registers..<registers + MemoryLayout<kvm_regs>.size
    /// RIP in it.
    package static let rip = registers + 128
    package static let size = MemoryLayout<kvm_run>.size
}

extension UnsafeMutableRawBufferPointer {
    /// A little-endian value at a byte offset, aligned or not, read once. The contents are not trusted.
    @inline(__always)
    func field<Value: BitwiseCopyable>(_ offset: Int, as type: Value.Type = Value.self) -> Value {
        // SAFETY: offsets are RunLayout's and payload fields, all inside a page whose length was checked.
        UnsafeRawBufferPointer(self).loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// Stores a value at a byte offset, aligned or not.
    @inline(__always)
    func setField<Value: BitwiseCopyable>(_ offset: Int, _ value: Value) {
        // SAFETY: offsets are RunLayout's and payload fields, all inside a page whose length was checked.
        storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }
}
