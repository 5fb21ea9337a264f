import DebugTarget
import Debugger
import KVMCore
import X86

extension CatchEvent {
    /// As `catch` takes it: `io 0x80-0x8f out`.
    var text: String {
        switch self {
        case .io(let ports, let direction):
            var text = "io"
            if let ports { text += " " + Self.range(UInt64(ports.lowerBound), UInt64(ports.upperBound)) }
            if let direction { text += direction == .out ? " out" : " in" }
            return text
        case .mmio(let range): return "mmio " + Self.range(range.lowerBound, range.upperBound)
        case .exit(let reason): return "exit \(reason)"
        case .interrupt(let vector): return "int \(Hex(vector))"
        case .exception(let vector):
            return "exception" + (vector.map { " " + ExceptionName.short($0) } ?? "")
        case .modeSwitch: return "mode"
        case .msr(let index):
            return "msr" + (index.map { " \(ModelSpecificRegister.name(of: $0) ?? "\(Hex($0))")" } ?? "")
        case .control(let register): return "cr" + (register.map { " \($0.rawValue)" } ?? "")
        case .hlt: return "hlt"
        case .tripleFault: return "triplefault"
        case .firmware(let vector, let function):
            var text = "bios"
            if let vector { text += " " + Hex.digits(vector, width: 2) }
            if let function { text += " ah=" + Hex.digits(function, width: 2) }
            return text
        }
    }

    private static func range(_ first: UInt64, _ last: UInt64) -> String {
        first == last ? "\(Hex(first))" : "\(Hex(first))-\(Hex(last))"
    }
}

enum ExceptionName {
    /// `#GP`, or the number.
    static func short(_ vector: UInt8) -> String {
        guard let name = InterruptVector.exception(vector), name.hasPrefix("#") else { return "\(vector)" }
        return String(name.prefix { $0 != " " })
    }

    /// `#GP general protection`; in real mode `vector 0x15 (BIOS system services)` for what is no exception there.
    static func full(_ vector: UInt8, inRealMode isReal: Bool = false) -> String {
        guard InterruptVector.isException(vector, inRealMode: isReal) else {
            return "vector \(Hex(vector))" + (isReal ? service(vector) : "")
        }
        return InterruptVector.exception(vector) ?? "vector \(Hex(vector))"
    }

    /// `INT 0x15 (BIOS system services)`; INT3, INTO and INT1 by their exception's name.
    static func software(_ vector: UInt8, inRealMode isReal: Bool) -> String {
        if [1, 3, 4].contains(vector) { return full(vector) }
        return "INT \(Hex(vector))" + (isReal ? service(vector) : "")
    }

    private static func service(_ vector: UInt8) -> String {
        InterruptVector.realMode(vector).map { " (\($0))" } ?? ""
    }

    /// A vector by its number's or its exception's name, with the sign or without.
    static func vector(named text: String) -> UInt8? {
        let wanted = text.lowercased()
        return (0..<32).first { vector in
            let name = short(vector).lowercased()
            return name == wanted || name.dropFirst() == wanted
        }
    }

    /// All names that `catch exception` takes.
    static let all: [String] = (0..<32).compactMap { vector in
        let name = short(UInt8(vector))
        return name.hasPrefix("#") ? name : nil
    }
}

/// What a catchpoint stopped at.
public struct CaughtRow: Sendable, Hashable, Encodable {
    /// The catchpoint.
    public var number: Int
    /// "io", "mmio", "exit", "interrupt", "mode", "msr", "cr", "hlt", "triplefault" or "bios".
    public var kind: String
    /// In words.
    public var text: String
    /// The port, address, MSR or nothing.
    public var place: Hex?
    /// In bytes.
    public var size: Int?
    /// "in", "out", "read" or "write".
    public var direction: String?
    /// What was written.
    public var value: Hex?
    /// A control register before.
    public var old: Hex?
    /// Those that have the handler.
    public var vectors: [Int]?
    /// By INT n and its kin.
    public var isSoftware: Bool?

