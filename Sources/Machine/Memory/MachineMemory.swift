import Debugger
import KVMCore

/// The RAM of a machine.
final class MachineMemory: LendingMemory {
    let regions: [MemoryRegion]
    /// One a region, in the same order.
    private let parts: [GuestMemory]

    /// Takes host memory as the guest touches it, and registers all with `vm`.
    init(_ layout: RAMLayout, vm: borrowing VirtualMachine) throws(KVMError) {
        var regions = [MemoryRegion]()
        var parts = [GuestMemory]()
        for (slot, range) in layout.ranges.enumerated() {
            let size = range.upperBound - range.lowerBound
            let part = try GuestMemory(gpa: range.lowerBound, size: size)
            try vm.setMemoryRegion(slot: UInt32(slot), gpa: range.lowerBound, memory: part)
            parts.append(part)
            regions.append(
                MemoryRegion(
                    slot: slot, gpa: range.lowerBound, size: size, hva: UInt64(part.hostAddress),
                    isReadOnly: false))
        }
        self.regions = regions
        self.parts = parts
    }

    private func part(_ gpa: UInt64) throws(MemoryFault) -> GuestMemory {
        guard let part = parts.first(where: { $0.range.contains(gpa) }) else { throw MemoryFault(gpa: gpa) }
        return part
    }

    func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        if buffer.isEmpty { return }
        let part = try part(gpa)
        do { try part.read(gpa, into: buffer) } catch { throw MemoryFault(gpa: error.gpa) }
    }

    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        if bytes.isEmpty { return }
        let part = try part(gpa)
        do { try part.write(gpa, bytes) } catch { throw MemoryFault(gpa: error.gpa) }
    }

    func withBytes<R>(
        _ gpa: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) -> R
    ) throws(MemoryFault) -> R {
        let part = try part(gpa)
        do {
            return try part.withBytes(gpa, count: count) { body(UnsafeRawBufferPointer($0)) }
        } catch {
            throw MemoryFault(gpa: error.gpa)
        }
    }
}
