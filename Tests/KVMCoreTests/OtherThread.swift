import Glibc
import KVMCore
import SystemPackage

/// Runs something with a vCPU on a thread of its own and waits for it.
enum OtherThread {
    // SAFETY: see the fields.
    private final class Job<Value>: @unchecked Sendable {
        // Written by the thread that makes the job, then by the one that runs it, then read after join.
        var vcpu: VCPU?
        let body: (VCPU) throws -> Value
        var result: Result<Value, any Error>?
        init(_ vcpu: VCPU, _ body: @escaping (VCPU) throws -> Value) {
            self.vcpu = vcpu
            self.body = body
        }
        func run() {
            guard let vcpu else { return }
            result = Result { try body(vcpu) }
        }
    }

    private final class Start {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }

    static func start(_ body: @escaping @Sendable () -> Void) -> pthread_t {
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(body)).toOpaque()
        pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue().run()
                return nil
            }, start)
        return thread
    }

    static func run<Value>(_ vcpu: sending VCPU, _ body: @escaping @Sendable (VCPU) throws -> Value) throws
        -> Value
    {
        let job = Job(vcpu, body)
        let thread = start { job.run() }
        pthread_join(thread, nil)
        guard let result = job.result else { throw KVMError("start a thread", .init(rawValue: EAGAIN)) }
        return try result.get()
    }
}
