import DequeModule
import Locking
import Synchronization

/// Line A20 of the address bus: without it addresses wrap at 1 MiB.
package final class AddressLine20: Sendable {
    private let on: Atomic<Bool>
    private let initial: Bool
    /// Makes the guest's memory follow.
    private let change: @Sendable (Bool) -> Void

    package init(isOn: Bool = true, change: @escaping @Sendable (Bool) -> Void = { _ in }) {
        initial = isOn
        on = Atomic(isOn)
        self.change = change
    }

    var isOn: Bool { on.load(ordering: .acquiring) }

    func set(_ isOn: Bool) {
        if on.exchange(isOn, ordering: .acquiringAndReleasing) != isOn { change(isOn) }
    }

    func reset() { set(initial) }
}

/// The i8042 keyboard controller with a keyboard of 101 keys and no mouse: ports 60h and 64h, line 1.
///
/// What is typed comes as scan codes of set 1 and is translated back where the guest has switched translation off.
/// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
final class KeyboardController: Sendable {
    /// Scan codes that may wait; what comes beyond is refused.
    static let capacity = 1024

    private struct State {
        /// The command byte: bit 0 interrupts, 4 keyboard off, 5 mouse off, 6 translation; bit 2 is "system" in the status.
        var configuration: UInt8 = 0x45
        var memory = [UInt8](repeating: 0, count: 32)
        /// What port 60h gives next, before what was typed.
        var replies = Deque<Reply>()
        var typed = Deque<UInt8>()
        var output: Reply?
        /// The last byte went to the command port.
        var wasCommand = false
        /// A command of the controller that waits for its byte.
        var controllerCommand: UInt8?
        /// A command of the keyboard that waits for its byte.
        var keyboardCommand: UInt8?
        /// The keyboard scans.
        var isScanning = true
        var lights: UInt8 = 0
        /// The last byte that port 60h gave.
        var last: UInt8 = 0
    }

    private struct Reply: Sendable {
        var byte: UInt8
        /// From the mouse's side, of which only "nobody is there" comes.
        var isAuxiliary = false
    }

    private let state = Lock(State())
    private let a20: AddressLine20
    private let line: (any InterruptLine)?

    init(a20: AddressLine20, line: (any InterruptLine)? = nil) {
        self.a20 = a20
        self.line = line
    }

    // MARK: the user's side

    /// Types scan codes of set 1; false, and none typed, where there is no room for all.
    func type(_ codes: [UInt8]) -> Bool {
        state.withLock { state in
            guard state.typed.count + codes.count <= Self.capacity else { return false }
            state.typed.append(contentsOf: codes)
            fill(&state)
            return true
        }
    }

    /// What was typed and not read yet, in scan codes.
    var waiting: Int { state.withLock { $0.typed.count + ($0.output == nil ? 0 : 1) } }

    /// A key will raise the line when it is pressed.
    var canInterrupt: Bool {
        state.withLock { $0.configuration & 1 != 0 && $0.configuration & 0x10 == 0 && $0.isScanning }
    }

    /// The scan code that waits, read as port 60h would be; nil where none does.
    func takeScanCode() -> UInt8? {
        state.withLock { state in
            guard let output = state.output, !output.isAuxiliary else { return nil }
            return readData(&state)
        }
    }

    /// What the lights show: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    var lights: UInt8 { state.withLock { $0.lights } }

    // MARK: its inside

    /// Puts the next byte where port 60h gives it.
    private func fill(_ state: inout State) {
        if state.output == nil {
            if let reply = state.replies.popFirst() {
                state.output = reply
            } else if state.isScanning, state.configuration & 0x10 == 0, let code = state.typed.popFirst() {
                if state.configuration & 0x40 != 0 {
                    state.output = Reply(byte: code)
                } else {
                    let raw = ScanCodeSet2.codes(for: code)
                    state.output = raw.first.map { Reply(byte: $0) }
                    for byte in raw.dropFirst().reversed() { state.replies.prepend(Reply(byte: byte)) }
                }
            }
        }
        updateLine(state)
    }

    private func updateLine(_ state: State) {
        let isHigh = state.configuration & 1 != 0 && state.output.map { !$0.isAuxiliary } ?? false
        line?.set(isHigh)
    }

