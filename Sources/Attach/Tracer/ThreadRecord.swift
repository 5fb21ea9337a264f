import CLinux
import Glibc
import Host

/// What a tracer has to put back in a thread of the VMM, so that the thread goes on as if it had never been traced.
struct ThreadRecord: Sendable, Hashable {
    struct Flags: OptionSet, Sendable, Hashable {
        var rawValue: UInt8
        /// The thread is stopped, and the registers that it has to go on with are ``ThreadRecord/registers``.
        static let held = Flags(rawValue: 1)
        /// It stands after KVM_RUN, which is to be made again.
        static let atRun = Flags(rawValue: 2)
        /// All its signals are blocked: its own mask is ``ThreadRecord/mask``.
        static let masked = Flags(rawValue: 4)
        /// It blocks SIGTRAP by itself, which is open for now.
        static let trapBlocked = Flags(rawValue: 8)
        /// The exit of a patch is the tracer's, and is being completed.
        static let completing = Flags(rawValue: 16)
        /// It is completed, and the guest is being put back to the patch: its RIP is to be ``ThreadRecord/rip``.
        static let takingBack = Flags(rawValue: 32)
    }

    var flags: Flags = []
    var mask: UInt64 = 0
    var rip: UInt64 = 0
    /// `struct user_regs_struct`.
    var registers = [UInt8](repeating: 0, count: Self.registersSize)

    static let registersSize = MemoryLayout<user_regs_struct>.size
}

/// The records of a VMM's threads, in memory that its tracer and the front end share: the tracer keeps them true before
/// it changes a thread, and should it be killed, whatever it was about, another one finds in them what it needs.
///
/// One process writes, with one thread; the other reads once that is gone.
final class ThreadRecords {
    /// The vCPUs that there can be (KVM_CAP_MAX_VCPUS is 4096 at the most).
    static let capacity = 4096
    static let stride = 256
    static let size = capacity * stride

    private static let flagsAt = 0
    private static let maskAt = 8
    private static let ripAt = 16
    private static let registersAt = 24

    private let bytes: UnsafeMutableRawBufferPointer

    /// - Parameter descriptor: of memory of ``size`` bytes; stays the caller's.
    /// - Returns: nil where it cannot be mapped.
    init?(descriptor: Int32) {
        var address: UnsafeMutableRawPointer?
        guard clinux_map_shared(descriptor, Self.size, 1, &address) >= 0, let address else { return nil }
        bytes = UnsafeMutableRawBufferPointer(start: address, count: Self.size)
    }

    // SAFETY: made by mmap with this size, by the one initializer, and not unmapped elsewhere.
    deinit { _ = clinux_unmap(bytes.baseAddress, bytes.count) }

    private func slot(_ index: Int) -> UnsafeMutableRawBufferPointer? {
        guard index >= 0, index < Self.capacity else { return nil }
        return UnsafeMutableRawBufferPointer(
            rebasing: bytes[index * Self.stride..<(index + 1) * Self.stride])
    }

    /// What was noted last.
    subscript(index: Int) -> ThreadRecord {
        guard let slot = slot(index) else { return ThreadRecord() }
        return ThreadRecord(
            flags: .init(rawValue: slot[Self.flagsAt]),
            mask: slot.load(fromByteOffset: Self.maskAt, as: UInt64.self),
            rip: slot.load(fromByteOffset: Self.ripAt, as: UInt64.self),
            registers: Array(slot[Self.registersAt..<Self.registersAt + ThreadRecord.registersSize]))
    }

    // MARK: The tracer's side

    /// What goes with a flag is written before it is set.
    func set(_ flags: ThreadRecord.Flags, of index: Int) {
        // SAFETY: the slot is within the mapping.
        clinux_or_byte(slot(index)?.baseAddress, flags.rawValue)
    }

    func clear(_ flags: ThreadRecord.Flags, of index: Int) {
        // SAFETY: as above.
        clinux_and_byte(slot(index)?.baseAddress, ~flags.rawValue)
    }

    func hold(_ registers: user_regs_struct, atRun: Bool, of index: Int) {
        clear([.held, .atRun], of: index)
        slot(index)?.storeBytes(of: registers, toByteOffset: Self.registersAt, as: user_regs_struct.self)
        set(atRun ? [.held, .atRun] : .held, of: index)
    }

    func block(_ mask: UInt64, of index: Int) {
        slot(index)?.storeBytes(of: mask, toByteOffset: Self.maskAt, as: UInt64.self)
        set(.masked, of: index)
    }

    func takeBack(to rip: UInt64, of index: Int) {
        slot(index)?.storeBytes(of: rip, toByteOffset: Self.ripAt, as: UInt64.self)
        set(.takingBack, of: index)
    }
}
