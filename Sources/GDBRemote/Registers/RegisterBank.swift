import DebugTarget
import Debugger
import X86

/// How the place of the next instruction is told.
enum PlaceForm: String, Sendable, CaseIterable {
    /// Linear: the cached base of CS and the instruction pointer, as breakpoints and memory have it.
    case flat
    /// The instruction pointer alone, for clients that add the base themselves.
    case offset
}

/// Reads and sets the registers of a guest as a layout has them.
///
/// What a stop does not bring is asked for where a client wants it, and once for each state of the guest.
final class RegisterBank {
    private let debugger: Debugger
    var form = PlaceForm.flat

    private struct Kept<Value> {
        var vcpu: Int
        var stop: Int
        var edits: Int
        var value: Value
    }
    private var fpu: Kept<FPURegisters>?
    private var upper: Kept<[UInt8]?>?
    private var debug: Kept<DebugRegisters>?

    init(_ debugger: Debugger) { self.debugger = debugger }

    /// The vCPU as it is now; a running one is looked at.
    func snapshot(_ vcpu: Int) throws(DebuggerError) -> VCPUSnapshot {
        if !debugger.isRunning, let snapshot = debugger.stop[vcpu] { return snapshot }
        return try debugger.liveSnapshot(vcpu: vcpu)
    }

    /// The value, the lowest byte first; nil where the guest has none.
    func value(_ register: RemoteRegister, of snapshot: VCPUSnapshot) -> [UInt8]? {
        switch register.source {
        case .place: bytes(place(snapshot), register.size)
        case .named(let name): named(name, snapshot).map { bytes($0, register.size) }
        case .st(let index): slot(snapshot.id, register.size) { $0.st[index] }
        case .xmm(let index): slot(snapshot.id, register.size) { $0.xmm[index] }
        case .x87(let word): floating(snapshot.id).map { bytes(Self.word(word, $0), register.size) }
        case .mxcsr: floating(snapshot.id).map { bytes(UInt64($0.mxcsr), register.size) }
        case .ymmHigh(let index): upperHalf(index, snapshot.id)
        case .msr(let index):
            (try? debugger.msr(index, vcpu: snapshot.id)).map { bytes($0, register.size) }
        }
    }

    /// As ``value(_:of:)``, in hexadecimal; `x` for what there is none of.
    func text(_ register: RemoteRegister, of snapshot: VCPUSnapshot) -> [UInt8] {
        value(register, of: snapshot).map { hexText($0) }
            ?? [UInt8](repeating: UInt8(ascii: "x"), count: register.size * 2)
    }

    /// Sets a register as the command `set` does.
    func set(_ register: RemoteRegister, _ bytes: [UInt8], vcpu: Int) throws(DebuggerError) {
        guard bytes.count == register.size else {
            throw DebuggerError(
                .outOfRange, "\(register.name) has \(register.size) bytes, and \(bytes.count) were given")
        }
        let value = Self.number(bytes)
        switch register.source {
        case .place: try setPlace(value, vcpu)
        case .named(let name): try debugger.setRegister(name.name, to: value, vcpu: vcpu)
        case .st, .xmm, .x87, .mxcsr:
            var registers = try debugger.fpu(vcpu: vcpu)
            Self.change(&registers, register.source, bytes)
            try debugger.setFPU(registers, vcpu: vcpu)
        case .ymmHigh(let index):
            try debugger.setExtendedState(component: 2, offset: index * 16, bytes, vcpu: vcpu)
        case .msr(let index): try debugger.setMSR(index, value, vcpu: vcpu)
        }
    }

    /// Whether a guest's processors have AVX: CPUID says how large its state is.
    static func hasAVX(_ debugger: Debugger) -> Bool {
        guard let table = try? debugger.cpuid(), let place = table.extendedStateLayout(2) else {
            return false
        }
        return place.size >= 256
    }

    // MARK: the next instruction

    private func place(_ snapshot: VCPUSnapshot) -> UInt64 {
        form == .flat ? snapshot.pc : snapshot.registers.rip
    }

    private func setPlace(_ value: UInt64, _ vcpu: Int) throws(DebuggerError) {
        let snapshot = try snapshot(vcpu)
        guard form == .flat, snapshot.mode != .long64 else {
            return try debugger.setRegister("rip", to: value, vcpu: vcpu)
        }
        let segment = snapshot.special.cs
        let offset = (value &- segment.base) & 0xFFFF_FFFF
        guard offset <= UInt64(segment.limit) else {
            throw DebuggerError(
                .outOfRange,
                "\(hex(value)) is not in the code segment, which begins at \(hex(segment.base)) and ends at "
                    + hex(segment.base &+ UInt64(segment.limit)),
                remedy: "set cs first")
        }
        try debugger.setRegister("rip", to: offset, vcpu: vcpu)
    }

