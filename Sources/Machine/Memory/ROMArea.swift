import DebugTarget
import Locking

/// The part of the guest's memory that it can read and not write: a write is dropped, as on a PC, and counted here.
final class ROMArea: Sendable {
    let range: Range<UInt64>
    /// False where this KVM has no read-only memory (KVM_CAP_READONLY_MEM): the guest writes it like RAM.
    let isProtected: Bool
    private let dropped = Lock<UnclaimedAccess?>(nil)

    init(_ range: Range<UInt64>, isProtected: Bool) {
        self.range = range
        self.isProtected = isProtected
    }

    /// A write of the guest was dropped.
    func note(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) {
        let value = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        dropped.withLock { dropped in
            var access = dropped ?? UnclaimedAccess(address: gpa)
            access.address = gpa
            access.note(size: bytes.count, written: value)
            dropped = access
        }
    }

    func reset() { dropped.withLock { $0 = nil } }

    var state: ROMState {
        ROMState(
            first: range.lowerBound, last: range.upperBound - 1, isProtected: isProtected,
            dropped: dropped.withLock { $0 })
    }
}
