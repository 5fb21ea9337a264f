import CLinux
import Glibc
import KVMCore

/// The `kvm_run` of another program's vCPU, shared with it and with the kernel; unmapped once.
///
/// Offsets are those of `struct kvm_run` (Documentation/virt/kvm/api.rst, section 5).
struct SharedRunPage: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer

    enum Offset {
        static let immediateExit = 1
        static let exitReason = 8
        static let payload = 32
        static let validRegisters = 288
        static let registers = 304
        static let specialRegisters = 448
        /// `struct kvm_sync_regs`: registers, special registers, events.
        static let registerArea = 304..<824
        /// `struct kvm_run` ends at 2352. From here to the end of the page of I/O data nothing is in use while
        /// the vCPU is stopped.
        static let scratch = 2432
    }

    /// - Parameter descriptor: the vCPU's, in this process.
    init(descriptor: Int32, size: Int) throws(AttachError) {
        guard size >= 2 * 4096 else {
            throw AttachError(.unsupported, "kvm_run is \(size) bytes long, two pages at least were expected")
        }
        var address: UnsafeMutableRawPointer?
        let result = clinux_map_shared(descriptor, size, 1, &address)
        guard result >= 0, let address else {
            throw AttachError(
                .notPermitted, "the vCPU's kvm_run cannot be mapped (\(String(cString: strerror(-result))))")
        }
        bytes = UnsafeMutableRawBufferPointer(start: address, count: size)
    }

    deinit {
        // SAFETY: made by mmap with this size, and not unmapped elsewhere: the type is not copyable.
        _ = clinux_unmap(bytes.baseAddress, bytes.count)
    }

    func load<Value: BitwiseCopyable>(_ offset: Int, as type: Value.Type = Value.self) -> Value {
        UnsafeRawBufferPointer(bytes).loadUnaligned(fromByteOffset: offset, as: type)
    }

    func store<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
        bytes.storeBytes(of: value, toByteOffset: offset, as: Value.self)
    }

    /// Our bit of `immediate_exit`: the kernel asks only whether the byte is zero, VMMs store 1 or 0.
    private static let completing: UInt8 = 0x80

    /// Makes the next KVM_RUN complete what is pending, and return at once.
    func setImmediateExit() {
        // SAFETY: the mapping is two pages long at least.
        clinux_or_byte(bytes.baseAddress.map { $0 + Offset.immediateExit }, Self.completing)
    }

    /// Takes our bit back; a kick that the VMM has asked for meanwhile stays.
    func clearImmediateExit() {
        // SAFETY: as above.
        clinux_and_byte(bytes.baseAddress.map { $0 + Offset.immediateExit }, ~Self.completing)
    }

    var exitReason: UInt32 { load(Offset.exitReason) }

    /// Whether the guest cannot go on from the exit by itself: what becomes of it is the VMM's to say, and it may be the
    /// VMM's end.
    var isFatal: Bool { isShutdown || [Self.exitFailEntry, Self.exitInternalError].contains(exitReason) }
    /// A triple fault, by which some guests start again.
    var isShutdown: Bool { exitReason == Self.exitShutdown }

    private static let exitShutdown: UInt32 = 8
    private static let exitFailEntry: UInt32 = 9
    private static let exitInternalError: UInt32 = 17

    /// A debug exit's payload: `kvm_run.debug.arch`.
    var debugExit: DebugExit {
        DebugExit(
            exception: load(Offset.payload), pc: load(Offset.payload + 8), dr6: load(Offset.payload + 16),
            dr7: load(Offset.payload + 24))
    }

    /// The registers that KVM has left, if it was asked to.
    var registers: SyncedRegisters? {
        // SAFETY: the range ends within the first page of a mapping of two pages at least.
        SyncedRegisters(UnsafeRawBufferPointer(rebasing: bytes[SyncedRegisters.range]))
    }

    /// The same where both the general and the special registers were asked for.
    var syncedRegisters: SyncedRegisters? {
        load(Offset.validRegisters, as: UInt64.self) & 3 == 3 ? registers : nil
    }

    /// The port of an exit that is an OUT of one byte: `kvm_run.io`.
    var outOfOneByte: UInt16? {
        guard exitReason == 2, load(Offset.payload, as: UInt8.self) == 1,
            load(Offset.payload + 1, as: UInt8.self) == 1, load(Offset.payload + 4, as: UInt32.self) == 1
        else { return nil }
        return load(Offset.payload + 2, as: UInt16.self)
    }

    /// The bytes of these registers.
    func copyRegisters(to copy: inout [UInt8]) {
        let range = UnsafeRawBufferPointer(rebasing: bytes[SyncedRegisters.range])
        if copy.count == range.count {
            copy.withUnsafeMutableBytes { $0.copyMemory(from: range) }
        } else {
            copy = Array(range)
        }
    }

    /// How many bytes of scratch there are.
    static let scratchSize = 2 * 4096 - Offset.scratch

    /// The exit as it is now: `struct kvm_run` up to the registers, and the data of an I/O exit after it, where
    /// `data_offset` then points.
    func exitCopy() -> [UInt8] { Self.exitCopy(UnsafeRawBufferPointer(bytes)) }

    /// - Parameter page: a vCPU's whole mapping. The VMM may write it at any time: what is taken from it is taken once.
    static func exitCopy(_ page: UnsafeRawBufferPointer) -> [UInt8] {
        var copy = [UInt8](UnsafeRawBufferPointer(rebasing: page[..<Offset.validRegisters]))
        func number<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type) -> Value {
            copy.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
        }
        // KVM_EXIT_IO: direction, size, port, count, data_offset at 40.
        guard number(Offset.exitReason, as: UInt32.self) == 2 else { return copy }
        let size = Int(copy[Offset.payload + 1])
        let count = Int(number(Offset.payload + 4, as: UInt32.self))
        let offset = number(Offset.payload + 8, as: UInt64.self)
        guard size > 0, size <= 8, count > 0, count <= 4096, let start = Int(exactly: offset),
            start < page.count, size * count <= page.count - start
        else { return copy }
        copy.replaceSubrange(
            Offset.payload + 8..<Offset.payload + 16,
            with: withUnsafeBytes(of: UInt64(Offset.validRegisters).littleEndian) { Array($0) })
        copy += page[start..<start + size * count]
        return copy
    }
}
