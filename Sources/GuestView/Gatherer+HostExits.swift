import Commands
import DebugTarget
import Debugger
import Monitor

extension Gatherer {
    /// The exits of another program's guest come from the host: those that come to us are only of our own steps.
    func noticeHostExits(_ view: inout GuestView) {
        guard let exits = session.hostExits, let process = debugger.target.vcpus.first?.process else {
            return
        }
        let look: HostExits.Look
        do {
            look = try exits.look()
        } catch {
            view.exitsMissing = error.description
            return
        }
        let reasons = look.report.reasons(Selection(process: process))
        // Returns to userspace are exits of the processor, too: counted once in the sum.
        let level = reasons.first?.key.level
        let own = reasons.filter { $0.key.level == level }
        view.exits.rows = reasons.map { reason in
            ExitTable.Row(
                name: reason.key.level == .userspace && level != .userspace
                    ? "to user: \(reason.name)" : reason.name,
                count: reason.count, rate: look.rates.map { $0[reason.key] ?? 0 }, total: reason.time,
                maximum: reason.maximum, average: reason.mean)
        }
        view.exits.total = own.reduce(0) { $0 &+ $1.count }
        view.exits.rate = look.rates.map { rates in own.reduce(0) { $0 + (rates[$1.key] ?? 0) } }
        view.exitsFrom =
            "\(look.report.badge.way.rawValue), no stop" + (look.report.lossText.map { ", \($0)" } ?? "")
        for index in view.vcpus.indices {
            guard let vcpu = look.vcpus.first(where: { $0.id == view.vcpus[index].id }) else { continue }
            view.vcpus[index].exitsPerSecond = look.vcpuRates[vcpu.id]
            if let last = vcpu.lastExit { view.vcpus[index].lastExit = last }
        }
    }
}
