import Host

/// Puts BPF instructions together, with labels for jumps. Source: Documentation/bpf/standardization/instruction-set.rst.
struct ProgramAssembler {
    typealias Instruction = BPFProgram.Instruction

    /// A place that jumps go to.
    struct Label: Hashable {
        fileprivate var number: Int
    }

    private var instructions: [Instruction] = []
    private var places: [Label: Int] = [:]
    private var jumps: [(at: Int, to: Label)] = []
    private var labelCount = 0

    /// Widths of loads and stores: BPF_B, BPF_H, BPF_W and BPF_DW.
    private static func width(_ bytes: Int) -> UInt8 {
        switch bytes {
        case 1: 0x10
        case 2: 0x08
        case 4: 0x00
        default: 0x18
        }
    }

    mutating func label() -> Label {
        labelCount += 1
        return Label(number: labelCount)
    }

    /// The next instruction stands at `label`.
    mutating func place(_ label: Label) { places[label] = instructions.count }

    mutating func add(_ instruction: Instruction) { instructions.append(instruction) }

    mutating func load(_ to: UInt8, _ from: UInt8, _ offset: Int, bytes: Int = 8) {
        add(
            Instruction(
                code: 0x61 | Self.width(bytes), destination: to, source: from, offset: Int16(offset)))
    }

    mutating func store(_ to: UInt8, _ offset: Int, _ from: UInt8, bytes: Int = 8) {
        add(
            Instruction(
                code: 0x63 | Self.width(bytes), destination: to, source: from, offset: Int16(offset)))
    }

    /// `*(u64 *)(to + offset) = value`.
    mutating func store(_ to: UInt8, _ offset: Int, value: Int32, bytes: Int = 8) {
        add(
            Instruction(
                code: 0x62 | Self.width(bytes), destination: to, offset: Int16(offset), immediate: value))
    }

    /// `*(u64 *)(to + offset) += from`, as one.
    mutating func addAtomically(_ to: UInt8, _ offset: Int, _ from: UInt8) {
        add(Instruction(code: 0xDB, destination: to, source: from, offset: Int16(offset)))
    }

    mutating func copy(_ to: UInt8, _ from: UInt8) { add(.copy(to, from)) }
    mutating func set(_ to: UInt8, _ value: Int32) { add(.set(to, value)) }
    mutating func add(_ to: UInt8, value: Int32) { add(.add(to, value)) }
    mutating func add(_ to: UInt8, _ from: UInt8) {
        add(Instruction(code: 0x0F, destination: to, source: from))
    }
    mutating func subtract(_ to: UInt8, _ from: UInt8) {
        add(Instruction(code: 0x1F, destination: to, source: from))
    }
    mutating func or(_ to: UInt8, _ from: UInt8) {
        add(Instruction(code: 0x4F, destination: to, source: from))
    }
    mutating func and(_ to: UInt8, value: Int32) {
        add(Instruction(code: 0x57, destination: to, immediate: value))
    }
    mutating func negate(_ to: UInt8) { add(Instruction(code: 0x87, destination: to)) }
    mutating func shiftLeft(_ to: UInt8, _ bits: UInt64) {
        if bits != 0 { add(Instruction(code: 0x67, destination: to, immediate: Int32(bits))) }
    }
    mutating func shiftRight(_ to: UInt8, _ bits: UInt64) {
        if bits != 0 { add(Instruction(code: 0x77, destination: to, immediate: Int32(bits))) }
    }

    /// 64 bits at once, in two instructions.
    mutating func set64(_ to: UInt8, _ value: UInt64) {
        add(Instruction(code: 0x18, destination: to, immediate: Int32(truncatingIfNeeded: value)))
        add(Instruction(code: 0, immediate: Int32(truncatingIfNeeded: value >> 32)))
    }

    /// A map by its descriptor: BPF_PSEUDO_MAP_FD.
    mutating func map(_ to: UInt8, _ descriptor: Int32) {
        add(Instruction(code: 0x18, destination: to, source: 1, immediate: descriptor))
        add(Instruction(code: 0))
    }

    mutating func call(_ helper: Int32) { add(.call(helper)) }

    enum Condition: UInt8 {
        case equal = 0x15
        case greater = 0x25
        case notEqual = 0x55
        case signedLess = 0xC5
    }
    mutating func jump(if register: UInt8, _ condition: Condition, _ value: Int32, to label: Label) {
        jumps.append((instructions.count, label))
        add(Instruction(code: condition.rawValue, destination: register, immediate: value))
    }
    /// Where `left > right`, without signs.
    mutating func jump(if left: UInt8, isAbove right: UInt8, to label: Label) {
        jumps.append((instructions.count, label))
        add(Instruction(code: 0x2D, destination: left, source: right))
    }
    mutating func jump(if left: UInt8, equals right: UInt8, to label: Label) {
        jumps.append((instructions.count, label))
        add(Instruction(code: 0x1D, destination: left, source: right))
    }
    mutating func jump(to label: Label) {
        jumps.append((instructions.count, label))
        add(Instruction(code: 0x05))
    }

    /// Ends the program with 1: 0 would keep the event from perf and everyone else who counts it. Source: perf_trace_run_bpf_submit
    /// in kernel/events/core.c.
    mutating func exit() {
        set(0, 1)
        add(.exit)
    }

    /// The program, its jumps filled in.
    func assembled() -> [Instruction] {
        var program = instructions
        for jump in jumps {
            guard let place = places[jump.to] else {
                preconditionFailure("a jump to a label without a place")
            }
            program[jump.at].offset = Int16(place - jump.at - 1)
        }
        return program
    }
}
