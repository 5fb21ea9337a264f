import Debugger
import KVMCore
import Machine
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
        let report = try #require(machine.waitForStop(timeout: .seconds(10)))
        #expect(report.reason == .interrupted)
        #expect(!machine.isRunning)
        #expect(machine.text(.debug) == "spinning\n")
        let registers = try machine.withVCPU(0) { try $0.registers() }
        #expect(registers.rip == 0x7C16)
    }
}
