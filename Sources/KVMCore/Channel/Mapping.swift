import CKVM
import SystemPackage

/// A range of this process's address space, unmapped once.
struct Mapping: ~Copyable {
    let address: UnsafeMutableRawPointer
    let size: Int

    /// Fresh zeroed memory that takes host memory only where it is touched.
    init(anonymous size: Int) throws(KVMError) {
        self = try Mapping(size: size, "mmap \(size) bytes of guest memory") {
            ckvm_map_anonymous(size, $0)
        }
    }

    /// The `kvm_run` area of a vCPU.
    init(descriptor: Int32, size: Int) throws(KVMError) {
        self = try Mapping(size: size, "mmap kvm_run") { ckvm_map_descriptor(descriptor, size, 0, $0) }
    }

    /// The dirty ring of a vCPU, which begins KVM_DIRTY_LOG_PAGE_OFFSET pages after `kvm_run`.
    init(dirtyRingOf descriptor: Int32, size: Int) throws(KVMError) {
        let offset = UInt64(KVM_DIRTY_LOG_PAGE_OFFSET) * 4096
        self = try Mapping(size: size, "mmap the dirty ring") {
            ckvm_map_descriptor(descriptor, size, offset, $0)
        }
    }

    private init(
        size: Int, _ operation: String, _ map: (UnsafeMutablePointer<UnsafeMutableRawPointer?>) -> Int32
    )
        throws(KVMError)
    {
        var address: UnsafeMutableRawPointer?
        // SAFETY: `map` is one of the three above: each has mmap choose the address, so that nothing that is mapped is
        // replaced, and stores it in `address`, which outlives the call.
        let result = map(&address)
        guard result >= 0, let address else {
            let errno = Errno(rawValue: -result)
            throw KVMError(operation, errno, advice: KVMError.generalAdvice(errno))
        }
        self.address = address
        self.size = size
    }

    /// Makes anonymous memory zeroes again.
    borrowing func clear() throws(KVMError) {
        // SAFETY: the mapping is this object's own, and holds bytes that may become zero at any time.
        let result = ckvm_clear_anonymous(address, size)
        guard result >= 0 else {
            throw KVMError("madvise \(size) bytes of guest memory", Errno(rawValue: -result))
        }
    }

    deinit {
        // SAFETY: made by mmap with this size, and not unmapped elsewhere: the type is not copyable.
        ckvm_unmap(address, size)
    }
}
