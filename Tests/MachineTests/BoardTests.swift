import DebugTarget
import Debugger
import KVMCore
import Locking
import Testing

@testable import Machine

/// Notes what reaches it, and answers with its own number.
private final class Probe: Device {
    struct Access: Hashable {
        var offset: UInt64
        var size: Int
        var value: UInt64?
    }
    let width: Int
    let takesParts: Bool
    let name = "probe"
    private let answer: UInt64
    private let log = Lock<[Access]>([])
    var accesses: [Access] { log.withLock { $0 } }

    init(width: Int, answer: UInt64, takesParts: Bool = true) {
        self.width = width
        self.answer = answer
        self.takesParts = takesParts
    }
    func read(_ offset: UInt64, size: Int) -> UInt64 {
        log.withLock { $0.append(Access(offset: offset, size: size)) }
        return answer
    }
    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        log.withLock { $0.append(Access(offset: offset, size: size, value: value)) }
        return .none
    }
}

struct BusTests {
    @Test(arguments: [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFF_FFFF), (8, UInt64.max)])
    func nobodyAnswersAllOnes(size: Int, ones: UInt64) {
        let bus = Bus([(0x10, 1, Probe(width: 1, answer: 0))])
        #expect(bus.read(0x20, size: size) == ones)
        #expect(bus.write(0x20, size: size, 0x55) == .none)
        #expect(bus.unclaimed == (1, 1))
    }

    @Test func deviceSeesOffsets() {
        let probe = Probe(width: 4, answer: 0xAABB_CCDD)
        let bus = Bus([(0x100, 8, probe)])
        #expect(bus.read(0x104, size: 4) == 0xAABB_CCDD)
        #expect(bus.read(0x106, size: 2) == 0xCCDD)
        #expect(bus.write(0x101, size: 1, 0x1234) == .none)
        #expect(
            probe.accesses == [
                .init(offset: 4, size: 4), .init(offset: 6, size: 2), .init(offset: 1, size: 1, value: 0x34),
            ])
        #expect(bus.unclaimed == (0, 0))
    }

    @Test func wideAccessIsSplit() {
        let first = Probe(width: 1, answer: 0x11)
        let second = Probe(width: 2, answer: 0x3322)
        let bus = Bus([(0x11, 2, second), (0x10, 1, first)])
        // One byte of the first, two of the second, and one that nobody has.
        #expect(bus.read(0x10, size: 4) == 0xFF33_2211)
        _ = bus.write(0x10, size: 4, 0x4433_2211)
        #expect(first.accesses.last == .init(offset: 0, size: 1, value: 0x11))
        #expect(second.accesses.last == .init(offset: 0, size: 2, value: 0x3322))
        #expect(bus.unclaimed == (0, 0))
    }

    @Test func deviceThatTakesNoParts() {
        let probe = Probe(width: 1, answer: 0, takesParts: false)
        let bus = Bus([(0xCF9, 1, probe)])
        #expect(bus.write(0xCF8, size: 4, 0x8000_0400) == .none)
        #expect(probe.accesses.isEmpty)
        _ = bus.write(0xCF9, size: 1, 6)
        #expect(probe.accesses.count == 1)
    }

    @Test func endsOfTheAddressSpace() {
        let bus = Bus([(0xFFF8, 8, Probe(width: 8, answer: 0x0807_0605_0403_0201))])
        #expect(bus.read(0xFFFF, size: 1) == 1)
        #expect(bus.read(.max, size: 8) == .max)
    }
}

struct BoardTests {
    private let console = ConsoleBuffer()

    private var board: Board {
        Board(
            ports: Bus([
                (0x64, 1, KeyboardControllerReset()), (0xE9, 1, DebugConsole(output: console)),
                (0xF4, 4, DebugExitDevice()), (0x604, 2, PowerControl()), (0xCF9, 1, ResetControl()),
            ]),
            memory: Bus([(0xFED0_0000, 16, Probe(width: 8, answer: 0x1122_3344_5566_7788))]))
    }

    private func out(_ port: UInt16, _ value: UInt64, size: Int = 1) -> VCPUExit {
        .io(
            PortIO(
                direction: .out, port: port, size: size, data: AccessData(value: value, count: size)))
    }

