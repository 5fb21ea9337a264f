import KVMCore
import Locking
import Synchronization

/// Gives one vCPU, or the debugger, the machine for itself for a moment: all others are out of the guest, and
/// stay out until it is done.
///
/// A vCPU's thread is *in* while it may be in KVM_RUN or on its way there. It leaves when it comes back for good,
/// when it is held, and while it waits to hold the others itself. Where nobody holds, entering and leaving write one
/// word that no other thread reads.
final class PauseBarrier: Sendable {
    /// A vCPU's way in and out.
    final class Pass: Sendable {
        let vcpu: Int
        fileprivate let isInside = Atomic<Bool>(false)

        fileprivate init(vcpu: Int) { self.vcpu = vcpu }

        fileprivate func set(_ inside: Bool) { isInside.store(inside, ordering: .sequentiallyConsistent) }
    }

    private struct State {
        /// Who holds: a vCPU's id, or `debugger`.
        var holder: Int?
        var passes: [Pass] = []
    }

    /// Not a vCPU's id.
    static let debugger = -1

    private let state = Lock(State())
    private let changes = EventCount<Never>()
    /// Someone holds. Written before the passes are looked at, and read after one's own was written, so that one of
    /// two threads sees the other.
    private let isHeld = Atomic<Bool>(false)

    /// The pass of a vCPU; made at the first call.
    func pass(for vcpu: Int) -> Pass {
        state.withLock { state in
            if let known = state.passes.first(where: { $0.vcpu == vcpu }) { return known }
            let made = Pass(vcpu: vcpu)
            state.passes.append(made)
            return made
        }
    }

    /// A vCPU is about to run; waits while someone else holds.
    func enter(_ pass: Pass) {
        pass.set(true)
        guard isHeld.load(ordering: .sequentiallyConsistent) else { return }
        if mayStay(pass) { return }
        leave(pass)
        waitUntil { state in
            guard state.holder == nil || state.holder == pass.vcpu else { return false }
            pass.set(true)
            return true
        }
    }

    /// It runs no more.
    func leave(_ pass: Pass) {
        pass.set(false)
        if isHeld.load(ordering: .sequentiallyConsistent) { changes.signal() }
    }

    /// Between two KVM_RUNs, after a kick: waits while someone else holds.
    func check(_ pass: Pass) {
        guard isHeld.load(ordering: .sequentiallyConsistent), !mayStay(pass) else { return }
        leave(pass)
        enter(pass)
    }

    private func mayStay(_ pass: Pass) -> Bool {
        state.withLock { $0.holder == nil || $0.holder == pass.vcpu }
    }

    /// Makes all others leave; `kick` gets those that have to come out, and may be called several times.
    func hold(_ holder: Int, kick: (Set<Int>) -> Void) {
        let own = holder == Self.debugger ? nil : pass(for: holder)
        let wasInside = own?.isInside.load(ordering: .sequentiallyConsistent) ?? false
        if let own, wasInside {
            own.set(false)
            changes.signal()
        }
        waitUntil { state in
            guard state.holder == nil else { return false }
            state.holder = holder
            isHeld.store(true, ordering: .sequentiallyConsistent)
            return true
        }
        let others = inside()
        if !others.isEmpty { kick(others) }
        waitUntil { state in
            !state.passes.contains { $0.isInside.load(ordering: .sequentiallyConsistent) }
        }
        if let own, wasInside { own.set(true) }
    }

    private func inside() -> Set<Int> {
        state.withLock { state in
            Set(state.passes.filter { $0.isInside.load(ordering: .sequentiallyConsistent) }.map(\.vcpu))
        }
    }

    /// Lets the others in again.
    func release(_ holder: Int) {
        state.withLock { state in
            guard state.holder == holder else { return }
            state.holder = nil
            isHeld.store(false, ordering: .sequentiallyConsistent)
        }
        changes.signal()
    }

    private func waitUntil(_ condition: (inout State) -> Bool) {
        while true {
            let token = changes.token
            if state.withLock({ condition(&$0) }) { return }
            changes.wait(since: token)
        }
    }
}
