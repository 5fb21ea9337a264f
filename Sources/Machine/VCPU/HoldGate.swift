import Synchronization

/// Lets one vCPU, or the debugger, have the machine for itself for a moment: all others are out of the guest, and
/// stay out until it is done.
///
/// A vCPU's thread is *in* while it may be in KVM_RUN or on its way there. It leaves when it comes back for good,
/// when it is held, and while it waits to hold the others itself.
final class HoldGate: Sendable {
    private struct State {
        /// Who holds: a vCPU's id, or `debugger`.
        var holder: Int?
        /// The vCPUs that are in.
        var inside: Set<Int> = []
    }

    /// Not a vCPU's id.
    static let debugger = -1

    private let state = Mutex(State())
    private let bell = Bell<Never>()
    /// Someone holds: the only thing that is asked where nobody does.
    private let isHeld = Atomic<Bool>(false)

    /// A vCPU is about to run; waits while someone else holds.
    func enter(_ vcpu: Int) {
        waitUntil { state in
            guard state.holder == nil || state.holder == vcpu else { return false }
            state.inside.insert(vcpu)
            return true
        }
    }

    /// It runs no more.
    func leave(_ vcpu: Int) {
        let isAwaited = state.withLock { state in
            state.inside.remove(vcpu)
            return state.holder != nil
        }
        if isAwaited { bell.ring() }
    }

    /// Between two KVM_RUNs, after a kick: stands still while someone else holds.
    func pass(_ vcpu: Int) {
        guard isHeld.load(ordering: .sequentiallyConsistent) else { return }
        guard state.withLock({ $0.holder != nil && $0.holder != vcpu }) else { return }
        leave(vcpu)
        enter(vcpu)
    }

    /// Makes all others stand still; `kick` gets those that have to come out, and may be called several times.
    func hold(_ holder: Int, kick: (Set<Int>) -> Void) {
        let wasInside = state.withLock { $0.inside.remove(holder) != nil }
        if wasInside { bell.ring() }
        waitUntil { state in
            guard state.holder == nil else { return false }
            state.holder = holder
            isHeld.store(true, ordering: .sequentiallyConsistent)
            return true
        }
        let others = state.withLock { $0.inside }
        if !others.isEmpty { kick(others) }
        waitUntil { $0.inside.isEmpty }
        if wasInside { state.withLock { _ = $0.inside.insert(holder) } }
    }

    /// Lets them go on.
    func release(_ holder: Int) {
        state.withLock { state in
            guard state.holder == holder else { return }
            state.holder = nil
            isHeld.store(false, ordering: .sequentiallyConsistent)
        }
        bell.ring()
    }

    private func waitUntil(_ condition: (inout State) -> Bool) {
        while true {
            let token = bell.token
            if state.withLock({ condition(&$0) }) { return }
            bell.wait(since: token)
        }
    }
}