    // MARK: what a stop does not bring

    private func named(_ name: RegisterName, _ snapshot: VCPUSnapshot) -> UInt64? {
        guard name.group == .debug else { return name.value(snapshot.registers, snapshot.special) }
        return keeping(\.debug, snapshot.id) { try? debugger.debugRegisters(vcpu: snapshot.id) }.map {
            name.value(snapshot.registers, snapshot.special, $0)
        }
    }

    private func floating(_ vcpu: Int) -> FPURegisters? {
        keeping(\.fpu, vcpu) { try? debugger.fpu(vcpu: vcpu) }
    }

    private func slot(_ vcpu: Int, _ size: Int, _ part: (FPURegisters) -> FPURegisters.Slot) -> [UInt8]? {
        floating(vcpu).map { registers in
            let slot = part(registers)
            return (0..<size).map { slot[$0] }
        }
    }

    /// The upper halves of all, one after the other.
    private func upperHalf(_ index: Int, _ vcpu: Int) -> [UInt8]? {
        let all = keeping(\.upper, vcpu) { () -> [UInt8]?? in
            guard let (_, state) = try? debugger.extendedState(vcpu: vcpu) else { return nil }
            return .some((0..<16).reduce(into: [UInt8]?([])) { $0? += state.ymm($1)?.dropFirst(16) ?? [] })
        }
        guard let all, let bytes = all, bytes.count >= (index + 1) * 16 else { return nil }
        return Array(bytes[index * 16..<index * 16 + 16])
    }

    private func keeping<Value>(
        _ path: ReferenceWritableKeyPath<RegisterBank, Kept<Value>?>, _ vcpu: Int, _ read: () -> Value?
    ) -> Value? {
        let (stop, edits) = (debugger.stop.number, debugger.stop.edits)
        if !debugger.isRunning, let kept = self[keyPath: path], kept.vcpu == vcpu, kept.stop == stop,
            kept.edits == edits
        {
            return kept.value
        }
        guard let value = read() else { return nil }
        self[keyPath: path] = Kept(vcpu: vcpu, stop: stop, edits: edits, value: value)
        return value
    }

    // MARK: values

    private func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) : 0 }
    }

    private static func number(_ bytes: [UInt8]) -> UInt64 {
        bytes.prefix(8).enumerated().reduce(0) { $0 | UInt64($1.element) << UInt64($1.offset * 8) }
    }

    /// FIP and FDP are offsets of 32 bits beside a selector in FXSAVE's legacy form, and of 64 bits otherwise: the
    /// upper half is told as the segment, as GDB has it.
    private static func word(_ word: RegisterSource.X87Word, _ registers: FPURegisters) -> UInt64 {
        switch word {
        case .fctrl: UInt64(registers.controlWord)
        case .fstat: UInt64(registers.statusWord)
        case .ftag: UInt64(X87Tags.full(registers))
        case .fiseg: registers.lastInstruction >> 32
        case .fioff: registers.lastInstruction & 0xFFFF_FFFF
        case .foseg: registers.lastOperand >> 32
        case .fooff: registers.lastOperand & 0xFFFF_FFFF
        case .fop: UInt64(registers.lastOpcode & 0x7FF)
        }
    }

    private static func change(
        _ registers: inout FPURegisters, _ source: RegisterSource, _ bytes: [UInt8]
    ) {
        let value = number(bytes)
        switch source {
        case .st(let index): for (place, byte) in bytes.enumerated() { registers.st[index][place] = byte }
        case .xmm(let index): for (place, byte) in bytes.enumerated() { registers.xmm[index][place] = byte }
        case .mxcsr: registers.mxcsr = UInt32(truncatingIfNeeded: value)
        case .x87(let word):
            let short = UInt16(truncatingIfNeeded: value)
            func joined(_ high: UInt64, _ low: UInt64) -> UInt64 { high << 32 | low & 0xFFFF_FFFF }
            let (instruction, operand) = (registers.lastInstruction, registers.lastOperand)
            switch word {
            case .fctrl: registers.controlWord = short
            case .fstat: registers.statusWord = short
            case .ftag: registers.tagWord = X87Tags.abridged(short)
            case .fiseg: registers.lastInstruction = joined(value, instruction)
            case .fioff: registers.lastInstruction = joined(instruction >> 32, value)
            case .foseg: registers.lastOperand = joined(value, operand)
            case .fooff: registers.lastOperand = joined(operand >> 32, value)
            case .fop: registers.lastOpcode = short & 0x7FF
            }
        case .place, .named, .ymmHigh, .msr: break
        }
    }
}
