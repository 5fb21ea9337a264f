/// What of the host is looked at: everything, a guest, one of its vCPUs, and of that one reason.
package struct Selection: Sendable, Hashable {
    package var process: Int32?
    package var thread: Int32?
    package var reason: ReasonKey?

    package init(process: Int32? = nil, thread: Int32? = nil, reason: ReasonKey? = nil) {
        self.process = process
        self.thread = thread
        self.reason = reason
    }
}

/// One reason to leave the guest, whoever left it.
package struct ReasonKey: Sendable, Hashable {
    package enum Level: String, Sendable, Hashable, CaseIterable, Encodable {
        /// Exits of the processor: VM exits.
        case hardware
        /// Returns of KVM_RUN.
        case userspace
        /// The kernel's own categories.
        case kernel
    }
    package var level: Level
    package var code: UInt64

    package init(_ level: Level, _ code: UInt64) {
        self.level = level
        self.code = code
    }

    /// Of a counter of exits; nil for one of something else.
    package init?(_ key: CounterKey) {
        switch key.kind {
        // VMX has flags above the basic reason; only that of a failed entry makes it another one.
        case .hardwareExit:
            let isVMX = key.code >> 32 == UInt64(ExitNames.vmx)
            self.init(.hardware, isVMX ? key.code & 0xFFFF_FFFF_8000_FFFF : key.code)
        case .userspaceExit: self.init(.userspace, key.code)
        case .kernelCounter where key.code <= 11: self.init(.kernel, key.code)
        default: return nil
        }
    }

    /// As kvm_stat writes it without its event: `HLT`, `IO`, `EINTR`.
    package func name(_ names: ExitNames) -> String {
        switch level {
        case .hardware:
            names.hardwareExit(
                isa: UInt32(truncatingIfNeeded: code >> 32), reason: UInt32(truncatingIfNeeded: code))
        case .userspace:
            code & CounterKey.failedRun == 0
                ? names.userspaceExit(reason: UInt32(truncatingIfNeeded: code))
                : Self.errnoName(UInt32(truncatingIfNeeded: code))
        case .kernel:
            KernelCounter.names.indices.contains(Int(clamping: code))
                ? KernelCounter.names[Int(code)] : "counter \(code)"
        }
    }

    /// As kvm_stat writes it: `kvm_exit(HLT)`.
    package func kvmStatName(_ names: ExitNames) -> String {
        switch level {
        case .hardware: "kvm_exit(\(name(names)))"
        case .userspace: "kvm_userspace_exit(\(name(names)))"
        case .kernel: name(names)
        }
    }

    /// Those with which KVM_RUN returns. Source: <asm-generic/errno-base.h>, api.rst 4.10.
    private static func errnoName(_ errno: UInt32) -> String {
        [
            4: "EINTR", 11: "EAGAIN", 14: "EFAULT", 16: "EBUSY", 22: "EINVAL", 38: "ENOSYS", 5: "EIO",
            12: "ENOMEM",
        ][
            errno] ?? "errno \(errno)"
    }

    /// The guest waits in it: its time is no handling.
    package func isWaiting(_ names: ExitNames) -> Bool {
        guard level == .hardware else { return false }
        return ["HLT", "hlt", "idle-halt", "MWAIT_INSTRUCTION", "mwait"].contains(name(names))
    }
}