    private func readData(_ state: inout State) -> UInt8 {
        guard let output = state.output else { return state.last }
        state.last = output.byte
        state.output = nil
        // Low for a moment, so that the next byte is an edge.
        line?.set(false)
        fill(&state)
        return output.byte
    }

    private func reply(_ bytes: UInt8..., auxiliary: Bool = false, in state: inout State) {
        state.replies.append(contentsOf: bytes.map { Reply(byte: $0, isAuxiliary: auxiliary) })
        // A guest that asks and never reads keeps the last answers.
        while state.replies.count > 64 { state.replies.removeFirst() }
        fill(&state)
    }

    fileprivate func readPort(_ isStatus: Bool) -> UInt8 {
        state.withLock { state in
            guard isStatus else { return readData(&state) }
            var status: UInt8 = 0x10 | state.configuration & 4
            if let output = state.output { status |= output.isAuxiliary ? 0x21 : 1 }
            if state.wasCommand { status |= 8 }
            return status
        }
    }

    fileprivate func writePort(_ isCommand: Bool, _ value: UInt8) -> DeviceEffect {
        let (effect, gate) = state.withLock { state -> (DeviceEffect, Bool?) in
            state.wasCommand = isCommand
            if isCommand { return command(value, &state) }
            if let waiting = state.controllerCommand {
                state.controllerCommand = nil
                return argument(value, of: waiting, &state)
            }
            toKeyboard(value, &state)
            return (.none, nil)
        }
        // Memory follows outside the lock.
        if let gate { a20.set(gate) }
        return effect
    }

    // MARK: the controller's commands, port 64h

    private func command(_ value: UInt8, _ state: inout State) -> (DeviceEffect, Bool?) {
        state.controllerCommand = nil
        switch value {
        case 0x20: reply(state.configuration, in: &state)
        case 0x21...0x3F: reply(state.memory[Int(value & 0x1F)], in: &state)
        case 0x60...0x7F, 0xD1, 0xD2, 0xD3, 0xD4: state.controllerCommand = value
        case 0xA7: state.configuration |= 0x20
        case 0xA8: state.configuration &= ~0x20
        // The mouse's interface: its clock line is stuck, for no mouse is there.
        case 0xA9: reply(0x02, in: &state)
        case 0xAA:
            state.configuration |= 4
            reply(0x55, in: &state)
        case 0xAB: reply(0x00, in: &state)
        case 0xAD: state.configuration |= 0x10
        case 0xAE:
            state.configuration &= ~0x10
            fill(&state)
        // Nothing is locked.
        case 0xC0: reply(0x80, in: &state)
        case 0xD0: reply(outputPort(state), in: &state)
        case 0xDD: return (.none, false)
        case 0xDF: return (.none, true)
        case 0xF0...0xFF where value & 1 == 0:
            return (.powerOff(PowerOff(.keyboardReset, value: UInt64(value))), nil)
        default: break
        }
        return (.none, nil)
    }

    /// Bit 0 no reset, 1 A20, 4 a byte of the keyboard waits, 5 one of the mouse.
    private func outputPort(_ state: State) -> UInt8 {
        0xC1 | (a20.isOn ? 2 : 0) | (state.output == nil ? 0 : 0x10)
    }

    private func argument(
        _ value: UInt8, of command: UInt8, _ state: inout State
    ) -> (DeviceEffect, Bool?) {
        switch command {
        case 0x60:
            state.configuration = value
            fill(&state)
        case 0x61...0x7F: state.memory[Int(command & 0x1F)] = value
        case 0xD1:
            guard value & 1 != 0 else {
                return (.powerOff(PowerOff(.keyboardReset, value: UInt64(value))), nil)
            }
            return (.none, value & 2 != 0)
        case 0xD2: reply(value, in: &state)
        case 0xD3: reply(value, auxiliary: true, in: &state)
        default: break
        }
        return (.none, nil)
    }

    // MARK: the keyboard's commands, port 60h

