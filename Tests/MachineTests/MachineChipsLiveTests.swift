import DebugTarget
import Debugger
import Expressions
import Glibc
import KVMCore
import Machine
import TargetConformance
import Testing
import X86

/// The interrupt controllers and timers of our own, with a guest.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct MachineChipsLiveTests {
    /// Vector 20h for line 0 counts at 0x500; then `rest`, with the handler's address filled in.
    private static func guest(mask: UInt8, timer: UInt16?, _ rest: [UInt8]) -> [UInt8] {
        var code: [UInt8] = [
            0xFA,  // cli
            0x31, 0xC0, 0x8E, 0xD8,  // xor ax, ax; mov ds, ax
            0xC7, 0x06, 0x80, 0x00, 0, 0,  // mov word [0x80], handler
            0xC7, 0x06, 0x82, 0x00, 0, 0,  // mov word [0x82], 0
            0xB0, 0x11, 0xE6, 0x20,  // ICW1
            0xB0, 0x20, 0xE6, 0x21,  // ICW2: vector 20h
            0xB0, 0x04, 0xE6, 0x21,  // ICW3
            0xB0, 0x01, 0xE6, 0x21,  // ICW4
            0xB0, mask, 0xE6, 0x21,  // OCW1
        ]
        if let timer {
            code += [
                0xB0, 0x34, 0xE6, 0x43,  // counter 0, both bytes, mode 2
                0xB0, UInt8(timer & 0xFF), 0xE6, 0x40, 0xB0, UInt8(timer >> 8), 0xE6, 0x40,
            ]
        }
        code += rest
        let handler = 0x7C00 + code.count
        code[9] = UInt8(handler & 0xFF)
        code[10] = UInt8(handler >> 8)
        return code + [
            0xFE, 0x06, 0x00, 0x05,  // inc byte [0x500]
            0xB0, 0x20, 0xE6, 0x20,  // EOI
            0xCF,  // iret
        ]
    }

    private func machine(_ code: [UInt8]) throws -> OwnedMachine {
        try MachineTests.machine(code: code) { $0.interruptController = .user }
    }

    private func count(_ machine: OwnedMachine) -> UInt64? { machine.memory.word(0x500, size: 1) }

    @Test func timerEndsEachHalt() throws {
        let machine = try machine(
            Self.guest(
                mask: 0xFE, timer: 1193,
                [
                    0xFB,  // sti
                    0xF4,  // hlt
                    0x80, 0x3E, 0x00, 0x05, 0x05,  // cmp byte [0x500], 5
                    0x72, 0xF8,  // jb hlt
                    0xFA, 0xF4,  // cli; hlt
                ]))
        #expect(try machine.runToStop().reason == .hlt)
        // On a slow host one more may be due before the guest has looked, each delivered and counted once.
        let count = try #require(self.count(machine))
        #expect(count >= 5)
        let state = machine.deviceState
        #expect(state.interrupts == [DeliveredInterrupt(vector: 0x20, count: count)])
        #expect(state.inputs.interrupts == count)
        // Five periods of 1193 ticks have passed, and they are of the guest's own time.
        #expect(machine.guestTime >= .microseconds(4_999))
        #expect(state.inputs.time > 0)
    }

    @Test func aGuestThatMakesNoExitIsInterrupted() throws {
        let machine = try machine(
            Self.guest(
                mask: 0xFE, timer: 1193,
                [
                    0xFB,  // sti
                    0x80, 0x3E, 0x00, 0x05, 0x03,  // cmp byte [0x500], 3
                    0x72, 0xF9,  // jb cmp
                    0xFA, 0xF4,  // cli; hlt
                ]))
        #expect(try machine.runToStop().reason == .hlt)
        // Or more, where the next is due before the guest has looked.
        #expect(try #require(count(machine)) >= 3)
    }

    /// One that asks for an interrupt each microsecond gets on all the same.
    @Test func aTimerOfOneTickDoesNotHang() throws {
        let machine = try machine(
            Self.guest(
                mask: 0xFE, timer: 1,
                [
                    0xFB,  // sti
                    0xB9, 0x20, 0x00,  // mov cx, 32
                    0xE2, 0xFE,  // loop $
                    0xFA, 0xF4,  // cli; hlt
                ]))
        #expect(try machine.runToStop().reason == .hlt)
    }

    @Test func withInterruptsOffAHaltIsAnEnd() throws {
        let machine = try machine(Self.guest(mask: 0xFE, timer: 1193, [0xFA, 0xF4]))
        #expect(try machine.runToStop().reason == .hlt)
        #expect(count(machine) == 0)
    }

    @Test func withNothingToWakeItAHaltIsAnEnd() throws {
        // The timer runs, and its line is masked.
        let machine = try machine(Self.guest(mask: 0xFF, timer: 1193, [0xFB, 0xF4]))
        #expect(try machine.runToStop().reason == .hlt)
        #expect(count(machine) == 0)
    }

    @Test func aStopEndsAHaltThatWaits() throws {
        // Line 1 alone is open, and nobody types.
        let machine = try machine(Self.guest(mask: 0xFD, timer: nil, [0xFB, 0xF4, 0xEB, 0xFD]))
        let debugger = try Debugger(target: machine)
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(60))?.reason == .interrupted)
        #expect(debugger.selected.activity == .halted)
        let halted = try debugger.registerValue("rip").bits
        // It is in its HLT still.
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(60))?.reason == .interrupted)
        #expect(try debugger.registerValue("rip").bits == halted)
        // A step goes on after it.
        try debugger.step()
        #expect(debugger.stop.reason == .step(count: 1))
    }

    /// Waits in a HLT for a byte on COM1: vector 24h, line 4, reads it and prints it. Then CLI and HLT.
    private static let serialGuest: [UInt8] = {
        let code: [UInt8] = [
            0xFA, 0x31, 0xC0, 0x8E, 0xD8,
            0xC7, 0x06, 0x90, 0x00, 0x00, 0x7D,  // mov word [0x90], 0x7D00
            0xC7, 0x06, 0x92, 0x00, 0, 0,
            0xB0, 0x11, 0xE6, 0x20, 0xB0, 0x20, 0xE6, 0x21, 0xB0, 0x04, 0xE6, 0x21, 0xB0, 0x01, 0xE6, 0x21,
            0xB0, 0xEF, 0xE6, 0x21,  // line 4 alone
            0xBA, 0xF9, 0x03, 0xB0, 0x01, 0xEE,  // IER: received data
            0xBA, 0xFC, 0x03, 0xB0, 0x08, 0xEE,  // MCR: OUT2
            0xFB, 0xF4,  // sti; hlt
            0xFA, 0xF4,  // cli; hlt
        ]
        let handler: [UInt8] = [
            0xBA, 0xF8, 0x03, 0xEC, 0xE6, 0xE9,  // in al, COM1; out e9
            0xB0, 0x20, 0xE6, 0x20, 0xCF,
        ]
        return code + [UInt8](repeating: 0, count: 0x100 - code.count) + handler
    }()

    @Test func serialInputInterrupts() throws {
        let machine = try machine(Self.serialGuest)
        try machine.go()
        #expect(machine.waitForStop(timeout: .milliseconds(50)) == nil)
        #expect(machine.consoleInput(.serial, [0x41]))
        #expect(machine.waitForStop(timeout: .seconds(60))?.reason == .hlt)
        #expect(machine.text(.debug) == "A")
    }

    /// The user switches interrupts off while the guest waits in its HLT: one that ends the wait does not come in.
    @Test func interruptsThatAreSwitchedOffInAHaltDoNotComeIn() throws {
        let machine = try machine(Self.serialGuest)
        let debugger = try Debugger(target: machine)
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(Int(200 * HostPace.factor))) == nil)
        try debugger.setRegister("rflags", to: 2)
        #expect(machine.consoleInput(.serial, [0x41]))
        #expect(try debugger.collectStop(timeout: .seconds(60))?.reason == .hlt)
        #expect(machine.text(.debug) == "" && debugger.selected.registers.rflags == .reserved1)
        #expect(machine.deviceState.interrupts.allSatisfy { $0.count == 0 })
    }

    @Test func timeStandsWhileStoppedAndPassesByStep() throws {
        let machine = try machine([UInt8](repeating: 0x40, count: 64))
        let debugger = try Debugger(target: machine)
        try debugger.step()
        let start = machine.guestTime
        #expect(machine.guestTime == start)
        try debugger.step(count: 10)
        #expect(machine.guestTime - start == .nanoseconds(1000))
        machine.stepTime = .microseconds(5)
        try debugger.step(count: 2)
        #expect(machine.guestTime - start == .microseconds(11))
    }

    /// A loop that polls the timer ends when it is stepped, for its time passes.
    @Test func aPolledTimerEndsUnderStepping() throws {
        let machine = try machine([
            0xB0, 0x01, 0xE6, 0x61,  // open the gate of counter 2
            0xB0, 0xB0, 0xE6, 0x43,  // counter 2, both bytes, mode 0
            0xB0, 0x20, 0xE6, 0x42, 0xB0, 0x00, 0xE6, 0x42,  // 32 ticks, 27 us
            0xE4, 0x61, 0xA8, 0x20, 0x74, 0xFA,  // wait for OUT
            0x90, 0xEB, 0xFD,
        ])
        machine.stepTime = .microseconds(2)
        let debugger = try Debugger(target: machine)
        try debugger.step(count: 60)
        #expect(try debugger.registerValue("rip").bits >= 0x7C16)
    }

    @Test func anInterruptIsHeldOffUntilStepsMayTakeIt() throws {
        let machine = try machine([UInt8](repeating: 0x40, count: 12))
        let debugger = try Debugger(target: machine)
        // Vector 20h leads to 7D00 inc dx; inc dx; iret
        try debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x42, 0x42, 0xCF])
        try debugger.setRegister("rdx", to: 0)
        try debugger.step()
        var chip = PICState()
        chip.vectorBase = 0x20
        chip.irr = 1
        chip.lastIRR = 1
        try machine.setPICState(.master, chip)
        for ip: UInt64 in [0x7C02, 0x7C03] {
            try debugger.step()
            #expect(try debugger.registerValue("rip").bits == ip)
            #expect(debugger.heldInterrupt() == .vector(0x20))
        }
        debugger.takesInterruptsWhileStepping = true
        try debugger.step(count: 5)
        #expect(debugger.heldInterrupt() == nil)
        #expect(try debugger.registerValue("dx").bits == 2, "its handler ran")
    }

    /// A breakpoint in the handler of an interrupt that ends a HLT.
    @Test func aBreakpointInAHandlerHits() throws {
        let code = Self.guest(mask: 0xFE, timer: 1193, [0xFB, 0xF4, 0xEB, 0xFD])
        let machine = try machine(code)
        let debugger = try Debugger(target: machine)
        let handler = UInt64(0x7C00 + code.count - 9)
        try debugger.setBreakpoint(at: .linear(handler))
        for round in 0..<3 {
            try debugger.startContinue()
            let stop = try #require(try debugger.collectStop(timeout: .seconds(60)))
            guard case .breakpoint = stop.reason else {
                Issue.record("stopped for \(stop.reason) in round \(round)")
                return
            }
            #expect(count(machine) == UInt64(round))
        }
    }

    /// What is found by stepping alone, over halts.
    @Test func aCaughtInterruptEndsAHaltUnderStepping() throws {
        let machine = try machine(Self.guest(mask: 0xFE, timer: 1193, [0xFB, 0xF4, 0xEB, 0xFD]))
        let debugger = try Debugger(target: machine)
        try debugger.setCatchpoint(.interrupt(0x20))
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .seconds(60)))
        guard case .caught(let events) = stop.reason else {
            Issue.record("stopped for \(stop.reason)")
            return
        }
        #expect(events.count == 1)
    }

    @Test func severalVCPUsNeedControllersInTheKernel() {
        let error = #expect(throws: MachineError.self) {
            try MachineTests.machine(code: [0xF4]) {
                $0.interruptController = .user
                $0.vcpus = 2
            }
        }
        #expect(error?.code == .configuration)
    }

    @Test func theGuestIsToldOfNoLocalAPIC() throws {
        let machine = try machine([0xF4])
        let debugger = try Debugger(target: machine)
        let leaf = try debugger.cpuid().leaves.first { $0.function == 1 }
        #expect((leaf?.edx ?? .max) >> 9 & 1 == 0)
        #expect(throws: KVMError.self) { try machine.ioapicState() }
    }
}
