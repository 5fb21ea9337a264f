import CBench
import DebugTarget
import Debugger
import Interface
import KVMCore
import Machine
import X86

/// A machine of ours that runs the same code as the bare loop.
func benchMachine(_ guest: cbench_guest) throws -> OwnedMachine {
    var configuration = MachineConfiguration()
    configuration.name = "bench"
    configuration.ramSize = 1 << 20
    configuration.image = try GuestImage(name: "bench", bytes: guestCode(guest), at: 0x7C00)
    return try OwnedMachine(configuration)
}

/// A free run whose every exit is an OUT that a device of the machine takes.
func portOutFigure(count: Int, rounds: Int) throws -> Figure {
    let machine = try benchMachine(CBENCH_PORT_OUT)
    return try compare(
        "port-out exits through the machine", atLeast: 0.90, guest: CBENCH_PORT_OUT, count: count,
        rounds: rounds
    ) { count in
        try machine.withVCPU(0) { vcpu in
            var registers = try vcpu.registers()
            registers.rip = 0x7C00
            registers.rcx = UInt64(count)
            try vcpu.setRegisters(registers)
        }
        try machine.resume([RunOrder(vcpu: 0, controller: FreeRun())])
        guard case .exit(.hlt)? = machine.waitForStop(timeout: .seconds(60))?.reason else {
            throw BenchFailure("the port loop did not reach its end")
        }
    }
}

/// Lets the guest run to its HLT, with no word on what the machine handles.
private final class FreeRun: RunController {
    let seesHandledExits = false

    func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict { .resume }

    func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        if case .fatal(let exit) = event { return .stop(.exit(exit)) }
        return .resume
    }

    func end(_ vcpu: any VCPUAccess) throws(KVMError) {}
}
