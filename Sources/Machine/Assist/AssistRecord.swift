import DebugTarget
import KVMCore
import Locking
import Synchronization

/// Whether instructions are completed that the host's KVM lacks, and which were. Shared by the threads of all vCPUs.
final class AssistRecord: Sendable {
    let isOn = Atomic<Bool>(true)
    private let counts = Lock<[String: AssistedInstruction]>([:])

    /// - Parameter address: linear, of the instruction.
    func note(_ done: Assist.Completion, at address: UInt64) {
        counts.withLock { counts in
            var entry = counts[done.name] ?? AssistedInstruction(name: done.name, lastAddress: address)
            entry.count += 1
            if done.fault != nil { entry.faults += 1 }
            entry.lastAddress = address
            counts[done.name] = entry
        }
    }

    /// The most frequent first.
    var list: [AssistedInstruction] {
        counts.withLock { Array($0.values) }.sorted { ($1.count, $0.name) < ($0.count, $1.name) }
    }
}

/// Guest memory that keeps what is written until it is known that the instruction can be done.
final class AssistMemory: PhysicalMemory {
    struct Write: Sendable {
        var gpa: UInt64
        var value: UInt64
        var count: Int
    }

    private let base: any PhysicalMemory
    private let kept = Lock<[Write]>([])

    init(_ base: any PhysicalMemory) { self.base = base }

    var writes: [Write] { kept.withLock { $0 } }
    var regions: [MemoryRegion] { base.regions }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try base.read(gpa, into: buffer)
    }

    func word(_ gpa: UInt64, size: Int) -> UInt64? { base.word(gpa, size: size) }

    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        guard base.word(gpa, size: 1) != nil else { throw MemoryFault(gpa: gpa) }
        let value = bytes.enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << UInt64($1.offset * 8) }
        kept.withLock { $0.append(Write(gpa: gpa, value: value, count: bytes.count)) }
    }
}
