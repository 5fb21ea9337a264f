import CLinux
import Glibc
import Host

/// Calls in the VMM's name that the front end asks for.
extension Tracer {
    /// The thread that makes a call on a descriptor: the vCPU's own, or any that is held. One that runs the vCPU would
    /// keep another waiting.
    private func caller(_ descriptor: Int32) -> TracedThread? {
        if let own = threads.first(where: { $0.vcpu.descriptor == descriptor && !$0.isAbsent && !$0.isGone })
        {
            return own.isHeld || own.isAway ? own : nil
        }
        return threads.first { $0.isHeld } ?? threads.first { $0.isAway }
    }

    /// Makes a call, and answers.
    ///
    /// - Parameters:
    ///   - body: makes it, and gives its result or -errno.
    ///   - memory: what it has left in memory.
    func call(
        _ descriptor: Int32, _ body: (TracedThread) -> Int32,
        memory: (_ result: Int32) -> (argument: [UInt8], indirect: [UInt8]) = { _ in ([], []) }
    ) {
        guard let thread = caller(descriptor) else {
            if let process, threads.allSatisfy(\.isGone) { return send(.refused(.ended(process))) }
            return send(.called(result: -EBUSY, argument: [], indirect: []))
        }
        let result = body(thread)
        if let trouble = thread.trouble {
            thread.trouble = nil
            return send(.refused(trouble))
        }
        let (argument, indirect) = memory(result)
        send(.called(result: result, argument: argument, indirect: indirect))
    }

    func callValue(_ thread: TracedThread, _ descriptor: Int32, _ request: UInt64, _ value: UInt64) -> Int32 {
        // KVM_RUN is a matter of `.go`.
        guard UInt32(truncatingIfNeeded: request) != SystemCall.kvmRun else { return -EBUSY }
        return Int32(
            truncatingIfNeeded: thread.call(
                SystemCall.ioctl, UInt64(bitPattern: Int64(descriptor)), request, value))
    }
}
