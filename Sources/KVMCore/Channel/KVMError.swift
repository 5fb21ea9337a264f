public import SystemPackage

/// A call to KVM that failed: what was attempted, the errno, and what to do about it.
public struct KVMError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kernel's name of the call, as `KVM_SET_SREGS`, or what was done to a file, as `open /dev/kvm`.
    public var operation: String
    /// The kernel's errno, or EINVAL and the like where this library refused the call itself.
    public var errno: Errno
    /// What was wrong and what to do, where this call knows more than the errno says.
    public var advice: String?

    /// - Parameters:
    ///   - operation: the kernel's name of the call, or what was done to a file.
    ///   - errno: the kernel's errno.
    ///   - advice: what was wrong and what to do.
    public init(_ operation: String, _ errno: Errno, advice: String? = nil) {
        self.operation = operation
        self.errno = errno
        self.advice = advice
    }

    /// The operation, the errno in words, and the advice: one line for people.
    public var description: String {
        let base = "\(operation): \(errno)"
        guard let advice else { return base }
        return "\(base); \(advice)"
    }
}
