package import Glibc

/// Threads of the process's own that signals of the terminal are not for.
package enum ThreadStart {
    /// No thread was started.
    package struct Refused: Error, Equatable {
        /// What `pthread_create` returned: EAGAIN where `ulimit -u` or the cgroup's pids.max is reached.
        package let code: Int32
    }

    /// Every signal.
    package static var allSignals: sigset_t {
        var set = sigset_t()
        sigfillset(&set)
        return set
    }

    /// Starts a thread that has `signals` blocked from its first instruction on: it inherits them.
    package static func begin(
        blocking signals: sigset_t = allSignals, _ body: @escaping @Sendable () -> Void
    ) throws(Refused) -> pthread_t {
        final class Start {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var mask = signals
        var before = sigset_t()
        pthread_sigmask(SIG_SETMASK, &mask, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let start = Unmanaged.passRetained(Start(body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                // SAFETY: retained above for this one use.
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            // SAFETY: no thread took the reference.
            start.release()
            throw Refused(code: result)
        }
        return thread
    }
}
