import CKVM
import SystemPackage

/// A guest that runs guests: what of VMX or SVM a vCPU holds beyond its registers, `struct kvm_nested_state`.
///
/// To be kept and set again on a vCPU of the same kind of host. Source: api.rst, 4.114.
public struct NestedState: Sendable, Hashable {
    /// Which processor's virtualization it is.
    public enum Format: Sendable, Hashable {
        /// KVM_STATE_NESTED_FORMAT_VMX.
        case vmx
        /// KVM_STATE_NESTED_FORMAT_SVM.
        case svm
        /// A format newer than this list.
        case other(UInt16)
    }
    /// What the state is.
    public struct Flags: OptionSet, Sendable, Hashable {
        /// The kernel's bits.
        public var rawValue: UInt16
        /// - Parameter rawValue: the kernel's bits.
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        /// KVM_STATE_NESTED_GUEST_MODE: the guest's guest is the one that runs.
        public static let guestMode = Flags(rawValue: 0x1)
        /// KVM_STATE_NESTED_RUN_PENDING: it was about to be entered.
        public static let runPending = Flags(rawValue: 0x2)
        /// KVM_STATE_NESTED_EVMCS: with Hyper-V's enlightened VMCS.
        public static let enlightenedVMCS = Flags(rawValue: 0x4)
        /// KVM_STATE_NESTED_MTF_PENDING: a monitor trap flag exit waits.
        public static let monitorTrapPending = Flags(rawValue: 0x8)
        /// KVM_STATE_NESTED_GIF_SET: SVM's global interrupt flag.
        public static let globalInterruptFlag = Flags(rawValue: 0x100)
    }

    /// Which processor's virtualization it is.
    public var format: Format
    /// What the state is.
    public var flags: Flags
    /// The format's header, 120 bytes: for VMX `vmxon_pa`, `vmcs12_pa` and others, all ones where there is none; for SVM
    /// `vmcb_pa`.
    public var header: [UInt8]
    /// The VMCS and its shadow, or the VMCB, 4096 bytes each; empty where the guest runs no guest.
    public var data: [UInt8]

    /// - Parameters:
    ///   - format: which processor's virtualization it is.
    ///   - flags: what the state is.
    ///   - header: 120 bytes.
    ///   - data: whole control blocks, or nothing.
    public init(format: Format, flags: Flags, header: [UInt8], data: [UInt8] = []) {
        self.format = format
        self.flags = flags
        self.header = header
        self.data = data
    }

    static let headerSize = MemoryLayout<kvm_nested_state>.size

    /// Nil where a header of ``headerSize`` bytes, or as many bytes as it tells of, are not there.
    init?(_ bytes: [UInt8]) {
        let size = Int(bytes.load(4, as: UInt32.self))
        guard bytes.count >= Self.headerSize, size >= Self.headerSize, size <= bytes.count else { return nil }
        switch bytes.load(2, as: UInt16.self) {
        case UInt16(KVM_STATE_NESTED_FORMAT_VMX): format = .vmx
        case UInt16(KVM_STATE_NESTED_FORMAT_SVM): format = .svm
        case let number: format = .other(number)
        }
        flags = Flags(rawValue: bytes.load(0))
        header = Array(bytes[8..<Self.headerSize])
        data = Array(bytes[Self.headerSize..<size])
    }

    /// Nil for a header of another length.
    var encoded: [UInt8]? {
        guard header.count == Self.headerSize - 8 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 8)
        let number: UInt16 =
            switch format {
            case .vmx: UInt16(KVM_STATE_NESTED_FORMAT_VMX)
            case .svm: UInt16(KVM_STATE_NESTED_FORMAT_SVM)
            case .other(let number): number
            }
        bytes.store(flags.rawValue, at: 0)
        bytes.store(number, at: 2)
        bytes.store(UInt32(truncatingIfNeeded: Self.headerSize + data.count), at: 4)
        return bytes + header + data
    }
}

extension VCPU {
    /// What of VMX or SVM the vCPU holds as a host of guests.
    ///
    /// - Throws: EINVAL where this KVM has no nested guests (``Capability/nestedState`` is 0).
    ///
    /// Corresponds to `KVM_GET_NESTED_STATE`; needs KVM_CAP_NESTED_STATE.
    public func nestedState() throws(KVMError) -> NestedState {
        var size = NestedState.headerSize
        while true {
            var bytes = [UInt8](repeating: 0, count: size)
            bytes.store(UInt32(size), at: 4)
            // SAFETY: the header announces as many bytes as there are.
            let result = bytes.withUnsafeMutableBytes { handle.raw(.getNestedState, $0) }
            if result >= 0, let state = NestedState(bytes) { return state }
            if result == -Errno.interrupted.rawValue { continue }
            // E2BIG tells the size; a size that does not grow, or that no format has, ends the search.
            let wanted = Int(bytes.load(4, as: UInt32.self))
            guard result == -Errno.argListTooLong.rawValue, wanted > size, wanted <= 1 << 20 else {
                throw KVMError(
                    .getNestedState, result < 0 ? result : -Errno.invalidArgument.rawValue,
                    advice: Self.nestedAdvice)
            }
            size = wanted
        }
    }

    /// Sets what of VMX or SVM the vCPU holds. CPUID, MSRs and special registers are set before it.
    ///
    /// - Throws: EINVAL for a state of another format or one that contradicts the vCPU's registers; E2BIG for one that is
    ///   shorter than it says. EBUSY while I/O is pending.
    ///
    /// Corresponds to `KVM_SET_NESTED_STATE`; needs KVM_CAP_NESTED_STATE.
    public func setNestedState(_ state: NestedState) throws(KVMError) {
        try requireCompleted(.setNestedState)
        guard var bytes = state.encoded else {
            throw KVMError(
                Request.setNestedState.name, .invalidArgument,
                advice: "the header has \(NestedState.headerSize - 8) bytes, not \(state.header.count)")
        }
        try handle.call(.setNestedState, bytes: &bytes, advice: Self.nestedAdvice)
        forgetRegisters()
    }

    private static func nestedAdvice(_ errno: Errno) -> String? {
        errno == .invalidArgument
            ? "this KVM has no nested guests (KVM_CAP_NESTED_STATE), or the state is not of this host's kind or "
                + "contradicts the vCPU's registers"
            : nil
    }

    /// Gives the guest a system-management interrupt, which the next run takes. In system-management mode the vCPU sees
    /// the memslots of address space 1 (bits 16 to 31 of a slot's number).
    ///
    /// - Throws: EINVAL or ENOTTY where this KVM has no such mode (``Capability/x86SMM`` is 0).
    ///
    /// Corresponds to `KVM_SMI`; needs KVM_CAP_X86_SMM.
    public func smi() throws(KVMError) {
        try handle.call(.smi) { errno in
            errno == .invalidArgument || errno == .inappropriateIOCTLForDevice
                ? "this KVM has no system-management mode (KVM_CAP_X86_SMM)" : nil
        }
        forgetRegisters()
    }
}
