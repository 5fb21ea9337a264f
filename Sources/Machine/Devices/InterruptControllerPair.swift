import KVMCore
import Locking

/// The two i8259 interrupt controllers of a PC, the second one at input 2 of the first.
///
/// Source: Intel 8259A data sheet; the edge and level registers (ports 4D0h and 4D1h) are those of Intel's 82371.
/// The state is the one that KVM keeps of its own pair, so that both are shown and set alike.
final class InterruptControllerPair: Sendable {
    /// The input of the first controller that the second one drives.
    static let cascade: UInt8 = 2

    private struct State {
        var chips = [PICState(), PICState()]
        /// The levels of the 16 lines, a bit each.
        var lines: UInt16 = 0
        /// What was acknowledged, by vector.
        var delivered = [UInt64](repeating: 0, count: 256)
    }

    private let state = Lock(State())

    init() { reset() }

    // MARK: lines

    /// Sets the level of a line, 0 to 15.
    func set(_ line: Int, _ isHigh: Bool) {
        guard (0..<16).contains(line) else { return }
        state.withLock { state in
            let bit = UInt16(1) << UInt16(line)
            if isHigh { state.lines |= bit } else { state.lines &= ~bit }
            Self.input(&state.chips[line / 8], UInt8(1) << UInt8(line % 8), isHigh)
        }
    }

    /// A line that went low and high again.
    func pulse(_ line: Int) {
        set(line, false)
        set(line, true)
    }

    private static func input(_ chip: inout PICState, _ bit: UInt8, _ isHigh: Bool) {
        if chip.elcr & bit != 0 {
            if isHigh { chip.irr |= bit } else { chip.irr &= ~bit }
        } else if isHigh, chip.lastIRR & bit == 0 {
            chip.irr |= bit
        }
        if isHigh { chip.lastIRR |= bit } else { chip.lastIRR &= ~bit }
    }

    /// Whether an edge on the line could reach the processor: both controllers know their vectors, and nobody masks it.
    func isOpen(_ line: Int) -> Bool {
        guard (0..<16).contains(line) else { return false }
        return state.withLock { state in
            func takes(_ chip: Int, _ input: UInt8) -> Bool {
                state.chips[chip].isInitialised && state.chips[chip].imr >> input & 1 == 0
            }
            guard line >= 8 else { return takes(0, UInt8(line)) }
            return takes(0, Self.cascade) && takes(1, UInt8(line - 8))
        }
    }

    // MARK: the processor's side

    /// The INT line: an interrupt waits to be acknowledged.
    var hasRequest: Bool { state.withLock { Self.request(&$0) != nil } }

    /// The processor's acknowledgement: the vector, or nil where nothing asks.
    func acknowledge() -> UInt8? {
        state.withLock { state in
            guard let input = Self.request(&state) else { return nil }
            let vector: UInt8
            if input == Self.cascade, let second = state.chips[1].pending {
                Self.serve(&state.chips[1], second)
                Self.serve(&state.chips[0], input)
                vector = state.chips[1].vectorBase &+ second
            } else {
                Self.serve(&state.chips[0], input)
                vector = state.chips[0].vectorBase &+ input
            }
            state.delivered[Int(vector)] &+= 1
            return vector
        }
    }

    /// How many interrupts were delivered, by vector; only those that came.
    var delivered: [(vector: UInt8, count: UInt64)] {
        state.withLock { state in
            state.delivered.enumerated().filter { $0.element > 0 }
                .map { (UInt8($0.offset), $0.element) }
        }
    }

    /// The input of the first controller that asks, with the second one's request on its own input.
    private static func request(_ state: inout State) -> UInt8? {
        let second = state.chips[1].isInitialised && state.chips[1].pending != nil
        let bit = UInt8(1) << cascade
        if second { state.chips[0].irr |= bit } else { state.chips[0].irr &= ~bit }
        guard state.chips[0].isInitialised else { return nil }
        return state.chips[0].pending
    }

    private static func serve(_ chip: inout PICState, _ input: UInt8) {
        let bit = UInt8(1) << input
        if chip.autoEOI != 0 {
            if chip.rotateOnAutoEOI != 0 { chip.priorityAdd = (input + 1) & 7 }
        } else {
            chip.isr |= bit
        }
        // The request of a level stays as long as the line is high.
        if chip.elcr & bit == 0 { chip.irr &= ~bit }
    }

    // MARK: what others see

    func picState(_ chip: PIC) -> PICState {
        state.withLock { state in
            _ = Self.request(&state)
            return state.chips[Int(chip.rawValue)]
        }
    }

    func setPICState(_ chip: PIC, _ new: PICState) {
        state.withLock { $0.chips[Int(chip.rawValue)] = new }
    }

    func reset() {
        state.withLock { state in
            state = State()
            state.chips[0].elcrMask = 0xF8
            state.chips[1].elcrMask = 0xDE
            // No ICW has come: nothing is asked of the processor.
            for chip in 0..<2 { state.chips[chip].initState = 1 }
        }
    }

    /// As a BIOS leaves them: vectors 08h and 70h, and the timer, the keyboard and the second controller open.
    func initialiseAsBIOS() {
        state.withLock { state in
            for (chip, base, mask) in [(0, UInt8(0x08), UInt8(0xB8)), (1, 0x70, 0x8E)] {
                state.chips[chip].initState = 0
                state.chips[chip].init4 = 1
                state.chips[chip].vectorBase = base
                state.chips[chip].imr = mask
            }
        }
    }

    fileprivate func save() -> [PICState] { state.withLock { $0.chips } }

