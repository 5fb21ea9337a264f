import CKVM
import Locking
import SystemPackage

/// A page that the guest wrote, as a dirty ring has it: `struct kvm_dirty_gfn`.
public struct DirtyPage: Sendable, Hashable {
    /// The slot, with the address space in bits 16 to 31.
    public var slot: UInt32
    /// Which page of the slot, from 0.
    public var page: UInt64

    /// - Parameters:
    ///   - slot: the slot's number.
    ///   - page: which page of it, from 0.
    public init(slot: UInt32, page: UInt64) {
        self.slot = slot
        self.page = page
    }
}

/// The ring that the kernel puts the pages into which one vCPU writes. Source: api.rst, 8.29.
///
/// Taken from by the vCPU's thread alone, as all of ``VCPU`` is.
struct DirtyRing: ~Copyable {
    private let mapping: Mapping
    private let entryCount: Int
    /// The entry that is taken next. The kernel fills them in order, round and round.
    private var next = 0

    private static let dirty: UInt32 = 1 << 0
    private static let reset: UInt32 = 1 << 1

    /// - Parameter size: in bytes, that of the VM's rings: a power of two.
    init(of descriptor: Int32, size: Int) throws(KVMError) {
        self.init(try Mapping(dirtyRingOf: descriptor, size: size))
    }

    /// A ring of whole entries of 16 bytes.
    init(_ mapping: consuming Mapping) {
        entryCount = mapping.size / MemoryLayout<kvm_dirty_gfn>.size
        self.mapping = mapping
    }

    /// Takes what is there, and marks it as taken.
    mutating func take() -> [DirtyPage] {
        var pages: [DirtyPage] = []
        while pages.count < entryCount {
            // SAFETY: `next` is under the number of entries of 16 bytes that the mapping has. The kernel writes an entry
            // before it sets its dirty flag, and no more until it is reset: the flag is read first, and with acquire.
            let entry = mapping.address + next * MemoryLayout<kvm_dirty_gfn>.size
            guard ckvm_load_acquire(entry) & (Self.dirty | Self.reset) == Self.dirty else { break }
            // SAFETY: both fields lie in the entry, which the kernel does not touch while it is dirty.
            pages.append(
                DirtyPage(
                    slot: entry.loadUnaligned(fromByteOffset: 4, as: UInt32.self),
                    page: entry.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
            // SAFETY: the entry is aligned to 16 bytes, and the kernel reads its flags likewise.
            ckvm_store_release(entry, Self.dirty | Self.reset)
            next = (next + 1) % entryCount
        }
        return pages
    }
}

extension VirtualMachine {
    /// Has the pages that are written told in a ring for each vCPU, in place of ``dirtyLog(slot:)``: finding them takes
    /// as long as there are pages, not as there is memory. Only before the first vCPU is made; slots still need
    /// ``MemoryFlags/logDirtyPages``.
    ///
    /// A vCPU whose ring is nearly full exits with ``VCPUExit/dirtyRingFull``: take its pages
    /// (``VCPU/takeDirtyPages()``), call ``resetDirtyRings()``, and run it again.
    ///
    /// - Parameter size: of each ring, in bytes: a power of two, 16384 at least, as KVM_CAP_DIRTY_LOG_RING at most. An
    ///   entry has 16.
    /// - Throws: EINVAL for another size, a second time, or with vCPUs; E2BIG for a larger one.
    ///
    /// Corresponds to `KVM_ENABLE_CAP` of KVM_CAP_DIRTY_LOG_RING; since Linux 5.11.
    public func enableDirtyRing(size: Int) throws(KVMError) {
        try requireOurs(.enableCap)
        try enable(.dirtyLogRing, arguments: SIMD4(UInt64(bitPattern: Int64(size)), 0, 0, 0))
        state.contents.withLock { $0.dirtyRingSize = size }
    }

    /// Makes the pages that were taken from the rings ready to be told again when they are written again.
    ///
    /// - Returns: how many those were.
    /// - Throws: EINVAL without ``enableDirtyRing(size:)``.
    ///
    /// Corresponds to `KVM_RESET_DIRTY_RINGS`; needs KVM_CAP_DIRTY_LOG_RING.
    @discardableResult
    public func resetDirtyRings() throws(KVMError) -> Int {
        Int(
            try handle.call(.resetDirtyRings) { errno in
                errno == .invalidArgument ? "the VM has no dirty rings (enableDirtyRing makes them)" : nil
            })
    }
}

extension VCPU {
    /// Takes the pages that this vCPU has written since the last time, in order, from its ring. Empty without
    /// ``VirtualMachine/enableDirtyRing(size:)``. What ``VirtualMachine/dirtyLog(slot:)`` says of pages that were only
    /// read is true here too.
    public func takeDirtyPages() -> [DirtyPage] { dirtyRing?.take() ?? [] }
}
