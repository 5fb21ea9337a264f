import DebugTarget
import Disassembler
import Expressions
import TargetConformance
import Testing
import X86

@testable import Debugger

@Suite struct PastTests {
    /// inc ax; mov [0x500], ax; inc ax; mov [0x500], ax
    private static let code: [UInt8] = [0x40, 0xA3, 0x00, 0x05, 0x40, 0xA3, 0x00, 0x05, 0x90]

    private func stepped() throws -> Debugger {
        let (debugger, _) = try debugger(Self.code)
        try debugger.setRegister("ax", to: 0x10)
        for _ in 0..<4 {
            _ = try debugger.keeping { try debugger.readMemory(.linear(0x500), count: 4) }
            _ = try debugger.keeping { try debugger.debugRegisters() }
            try debugger.step()
        }
        return debugger
    }

    @Test func anEarlierStopIsAsItWas() throws {
        let debugger = try stepped()
        let expected: [(Int, UInt64, UInt64)] = [
            (0, 0x10, 0), (1, 0x11, 0), (2, 0x11, 0x11), (3, 0x12, 0x11),
        ]
        for (number, ax, word) in expected {
            try debugger.revisit(number)
            #expect(debugger.isRevisiting)
            #expect(debugger.stop.number == number)
            #expect(debugger.selected.registers.rax & 0xFFFF == ax)
            #expect(try debugger.registerValue("ax").bits == ax)
            #expect(try debugger.readMemory(.linear(0x500), count: 2).value(at: 0, width: 2) == word)
        }
        debugger.returnToPresent()
        #expect(debugger.stop.number == 4)
        #expect(try debugger.readMemory(.linear(0x500), count: 2).value(at: 0, width: 2) == 0x12)
    }

    /// What was not looked at then is said to be unknown, whatever stands there now.
    @Test func whatWasNotKeptIsNotMadeUp() throws {
        let debugger = try stepped()
        try debugger.revisit(1)
        let image = try debugger.readMemory(.physical(0x9000), count: 2)
        #expect(image[0] == nil && image[1] == nil)
        // The last stop was not looked at.
        debugger.returnToPresent()
        try debugger.step()
        try debugger.revisit(4)
        #expect(try debugger.readMemory(.linear(0x500), count: 2)[0] == nil)
        #expect(debugger.selected.registers.rax & 0xFFFF == 0x12, "registers are always kept")
    }

    @Test func thePastIsNotEdited() throws {
        let debugger = try stepped()
        try debugger.revisit(2)
        for edit: (Debugger) throws -> Void in [
            { try $0.setRegister("ax", to: 1) }, { try $0.writeMemory(.physical(0x500), [1]) },
            { try $0.setMSR(0x10, 1) },
        ] {
            let error = debuggerError { try edit(debugger) }
            #expect(error?.code == .refused)
            #expect(error?.description.contains("stop 2 is past") == true)
        }
        debugger.returnToPresent()
        #expect(debugger.stop.edits == 0)
        #expect(debugger.selected.registers.rax & 0xFFFF == 0x12)
    }

    /// An order goes on from where the guest stands.
    @Test func steppingGoesOnFromThePresent() throws {
        let debugger = try stepped()
        try debugger.revisit(0)
        let stop = try debugger.step()
        #expect(stop.number == 5)
        #expect(!debugger.isRevisiting)
        #expect(stop.vcpus[0].registers.rip == 0x7C09)
        #expect(debugger.history.map(\.number) == [0, 1, 2, 3, 4, 5])
    }

    @Test func marksCompareWithTheStopBefore() throws {
        let debugger = try stepped()
        #expect(debugger.earlierMemory(.linear(0x500), count: 2)?.value(at: 0, width: 2) == 0x11)
        try debugger.revisit(2)
        #expect(debugger.previousStop?.number == 1)
        #expect(debugger.earlierMemory(.linear(0x500), count: 2)?.value(at: 0, width: 2) == 0)
        try debugger.revisit(0)
        #expect(debugger.previousStop == nil)
        #expect(debugger.earlierMemory(.linear(0x500), count: 2) == nil)
    }

    @Test func onlyTheLastStopsAreKept() throws {
        let (debugger, _) = try debugger([0xEB, 0xFE])
        for _ in 0..<(Debugger.historyLimit + 20) {
            _ = try debugger.keeping { try debugger.readMemory(.linear(0x7C00), count: 2) }
            try debugger.step()
        }
        #expect(debuggerError { try debugger.revisit(3) }?.code == .outOfRange)
        #expect(debuggerError { try debugger.revisit(-1) }?.code == .outOfRange)
        #expect(debuggerError { try debugger.revisit(10_000) }?.code == .outOfRange)
        try debugger.revisit(21)
        #expect(try debugger.readMemory(.linear(0x7C00), count: 2).bytes == [0xEB, 0xFE])
    }

    /// A running guest is compared with the stop that it was resumed from, which is no part of the past yet.
    @Test func theStopBeforeARunIsTheOneItBeganAt() throws {
        let debugger = try stepped()
        #expect(debugger.previousStop?.number == 3)
        try debugger.startContinue()
        #expect(debugger.previousStop?.number == 4)
        #expect(debugger.history.map(\.number) == [0, 1, 2, 3, 4])
        debugger.interrupt()
        while try debugger.collectStop(timeout: .seconds(1)) == nil {}
        #expect(debugger.previousStop?.number == 4)
        #expect(debugger.history.map(\.number) == [0, 1, 2, 3, 4, 5])
    }

    @Test func theOldestStopMakesRoomForTheNext() throws {
        let (debugger, _) = try debugger()
        var past = PastStops(capacity: 3)
        #expect(past.first == nil && past.last == nil && past.all.isEmpty)
        for number in 0..<8 {
            var stop = debugger.stop
            stop.number = number
            past.append(stop)
            #expect(past.last?.number == number)
            #expect(past.all.map(\.number) == Array(max(0, number - 2)...number))
            #expect(past.first?.number == max(0, number - 2))
        }
        #expect(past.last { $0.number < 7 }?.number == 6)
        #expect(past.last { $0.number < 5 } == nil)
    }
}

@Suite struct ReturnAddressTests {
    @Test(arguments: [
        ([0xE8, 0x10, 0x00] as [UInt8], true), ([0xFF, 0xD0], true), ([0xFF, 0x57, 0x02], true),
        ([0x9A, 1, 2, 3, 4], true), ([0x89, 0xC8, 0x90], false), ([0x90, 0x90, 0xE8], false),
    ]) func callsAreRecognisedByWhatStandsBefore(_ code: [UInt8], _ isCall: Bool) throws {
        let (debugger, _) = try debugger()
        try debugger.writeMemory(.physical(0x7C20), code)
        let found = debugger.call(returningTo: 0x7C20 + UInt64(code.count))
        #expect((found != nil) == isCall)
        if isCall { #expect(found?.bytes == code) }
        #expect(debugger.call(returningTo: 3) == nil)
        #expect(debugger.call(returningTo: .max) == nil)
    }
}
