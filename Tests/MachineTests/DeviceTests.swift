import DebugTarget
import Debugger
import Locking
import Testing

@testable import Machine

private final class Line: InterruptLine {
    private let levels = Lock<[Bool]>([])
    var changes: [Bool] { levels.withLock { $0 } }
    func set(_ isHigh: Bool) { levels.withLock { $0.append(isHigh) } }
}

struct UARTTests {
    private let output = ConsoleBuffer()
    private let line = Line()
    private let uart: UART

    init() { uart = UART(output: output, line: line) }

    private func read(_ offset: UInt64) -> UInt64 { uart.read(offset, size: 1) }
    private func write(_ offset: UInt64, _ value: UInt64) {
        #expect(uart.write(offset, size: 1, value) == .none)
    }

    @Test func prints() {
        for byte in "hi".utf8 {
            #expect(read(5) & 0x20 != 0)
            write(0, UInt64(byte))
        }
        #expect(output.output.bytes == Array("hi".utf8))
        #expect(line.changes.isEmpty)
    }

    @Test func divisorHidesData() {
        write(3, 0x83)
        write(0, 0x01)
        write(1, 0x02)
        #expect(read(0) == 1)
        #expect(read(1) == 2)
        write(3, 0x03)
        #expect(output.total == 0)
        #expect(read(1) == 0)
        write(0, 0x41)
        #expect(output.output.bytes == [0x41])
        write(3, 0x80)
        #expect(read(0) == 1)
    }

    @Test func scratchHoldsAByte() {
        write(7, 0xA5)
        #expect(read(7) == 0xA5)
    }

    @Test func inputWaitsInOrder() {
        #expect(read(5) & 1 == 0)
        #expect(uart.receive([1, 2]))
        #expect(read(5) & 1 == 1)
        #expect(read(0) == 1)
        #expect(read(0) == 2)
        #expect(read(5) & 1 == 0)
        #expect(read(0) == 0)
    }

    @Test func inputIsBounded() {
        #expect(uart.receive([UInt8](repeating: 0, count: UART.inputCapacity)))
        #expect(!uart.receive([1]))
        #expect(read(0) == 0)
        #expect(uart.receive([1]))
    }

    @Test func interruptsFollowTheirCauses() {
        write(4, 0x08)
        write(1, 0x01)
        #expect(read(2) & 0x0F == 0x01)
        #expect(uart.receive([7]))
        #expect(read(2) & 0x0F == 0x04)
        #expect(line.changes == [true])
        _ = read(0)
        #expect(read(2) & 0x0F == 0x01)
        #expect(line.changes == [true, false])
        // The transmitter: empty now, and again after each byte; naming it is the answer.
        write(1, 0x02)
        #expect(line.changes == [true, false, true])
        #expect(read(2) & 0x0F == 0x02)
        #expect(read(2) & 0x0F == 0x01)
        write(0, 0x41)
        #expect(read(2) & 0x0F == 0x02)
    }

    @Test func unconnectedLineStaysLow() {
        write(1, 0x03)
        #expect(uart.receive([1]))
        #expect(line.changes.isEmpty)
    }

    @Test func loopBack() {
        write(4, 0x1A)
        // CTS and DCD follow RTS and OUT2.
        #expect(read(6) & 0xF0 == 0x90)
        write(0, 0x55)
        #expect(output.total == 0)
        #expect(read(0) == 0x55)
        write(4, 0)
        #expect(read(6) == 0xB0)
    }

    @Test func fifosAreSeen() {
        #expect(read(2) & 0xC0 == 0)
        write(2, 0x01)
        #expect(read(2) & 0xC0 == 0xC0)
        #expect(uart.receive([1]))
        write(2, 0x03)
        #expect(read(5) & 1 == 0)
    }
}

struct ConsoleBufferTests {
    @Test func keepsTheLastPart() {
        let buffer = ConsoleBuffer()
        let count = 3 * ConsoleBuffer.capacity + 5
        for i in 0..<count { buffer.append(UInt8(truncatingIfNeeded: i)) }
        let output = buffer.output
        #expect(output.total == UInt64(count))
        #expect(output.bytes.count == ConsoleBuffer.capacity)
        #expect(output.bytes.last == UInt8(truncatingIfNeeded: count - 1))
        #expect(output.bytes.first == UInt8(truncatingIfNeeded: count - ConsoleBuffer.capacity))
    }

    @Test func keepsRawBytes() {
        let buffer = ConsoleBuffer()
        for byte: UInt8 in [0xFF, 0x00, 0x1B] { buffer.append(byte) }
        #expect(buffer.output == ConsoleOutput(total: 3, bytes: [0xFF, 0, 0x1B]))
    }
}
