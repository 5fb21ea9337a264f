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
}
