import DebugTarget
import Debugger
import KVMCore

/// A field of an i8259, by name.
struct PICField: Sendable {
    let name: String
    let meaning: String
    /// A bit is an input.
    let isInputs: Bool
    let path: any WritableKeyPath<PICState, UInt8> & Sendable

    private init(
        _ name: String, _ meaning: String, inputs: Bool = false,
        _ path: any WritableKeyPath<PICState, UInt8> & Sendable
    ) {
        self.name = name
        self.meaning = meaning
        isInputs = inputs
        self.path = path
    }

    static let all: [PICField] = [
        .init("irr", "requested", inputs: true, \.irr), .init("isr", "in service", inputs: true, \.isr),
        .init("imr", "masked", inputs: true, \.imr), .init("base", "vector of its first input", \.vectorBase),
        .init("elcr", "level triggered", inputs: true, \.elcr),
        .init("priority", "input of highest priority", \.priorityAdd),
        .init("last_irr", "requests before", inputs: true, \.lastIRR),
        .init("read_isr", "a read gives ISR", \.readRegisterSelect), .init("poll", "poll mode", \.poll),
        .init("special_mask", "special mask mode", \.specialMask),
        .init("init", "0 when initialised, else the ICW that comes next", \.initState),
        .init("auto_eoi", "automatic end of interrupt", \.autoEOI),
        .init("rotate", "priorities rotate", \.rotateOnAutoEOI),
        .init("sfnm", "special fully nested mode", \.specialFullyNestedMode),
        .init("init4", "ICW4 is expected", \.init4),
    ]
}

/// Fields of an i8254's channel.
enum PITField {
    static let names = ["count", "mode", "access", "bcd", "gate"]

    /// Sets a field; false for a name or a value that it does not have.
    static func set(_ name: String, _ value: UInt64, in channel: inout PITState.Channel) -> Bool {
        switch (name, value) {
        case ("count", 0...65536): channel.count = UInt32(value)
        case ("mode", 0...5): channel.mode = UInt8(value)
        case ("access", 0...3): channel.accessMode = UInt8(value)
        case ("bcd", 0...1): channel.isBCD = value == 1
        case ("gate", 0...1): channel.gate = UInt8(value)
        default: return false
        }
        return true
    }

    /// Source: 8254 datasheet.
    static func modeName(_ mode: UInt8) -> String {
        switch mode {
        case 0: "interrupt on terminal count"
        case 1: "one-shot"
        case 2: "rate generator"
        case 3: "square wave"
        case 4: "software strobe"
        case 5: "hardware strobe"
        default: "unknown"
        }
    }

    static func accessName(_ access: UInt8) -> String {
        switch access {
        case 1: "low byte"
        case 2: "high byte"
        case 3: "low byte, then high byte"
        default: "none yet"
        }
    }
}

/// The interrupt controllers of a guest that has them, with errors for people.
struct Chips {
    let target: any InterruptControllerProviding

    func picState(_ chip: PIC, _ call: Invocation) throws(CommandError) -> PICState {
        try Self.lift(call) { () throws(KVMError) in try target.picState(chip) }
    }

    func ioapicState(_ call: Invocation) throws(CommandError) -> IOAPICState {
        try Self.lift(call) { () throws(KVMError) in try target.ioapicState() }
    }

    func pitState(_ call: Invocation) throws(CommandError) -> PITState {
        try Self.lift(call) { () throws(KVMError) in try target.pitState() }
    }

    /// For setting them.
    func editing(_ call: Invocation) throws(CommandError) -> any InterruptControllerEditing {
        guard let target = target as? any InterruptControllerEditing else {
            throw call.error("the interrupt controllers of \(target.name) cannot be set from here")
        }
        return target
    }

    static func lift<R>(
        _ call: Invocation, at place: Argument? = nil, _ body: () throws(KVMError) -> R
    ) throws(CommandError) -> R {
        do {
            return try body()
        } catch {
            throw call.error(
                "\(error.operation): \(error.errno)", at: place, remedy: error.advice)
        }
    }
}

extension Session {
    /// - Throws: where the guest has no interrupt controllers, or they cannot be seen.
    func chips(_ call: Invocation) throws(CommandError) -> Chips {
        guard let target = debugger.target as? any InterruptControllerProviding else {
            throw call.error("the interrupt controllers of \(debugger.target.name) cannot be read from here")
        }
        guard target.hasInterruptControllers else {
            throw call.error(
                "this guest has no interrupt controllers",
                remedy: "start it with `--irqchip user`, or `--irqchip kernel`")
        }
        return Chips(target: target)
    }
}
