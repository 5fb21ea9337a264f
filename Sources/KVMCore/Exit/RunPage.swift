import CKVM

/// The memory that a vCPU shares with the kernel: `struct kvm_run`, and the page of I/O data after it.
///
/// Held by the vCPU and by each ``ImmediateExit`` made from it; the last one unmaps it.
// SAFETY: the object never changes after init. What it refers to is used by the one thread that has the vCPU, which is not
// `Sendable`; all an ``ImmediateExit`` on another thread touches is the immediate_exit byte, atomically. The kernel, and
// the process that owns a foreign vCPU, may write it at any time: it is read as plain values that have no invalid bits.
final class RunPage: @unchecked Sendable {
    private let mapping: Mapping
    /// Valid as long as this object.
    let bytes: UnsafeMutableRawBufferPointer

    init(_ mapping: consuming Mapping) {
        // SAFETY: the mapping is this long, and lives as long as this object, which keeps it.
        bytes = UnsafeMutableRawBufferPointer(start: mapping.address, count: mapping.size)
        self.mapping = mapping
    }

    /// What of `immediate_exit` each user owns. The kernel only asks whether the byte is zero.
    enum ImmediateExitBit {
        /// Somebody wants the vCPU to stop.
        static let requested: UInt8 = 1
        /// ``VCPU/completeIO()`` is at work.
        static let completing: UInt8 = 2
    }

    private var immediateExit: UnsafeMutableRawPointer? {
        // SAFETY: bytes is at least RunLayout.size long; checked when a vCPU is made.
        bytes.baseAddress.map { $0 + RunLayout.immediateExit }
    }

    // SAFETY: one byte inside the mapping, accessed atomically.
    func setImmediateExit(_ bit: UInt8) { ckvm_or_byte(immediateExit, bit) }
    func clearImmediateExit(_ bit: UInt8) { ckvm_and_byte(immediateExit, ~bit) }
    func hasImmediateExit(_ bit: UInt8) -> Bool { ckvm_load_byte(immediateExit) & bit != 0 }
}
