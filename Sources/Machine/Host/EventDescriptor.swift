import CLinux
import Glibc
import KVMCore
import SystemPackage

/// An eventfd: a descriptor that polls readable while it is raised.
struct EventDescriptor: ~Copyable, Sendable {
    let number: Int32

    init() throws(KVMError) {
        number = clinux_eventfd()
        guard number >= 0 else {
            throw KVMError(
                "eventfd", Errno(rawValue: -number), advice: "too many open files? see `ulimit -n`")
        }
    }

    deinit { try? FileDescriptor(rawValue: number).close() }

    func raise() {
        var one: UInt64 = 1
        // A full counter (EAGAIN) is raised already.
        withUnsafeBytes(of: &one) { _ = try? FileDescriptor(rawValue: number).write($0) }
    }

    /// Waits until it is raised, and lowers it.
    func lower() {
        var count: UInt64 = 0
        while true {
            // Not raised is EAGAIN.
            let result = withUnsafeMutableBytes(of: &count) {
                try? FileDescriptor(rawValue: number).read(into: $0)
            }
            if result != nil { return }
            var wish = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
            poll(&wish, 1, -1)
        }
    }
}
