import KVMCore
import Locking
import Synchronization

/// Counts the ends of jobs, which share it.
final class JobEvents: Sendable {
    let count = EventCount<Never>()
}

/// Something to be done with a vCPU on its thread, which another thread waits for.
final class Job: Sendable {
    private let body: Lock<(@Sendable (VCPU) -> Void)?>
    private let isDone = Atomic<Bool>(false)
    private let events: JobEvents

    /// - Parameter events: counts when it is done.
    init(events: JobEvents, _ body: @escaping @Sendable (VCPU) -> Void) {
        self.events = events
        self.body = Lock(body)
    }

    /// On the vCPU's thread, once.
    func perform(_ vcpu: VCPU) {
        performAndForget(vcpu)
        isDone.store(true, ordering: .sequentiallyConsistent)
        events.count.signal()
    }

    /// The closure is gone when this returns: it may hold what lives only as long as the caller waits.
    @inline(never)
    private func performAndForget(_ vcpu: VCPU) {
        let body = body.withLock { stored in
            let body = stored
            stored = nil
            return body
        }
        body?(vcpu)
    }

    func wait() {
        while true {
            let token = events.count.token
            if isDone.load(ordering: .sequentiallyConsistent) { return }
            events.count.wait(since: token)
        }
    }
}

/// Where a job leaves what it found.
final class Reply<Value: Sendable>: Sendable {
    private let value = Lock<Result<Value, any Error>?>(nil)

    func fill(_ result: Result<Value, any Error>) { value.withLock { $0 = result } }

    /// After the job is done.
    func get() throws -> Value {
        guard let result = value.withLock({ $0 }) else { preconditionFailure("the job did not reply") }
        return try result.get()
    }
}
