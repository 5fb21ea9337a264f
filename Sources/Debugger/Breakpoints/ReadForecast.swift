import DebugTarget
import Disassembler
import X86

/// Which memory the code ahead of a vCPU is about to read as data: what a boot sector moves to another place, what a
/// checksum adds up. A patch there would be read, or copied, with the code that it stands in.
///
/// Found by going through the instructions ahead, as far as no condition decides, and keeping the registers that they
/// load with what is known. What is not followed leaves registers as they were, so that too much may be named: that costs
/// a debug register, and nothing else.
struct ReadForecast {
    /// Guest-physical bytes, in the order in which they were found.
    private(set) var reads: [Range<UInt64>] = []

    private let view: LinearMemory
    private var file: RegisterFile
    /// What was pushed on the way; nil where that is not known.
    private var stack: [UInt64?] = []

    /// So many instructions are gone through.
    private static let depth = 64
    /// More pages than a real-mode segment has are not translated one by one.
    private static let mostPages: UInt64 = 32

    init(registers: GeneralRegisters, view: LinearMemory) {
        self.init(at: registers, view)
        for _ in 0..<Self.depth {
            let here = VCPUSnapshot(
                id: 0, registers: file.general, special: file.special, activity: .stopped)
            guard let instruction = Debugger.decodeNext(here, view), instruction.validity == .valid else {
                return
            }
            note(instruction)
            guard follow(instruction) else { return }
        }
    }

    /// What one instruction reads, with these registers.
    static func ranges(
        of instruction: Instruction, _ registers: GeneralRegisters, _ view: LinearMemory
    ) -> [Range<UInt64>] {
        var forecast = ReadForecast(at: registers, view)
        forecast.note(instruction)
        return forecast.reads
    }

    private init(at registers: GeneralRegisters, _ view: LinearMemory) {
        self.view = view
        file = RegisterFile(general: registers, special: view.special)
    }

    func covers(_ gpa: UInt64) -> Bool { reads.contains { $0.contains(gpa) } }

    // MARK: what is read

    private mutating func note(_ instruction: Instruction) {
        for operand in instruction.memory where operand.isRead && !operand.isAddressOnly {
            guard let linear = operand.linear(in: file) else { continue }
            let size = UInt64(max(operand.size, 1))
            if instruction.traits.contains(.string) {
                // One without REP stands in a loop, most often; the counter has its rounds.
                let counter = counter(instruction)
                let bytes = min(max(counter, 1), 1 << 32) &* size
                let isDown = file.general.rflags.contains(.df)
                add(isDown ? linear &+ size &- bytes : linear, bytes)
            } else if operand.base != nil, operand.segment != .ss, operand.base != .rip {
                // By a register, as a checksum does: on from there.
                add(linear, min(max(file.general.rcx & 0xFFFF, 1), 0x1_0000) &* size)
            }
        }
    }

    private func counter(_ instruction: Instruction) -> UInt64 {
        switch instruction.addressWidth {
        case 16: file.general.rcx & 0xFFFF
        case 32: file.general.rcx & 0xFFFF_FFFF
        default: file.general.rcx
        }
    }

    private mutating func add(_ linear: UInt64, _ count: UInt64) {
        var done: UInt64 = 0
        var pages: UInt64 = 0
        while done < count, pages < Self.mostPages {
            let place = view.cut(linear &+ done)
            let part = min(count - done, 4096 - place & 0xFFF)
            if let gpa = view.physical(place) { reads.append(gpa..<gpa &+ part) }
            done += part
            pages += 1
        }
    }

    // MARK: what comes next

    /// - Returns: whether it is known where the guest goes on.
    private mutating func follow(_ instruction: Instruction) -> Bool {
        if instruction.traits.isDisjoint(with: [.halt, .interruptReturn, .return, .systemCall, .systemReturn])
        {
            load(instruction)
        } else {
            return false
        }
        let isBranch = !instruction.traits.isDisjoint(with: [.jump, .call])
        guard isBranch else {
            file.general.rip = instruction.next
            return true
        }
        switch instruction.target {
        case .near(let offset):
            // A jump to itself ends here.
            guard offset != instruction.address else { return false }
            file.general.rip = offset
            return true
        case .far(let place) where !file.special.cr0.contains(.pe):
            file.special.cs = .real(place.selector, code: true)
            file.general.rip = place.offset
            return true
        case .far, nil: return false
        }
    }

