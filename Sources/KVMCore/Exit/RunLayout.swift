import CKVM

/// Where the fields of `struct kvm_run` are, in bytes. CKVM.c asserts each at compile time.
enum RunLayout {
    static let requestInterruptWindow = 0
    static let immediateExit = 1
    static let exitReason = 8
    static let readyForInterruptInjection = 12
    static let interruptFlag = 13
    static let flags = 14
    static let cr8 = 16
    static let apicBase = 24
    /// The union of payloads, and its size.
    static let payload = 32
    static let payloadSize = 256
    static let validRegisters = 288
    static let registers = 304
    static let specialRegisters = 448
    static let events = 760
    static let size = MemoryLayout<kvm_run>.size
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
