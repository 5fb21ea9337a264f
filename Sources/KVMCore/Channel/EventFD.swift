import CKVM
import SystemPackage

/// A counter that one side adds to and the other takes from, with a descriptor that can be polled: eventfd(2).
///
/// KVM takes one in place of an interrupt line (``VirtualMachine/assignIRQFD(_:gsi:)``), and adds to one in place
/// of an exit (``VirtualMachine/assignIOEventFD(_:_:)``). Calls may be made from any thread, and none waits. Closed
/// with this value; KVM then drops what it was assigned to.
public struct EventFD: ~Copyable, Sendable {
    private let handle: Handle

    /// A counter of 0. Corresponds to `eventfd` with EFD_CLOEXEC and EFD_NONBLOCK.
    ///
    /// - Throws: EMFILE or ENFILE for too many open files.
    public init() throws(KVMError) {
        let descriptor = ckvm_eventfd()
        guard descriptor >= 0 else { throw Self.error("eventfd", descriptor) }
        handle = Handle(owning: descriptor)
    }

    /// For `poll` and the like: readable while the count is not 0.
    public var descriptor: Int32 { handle.descriptor }

    /// Adds to the count.
    ///
    /// - Throws: EAGAIN where the count would pass 2^64 - 2; EINVAL for a count of 2^64 - 1.
    public func signal(_ count: UInt64 = 1) throws(KVMError) {
        while true {
            let result = ckvm_eventfd_add(descriptor, count)
            if result >= 0 { return }
            if result != -Errno.interrupted.rawValue { throw Self.error("write to an eventfd", result) }
        }
    }

    /// Takes the count, which is 0 from then on; 0 where nobody has added to it.
    public func take() throws(KVMError) -> UInt64 {
        while true {
            var count: UInt64 = 0
            // SAFETY: the kernel writes 8 bytes, which is what `count` has, within the call.
            let result = ckvm_eventfd_take(descriptor, &count)
            if result >= 0 { return count }
            if result == -Errno.resourceTemporarilyUnavailable.rawValue { return 0 }
            if result != -Errno.interrupted.rawValue { throw Self.error("read an eventfd", result) }
        }
    }

    /// - Parameter result: `-errno`.
    private static func error(_ operation: String, _ result: Int32) -> KVMError {
        let errno = Errno(rawValue: -result)
        return KVMError(operation, errno, advice: KVMError.generalAdvice(errno))
    }
}
