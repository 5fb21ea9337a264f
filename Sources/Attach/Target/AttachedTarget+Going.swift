import DebugTarget
import Glibc
import KVMCore

/// Which vCPUs begin, go on, and wait for one that goes on alone.
extension AttachedTarget {
    /// Lets those begin that are to, until one of them has to go on alone.
    func beginWaiting() {
        while holder == nil, report == nil, !waiting.isEmpty {
            let (member, controller) = waiting.removeFirst()
            drive(member, controller)
        }
    }

    func drive(_ member: AttachedVCPU, _ controller: any RunController) {
        member.controller = controller
        member.planner = controller as? any PlanningController
        member.isOut = true
        do {
            let access: any VCPUAccess = phase == .passive ? PassiveVCPU(member, self) : member.held
            switch try controller.begin(access) {
            case .resume: break
            case .park: finish(member, .hlt)
            case .stop(let reason): finish(member, reason)
            }
        } catch {
            failed(member, error)
        }
    }

    /// A call between two runs failed. In a VMM that has ended all do.
    func failed(_ member: AttachedVCPU, _ error: KVMError) {
        // The threads of a process that is killed end one after the other.
        if !client.isVMMGone { usleep(10_000) }
        if client.isVMMGone { return lost(awaitEndOfVMM()) }
        finish(member, .failed(error))
    }

    /// Those that are stopped and may go, go.
    func resumeReady() {
        if let holder { return go(members.filter { $0.identity.id == holder && $0.isStanding }) }
        let busy = Set(deferred.map(\.index))
        go(
            members.filter {
                ($0.isOut || $0.isFree) && $0.isStanding && !$0.isGone && !busy.contains(UInt16($0.index))
            })
    }

    /// A vCPU may go on; where it was alone and is no more, the others do, too.
    func goOn(_ member: AttachedVCPU) {
        if let holdFailure {
            self.holdFailure = nil
            return lost(holdFailure)
        }
        lookIfDue()
        dealWithDeferred()
        beginWaiting()
        if report == nil { resumeReady() }
    }

    /// What was put off, as far as the one that goes on alone lets it.
    func dealWithDeferred() {
        func isNext(_ event: TracerReply.Event) -> Bool {
            guard let holder else { return true }
            return members.indices.contains(Int(event.index))
                && members[Int(event.index)].identity.id == holder
        }
        while report == nil, let place = deferred.firstIndex(where: isNext) {
            take(deferred.remove(at: place))
        }
    }
}
