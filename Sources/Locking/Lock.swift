/// A value that one thread at a time may use.
///
/// It is Synchronization's `Mutex`, but in builds for the thread sanitizer: that sees no futex, and so would report what
/// a `Mutex` guards as a race. There it is a `pthread_mutex_t`, which the sanitizer follows.
#if SANITIZE_THREAD
    import Glibc

    public struct Lock<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
        private let mutex: UnsafeMutablePointer<pthread_mutex_t>
        private let value: UnsafeMutablePointer<Value>

        public init(_ initial: consuming sending Value) {
            mutex = .allocate(capacity: 1)
            mutex.initialize(to: pthread_mutex_t())
            // SAFETY: the mutex has its place in memory, and keeps it until deinit.
            pthread_mutex_init(mutex, nil)
            value = .allocate(capacity: 1)
            value.initialize(to: initial)
        }

        public borrowing func withLock<Result: ~Copyable, E: Error>(
            _ body: (inout sending Value) throws(E) -> sending Result
        ) throws(E) -> sending Result {
            // SAFETY: initialised above, destroyed in deinit.
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            return try body(&value.pointee)
        }

        deinit {
            // SAFETY: nobody borrows the lock any more.
            pthread_mutex_destroy(mutex)
            mutex.deallocate()
            value.deinitialize(count: 1)
            value.deallocate()
        }
    }
#else
    @_exported public import Synchronization

    public typealias Lock = Mutex
#endif
