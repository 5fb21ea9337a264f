import DebugTarget
import Debugger
import KVMCore
import Locking
import TargetConformance
import Testing
import X86

@testable import Machine

/// What a controller is asked and told of a machine's exits, and what the devices get.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct DispatchLiveTests {
    /// Notes what it is told, and answers as it was set up to.
    private final class Recorder: RunController {
        let seesHandledExits: Bool
        private let claimed: UInt16?
        private let notes = Lock<[String]>([])
        var log: [String] { notes.withLock { $0 } }

        init(sees: Bool = true, claims port: UInt16? = nil) {
            seesHandledExits = sees
            claimed = port
        }

        private func note(_ text: String) { notes.withLock { $0.append(text) } }

        func begin(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
            note("begin")
            return .resume
        }

        func claims(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
            guard case .io(let io) = exit else { return false }
            return io.port == claimed
        }

        func decide(_ event: RunEvent, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
            let ip = try vcpu.registers().rip
            switch event {
            case .handled(let exit): note("handled \(exit.reason) \(ip)")
            case .claimed(let exit): note("claimed \(exit.reason) \(ip)")
            case .fatal(let exit):
                note("fatal \(exit.reason)")
                return .stop(.exit(exit))
            case .debug, .patch, .serviced: note("other")
            }
            return .resume
        }

        func end(_ vcpu: any VCPUAccess) throws(KVMError) { note("end") }
    }

    // 7C00 mov al, 'A'; 7C02 out 0e9h, al; 7C04 out 80h, al; 7C06 in al, 80h; 7C08 hlt
    private let code: [UInt8] = [0xB0, 0x41, 0xE6, 0xE9, 0xE6, 0x80, 0xE4, 0x80, 0xF4]

    private func run(_ recorder: Recorder) throws -> (OwnedMachine, StopReport?) {
        let machine = try machine(code: code)
        try machine.resume([RunOrder(vcpu: 0, controller: recorder)])
        return (machine, machine.waitForStop(timeout: .paced(20)))
    }

    @Test func handledExitsAreToldOnceRegistersAreFinal() throws {
        let recorder = Recorder()
        let (machine, report) = try run(recorder)
        #expect(
            recorder.log == [
                "begin", "handled \(ExitReason.io) \(0x7C04)", "handled \(ExitReason.io) \(0x7C06)",
                "handled \(ExitReason.io) \(0x7C08)", "fatal \(ExitReason.hlt)", "end",
            ])
        #expect(report?.reason == .exit(.hlt) && report?.vcpu == 0)
        #expect(machine.consoleOutput(.debug)?.bytes == [0x41])
        #expect(try machine.withVCPU(0) { try $0.registers().rax } & 0xFF == 0xFF, "nothing answered IN")
        #expect(machine.unclaimedAccesses.portReads == 1 && machine.unclaimedAccesses.portWrites == 1)
    }

    @Test func noDeviceGetsWhatIsClaimed() throws {
        let recorder = Recorder(sees: false, claims: 0xE9)
        let (machine, _) = try run(recorder)
        #expect(recorder.log.prefix(2) == ["begin", "claimed \(ExitReason.io) \(0x7C04)"])
        #expect(recorder.log.suffix(2) == ["fatal \(ExitReason.hlt)", "end"] && recorder.log.count == 4)
        #expect(machine.consoleOutput(.debug)?.bytes == [])
    }

    @Test func powerOffEndsTheRunWhateverTheControllerSays() throws {
        // 7C00 mov dx, 604h; 7C03 mov ax, 2000h; 7C06 out dx, ax; 7C07 jmp 7C07
        let machine = try machine(code: [0xBA, 0x04, 0x06, 0xB8, 0x00, 0x20, 0xEF, 0xEB, 0xFE])
        let recorder = Recorder(sees: false)
        try machine.resume([RunOrder(vcpu: 0, controller: recorder)])
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .poweredOff)
        #expect(recorder.log.last == "end" && machine.powerOff != nil)
    }

    /// All stop, all go: one report, whoever stops first.
    @Test func oneReportForAll() throws {
        var configuration = MachineConfiguration()
        configuration.ramSize = 1 << 20
        configuration.vcpus = 2
        // Both spin.
        configuration.image = try GuestImage(name: "spin", bytes: [0xEB, 0xFE], at: 0x7C00)
        let machine = try OwnedMachine(configuration)
        let recorders = [Recorder(sees: false), Recorder(sees: false)]
        let orders = recorders.enumerated().map { RunOrder(vcpu: $0.offset, controller: $0.element) }
        try machine.resume(orders)
        #expect(throws: MachineError.self) { try machine.resume(orders) }
        #expect(machine.isRunning && machine.waitForStop(timeout: .milliseconds(1)) == nil)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        #expect(!machine.isRunning && machine.waitForStop(timeout: .milliseconds(1)) == nil)
        for recorder in recorders { #expect(recorder.log == ["begin", "end"]) }
        // Nobody, one that is not there, and one twice.
        #expect(throws: MachineError.self) { try machine.resume([]) }
        #expect(throws: MachineError.self) {
            try machine.resume([RunOrder(vcpu: 9, controller: recorders[0])])
        }
        #expect(throws: MachineError.self) { try machine.resume([orders[0], orders[0]]) }
        #expect(!machine.isRunning)
    }
}
