/// How a KVM call reaches the kernel: from this process, or from the process that owns the VM.
///
/// KVM answers EIO to calls from any process but the one that made the VM, so the calls to another program's
/// guest are made in its place. Everything above is the same for both.
public enum Channel: Sendable {
    /// `ioctl` in this process.
    case direct
    /// `ioctl` in another process.
    case remote(any RemoteChannel)
}

/// Makes `ioctl` calls in another process. Descriptors are those of that process.
///
/// Every call returns the result of the `ioctl`, or `-errno`. How many bytes of an argument go in and come
/// back is told by the buffer, not by the request number, which is wrong for arguments of variable length.
public protocol RemoteChannel: Sendable {
    /// An argument passed by value, as of `KVM_RUN` or `KVM_CREATE_VCPU`.
    func call(_ descriptor: Int32, _ request: UInt, value: UInt) -> Int32
    /// An argument passed by address: the bytes go in, and what the kernel made of them comes back.
    func call(_ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawBufferPointer) -> Int32
    /// An argument that holds, at `offset`, the address of `indirect`, which goes in and comes back too
    /// (`KVM_GET_DIRTY_LOG`, `KVM_CLEAR_DIRTY_LOG`).
    func call(
        _ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawBufferPointer, offset: Int,
        indirect: UnsafeMutableRawBufferPointer
    ) -> Int32
    /// Brings a descriptor that a call made in the other process into this one, and closes it there
    /// (`KVM_GET_STATS_FD`). Returns the descriptor here, or `-errno`.
    func fetch(_ descriptor: Int32) -> Int32
    /// Why the last call was not made, or is not known to have been, and what to do; nil where its result says all.
    var trouble: String? { get }
}

extension RemoteChannel {
    /// No trouble: results say all.
    public var trouble: String? { nil }
}
