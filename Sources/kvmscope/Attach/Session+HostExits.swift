import Commands
import DebugTarget
import Debugger
import Monitor

extension Session {
    /// Counts the exits of the guest on the host once they are asked for. Where the host does not permit that, `info exits`
    /// says so.
    func watchHostExits() {
        let target = debugger.target
        guard let process = target.vcpus.first?.process else { return }
        hostExits = HostExits(
            process: process, name: target.name,
            vcpus: {
                target.vcpus.map { MonitoredGuest.VCPU(id: $0.id, thread: $0.thread == 0 ? nil : $0.thread) }
            },
            open: { () throws(MonitorError) in
                try BestSource.open([.bpf, .perf, .tracefs], rules: EventRule.exits)
            })
    }
}
