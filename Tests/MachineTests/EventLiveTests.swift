import DebugTarget
import Debugger
import Expressions
import KVMCore
import Machine
import TargetConformance
import Testing
import X86

/// What of catchpoints needs a machine of our own, with its chips.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct EventLiveTests {
    /// The timer's interrupt, by way of the PIC, about a thousand times a second.
    private static let timer: [UInt8] = [
        0xB0, 0x11, 0xE6, 0x20,  // 7C00 ICW1 to the PIC: edges, ICW4 follows
        0xB0, 0x20, 0xE6, 0x21,  // 7C04 ICW2: vectors from 20h on
        0xB0, 0x04, 0xE6, 0x21,  // 7C08 ICW3: the other PIC is at input 2
        0xB0, 0x01, 0xE6, 0x21,  // 7C0C ICW4: 8086
        0xB0, 0xFE, 0xE6, 0x21,  // 7C10 the mask: input 0 alone
        0xB0, 0x34, 0xE6, 0x43,  // 7C14 the PIT's counter 0: both bytes, a rate generator
        0xB0, 0xA9, 0xE6, 0x40,  // 7C18 1193 periods of 1.193182 MHz
        0xB0, 0x04, 0xE6, 0x40,  // 7C1C
        0xFB,  // 7C20 sti
        0x41,  // 7C21 inc cx
        0xEB, 0xFD,  // 7C22 jmp 7C21
    ]
    private static let handler: [UInt8] = [
        0x42,  // 7D00 inc dx
        0x50,  // 7D01 push ax
        0xB0, 0x20, 0xE6, 0x20,  // 7D02 the end of the interrupt, to the PIC
        0x58,  // 7D06 pop ax
        0xCF,  // 7D07 iret
    ]

    /// A debugger on that guest, its handler in place.
    private static func onTheTimer() throws -> Debugger {
        let debugger = try Debugger(
            target: machine(code: timer) {
                $0.ramSize = 1 << 20
                $0.interruptController = .kernel
            })
        try debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), handler)
        return debugger
    }

    /// As well where steps take interrupts, which the user may want.
    @Test(.timeLimit(.minutes(HostPace.minutes(2))), arguments: [false, true])
    func interruptsFromOutsideAreCaughtEachOnce(takenInSteps: Bool) throws {
        let debugger = try Self.onTheTimer()
        debugger.takesInterruptsWhileStepping = takenInSteps
        for register in ["rcx", "rdx"] { try debugger.setRegister(register, to: 0) }
        try debugger.setRegister("sp", to: 0x7000)
        let catchpoint = try debugger.setCatchpoint(.interrupt(0x20))
        let other = try debugger.setCatchpoint(.interrupt(0x21))
        for number: UInt64 in 1...20 {
            try debugger.continueRun()
            guard debugger.stop.caught.count == 1, let event = debugger.stop.caught.first,
                case .interrupt(let vectors, false, let isInside) = event.what
            else {
                Issue.record("stopped for \(debugger.stop.reason)")
                return
            }
            #expect(event.number == catchpoint.number && vectors == [0x20])
            #expect(try debugger.registerValue("rip").bits == (isInside ? 0x7D01 : 0x7D00))
            #expect(try debugger.registerValue("dx").bits == number - (isInside ? 0 : 1), "none was missed")
            // Interrupts were on before the STI: on a slow host one is due there already, and after each IRET again.
            let sp = try debugger.registerValue("sp").bits
            let place = try #require(
                try debugger.readMemory(.linear(sp), count: 2).value(at: 0, width: 2))
            #expect(
                (0x7C20...0x7C22).contains(place) && sp == 0x6FFA,
                "it returns to the STI, or into the loop: \(place), \(sp)"
            )
        }
        #expect(try debugger.breakpoint(catchpoint.number).hits == 20)
        #expect(try debugger.breakpoint(other.number).hits == 0)
        // A step holds it off, and says so; without the catchpoint the guest goes on right.
        try debugger.deleteAllBreakpoints()
        let until = try debugger.setBreakpoint(at: .linear(0x7C21), condition: "$dx >= 50")
        try debugger.continueRun()
        #expect(debugger.stop.reason == .breakpoint([until.number]))
        #expect(try debugger.registerValue("sp").bits == 0x7000)
        // On a slow host the next interrupt is due at each IRET, and the loop has not begun; a step holds it off.
        debugger.takesInterruptsWhileStepping = false
        let count = try debugger.registerValue("cx").bits
        try debugger.step()
        #expect(try debugger.registerValue("rip").bits == 0x7C22)
        #expect(try debugger.registerValue("cx").bits == (count + 1) & 0xFFFF)
    }

    /// What handlers of interrupts do is seen while the guest is stepped.
    private static let seesHandlers: ConditionTrait = .enabled(
        if: DebugFacilities.ofHost.works(.handlerStep, in: .real)
            || (try? machine(code: [0xF4]).debugAbilities.contains(.blockInterrupts)) ?? false,
        "needs a host that can hold interrupts off, or steps into their handlers")

    /// The kernel serves these ports itself: they are found by stepping, with the timer's interrupts on the way.
    @Test(Self.seesHandlers, .timeLimit(.minutes(HostPace.minutes(2))))
    func portsOfTheKernelsChipsAreCaughtBetweenInterrupts() throws {
        let debugger = try Self.onTheTimer()
        try debugger.setRegister("rdx", to: 0)
        try debugger.setRegister("sp", to: 0x7000)
        let catchpoint = try debugger.setCatchpoint(.io(ports: 0x20...0x20, direction: .out))
        #expect(catchpoint.mechanism == .stepping)
        for (number, place) in [0x7C04, 0x7D06, 0x7D06, 0x7D06].enumerated() {
            try debugger.continueRun()
            #expect(debugger.stop.caught.map(\.number) == [catchpoint.number])
            #expect(try debugger.registerValue("rip").bits == UInt64(place))
            #expect(try debugger.registerValue("dx").bits == UInt64(number))
        }
    }

    /// An interrupt may come right before an OUT, in the step that was to do it.
    @Test(Self.seesHandlers, .timeLimit(.minutes(HostPace.minutes(2))))
    func anOutIsCaughtWhenItIsDone() throws {
        let debugger = try Self.onTheTimer()
        // From 7C21 on: mov al, feh; out 21h, al; inc cx; jmp 7C23
        try debugger.writeMemory(.physical(0x7C21), [0xB0, 0xFE, 0xE6, 0x21, 0x41, 0xEB, 0xFB])
        for register in ["rcx", "rdx"] { try debugger.setRegister(register, to: 0) }
        try debugger.setRegister("sp", to: 0x7000)
        let until = try debugger.setBreakpoint(at: .linear(0x7C23))
        try debugger.continueRun()
        #expect(debugger.stop.reason == .breakpoint([until.number]))
        try debugger.deleteAllBreakpoints()
        let catchpoint = try debugger.setCatchpoint(.io(ports: 0x21...0x21, direction: .out))
        #expect(catchpoint.mechanism == .stepping && !catchpoint.missesHandlers)
        var number: UInt64 = 0
        while try debugger.registerValue("dx").bits < 12, number < 100_000 {
            try debugger.continueRun()
            number += 1
            let rip = try debugger.registerValue("rip").bits
            let cx = try debugger.registerValue("cx").bits
            guard debugger.stop.caught.map(\.number) == [catchpoint.number], rip == 0x7C25,
                cx == (number - 1) & 0xFFFF
            else {
                Issue.record("hit \(number): \(debugger.stop.reason) at \(rip), after \(cx) rounds")
                return
            }
        }
        #expect(try debugger.breakpoint(catchpoint.number).hits == Int(number))
    }

    @Test(
        "a port that switches the guest off counts the hit of its catchpoint",
        arguments: [
            ("isa-debug-exit", [0xB0, 0x01, 0xE6, 0xF4]), ("keyboard controller", [0xB0, 0xFE, 0xE6, 0x64]),
        ] as [(String, [UInt8])])
    func aPortThatSwitchesOffIsCounted(_ device: String, _ code: [UInt8]) throws {
        // Freely, and as the last of two steps.
        for isStepped in [false, true] {
            let machine = try machine(code: code + [0xEB, 0xFE]) { $0.ramSize = 1 << 20 }
            let debugger = try Debugger(target: machine)
            let catchpoint = try debugger.setCatchpoint(.io(ports: nil, direction: .out))
            let never = try debugger.setCatchpoint(.io(ports: nil, direction: .in))
            let conditional = try debugger.setCatchpoint(
                .io(ports: nil, direction: nil), condition: "$al == 0x77")
            if isStepped { try debugger.step(count: 2) } else { try debugger.continueRun() }
            let isReset = device == "keyboard controller"
            #expect(
                debugger.stop.reason
                    == (isReset ? .guestReset(GuestReset(.keyboardController, value: 0xFE)) : .poweredOff))
            #expect(debugger.stop.caught.map(\.number) == [catchpoint.number])
            #expect(try debugger.breakpoint(catchpoint.number).hits == 1)
            for number in [never.number, conditional.number] {
                #expect(try debugger.breakpoint(number).hits == 0)
            }
        }
    }
}
