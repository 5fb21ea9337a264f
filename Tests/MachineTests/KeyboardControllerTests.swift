import Locking
import Testing

@testable import Machine

struct KeyboardControllerTests {
    private let controllers = InterruptControllerPair()
    private let a20 = AddressLine20()
    private let controller: KeyboardController

    init() {
        controllers.initialiseAsBIOS()
        controller = KeyboardController(a20: a20, line: ControllerLine(pair: controllers, number: 1))
    }

    private var data: KeyboardPort { KeyboardPort(controller: controller, isCommand: false) }
    private var command: KeyboardPort { KeyboardPort(controller: controller, isCommand: true) }
    private var status: UInt64 { command.read(0, size: 1) }
    private func ask(_ value: UInt64) -> UInt64 {
        #expect(command.write(0, size: 1, value) == .none)
        return data.read(0, size: 1)
    }

    @Test func selfTests() {
        #expect(status & 3 == 0)
        #expect(ask(0xAA) == 0x55)
        #expect(ask(0xAB) == 0)
        // No mouse.
        #expect(ask(0xA9) != 0)
        #expect(status & 1 == 0)
    }

    @Test func typedCodesInterruptOneByOne() {
        #expect(controller.type([0x1E, 0x9E]))
        #expect(status & 1 == 1)
        #expect(controllers.acknowledge() == 9)
        #expect(data.read(0, size: 1) == 0x1E)
        _ = InterruptControllerPorts(pair: controllers, chip: 0).write(0, size: 1, 0x20)
        #expect(controllers.acknowledge() == 9)
        #expect(data.read(0, size: 1) == 0x9E)
        #expect(status & 1 == 0)
        // The last byte stays.
        #expect(data.read(0, size: 1) == 0x9E)
    }

    @Test func translationIsUndone() {
        _ = command.write(0, size: 1, 0x60)
        _ = data.write(0, size: 1, 0x05)
        #expect(ask(0x20) == 0x05)
        #expect(controller.type([0x1E, 0x9E]))
        #expect((0..<3).map { _ in data.read(0, size: 1) } == [0x1C, 0xF0, 0x1C])
    }

    @Test func keyboardAnswers() {
        _ = data.write(0, size: 1, 0xFF)
        #expect((0..<2).map { _ in data.read(0, size: 1) } == [0xFA, 0xAA])
        _ = data.write(0, size: 1, 0xF2)
        #expect((0..<3).map { _ in data.read(0, size: 1) } == [0xFA, 0xAB, 0x41])
        _ = data.write(0, size: 1, 0xED)
        _ = data.write(0, size: 1, 0x07)
        #expect((0..<2).map { _ in data.read(0, size: 1) } == [0xFA, 0xFA])
        #expect(controller.lights == 7)
        _ = data.write(0, size: 1, 0x00)
        #expect(data.read(0, size: 1) == 0xFE)
    }

    @Test func disabledKeyboardKeepsItsKeys() {
        _ = command.write(0, size: 1, 0xAD)
        #expect(controller.type([0x1E]))
        #expect(status & 1 == 0)
        #expect(!controller.canInterrupt)
        _ = command.write(0, size: 1, 0xAE)
        #expect(data.read(0, size: 1) == 0x1E)
    }

    @Test func roomIsBounded() {
        #expect(controller.type([UInt8](repeating: 1, count: KeyboardController.capacity)))
        #expect(!controller.type([1, 1]))
        for _ in 0..<1000 { _ = data.write(0, size: 1, 0xEE) }
        // What was typed first, then the answers; nothing grows without end.
        #expect(data.read(0, size: 1) == 1)
    }

    @Test(arguments: [(0xDD, false), (0xDF, true)])
    func a20ByCommand(value: UInt64, isOn: Bool) {
        _ = command.write(0, size: 1, value)
        #expect(a20.isOn == isOn)
    }

    @Test func a20ByOutputPort() {
        #expect(ask(0xD0) & 2 == 2)
        _ = command.write(0, size: 1, 0xD1)
        _ = data.write(0, size: 1, 0xDD)
        #expect(!a20.isOn)
        #expect(ask(0xD0) & 2 == 0)
        let fast = FastA20Port(a20: a20)
        #expect(fast.read(0, size: 1) == 0)
        _ = fast.write(0, size: 1, 2)
        #expect(a20.isOn)
        #expect(fast.write(0, size: 1, 3) == .powerOff(PowerOff(.systemControl, value: 3)))
    }

    @Test func a20TellsWhoFollows() {
        let changes = Lock<[Bool]>([])
        let line = AddressLine20(isOn: false) { isOn in changes.withLock { $0.append(isOn) } }
        line.set(true)
        line.set(true)
        line.reset()
        #expect(changes.withLock { $0 } == [true, false])
    }

    @Test(arguments: [0xFE, 0xF0, 0xFC] as [UInt64])
    func resets(_ value: UInt64) {
        #expect(command.write(0, size: 1, value) == .powerOff(PowerOff(.keyboardReset, value: value)))
        _ = command.write(0, size: 1, 0xD1)
        #expect(data.write(0, size: 1, 0xDC) == .powerOff(PowerOff(.keyboardReset, value: 0xDC)))
    }

    @Test func stateIsSavedAndRestored() throws {
        #expect(controller.type([0x1E, 0x9E]))
        let saved = try #require(command.save())
        #expect(data.save() == nil)
        command.reset()
        #expect(controller.waiting == 0)
        command.restore(saved)
        #expect(controller.takeScanCode() == 0x1E)
        #expect(controller.waiting == 1)
    }
}
