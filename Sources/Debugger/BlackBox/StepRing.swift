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

    private mutating func grow(_ record: StepRecord) {
        if records.isEmpty { records.reserveCapacity(Self.capacity) }
        records.append(record)
    }

    /// Those that are kept, the oldest first.
    var ordered: [StepRecord] { Array(records[next...] + records[..<next]) }
    var last: StepRecord? { records.isEmpty ? nil : records[next == 0 ? records.count - 1 : next - 1] }
}