    private func `in`(_ port: UInt16, size: Int, count: Int = 1) -> VCPUExit {
        .io(
            PortIO(
                direction: .in, port: port, size: size, count: count, data: AccessData(value: 0, count: size))
        )
    }

    @Test func consolePrints() {
        #expect(board.handle(out(0xE9, 0x41)) == .done)
        let bytes = Array("string".utf8)
        let string = PortIO(
            direction: .out, port: 0xE9, size: 1, count: 6, data: AccessData(value: 0x73, count: 1),
            string: bytes)
        #expect(board.handle(.io(string)) == .done)
        #expect(console.output.bytes == Array("Astring".utf8))
        #expect(board.handle(`in`(0xE9, size: 1)) == .answer(0xE9))
    }

    @Test func wideStringIsWords() {
        let words = PortIO(
            direction: .out, port: 0xE8, size: 2, count: 2, data: AccessData(value: 0x4100, count: 2),
            string: [0, 0x41, 0, 0x42])
        #expect(board.handle(.io(words)) == .done)
        #expect(console.output.bytes == [0x41, 0x42])
    }

    @Test func stringInput() {
        #expect(
            board.handle(`in`(0xE8, size: 2, count: 3))
                == .answerString([0xFF, 0xE9, 0xFF, 0xE9, 0xFF, 0xE9]))
    }

    @Test func stringShorterThanItSays() {
        let torn = PortIO(
            direction: .out, port: 0xE9, size: 4, count: 9, data: AccessData(value: 0, count: 4),
            string: [1, 2])
        #expect(board.handle(.io(torn)) == .done)
        #expect(console.output.total == 0)
    }

    @Test func memory() {
        let read = MMIO(gpa: 0xFED0_0004, isWrite: false, data: AccessData(value: 0, count: 4))
        #expect(board.handle(.mmio(read)) == .answer(0x5566_7788))
        let nobody = MMIO(gpa: 0xD000_0000, isWrite: false, data: AccessData(value: 0, count: 8))
        #expect(board.handle(.mmio(nobody)) == .answer(.max))
        let write = MMIO(gpa: 0xD000_0000, isWrite: true, data: AccessData(value: 1, count: 8))
        #expect(board.handle(.mmio(write)) == .done)
    }

    @Test func powerOff() {
        #expect(board.handle(out(0x64, 0xFE)) == .powerOff(PowerOff(.keyboardReset, value: 0xFE)))
        #expect(board.handle(out(0x64, 0xD1)) == .done)
        #expect(board.handle(out(0x64, 0xFF)) == .done)
        #expect(board.handle(out(0xCF9, 0x06)) == .powerOff(PowerOff(.resetControl, value: 6)))
        #expect(board.handle(out(0xCF9, 0x02)) == .done)
        #expect(board.handle(out(0xF4, 0x10, size: 4)) == .powerOff(PowerOff(.debugExit, value: 0x10)))
        #expect(board.handle(out(0x604, 0x2000, size: 2)) == .powerOff(PowerOff(.acpi, value: 0x2000)))
        #expect(board.handle(out(0x604, 0x1, size: 2)) == .done)
        #expect(
            board.handle(.systemEvent(type: 1, data: [])) == .powerOff(PowerOff(.systemEvent, value: 1)))
    }

    @Test(arguments: [
        VCPUExit.hlt, .shutdown, .unknown(hardwareReason: 7), .failEntry(hardwareReason: 1, cpu: 0),
        .internalError(InternalError(suberror: 1, data: [])), .other(reason: 99, payload: [1]),
        .systemEvent(type: 3, data: []), .notify(flags: 1), .memoryFault(flags: 0, gpa: 0, size: 0),
        .exception(vector: 6, errorCode: 0), .dirtyRingFull,
    ])
    func cannotGoOn(exit: VCPUExit) {
        #expect(board.handle(exit) == .fatal)
    }

    @Test(arguments: [VCPUExit.interrupted, .irqWindowOpen, .notify(flags: 0), .setTPR, .busLock])
    func goesOn(exit: VCPUExit) {
        #expect(board.handle(exit) == .done)
    }

    @Test func unknownMSRFaults() {
        #expect(board.handle(.readMSR(MSRAccess(index: 1, data: 0, why: 2))) == .refuseMSR)
        #expect(board.handle(.writeMSR(MSRAccess(index: 1, data: 0, why: 2))) == .refuseMSR)
    }
}
