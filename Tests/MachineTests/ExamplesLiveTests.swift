import DebugTarget
import Debugger
import KVMCore
import Machine
import TargetConformance
import Testing
import X86

@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct ExamplesLiveTests {
    @Test func bootGoesThroughAllModes() throws {
        let machine = try machine("boot")
        #expect(try machine.runToStop().reason == .hlt)
        let text = "real mode\nprotected mode\n64-bit mode\n"
        #expect(machine.text(.debug) == text)
        #expect(machine.text(.serial) == text)
        let special = try machine.withVCPU(0) { try $0.specialRegisters() }
        #expect(special.efer.contains(.lma))
        #expect(special.cs.attributes.isLong)
    }

    @Test(arguments: [true, false])
    func exitsAreAllAnswered(isCompleted: Bool) throws {
        let machine = try machine("exits")
        #expect(try machine.runToStop { FreeRun(seesHandledExits: isCompleted) }.reason == .hlt)
        #expect(machine.text(.debug) == "string out: ok\nport: ok\nmmio: ok\ncpuid: ok\nmsr: ok\n")
        let unclaimed = machine.unclaimedAccesses
        #expect(unclaimed.portReads == 3)
        #expect(unclaimed.portWrites == 3)
        #expect(unclaimed.reads == 2)
        #expect(unclaimed.writes == 2)
    }

    @Test func theSecondStageIsUnpackedAndRuns() throws {
        let machine = try machine("twostage")
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.text(.debug) == "stage 1\nstage 2\n")
    }

    /// With the debug registers in use, so that the breakpoint stands where the loader writes.
    @Test func aBreakpointInTheSecondStageIsHitAfterItWasLoaded() throws {
        let machine = try machine("twostage")
        let debugger = try Debugger(target: machine)
        for address: UInt64 in 0xF000...0xF002 { try debugger.setBreakpoint(at: .linear(address)) }
        let entry = try debugger.setBreakpoint(at: .linear(0xA000))
        let halt = try debugger.setBreakpoint(at: .linear(0xA00C))
        #expect(entry.mechanism == .portOut || entry.mechanism == .int3)
        #expect(try debugger.continueRun().reason == .breakpoint([entry.number]))
        #expect(debugger.selected.pc == 0xA000)
        #expect(try debugger.readMemory(.physical(0xA000), count: 4).bytes == [0xBE, 0x10, 0xA0, 0xAC])
        #expect(try debugger.continueRun().reason == .breakpoint([halt.number]))
        #expect(machine.text(.debug) == "stage 1\nstage 2\n")
    }

    @Test func twoProcessorsShareMemory() throws {
        let machine = try machine("smp")
        #expect(machine.vcpus.count == 2)
        #expect(try machine.runToStop().reason == .hlt)
        let text = machine.text(.debug)
        #expect(text.contains("vcpu 0 done\n"))
        #expect(text.contains("vcpu 1 done\n"))
        #expect(text.hasSuffix("sum ok\n"))
    }

    @Test func tripleFaultIsAStop() throws {
        let machine = try machine("triplefault")
        #expect(try machine.runToStop().reason == .tripleFault)
        #expect(machine.text(.debug) == "about to fault\n")
    }

    @Test func spinIsStopped() throws {
        let machine = try machine("spin")
        try machine.go()
        #expect(machine.waitForStop(timeout: .milliseconds(50)) == nil)
        #expect(machine.isRunning)
        machine.interrupt()
        let report = try #require(machine.waitForStop(timeout: .paced(10)))
        #expect(report.reason == .interrupted)
        #expect(!machine.isRunning)
        #expect(machine.text(.debug) == "spinning\n")
        let registers = try machine.withVCPU(0) { try $0.registers() }
        #expect(registers.rip == 0x7C16)
    }
}
