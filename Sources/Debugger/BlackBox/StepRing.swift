import DebugTarget
public import X86

/// One instruction that was stepped, as the vCPU stood before it.
public struct StepRecord: Sendable, Hashable {
    /// Counts the instructions of this vCPU that were stepped, from 0. Those between that are missing were made by
    /// the target itself.
    public var number: UInt64
    public var registers: GeneralRegisters
    public var special: SpecialRegisters
    /// The instruction's first bytes, the first in bits 0-7.
    var prefix: UInt64
    /// How many of them are known, 8 at most.
    var prefixCount: Int
    /// From here on the vCPU ran freely: what the next record shows is not this instruction's doing.
    public internal(set) var isFree = false
    /// The vector whose handler was entered in the instruction's place, or because it faulted; nil where none was.
    public internal(set) var delivered: UInt8?
    /// The registers as it left them, where the next record does not show that: they were edited since.
    public internal(set) var after: GeneralRegisters?

    /// The linear address of the instruction.
    public var pc: UInt64 { VCPUSnapshot.pc(registers, special) }
    public var bytes: [UInt8] {
        (0..<prefixCount).map { UInt8(truncatingIfNeeded: prefix >> UInt64($0 * 8)) }
    }
}

/// The last instructions that one vCPU stepped. Written at every step, so nothing is allocated there.
struct StepRing {
    static let capacity = 256

    private var records: [StepRecord] = []
    private var next = 0
    /// How many were stepped so far.
    private(set) var total: UInt64 = 0

    /// One is about to be stepped.
    @inline(__always)
    mutating func record(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, prefix: UInt64, count: Int
    ) {
        let number = total
        total &+= 1
        guard records.count == Self.capacity else {
            return grow(
                StepRecord(
                    number: number, registers: registers, special: special, prefix: prefix, prefixCount: count
                ))
        }
        // Field by field: a whole one would be made elsewhere and copied here.
        records.withUnsafeMutableBufferPointer { records in
            records[next].number = number
            records[next].registers = registers
            records[next].special = special
            records[next].prefix = prefix
            records[next].prefixCount = count
            records[next].isFree = false
            records[next].delivered = nil
            records[next].after = nil
        }
        next = next == Self.capacity - 1 ? 0 : next + 1
    }

    /// So many were stepped that nobody saw.
    mutating func pass(_ count: UInt64) {
        total &+= count
        markFree()
    }

    /// The instruction recorded last was not stepped, but the first of a free run.
    mutating func markFree() {
        guard !records.isEmpty else { return }
        records[next == 0 ? records.count - 1 : next - 1].isFree = true
    }

    /// What was recorded last is over, and left these registers: what they are from here on is another's doing.
    mutating func close(_ after: GeneralRegisters) {
        guard !records.isEmpty else { return }
        let place = next == 0 ? records.count - 1 : next - 1
        guard !records[place].isFree, records[place].after == nil else { return }
        records[place].after = after
    }

    /// What was recorded last was not executed to its end: the processor went to a vector's handler.
    mutating func markDelivered(_ vector: UInt8) {
        guard !records.isEmpty else { return }
        records[next == 0 ? records.count - 1 : next - 1].delivered = vector
    }

    private mutating func grow(_ record: StepRecord) {
        if records.isEmpty { records.reserveCapacity(Self.capacity) }
        records.append(record)
    }

    /// Those that are kept, the oldest first.
    var ordered: [StepRecord] { Array(records[next...] + records[..<next]) }
    var last: StepRecord? { records.isEmpty ? nil : records[next == 0 ? records.count - 1 : next - 1] }
}
