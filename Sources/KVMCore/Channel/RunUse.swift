#if DEBUG
    import Synchronization

    /// In debug builds, sees that a vCPU is used by one thread at a time: the kernel lets no other call in while KVM_RUN
    /// is at work, so that one from another thread hangs until the guest exits, which may be never.
    final class RunUse: Sendable {
        private let isRunning = Atomic(false)

        func begin() {
            let wasRunning = isRunning.exchange(true, ordering: .acquiring)
            precondition(!wasRunning, "KVM_RUN of a vCPU that another thread has in KVM_RUN")
        }

        func end() { isRunning.store(false, ordering: .releasing) }

        /// - Parameter call: the kernel's name of the call that is about to be made.
        func requireIdle(_ call: String) {
            precondition(
                !isRunning.load(ordering: .acquiring), "\(call) of a vCPU that another thread has in KVM_RUN")
        }
    }
#endif