    /// - Parameter isReal: the vCPU is in real mode.
    init(_ event: CaughtEvent, inRealMode isReal: Bool) {
        number = event.number
        text = ""
        switch event.what {
        case .io(let io):
            kind = "io"
            place = Hex(io.port)
            size = io.size
            direction = io.direction == .out ? "out" : "in"
            if io.direction == .out, io.data.count > 0 { value = Hex(io.data.value) }
        case .mmio(let access):
            kind = "mmio"
            place = Hex(access.gpa)
            size = access.data.count
            direction = access.isWrite ? "write" : "read"
            if access.isWrite { value = Hex(access.data.value) }
        case .exit: kind = "exit"
        case .interrupt(let found, let software, _):
            kind = "interrupt"
            vectors = found.map(Int.init)
            isSoftware = software
        case .modeSwitch: kind = "mode"
        case .msr(let index, let written):
            kind = "msr"
            place = Hex(index)
            value = Hex(written)
        case .control(let register, let before, let after):
            kind = register.rawValue
            old = Hex(before)
            value = Hex(after)
        case .hlt: kind = "hlt"
        case .tripleFault: kind = "triplefault"
        case .firmware(let call):
            kind = "bios"
            vectors = [Int(call.vector)]
        }
        text = Self.text(event, inRealMode: isReal)
    }

    /// A sentence.
    static func text(_ event: CaughtEvent, inRealMode isReal: Bool) -> String {
        if case .modeSwitch(_, let mode) = event.what {
            // In Bochs' words.
            return
                "Caught mode switch breakpoint switching to '\(mode.rawValue)' (catchpoint \(event.number))."
        }
        return "Catchpoint \(event.number) (\(what(event.what, isReal)))."
    }

    /// `0x8 (IRQ0 timer, or #DF double fault)`.
    private static func realModeName(_ vector: UInt8) -> String {
        var names = InterruptVector.realMode(vector).map { [$0] } ?? []
        if vector >= 8, InterruptVector.isException(vector, inRealMode: true) {
            names.append(ExceptionName.full(vector))
        }
        return "\(Hex(vector))" + (names.isEmpty ? "" : " (\(names.joined(separator: ", or ")))")
    }

    private static func what(_ what: CaughtEvent.What, _ isReal: Bool) -> String {
        switch what {
        case .io(let io):
            let direction = io.direction == .out ? "out" : "in"
            var text = "\(direction) \(Hex(io.port)), \(counted(io.size, "byte"))"
            if io.count > 1 { text += " x\(io.count)" }
            if io.direction == .out, !io.string.isEmpty {
                text += ", \(Hex.bytes(io.string.prefix(16)))" + (io.string.count > 16 ? ".." : "")
            } else if io.direction == .out, io.data.count > 0 {
                text += ", \(Hex(io.data.value))"
            }
            return text
        case .mmio(let access):
            let text =
                "MMIO \(access.isWrite ? "write" : "read") \(Hex(access.gpa)), "
                + counted(access.data.count, "byte")
            return access.isWrite ? text + ", \(Hex(access.data.value))" : text
        case .exit(let exit): return "exit \(exit.text)"
        case .interrupt(let vectors, let isSoftware, let isInside):
            let inside = isInside ? ", one instruction into its handler" : ""
            if isSoftware { return "int \(Hex(vectors[0]))" + inside }
            if isReal, vectors.contains(where: { $0 >= 8 }) {
                // A BIOS's PIC gives vectors 8 to 15 to IRQ 0 to 7.
                return "interrupt " + vectors.map(realModeName).joined(separator: " or ") + inside
            }
            if vectors.allSatisfy({ InterruptVector.isException($0, inRealMode: isReal) }) {
                return "exception "
                    + vectors.map { "\($0) \(ExceptionName.full($0))" }.joined(separator: " or ")
                    + inside
            }
            return "interrupt " + vectors.map { "\(Hex($0))" }.joined(separator: " or ") + inside
        case .modeSwitch(_, let mode): return "mode switch to '\(mode.rawValue)'"
        case .msr(let index, let value):
            let name = ModelSpecificRegister.name(of: index).map { " \($0)" } ?? ""
            return "wrmsr \(Hex(index))\(name), \(Hex(value))"
        case .control(let register, let old, let new):
            return old == new
                ? "\(register.rawValue) \(Hex(new)) again" : "\(register.rawValue) \(Hex(old)) -> \(Hex(new))"
        case .hlt: return "hlt"
        case .tripleFault: return "triple fault"
        case .firmware(let call): return FirmwareText.text(call)
        }
    }
}
