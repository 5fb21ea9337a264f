import DebugTarget
import Debugger
import Expressions
import TargetConformance
import Testing
import X86

/// Interrupts from outside, on hosts that step in different ways.
@Suite struct OutsideInterruptTests {
    /// 7C00 inc cx; 7C01 jmp 7C00. Vector 20h leads to 7D00 inc dx; iret.
    private func guest(_ host: FakeQuirks) throws -> (Debugger, FakeTarget) {
        let (debugger, target) = try debugger([0x41, 0xEB, 0xFD], quirks: host)
        try debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x42, 0xCF])
        try debugger.setRegister("if", to: 1)
        return (debugger, target)
    }

    @Test(arguments: FakeConformanceTests.hosts)
    func eachIsCaughtOnce(_ host: FakeQuirks) throws {
        let (debugger, target) = try guest(host)
        let catchpoint = try debugger.setCatchpoint(.interrupt(0x20))
        for count: UInt64 in 1...5 {
            target.processors[0].pendingInterrupt = 0x20
            try debugger.continueRun()
            guard case .caught(let events) = debugger.stop.reason, events.count == 1,
                case .interrupt([0x20], false, let isInside) = events[0].what
            else {
                Issue.record("stopped for \(debugger.stop.reason)")
                return
            }
            #expect(try debugger.registerValue("rip").bits == (isInside ? 0x7D01 : 0x7D00))
            #expect(try debugger.registerValue("dx").bits == count - (isInside ? 0 : 1))
            #expect(try debugger.breakpoint(catchpoint.number).hits == Int(count))
        }
        // With IF clear it waits, and the guest goes on.
        try debugger.deleteAllBreakpoints()
        let loop = try debugger.setBreakpoint(at: .linear(0x7C00))
        try debugger.continueRun()
        try debugger.setRegister("if", to: 0)
        target.processors[0].pendingInterrupt = 0x20
        try debugger.setCatchpoint(.interrupt(0x20))
        for _ in 0..<3 {
            try debugger.continueRun()
            #expect(debugger.stop.reason == .breakpoint([loop.number]))
        }
        #expect(target.processors[0].pendingInterrupt == 0x20)
    }

    /// A run that is stepped sees what the handler of an interrupt does, on hosts that step with TF, too, where it can be
    /// known which one comes.
    @Test(arguments: FakeConformanceTests.hosts)
    func itsHandlerIsSteppedToo(_ host: FakeQuirks) throws {
        let (debugger, target) = try guest(host)
        target.processors[0].hasLocalAPIC = true
        try debugger.setTracing(true)
        for count: UInt64 in 1...4 {
            let end = try debugger.setBreakpoint(at: .linear(0x7C01), condition: "$dx == \(count)")
            target.processors[0].pendingInterrupt = 0x20
            try debugger.continueRun()
            #expect(debugger.stop.reason == .breakpoint([end.number]))
            let places = try debugger.blackBox(limit: 6).steps.map(\.record.registers.rip)
            #expect(places.contains(0x7D00) && places.contains(0x7D01), "\(places)")
            #expect(try debugger.registerValue("sp").bits == debugger.stop.vcpus[0].registers.rsp)
            #expect(try debugger.registerValue("tf").bits == 0)
            try debugger.deleteAllBreakpoints()
        }
    }

    /// One instruction after each IRET is the interrupted code's, or that would never go on.
    @Test(arguments: FakeConformanceTests.hosts.filter { $0.contains(.tfIsReal) })
    func whatIsInterruptedAtEachStepGoesOn(_ host: FakeQuirks) throws {
        let (debugger, target) = try guest(host)
        target.processors[0].hasLocalAPIC = true
        target.processors[0].isInterruptDueAgain = true
        target.processors[0].pendingInterrupt = 0x20
        try debugger.setTracing(true)
        let end = try debugger.setBreakpoint(at: .linear(0x7C01), condition: "$cx == 3")
        try debugger.startContinue()
        let stop = try debugger.collectStop(timeout: .paced(20))
        if stop == nil {
            debugger.interrupt()
            _ = try debugger.collectStop(timeout: nil)
        }
        #expect(stop?.reason == .breakpoint([end.number]))
        #expect(try debugger.registerValue("dx").bits >= 3, "and its handler was run in between")
    }

    @Test(arguments: FakeConformanceTests.hosts)
    func aStepHoldsItOffAndAFreeRunGivesIt(_ host: FakeQuirks) throws {
        let (debugger, target) = try guest(host)
        target.processors[0].pendingInterrupt = 0x20
        for ip: UInt64 in [0x7C01, 0x7C00, 0x7C01] {
            try debugger.step()
            #expect(try debugger.registerValue("rip").bits == ip)
        }
        #expect(target.processors[0].pendingInterrupt == 0x20)
        try debugger.setBreakpoint(at: .linear(0x7D01))
        try debugger.continueRun()
        #expect(try debugger.registerValue("rip").bits == 0x7D01)
        #expect(target.processors[0].pendingInterrupt == nil)
        #expect(try debugger.registerValue("dx").bits == 1)
    }
}