    /// Loads of registers, as far as boot code makes them before it moves something.
    private mutating func load(_ instruction: Instruction) {
        var bytes = instruction.bytes[...]
        while let first = bytes.first, [0x66, 0x67, 0x2E, 0x36, 0x3E, 0x26].contains(first) {
            bytes = bytes.dropFirst()
        }
        var high: UInt8 = 0
        if instruction.mode.width == 64, let first = bytes.first, first & 0xF0 == 0x40 {
            high = first
            bytes = bytes.dropFirst()
        }
        guard let opcode = bytes.first else { return }
        let operands = bytes.dropFirst()
        let width = instruction.operandWidth
        let model = operands.first ?? 0
        let isRegister = model >> 6 == 3
        let register = Int(model >> 3 & 7 | high << 1 & 8)
        let other = Int(model & 7 | high << 3 & 8)
        switch opcode {
        case 0xB8...0xBF: set(Int(opcode & 7 | high << 3 & 8), Self.number(operands), width)
        case 0xB0...0xB7 where high == 0: setByte(Int(opcode & 7), Self.number(operands.prefix(1)))
        case 0x31, 0x33, 0x29, 0x2B:
            if isRegister, register == other { set(register, 0, width) }
        case 0x89: if isRegister { set(other, file.general[register], width) }
        case 0x8B: if isRegister { set(register, file.general[other], width) }
        case 0x8E: if isRegister { setSegment(Int(model >> 3 & 7), file.general[other]) }
        case 0x50...0x57: stack.append(file.general[Int(opcode & 7 | high << 3 & 8)])
        case 0x58...0x5F:
            if let value = stack.popLast() ?? nil { set(Int(opcode & 7 | high << 3 & 8), value, width) }
        case 0x06, 0x0E, 0x16, 0x1E: stack.append(UInt64(segment(Int(opcode >> 3))))
        case 0x07, 0x17, 0x1F:
            if let value = stack.popLast() ?? nil { setSegment(Int(opcode >> 3), value) }
        case 0x9C, 0x68, 0x6A: stack.append(nil)
        case 0xFC: file.general.rflags.remove(.df)
        case 0xFD: file.general.rflags.insert(.df)
        default: break
        }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.prefix(8).enumerated().reduce(0) { $0 | UInt64($1.element) << UInt64($1.offset * 8) }
    }

    private mutating func set(_ register: Int, _ value: UInt64, _ width: Int) {
        switch width {
        case 16: file.general[register] = file.general[register] & ~0xFFFF | value & 0xFFFF
        case 32: file.general[register] = value & 0xFFFF_FFFF
        default: file.general[register] = value
        }
    }

    /// AL, CL, DL, BL, AH, CH, DH, BH.
    private mutating func setByte(_ register: Int, _ value: UInt64) {
        let shift = UInt64(register & 4) * 2
        let old = file.general[register & 3]
        file.general[register & 3] = old & ~(0xFF << shift) | (value & 0xFF) << shift
    }

    private static let segments: [SegmentName] = [.es, .cs, .ss, .ds, .fs, .gs]

    private func segment(_ number: Int) -> UInt16 {
        Self.segments.indices.contains(number) ? file.special[Self.segments[number]].selector : 0
    }

    /// In protected mode segments are flat as a rule, and stay what they were.
    private mutating func setSegment(_ number: Int, _ value: UInt64) {
        guard Self.segments.indices.contains(number), number != 1, !file.special.cr0.contains(.pe) else {
            return
        }
        let name = Self.segments[number]
        file.special[name].selector = UInt16(truncatingIfNeeded: value)
        file.special[name].base = value << 4 & 0xF_FFF0
    }
}

extension GeneralRegisters {
    /// By the number that instructions have for it, below 16.
    fileprivate subscript(number: Int) -> UInt64 {
        get { GeneralRegister(rawValue: UInt8(number & 15)).map { self[$0] } ?? 0 }
        set { if let register = GeneralRegister(rawValue: UInt8(number & 15)) { self[register] = newValue } }
    }
}

/// The forecast at a stop, made once for all breakpoints that are set there.
struct KnownForecast {
    private var stop = -1
    private var registers = GeneralRegisters()
    private var forecast: ReadForecast?

    mutating func covers(_ gpa: UInt64, at stop: Int, _ snapshot: VCPUSnapshot, _ view: LinearMemory) -> Bool
    {
        if let forecast, self.stop == stop, registers == snapshot.registers { return forecast.covers(gpa) }
        let made = ReadForecast(registers: snapshot.registers, view: view)
        (self.stop, registers, forecast) = (stop, snapshot.registers, made)
        return made.covers(gpa)
    }
}
