import CLinux
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

    func lower() {
        var count: UInt64 = 0
        // Not raised is EAGAIN: lowered already.
        withUnsafeMutableBytes(of: &count) { _ = try? FileDescriptor(rawValue: number).read(into: $0) }
    }
}
