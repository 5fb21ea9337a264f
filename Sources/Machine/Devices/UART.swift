import DequeModule
import Locking

/// A line that raises an interrupt.
package protocol InterruptLine: Sendable {
    func set(_ isHigh: Bool)
    /// An edge on it could reach a processor; true where that is not known here.
    var isOpen: Bool { get }
}

extension InterruptLine {
    package var isOpen: Bool { true }
}

/// A 16550A serial port: eight byte-wide registers. It sends at once; what comes in waits in a queue.
///
/// Source: National Semiconductor PC16550D data sheet, table 1 (registers) and 8.6 (interrupts).
package final class UART: Device {
    /// How many bytes of input may wait.
    static let inputCapacity = 4096

    private struct State {
        var interruptEnable: UInt8 = 0
        var fifoControl: UInt8 = 0
        var lineControl: UInt8 = 0
        var modemControl: UInt8 = 0
        var scratch: UInt8 = 0
        /// 9600 baud, as a BIOS leaves it.
        var divisor: UInt16 = 12
        var input = Deque<UInt8>()
        /// The transmitter became empty, and nobody has asked why the line is high.
        var transmitterInterrupt = false
        var isLineHigh = false
    }

    private let state = Lock(State())
    private let output: ConsoleBuffer
    private let line: (any InterruptLine)?

    package init(output: ConsoleBuffer, line: (any InterruptLine)? = nil) {
        self.output = output
        self.line = line
    }

    /// Puts bytes where the guest reads them; false, and nothing put, where there is no room for all.
    func receive(_ bytes: [UInt8]) -> Bool {
        state.withLock { state in
            guard state.input.count + bytes.count <= Self.inputCapacity else { return false }
            state.input.append(contentsOf: bytes)
            update(&state)
            return true
        }
    }

    /// Input that comes will raise the line.
    var canInterrupt: Bool {
        state.withLock { $0.interruptEnable & 1 != 0 && $0.modemControl & 8 != 0 && !isLoopedBack($0) }
    }

    var name: String { "16550A serial port" }

    func reset() {
        state.withLock { state in
            let input = state.input
            state = State()
            state.input = input
        }
        line?.set(false)
    }

    func save() -> (any Sendable)? { state.withLock { $0 } }
    func restore(_ saved: any Sendable) {
        if let saved = saved as? State { state.withLock { $0 = saved } }
    }

    func read(_ offset: UInt64, size: Int) -> UInt64 {
        state.withLock { state in UInt64(read(offset, &state)) }
    }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        state.withLock { state in write(offset, UInt8(truncatingIfNeeded: value), &state) }
        return .none
    }

    /// LCR.DLAB: offsets 0 and 1 are the divisor.
    private func isDivisorVisible(_ state: State) -> Bool { state.lineControl & 0x80 != 0 }

    private func read(_ offset: UInt64, _ state: inout State) -> UInt8 {
        switch offset {
        case 0 where isDivisorVisible(state): return UInt8(truncatingIfNeeded: state.divisor)
        case 1 where isDivisorVisible(state): return UInt8(truncatingIfNeeded: state.divisor >> 8)
        case 0:
            let byte = state.input.popFirst() ?? 0
            update(&state)
            return byte
        case 1: return state.interruptEnable
        case 2:
            let identification = identification(state)
            // Reading IIR is the answer to a transmitter interrupt, if that is the one it names.
            if identification == 0x02 { state.transmitterInterrupt = false }
            update(&state)
            return identification | (state.fifoControl & 1 != 0 ? 0xC0 : 0)
        case 3: return state.lineControl
        case 4: return state.modemControl
        // THRE and TEMT: what was written is gone at once. DR: input waits.
        case 5: return 0x60 | (state.input.isEmpty ? 0 : 1)
        case 6: return modemStatus(state)
        default: return state.scratch
        }
    }

    private func write(_ offset: UInt64, _ value: UInt8, _ state: inout State) {
        switch offset {
        case 0 where isDivisorVisible(state): state.divisor = state.divisor & 0xFF00 | UInt16(value)
        case 1 where isDivisorVisible(state): state.divisor = state.divisor & 0xFF | UInt16(value) << 8
        case 0:
            if isLoopedBack(state) {
                if state.input.count < Self.inputCapacity { state.input.append(value) }
            } else {
                output.append(value)
            }
            state.transmitterInterrupt = true
        case 1:
            // Enabling the transmitter's interrupt while it is empty raises it at once.
            if value & 2 != 0, state.interruptEnable & 2 == 0 { state.transmitterInterrupt = true }
            state.interruptEnable = value & 0x0F
        case 2:
            state.fifoControl = value
            if value & 2 != 0 { state.input.removeAll() }
        case 3: state.lineControl = value
        case 4: state.modemControl = value & 0x1F
        case 5, 6: break
        default: state.scratch = value
        }
        update(&state)
    }

    private func isLoopedBack(_ state: State) -> Bool { state.modemControl & 0x10 != 0 }

    /// MSR: a terminal that is there (CTS, DSR, DCD), or in loop-back what MCR drives.
    private func modemStatus(_ state: State) -> UInt8 {
        guard isLoopedBack(state) else { return 0xB0 }
        let control = state.modemControl
        // RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
        return (control & 2) << 3 | (control & 1) << 5 | (control & 0xC) << 4
    }

    /// IIR without the FIFO bits: 1 is "none".
    private func identification(_ state: State) -> UInt8 {
        if state.interruptEnable & 1 != 0, !state.input.isEmpty { return 0x04 }
        if state.interruptEnable & 2 != 0, state.transmitterInterrupt { return 0x02 }
        return 0x01
    }

    /// The line follows IIR; OUT2 (MCR bit 3) connects it, as a PC's board has it.
    private func update(_ state: inout State) {
        let isHigh =
            identification(state) != 0x01 && state.modemControl & 8 != 0 && !isLoopedBack(state)
        guard isHigh != state.isLineHigh else { return }
        state.isLineHigh = isHigh
        line?.set(isHigh)
    }
}