    private func toKeyboard(_ value: UInt8, _ state: inout State) {
        // A byte to the keyboard enables it.
        state.configuration &= ~0x10
        if let waiting = state.keyboardCommand {
            state.keyboardCommand = nil
            if waiting == 0xED { state.lights = value & 7 }
            reply(0xFA, in: &state)
            // Asked for its set: 2, which translation makes 1.
            if waiting == 0xF0, value == 0 { reply(state.configuration & 0x40 != 0 ? 0x41 : 2, in: &state) }
            return
        }
        switch value {
        case 0xED, 0xF0, 0xF3:
            state.keyboardCommand = value
            reply(0xFA, in: &state)
        case 0xEE: reply(0xEE, in: &state)
        case 0xF2: reply(0xFA, 0xAB, state.configuration & 0x40 != 0 ? 0x41 : 0x83, in: &state)
        case 0xF4, 0xF6:
            state.isScanning = true
            reply(0xFA, in: &state)
        case 0xF5:
            state.isScanning = false
            reply(0xFA, in: &state)
        case 0xFF:
            state.isScanning = true
            state.typed.removeAll()
            reply(0xFA, 0xAA, in: &state)
        default: reply(0xFE, in: &state)
        }
    }

    fileprivate func reset() {
        state.withLock { $0 = State() }
        line?.set(false)
        a20.reset()
    }

    fileprivate func save() -> any Sendable { state.withLock { $0 } }
    fileprivate func restore(_ saved: any Sendable) {
        if let saved = saved as? State { state.withLock { $0 = saved } }
    }
}

/// Port 60h, or 64h.
struct KeyboardPort: Device {
    let controller: KeyboardController
    let isCommand: Bool

    var name: String { isCommand ? "i8042 status and command" : "i8042 data" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { UInt64(controller.readPort(isCommand)) }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        controller.writePort(isCommand, UInt8(truncatingIfNeeded: value))
    }

    // Both are one device: the command port stands for the two.
    func reset() { if isCommand { controller.reset() } }
    func save() -> (any Sendable)? { isCommand ? controller.save() : nil }
    func restore(_ saved: any Sendable) { if isCommand { controller.restore(saved) } }
}

/// Port 92h, system control port A: bit 0 resets when it goes up, bit 1 is A20.
struct FastA20Port: Device {
    let a20: AddressLine20

    var name: String { "A20 and reset" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { a20.isOn ? 2 : 0 }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        if value & 1 != 0 { return .powerOff(PowerOff(.systemControl, value: value)) }
        a20.set(value & 2 != 0)
        return .none
    }
}

/// Scan codes as the keyboard sends them where nobody translates.
enum ScanCodeSet2 {
    /// By the code of set 1, from 1 on.
    private static let table: [UInt8] = [
        0x76, 0x16, 0x1E, 0x26, 0x25, 0x2E, 0x36, 0x3D, 0x3E, 0x46, 0x45, 0x4E, 0x55, 0x66, 0x0D, 0x15,
        0x1D, 0x24, 0x2D, 0x2C, 0x35, 0x3C, 0x43, 0x44, 0x4D, 0x54, 0x5B, 0x5A, 0x14, 0x1C, 0x1B, 0x23,
        0x2B, 0x34, 0x33, 0x3B, 0x42, 0x4B, 0x4C, 0x52, 0x0E, 0x12, 0x5D, 0x1A, 0x22, 0x21, 0x2A, 0x32,
        0x31, 0x3A, 0x41, 0x49, 0x4A, 0x59, 0x7C, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0C, 0x03, 0x0B,
        0x83, 0x0A, 0x01, 0x09, 0x77, 0x7E, 0x6C, 0x75, 0x7D, 0x7B, 0x6B, 0x73, 0x74, 0x79, 0x69, 0x72,
        0x7A, 0x70, 0x71, 0x84, 0x60, 0x61, 0x78, 0x07,
    ]

    /// What stands for one byte of set 1: the code, F0h before it where the key was released.
    static func codes(for byte: UInt8) -> [UInt8] {
        guard byte != 0xE0, byte != 0xE1 else { return [byte] }
        let key = Int(byte & 0x7F)
        guard (1...table.count).contains(key) else { return [] }
        return byte & 0x80 == 0 ? [table[key - 1]] : [0xF0, table[key - 1]]
    }
}
