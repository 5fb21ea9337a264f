public import DebugTarget
public import KVMCore
import Locking

/// Breakpoints in the guest's memory.
extension OwnedMachine: CodePatching, MemoryProtecting {
    /// Every OUT leaves the guest before any device has it.
    public var passesPortWrites: Bool { true }

    public func holdVCPUs(except vcpu: Int?) {
        let threads = members.withLock { $0.map(\.thread) }
        parts.barrier.hold(vcpu ?? PauseBarrier.debugger) { inside in
            for thread in threads where inside.contains(thread.id) { thread.kick() }
        }
    }

    public func releaseVCPUs(except vcpu: Int?) { parts.barrier.release(vcpu ?? PauseBarrier.debugger) }

    public func protect(page: UInt64, _ access: PageAccess?) throws(KVMError) {
        try parts.memory.protect(page: page, access)
    }

    public func suspendProtection() throws(KVMError) { try parts.memory.suspendProtection() }

    public func resumeProtection() throws(KVMError) { try parts.memory.resumeProtection() }
}
