import DebugTarget
import Debugger
import Glibc
import Monitor

extension Session {
    /// The first look has something to show after so many steps of 20 ms.
    private static let firstSteps = 25

    /// What the host has counted of the guest's exits. Nil for a guest of our own, whose exits all come to us.
    func hostExitsOutput() -> HostExitsOutput? {
        guard let hostExits, let process = debugger.target.vcpus.first?.process else { return nil }
        do {
            let isFirst = hostExits.isClosed
            var look = try hostExits.look()
            for _ in 0..<Self.firstSteps where isFirst && isRunning && !cancelRequested() {
                usleep(20_000)
                look = try hostExits.look()
            }
            return HostExitsOutput(look, process: process)
        } catch {
            return HostExitsOutput(failure: error.description)
        }
    }

    /// What the host has counted of the events of catchpoints, by their numbers; it begins to count where it did not yet.
    /// None for a guest of our own, whose events all come to us, and where the host does not permit it: `info exits`
    /// says why.
    func hostCounts(of events: [(number: Int, event: CatchEvent)]) -> [Int: HostEventCount] {
        guard !events.isEmpty, let hostExits, let process = debugger.target.vcpus.first?.process,
            let look = try? hostExits.look()
        else { return [:] }
        var counts: [Int: HostEventCount] = [:]
        for (number, event) in events { counts[number] = HostEventCount(event, look, process: process) }
        return counts
    }
}
