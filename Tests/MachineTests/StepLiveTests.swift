import DebugTarget
import Debugger
import Expressions
import KVMCore
import Machine
import TargetConformance
import Testing
import X86

/// What of stepping needs a machine of our own.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct StepLiveTests {
    private func machine(_ controller: MachineConfiguration.InterruptController = .none) throws -> (
        OwnedMachine, Debugger
    ) {
        var configuration = MachineConfiguration()
        configuration.ramSize = 1 << 20
        configuration.interruptController = controller
        let machine = try OwnedMachine(configuration)
        return (machine, try Debugger(target: machine))
    }

    private func start(_ debugger: Debugger, _ code: [UInt8], flags: UInt64) throws {
        try debugger.writeMemory(.physical(0x7C00), code)
        for segment in ["cs", "ds", "es", "ss"] { try debugger.setRegister(segment, to: 0) }
        try debugger.setRegister("rsp", to: 0x7000)
        try debugger.setRegister("rflags", to: flags)
        try debugger.setRegister("rdx", to: 0)
        try debugger.setRegister("rip", to: 0x7C00)
    }

    @Test func anInterruptIsHeldOffAndToldUntilStepsMayTakeIt() throws {
        let (machine, debugger) = try machine(.kernel)
        // 7C00 inc ax, six times; vector 20h leads to 7D00 inc dx; inc dx; iret
        try start(debugger, [UInt8](repeating: 0x40, count: 6), flags: 0x202)
        try debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x42, 0x42, 0xCF])
        try debugger.step()
        #expect(debugger.heldInterrupt() == nil)
        var chip = try machine.picState(.master)
        chip.vectorBase = 0x20
        chip.irr = 1
        chip.lastIRR = 1
        try machine.setPICState(.master, chip)
        for ip: UInt64 in [0x7C02, 0x7C03] {
            try debugger.step()
            #expect(try debugger.registerValue("rip").bits == ip)
            #expect(debugger.heldInterrupt() == .vector(0x20))
        }
        try debugger.setRegister("if", to: 0)
        try debugger.step()
        #expect(debugger.heldInterrupt() == nil, "the guest itself holds it off")
        try debugger.setRegister("if", to: 1)
        debugger.takesInterruptsWhileStepping = true
        try debugger.step(count: 4)
        #expect(debugger.heldInterrupt() == nil)
        #expect(try debugger.registerValue("dx").bits == 2, "its handler ran")
    }

    /// With the interrupt controllers in the kernel a HLT does not exit; with interrupts off nothing ends it.
    @Test func aSleepThatNothingEndsIsAStop() throws {
        // 7C00 cli; 7C01 hlt; 7C02 inc bx; 7C03 hlt
        let machine = try Machine.OwnedMachine(
            { () -> MachineConfiguration in
                var configuration = MachineConfiguration()
                configuration.interruptController = .kernel
                configuration.image = try GuestImage(
                    name: "sleeps", bytes: [0xFA, 0xF4, 0x43, 0xF4], at: 0x7C00)
                return configuration
            }())
        let debugger = try Debugger(target: machine)
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .paced(60))?.reason == .hlt)
        #expect(try debugger.registerValue("rip").bits == 0x7C02)
        #expect(throws: DebuggerError.self) { try debugger.startContinue() }
        #expect(try debugger.registerValue("bx").bits == 0, "nothing after it was executed")
        try debugger.startStep()
        #expect(try debugger.collectStop(timeout: .paced(60))?.reason == .step(count: 1))
        #expect(try debugger.registerValue("rip").bits == 0x7C03)
    }

    /// At CPL 3 this KVM may run 64-bit code natively, where a single step is lost; on VMX and SVM it is a step.
    @Test func aStepAtCPL3EndsAndIsASingleOneOrSaysThatItWasLost() throws {
        let (_, debugger) = try machine()
        try start(debugger, Self.toCPL3, flags: 2)
        // To the IRETQ, and over it: what it leads to may run on by itself already.
        try debugger.step(count: 30)
        #expect(debugger.stop.reason == .step(count: 30))
        #expect(debugger.selected.mode == .long64)
        try debugger.step()
        #expect(try debugger.registerValue("rip").bits == 0x7c7e)
        #expect(try debugger.registerValue("cs").bits == 0x2B)
        for _ in 0..<2 {
            try debugger.startStep()
            #expect(try debugger.collectStop(timeout: .paced(20)) != nil)
            switch debugger.stop.reason {
            case .step(count: 1), .stepLost(.interrupted): break
            default: Issue.record("stopped for \(debugger.stop.reason)")
            }
            #expect(try debugger.registerValue("rip").bits == 0x7c7e)
        }
    }

    /// Into 64-bit code at CPL 3, a jump to itself. Assembled for 0x7C00.
    private static let toCPL3 = ModeSwitch.code(
        at: 0x7C00,
        real: [
            0x66, 0x0F, 0x01, 0x16, 0xB0, 0x7C,  // 7C00 lgdtd ds:0x7cb0
        ],
        protected: [
            0xB8, 0x10, 0x00, 0x00, 0x00,  // 7C13 mov eax,0x10
            0x8E, 0xD8,  // 7C18 mov ds,eax
            0x8E, 0xD0,  // 7C1A mov ss,eax
            0xBC, 0x00, 0x70, 0x00, 0x00,  // 7C1C mov esp,0x7000
            0xC7, 0x05, 0x00, 0x00, 0x01, 0x00, 0x07, 0x10, 0x01, 0x00,  // 7C21 mov dword ds:0x10000,0x11007
            0xC7, 0x05, 0x00, 0x10, 0x01, 0x00, 0x07, 0x20, 0x01, 0x00,  // 7C2B mov dword ds:0x11000,0x12007
            0xC7, 0x05, 0x00, 0x20, 0x01, 0x00, 0x87, 0x00, 0x00, 0x00,  // 7C35 mov dword ds:0x12000,0x87
        ],
        long: [
            0x6A, 0x23,  // 7C6C push 0x23
            0x68, 0x00, 0x70, 0x00, 0x00,  // 7C6E push 0x7000
            0x6A, 0x02,  // 7C73 push 0x2
            0x6A, 0x2B,  // 7C75 push 0x2b
            0x68, 0x7E, 0x7C, 0x00, 0x00,  // 7C77 push 0x7c7e
            0x48, 0xCF,  // 7C7C iretq
            0xEB, 0xFE,  // 7C7E jmp 0x7c7e
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // null
            0xFF, 0xFF, 0x00, 0x00, 0x00, 0x9B, 0xCF, 0x00,  // 08 code, 32 bits
            0xFF, 0xFF, 0x00, 0x00, 0x00, 0x93, 0xCF, 0x00,  // 10 data
            0xFF, 0xFF, 0x00, 0x00, 0x00, 0x9B, 0xAF, 0x00,  // 18 code, 64 bits
            0xFF, 0xFF, 0x00, 0x00, 0x00, 0xF3, 0xCF, 0x00,  // 20 data, CPL 3
            0xFF, 0xFF, 0x00, 0x00, 0x00, 0xFB, 0xAF, 0x00,  // 28 code, 64 bits, CPL 3
            0x2F, 0x00, 0x80, 0x7C, 0x00, 0x00,  // limit and base of that table
        ])
}
