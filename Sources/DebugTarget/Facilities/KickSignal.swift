package import Glibc
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
        final class Start {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        _ = install
        let start = Start(body)
        // The new thread inherits the mask.
        var mask = blockedSet()
        var before = sigset_t()
        pthread_sigmask(SIG_SETMASK, &mask, &before)
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                // SAFETY: retained below for this one use.
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard result == 0 else {
            // SAFETY: no thread took the reference made above.
            Unmanaged.passUnretained(start).release()
            throw Errno(rawValue: result)
        }
        return thread
    }
}
