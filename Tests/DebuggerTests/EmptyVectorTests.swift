import DebugTarget
import TargetConformance
import Testing
import X86

@testable import Debugger

/// Real mode's vectors that hold 0000:0000.
@Suite struct EmptyVectorTests {
    /// A guest whose code stands at 0000:7C00, with nothing in its interrupt table.
    private func debugger(_ code: [UInt8], quirks: FakeQuirks = [.lateHalt, .emptyREP]) throws -> Debugger {
        let target = FakeTarget(quirks: quirks)
        let debugger = try Debugger(target: target)
        try debugger.writeMemory(.physical(0x7C00), code)
        return debugger
    }

    // 7C00 inc ax; 7C01 int 13h; 7C03 nop; 7C04 hlt
    private let asking: [UInt8] = [0x40, 0xCD, 0x13, 0x90, 0xF4]

    private func software(_ vector: UInt8, _ offset: UInt64) -> StopReason {
        .emptyVector(
            EmptyVector(
                way: .software(vector: vector), from: SegmentedAddress(selector: 0, offset: offset)))
    }

    @Test func anINTIsStoppedAtBeforeItIsExecuted() throws {
        for order in [Order.run, .steps, .next] {
            let debugger = try debugger(asking)
            try give(order, debugger)
            #expect(debugger.stop.reason == software(0x13, 0x7C01), "\(order)")
            #expect(debugger.selected.registers.rip == 0x7C01 && debugger.selected.registers.rsp == 0x7000)
            // It stays so.
            try debugger.continueRun()
            #expect(debugger.stop.reason == software(0x13, 0x7C01))
        }
    }

    private enum Order { case run, steps, next }

    private func give(_ order: Order, _ debugger: Debugger) throws {
        switch order {
        case .run: try debugger.continueRun()
        case .steps: try debugger.step(count: 10)
        case .next:
            try debugger.next()
            try debugger.next()
        }
    }

    @Test func aVectorThatIsThereIsServed() throws {
        let debugger = try debugger(asking)
        // 7D00 inc bx; 7D01 iret
        try debugger.writeMemory(.physical(0x13 * 4), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x43, 0xCF])
        try debugger.continueRun()
        #expect(debugger.stop.reason == .hlt)
        #expect(debugger.selected.registers.rbx == 1)
    }

    @Test func itCanBeSwitchedOff() throws {
        let debugger = try debugger(asking)
        #expect(debugger.stopsAtEmptyVectors)
        debugger.stopsAtEmptyVectors = false
        // 0000:0000 hlt
        try debugger.writeMemory(.physical(0), [0xF4])
        try debugger.continueRun()
        #expect(debugger.stop.reason == .hlt && debugger.selected.registers.rip == 1)
    }

    @Test func aJumpToZeroIsOne() throws {
        for isStepped in [false, true] {
            // jmp 0000
            let debugger = try debugger([0xE9, 0xFD, 0x83].map { UInt8($0) })
            // The made-up processor knows E8 and C3: push 0, ret.
            try debugger.writeMemory(.physical(0x7C00), [0xB8, 0, 0, 0x50, 0xC3])
            if isStepped { try debugger.step(count: 5) } else { try debugger.continueRun() }
            #expect(
                debugger.stop.reason
                    == .emptyVector(
                        EmptyVector(way: .jump, from: SegmentedAddress(selector: 0, offset: 0))))
            #expect(debugger.selected.registers.rip == 0)
        }
    }

    @Test func anExceptionIsNamed() throws {
        // 7C00 mov cx, 0; 7C03 div cx
        let debugger = try debugger([0xB9, 0, 0, 0xF7, 0xF1])
        try debugger.continueRun()
        #expect(
            debugger.stop.reason
                == .emptyVector(
                    EmptyVector(
                        way: .exception(vector: 0), from: SegmentedAddress(selector: 0, offset: 0x7C03))))
    }

    @Test func anInterruptFromOutsideIsOne() throws {
        let debugger = try debugger([0xFB, 0x40, 0xEB, 0xFD])
        let target = try #require(debugger.target as? FakeTarget)
        target.processors[0].pendingInterrupt = 8
        try debugger.continueRun()
        guard case .emptyVector(let found) = debugger.stop.reason else {
            Issue.record("\(debugger.stop.reason)")
            return
        }
        #expect(found.way == .interrupt && found.from.offset == 0x7C01)
    }

    @Test func allRegistersTakenLeavesStepsThatLook() throws {
        let debugger = try debugger(asking)
        for address: UInt64 in [0x9000, 0x9001, 0x9002, 0x9003] {
            try debugger.setBreakpoint(at: .linear(address))
        }
        try debugger.step(count: 10)
        #expect(debugger.stop.reason == software(0x13, 0x7C01))
    }
}
