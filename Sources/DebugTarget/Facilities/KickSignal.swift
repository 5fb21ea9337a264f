package import Glibc
import Locking
package import SystemPackage

/// The signal that makes KVM_RUN return. Its handler does nothing: that the system call is interrupted is all.
package enum KickSignal {
    /// A real-time signal that glibc, Swift and debuggers leave alone.
    package static let number: Int32 = __libc_current_sigrtmin() + 3

    /// Installs the handler, once in the life of the process. No SA_RESTART: the call must not be restarted.
    package static let install: Void = {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigemptyset(&action.sa_mask)
        sigaction(number, &action, nil)
    }()

    /// What a vCPU's thread leaves to other threads: all but the kick and what faults raise. Terminal signals are
    /// for the thread that draws.
    package static func blockedSet() -> sigset_t {
        var set = sigset_t()
        sigfillset(&set)
        for signal in [number, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] { sigdelset(&set, signal) }
        return set
    }

    /// Starts a thread that may be in KVM_RUN: kicks reach it, and signals of the terminal do not, even at first.
    ///
    /// - Throws: what `pthread_create` returns.
    package static func startThread(_ body: @escaping @Sendable () -> Void) throws(Errno) -> pthread_t {
        _ = install
        do {
            return try ThreadStart.begin(blocking: blockedSet(), body)
        } catch {
            throw Errno(rawValue: error.code)
        }
    }
}
