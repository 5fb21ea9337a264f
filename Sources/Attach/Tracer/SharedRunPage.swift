import CLinux
import Glibc
import Host
import KVMCore

/// The `kvm_run` of another program's vCPU, shared with it and with the kernel; unmapped once.
///
/// Where its fields are is KVMCore's to say: `RunLayout`.
struct SharedRunPage: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer

    /// After `struct kvm_run`, in whole cache lines. From here to the end of the page of I/O data nothing is in use
    /// while the vCPU is stopped.
    static let scratch = (RunLayout.size + 63) / 64 * 64

    /// - Parameter descriptor: the vCPU's, in this process.
    init(descriptor: Int32, size: Int) throws(HostGuestError) {
        guard size >= 2 * 4096 else {
            throw HostGuestError(
                .unsupported, "kvm_run is \(size) bytes long, two pages at least were expected")
        }
        var address: UnsafeMutableRawPointer?
        let result = clinux_map_shared(descriptor, size, 1, &address)
        guard result >= 0, let address else {
            throw HostGuestError(
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
        clinux_or_byte(bytes.baseAddress.map { $0 + RunLayout.immediateExit }, Self.completing)
    }

    /// Takes our bit back; a kick that the VMM has asked for meanwhile stays.
    func clearImmediateExit() {
        // SAFETY: as above.
        clinux_and_byte(bytes.baseAddress.map { $0 + RunLayout.immediateExit }, ~Self.completing)
    }

    var exitReason: ExitReason { ExitReason(rawValue: load(RunLayout.exitReason)) }

    /// Whether the guest cannot go on from the exit by itself: what becomes of it is the VMM's to say, and it may be the
    /// VMM's end.
    var isFatal: Bool { [.shutdown, .failEntry, .internalError].contains(exitReason) }
    /// A triple fault, by which some guests start again.
    var isShutdown: Bool { exitReason == .shutdown }

    /// A debug exit's payload: `kvm_run.debug.arch`.
    var debugExit: DebugExit { DebugExit(page: bytes) }

    /// The registers that KVM has left, if it was asked to.
    var registers: SyncedRegisters? {
        // SAFETY: the range ends within the first page of a mapping of two pages at least.
        SyncedRegisters(UnsafeRawBufferPointer(rebasing: bytes[SyncedRegisters.range]))
    }

    /// The same where both the general and the special registers were asked for.
    var syncedRegisters: SyncedRegisters? {
        load(RunLayout.validRegisters, as: UInt64.self) & 3 == 3 ? registers : nil
    }

    /// The port of an exit that is an OUT of one byte: `kvm_run.io`.
    var outOfOneByte: UInt16? {
        guard exitReason == .io, let io = PortIOFields(bytes), io.direction == .out, io.size == 1,
            io.count == 1
        else { return nil }
        return io.port
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
    static let scratchSize = 2 * 4096 - scratch

    /// Reason and payload of the exit as it is now, and nothing that the VMM writes between exits.
    var exitFacts: [UInt8] {
        Array(bytes[RunLayout.exitReason..<RunLayout.exitReason + 4])
            + Array(bytes[RunLayout.payload..<RunLayout.validRegisters])
    }

    /// The exit as it is now: `struct kvm_run` up to the registers, and the data of an I/O exit after it, where
    /// `data_offset` then points.
    func exitCopy() -> [UInt8] { Self.exitCopy(UnsafeRawBufferPointer(bytes)) }

    /// - Parameter page: a vCPU's whole mapping. The VMM may write it at any time: what is taken from it is taken once.
    static func exitCopy(_ page: UnsafeRawBufferPointer) -> [UInt8] {
        var copy = [UInt8](UnsafeRawBufferPointer(rebasing: page[..<RunLayout.validRegisters]))
        func number<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type) -> Value {
            copy.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
        }
        guard number(RunLayout.exitReason, as: UInt32.self) == ExitReason.io.rawValue else { return copy }
        let size = Int(copy[RunLayout.ioSize])
        let count = Int(number(RunLayout.ioCount, as: UInt32.self))
        let offset = number(RunLayout.ioDataOffset, as: UInt64.self)
        guard size > 0, size <= 8, count > 0, count <= 4096, let start = Int(exactly: offset),
            start < page.count, size * count <= page.count - start
        else { return copy }
        copy.replaceSubrange(
            RunLayout.ioDataOffset..<RunLayout.ioDataOffset + 8,
            with: withUnsafeBytes(of: UInt64(RunLayout.validRegisters).littleEndian) { Array($0) })
        copy += page[start..<start + size * count]
        return copy
    }
}
