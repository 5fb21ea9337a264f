import CKVM

/// What KVM does with a memslot: `kvm_userspace_memory_region.flags`. Source: api.rst, 4.35.
public struct MemoryFlags: OptionSet, Sendable, Hashable {
    /// The kernel's bits.
    public var rawValue: UInt32
    /// - Parameter rawValue: the kernel's bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// KVM_MEM_LOG_DIRTY_PAGES: pages that the guest writes are noted for `KVM_GET_DIRTY_LOG`.
    public static let logDirtyPages = MemoryFlags(rawValue: 1 << 0)
    /// KVM_MEM_READONLY: reads go to memory, writes exit as MMIO (KVM_CAP_READONLY_MEM).
    public static let readOnly = MemoryFlags(rawValue: 1 << 1)
}

/// A memslot as it was given to KVM.
public struct MemorySlot: Sendable, Hashable {
    /// The number of the slot, with the address space in bits 16 to 31.
    public var slot: UInt32
    /// The guest-physical address, a multiple of 4096.
    public var gpa: UInt64
    /// In bytes, a multiple of 4096.
    public var size: UInt64
    /// The host virtual address in the process that owns the VM.
    public var hostAddress: UInt64
    /// What KVM does with it.
    public var flags: MemoryFlags
    /// - Parameters:
    ///   - slot: its number, with the address space in bits 16 to 31.
    ///   - gpa: the guest-physical address, a multiple of 4096.
    ///   - size: in bytes, a multiple of 4096.
    ///   - hostAddress: the address in the process that owns the VM.
    ///   - flags: what KVM does with it.
    public init(slot: UInt32, gpa: UInt64, size: UInt64, hostAddress: UInt64, flags: MemoryFlags) {
        self.slot = slot
        self.gpa = gpa
        self.size = size
        self.hostAddress = hostAddress
        self.flags = flags
    }
}

/// The pages of a memslot that the guest wrote, a bit each.
public struct DirtyLog: Sendable, Hashable {
    /// Bit `n % 64` of word `n / 64` is page `n` of the slot.
    public var bitmap: [UInt64]
    /// How many pages the slot has; bits beyond are zero.
    public var pageCount: Int
    /// - Parameters:
    ///   - bitmap: a bit a page, page 0 in bit 0 of word 0.
    ///   - pageCount: how many pages the slot has.
    public init(bitmap: [UInt64], pageCount: Int) {
        self.bitmap = bitmap
        self.pageCount = pageCount
    }

    /// The indices of the pages written, ascending, relative to the slot's start.
    public var pages: [Int] {
        var pages: [Int] = []
        for (index, word) in bitmap.enumerated() {
            var rest = word
            while rest != 0 {
                let page = index * 64 + rest.trailingZeroBitCount
                if page < pageCount { pages.append(page) }
                rest &= rest - 1
            }
        }
        return pages
    }
}

extension MemorySlot {
    /// The length of `struct kvm_userspace_memory_region`, with which `struct kvm_userspace_memory_region2` begins, too.
    package static let byteCount = MemoryLayout<kvm_userspace_memory_region>.size

    /// What the argument of a KVM_SET_USER_MEMORY_REGION of another process says; nil for fewer bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.byteCount else { return nil }
        // SAFETY: the structure lies inside the bytes, whose count was checked; it has no invalid values.
        let region = bytes.withUnsafeBytes { $0.loadUnaligned(as: kvm_userspace_memory_region.self) }
        self.init(
            slot: region.slot, gpa: region.guest_phys_addr, size: region.memory_size,
            hostAddress: region.userspace_addr, flags: MemoryFlags(rawValue: region.flags))
    }
}
