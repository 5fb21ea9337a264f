import DebugTarget
import Debugger
import Glibc
import KVMCore
import Machine
import TargetConformance
import Testing
import X86

/// A run that is over and whose stop nobody has collected yet: what is changed then must leave nothing held.
@Suite(.enabled(if: isLive, "needs /dev/kvm"))
struct PendingStopLiveTests {
    @Test func changesWhileAStopWaits() throws {
        // Sixteen NOPs, and back to the first.
        let code = [UInt8](repeating: 0x90, count: 16) + [0xEB, 0xEE]
        let debugger = try Debugger(target: machine(code: code))
        // More than there are debug registers: the others are patches, which a step takes out for itself.
        for place in 0..<8 { try debugger.setBreakpoint(at: .linear(0x7C00 + UInt64(place) * 2)) }
        for round in 0..<4 {
            for place in 3..<8 {
                try debugger.setRegister("rip", to: 0x7C00 + UInt64(place) * 2 - 1)
                try debugger.startStep()
                var ready = pollfd(fd: debugger.stopDescriptor, events: Int16(POLLIN), revents: 0)
                #expect(poll(&ready, 1, 60_000) == 1)
                if round % 2 == 0 {
                    try debugger.setRegister("rbx", to: UInt64(place))
                } else {
                    let other = try debugger.setBreakpoint(at: .linear(0x9000))
                    try debugger.deleteBreakpoint(other.number)
                }
                #expect(try debugger.collectStop(timeout: .paced(60)) != nil)
                #expect(debugger.selected.registers.rip == 0x7C00 + UInt64(place) * 2)
                if round % 2 == 0 { #expect(debugger.selected.registers.rbx == UInt64(place)) }
            }
        }
        // A guest that runs can be held for a change, as nobody holds it.
        try debugger.deleteAllBreakpoints()
        try debugger.startContinue()
        try debugger.setBreakpoint(at: .linear(0x7C04))
        let stop = try #require(try debugger.collectStop(timeout: .paced(60)))
        #expect(stop.reason == .breakpoint([debugger.lastBreakpoint ?? 0]))
    }
}
