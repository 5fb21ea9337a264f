import KVMCore
import Testing

@testable import Machine

struct InterruptControllerTests {
    private let pair = InterruptControllerPair()
    private var first: InterruptControllerPorts { InterruptControllerPorts(pair: pair, chip: 0) }
    private var second: InterruptControllerPorts { InterruptControllerPorts(pair: pair, chip: 1) }

    private func program(mode: UInt64 = 1) {
        for (ports, base, cascade) in [(first, UInt64(0x20), UInt64(4)), (second, 0x28, 2)] {
            _ = ports.write(0, size: 1, 0x11)
            _ = ports.write(1, size: 1, base)
            _ = ports.write(1, size: 1, cascade)
            _ = ports.write(1, size: 1, mode)
            _ = ports.write(1, size: 1, 0)
        }
    }

    @Test func nothingComesBeforeItIsInitialised() {
        pair.set(0, true)
        #expect(!pair.hasRequest)
        #expect(pair.acknowledge() == nil)
        #expect(!pair.isOpen(0))
    }

    @Test(arguments: [(0, 0x20), (1, 0x21), (7, 0x27), (8, 0x28), (15, 0x2F)])
    func linesHaveTheirVectors(line: Int, vector: UInt8) {
        program()
        pair.set(line, true)
        #expect(pair.hasRequest)
        #expect(pair.acknowledge() == vector)
        // In service, and the edge is used up.
        #expect(!pair.hasRequest)
    }

    @Test func theHigherPriorityComesFirstAndAnEndLetsTheOtherIn() {
        program()
        pair.set(4, true)
        pair.set(1, true)
        #expect(pair.acknowledge() == 0x21)
        #expect(pair.acknowledge() == nil)
        _ = first.write(0, size: 1, 0x20)
        #expect(pair.acknowledge() == 0x24)
        _ = first.write(0, size: 1, 0x0B)
        #expect(first.read(0, size: 1) == 0x10)
        _ = first.write(0, size: 1, 0x64)
        #expect(first.read(0, size: 1) == 0)
    }

    @Test func maskedRequestsWait() {
        program()
        _ = first.write(1, size: 1, 0x01)
        pair.set(0, true)
        #expect(!pair.hasRequest)
        #expect(!pair.isOpen(0))
        #expect(first.read(0, size: 1) == 1)
        _ = first.write(1, size: 1, 0)
        #expect(pair.acknowledge() == 0x20)
        #expect(first.read(1, size: 1) == 0)
    }

    @Test func theSecondNeedsTheCascade() {
        program()
        _ = first.write(1, size: 1, 0x04)
        pair.set(8, true)
        #expect(!pair.hasRequest)
        #expect(!pair.isOpen(8))
        _ = first.write(1, size: 1, 0)
        #expect(pair.acknowledge() == 0x28)
        // The second's end alone does not open the first's input.
        _ = second.write(0, size: 1, 0x20)
        pair.pulse(9)
        #expect(!pair.hasRequest)
        _ = first.write(0, size: 1, 0x20)
        #expect(pair.acknowledge() == 0x29)
    }

    @Test func aLevelAsksAgainAfterItsEnd() {
        program()
        _ = TriggerModePorts(pair: pair).write(0, size: 1, 0xFF)
        // The timer, the keyboard and the cascade stay edges.
        #expect(TriggerModePorts(pair: pair).read(0, size: 1) == 0xF8)
        pair.set(5, true)
        #expect(pair.acknowledge() == 0x25)
        _ = first.write(0, size: 1, 0x20)
        #expect(pair.acknowledge() == 0x25)
        pair.set(5, false)
        _ = first.write(0, size: 1, 0x20)
        #expect(!pair.hasRequest)
    }

    @Test func automaticEndOfInterrupt() {
        program(mode: 3)
        pair.set(3, true)
        #expect(pair.acknowledge() == 0x23)
        _ = first.write(0, size: 1, 0x0B)
        #expect(first.read(0, size: 1) == 0)
    }

    @Test func rotation() {
        program()
        pair.set(0, true)
        #expect(pair.acknowledge() == 0x20)
        // Rotate on a non-specific end: input 0 is the lowest from now on.
        _ = first.write(0, size: 1, 0xA0)
        pair.pulse(0)
        pair.set(7, true)
        #expect(pair.acknowledge() == 0x27)
    }

    @Test func pollIsAnAcknowledgement() {
        program()
        pair.set(6, true)
        _ = first.write(0, size: 1, 0x0C)
        #expect(first.read(0, size: 1) == 0x86)
        #expect(!pair.hasRequest)
        _ = first.write(0, size: 1, 0x0C)
        #expect(first.read(0, size: 1) == 0)
    }

    @Test func countsWhatItDelivered() {
        program(mode: 3)
        for _ in 0..<3 {
            pair.pulse(1)
            #expect(pair.acknowledge() == 0x21)
        }
        #expect(pair.delivered.map(\.vector) == [0x21])
        #expect(pair.delivered.map(\.count) == [3])
    }

    @Test func stateIsSavedAndRestored() throws {
        program()
        pair.set(1, true)
        let saved = try #require(first.save())
        #expect(second.save() == nil)
        first.reset()
        #expect(!pair.hasRequest)
        first.restore(saved)
        #expect(pair.acknowledge() == 0x21)
        pair.initialiseAsBIOS()
        #expect(pair.picState(.slave).vectorBase == 0x70)
    }
}
