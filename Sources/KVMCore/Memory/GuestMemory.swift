import SystemPackage

/// An access to guest-physical addresses that this memory does not have.
public struct GuestMemoryError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The first address that is not there.
    public var gpa: UInt64
    /// Where the access began, and how many bytes it wanted.
    public var start: UInt64
    /// How many bytes it wanted.
    public var count: Int
    /// The memory that there is.
    public var memory: Range<UInt64>

    /// - Parameters:
    ///   - gpa: the first address that is not there.
    ///   - start: where the access began.
    ///   - count: how many bytes it wanted.
    ///   - memory: the memory that there is.
    public init(gpa: UInt64, start: UInt64, count: Int, memory: Range<UInt64>) {
        self.gpa = gpa
        self.start = start
        self.count = count
        self.memory = memory
    }

    /// The addresses in hexadecimal: one line for people.
    public var description: String {
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        return
            "no memory at guest-physical \(hex(gpa)) (\(count) bytes from \(hex(start)); "
            + "there is \(hex(memory.lowerBound)) to \(hex(memory.upperBound &- 1)))"
    }
}

/// RAM or ROM of a guest: memory of this process, addressed by guest-physical address.
///
/// It takes host memory only where it is touched, and starts as zeroes. A VM that it is registered with, and
/// each vCPU of that VM, keep it alive.
// SAFETY: the object never changes after init. The bytes behind it may be changed by the guest, and by other
// threads, at any time; they are only ever copied in and out as raw bytes that have no invalid values.
public final class GuestMemory: @unchecked Sendable {
    private let mapping: Mapping
    /// The guest-physical address of the first byte.
    public let gpa: UInt64
    /// In bytes.
    public let size: UInt64

    /// - Parameters:
    ///   - gpa: where the guest sees it; a multiple of 4096.
    ///   - size: in bytes; a multiple of 4096, not zero.
    /// - Throws: EINVAL for an unaligned, empty or wrapping range; ENOMEM where the host refuses.
    public init(gpa: UInt64 = 0, size: UInt64) throws(KVMError) {
        guard size > 0, size % 4096 == 0, gpa % 4096 == 0, size <= UInt64(Int.max),
            !gpa.addingReportingOverflow(size).overflow
        else {
            throw KVMError(
                "make \(size) bytes of guest memory at 0x\(String(gpa, radix: 16))", .invalidArgument,
                advice: "address and size must be multiples of 4096, and the size not 0")
        }
        mapping = try Mapping(anonymous: Int(size))
        self.gpa = gpa
        self.size = size
    }

    /// Where the memory is in this process. Valid as long as this object.
    public var hostAddress: UInt { UInt(bitPattern: mapping.address) }

    /// The guest-physical addresses.
    public var range: Range<UInt64> { gpa..<gpa + size }

    /// Where `count` bytes from `gpa` on are, counted from the start of the memory.
    @inline(__always)
    private func offset(_ gpa: UInt64, _ count: Int) throws(GuestMemoryError) -> Int {
        let offset = gpa &- self.gpa
        guard gpa >= self.gpa, offset <= size, count >= 0, UInt64(count) <= size - offset else {
            let isStartInside = range.contains(gpa)
            throw GuestMemoryError(
                gpa: isStartInside ? range.upperBound : gpa, start: gpa, count: count, memory: range)
        }
        return Int(offset)
    }

    /// Fills `buffer` from `gpa` on, or throws and leaves it as it was.
    public func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(GuestMemoryError) {
        let offset = try offset(gpa, buffer.count)
        // SAFETY: offset and count were checked against the mapping.
        buffer.copyMemory(
            from: UnsafeRawBufferPointer(start: mapping.address + offset, count: buffer.count))
    }

    /// `count` bytes from `gpa` on.
    public func read(_ gpa: UInt64, count: Int) throws(GuestMemoryError) -> [UInt8] {
        let offset = try offset(gpa, count)
        // SAFETY: offset and count were checked against the mapping.
        return Array(UnsafeRawBufferPointer(start: mapping.address + offset, count: count))
    }

    /// Writes all of `bytes`, or throws and writes none.
    public func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(GuestMemoryError) {
        let offset = try offset(gpa, bytes.count)
        guard let source = bytes.baseAddress else { return }
        // SAFETY: offset and count were checked against the mapping.
        (mapping.address + offset).copyMemory(from: source, byteCount: bytes.count)
    }

    /// Writes all of `bytes`, or throws and writes none.
    public func write(_ gpa: UInt64, _ bytes: [UInt8]) throws(GuestMemoryError) {
        let offset = try offset(gpa, bytes.count)
        // SAFETY: offset and count were checked against the mapping.
        bytes.withUnsafeBytes { source in
            guard let start = source.baseAddress else { return }
            (mapping.address + offset).copyMemory(from: start, byteCount: source.count)
        }
    }

    /// Makes all of it zeroes again, and gives the host's memory back. No vCPU may be in the guest.
    ///
    /// Corresponds to `madvise` with `MADV_REMOVE`, which KVM follows (its MMU notifier).
    public func clear() throws(KVMError) { try mapping.clear() }

    /// A little-endian integer, aligned or not.
    public func load<Value: FixedWidthInteger & BitwiseCopyable>(
        _ gpa: UInt64, as type: Value.Type = Value.self
    ) throws(GuestMemoryError) -> Value {
        let offset = try offset(gpa, MemoryLayout<Value>.size)
        // SAFETY: offset and size were checked against the mapping.
        return Value(littleEndian: mapping.address.loadUnaligned(fromByteOffset: offset, as: type))
    }

    /// Eight bytes as a little-endian integer, aligned or not; nil where they are not all inside.
    package func word(_ gpa: UInt64) -> UInt64? {
        guard let offset = try? offset(gpa, 8) else { return nil }
        // SAFETY: offset and size were checked against the mapping.
        return UInt64(littleEndian: mapping.address.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Stores a little-endian integer, aligned or not.
    public func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at gpa: UInt64)
        throws(GuestMemoryError)
    {
        let offset = try offset(gpa, MemoryLayout<Value>.size)
        // SAFETY: offset and size were checked against the mapping.
        mapping.address.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
    }

    /// Lends `count` bytes from `gpa` on, which the guest may change meanwhile. The pointer must not leave
    /// `body`.
    public func withBytes<Result>(
        _ gpa: UInt64, count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Result
    ) throws(GuestMemoryError) -> Result {
        let offset = try offset(gpa, count)
        // SAFETY: offset and count were checked against the mapping.
        return body(UnsafeMutableRawBufferPointer(start: mapping.address + offset, count: count))
    }
}