    fileprivate func restore(_ chips: [PICState]) {
        guard chips.count == 2 else { return }
        state.withLock { $0.chips = chips }
    }

    // MARK: ports

    fileprivate func read(_ chip: Int, _ offset: UInt64) -> UInt8 {
        state.withLock { state in
            if state.chips[chip].poll != 0 {
                state.chips[chip].poll = 0
                _ = Self.request(&state)
                guard let input = state.chips[chip].pending else { return 0 }
                Self.serve(&state.chips[chip], input)
                return 0x80 | input
            }
            if offset == 1 { return state.chips[chip].imr }
            _ = Self.request(&state)
            return state.chips[chip].readRegisterSelect != 0 ? state.chips[chip].isr : state.chips[chip].irr
        }
    }

    fileprivate func write(_ chip: Int, _ offset: UInt64, _ value: UInt8) {
        state.withLock { state in
            var pic = state.chips[chip]
            if offset == 0 { pic.command(value) } else { pic.data(value) }
            if offset == 0, value & 0x10 != 0 {
                // A level that is there is a request at once.
                let lines = UInt8(truncatingIfNeeded: state.lines >> UInt16(chip * 8))
                pic.irr = lines & pic.elcr
                pic.lastIRR = lines
            }
            state.chips[chip] = pic
        }
    }

    fileprivate func triggers(_ chip: Int) -> UInt8 { state.withLock { $0.chips[chip].elcr } }

    fileprivate func setTriggers(_ chip: Int, _ value: UInt8) {
        state.withLock { $0.chips[chip].elcr = value & $0.chips[chip].elcrMask }
    }
}

extension PICState {
    /// All of its ICWs have come.
    fileprivate var isInitialised: Bool { initState == 0 }

    /// The input that asks for an interrupt, unless one of the same or a higher priority is in service.
    fileprivate var pending: UInt8? {
        let asking = irr & ~imr
        guard asking != 0 else { return nil }
        for step in 0..<UInt8(8) {
            let input = (priorityAdd &+ step) & 7
            // In special mask mode what is masked does not hold off what comes after it.
            let served = specialMask != 0 ? isr & ~imr : isr
            if served >> input & 1 != 0 { return nil }
            if asking >> input & 1 != 0 { return input }
        }
        return nil
    }

    /// OCW2, OCW3, or ICW1.
    fileprivate mutating func command(_ value: UInt8) {
        if value & 0x10 != 0 {
            let (triggers, mask) = (elcr, elcrMask)
            self = PICState()
            (elcr, elcrMask) = (triggers, mask)
            initState = 1
            init4 = value & 1
        } else if value & 0x08 != 0 {
            if value & 4 != 0 { poll = 1 }
            if value & 2 != 0 { readRegisterSelect = value & 1 }
            if value & 0x40 != 0 { specialMask = value >> 5 & 1 }
        } else {
            endOfInterrupt(value)
        }
    }

    private mutating func endOfInterrupt(_ value: UInt8) {
        let named = value & 7
        switch value >> 5 {
        case 0, 4: rotateOnAutoEOI = value >> 7
        case 1, 5:
            for step in 0..<UInt8(8) {
                let input = (priorityAdd &+ step) & 7
                guard isr >> input & 1 != 0 else { continue }
                isr &= ~(1 << input)
                if value >> 5 == 5 { priorityAdd = (input + 1) & 7 }
                break
            }
        case 3: isr &= ~(1 << named)
        case 6: priorityAdd = (named + 1) & 7
        case 7:
            isr &= ~(1 << named)
            priorityAdd = (named + 1) & 7
        default: break
        }
    }

    /// ICW2 to ICW4, or OCW1.
    fileprivate mutating func data(_ value: UInt8) {
        switch initState {
        case 1:
            vectorBase = value & 0xF8
            initState = 2
        case 2: initState = init4 != 0 ? 3 : 0
        case 3:
            specialFullyNestedMode = value >> 4 & 1
            autoEOI = value >> 1 & 1
            initState = 0
        default: imr = value
        }
    }
}

/// Ports 20h and 21h, or A0h and A1h: one of the two.
struct InterruptControllerPorts: Device {
    let pair: InterruptControllerPair
    let chip: Int

    var name: String { chip == 0 ? "i8259 PIC, first" : "i8259 PIC, second" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { UInt64(pair.read(chip, offset)) }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        pair.write(chip, offset, UInt8(truncatingIfNeeded: value))
        return .none
    }

    // Both are one device: the first stands for the two.
    func reset() { if chip == 0 { pair.reset() } }
    func save() -> (any Sendable)? { chip == 0 ? pair.save() : nil }
    func restore(_ saved: any Sendable) {
        if chip == 0, let chips = saved as? [PICState] { pair.restore(chips) }
    }
}

/// Ports 4D0h and 4D1h: which inputs are levels.
struct TriggerModePorts: Device {
    let pair: InterruptControllerPair

    var name: String { "PIC edge and level" }
    func read(_ offset: UInt64, size: Int) -> UInt64 { UInt64(pair.triggers(Int(offset & 1))) }

    func write(_ offset: UInt64, size: Int, _ value: UInt64) -> DeviceEffect {
        pair.setTriggers(Int(offset & 1), UInt8(truncatingIfNeeded: value))
        return .none
    }
}

/// One line of the pair.
struct ControllerLine: InterruptLine {
    let pair: InterruptControllerPair
    let number: Int
    func set(_ isHigh: Bool) { pair.set(number, isHigh) }
    var isOpen: Bool { pair.isOpen(number) }
}
