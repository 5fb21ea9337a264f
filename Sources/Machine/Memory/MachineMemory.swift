import DebugTarget
import KVMCore
import Locking

/// The RAM of a machine.
final class MachineMemory: LendingMemory {
    let regions: [MemoryRegion]
    /// One a region, in the same order.
    private let parts: [GuestMemory]
    private let lowest: GuestMemory
    private let vm: MachineVM
    private let slots: Lock<MemorySlots>
    /// What the guest reads and cannot write; nil where there is none.
    let rom: ROMArea?

    /// Takes host memory as the guest touches it, and registers all with `vm`.
    ///
    /// - Parameter rom: what the guest is not to write, within the RAM: left writable by a KVM that has no read-only
    ///   memory.
    init(_ layout: RAMLayout, rom: Range<UInt64>? = nil, vm: MachineVM) throws(KVMError) {
        var regions = [MemoryRegion]()
        var parts = [GuestMemory]()
        for (slot, range) in layout.ranges.enumerated() {
            let size = range.upperBound - range.lowerBound
            let part = try GuestMemory(gpa: range.lowerBound, size: size)
            parts.append(part)
            regions.append(
                MemoryRegion(
                    slot: slot, gpa: range.lowerBound, size: size, hva: UInt64(part.hostAddress),
                    isReadOnly: false))
        }
        self.regions = regions
        self.parts = parts
        lowest = parts[0]
        self.vm = vm
        let canProtect = vm.vm.check(.readonlyMem) > 0
        self.rom = rom.map { ROMArea($0, isProtected: canProtect) }
        slots = Lock(try MemorySlots(parts, rom: canProtect ? rom : nil, vm: vm.vm))
    }

    /// Makes all of it zeroes.
    func clear() throws(KVMError) {
        for part in parts { try part.clear() }
    }

    // MARK: protection; all vCPUs are stopped or held

    func isRAM(_ gpa: UInt64) -> Bool { parts.contains { $0.range.contains(gpa) } }

    func protect(page: UInt64, _ access: PageAccess?) throws(KVMError) {
        try slots.withLock { slots throws(KVMError) in try slots.protect(page: page, access, vm.vm) }
    }

    /// The page is protected.
    func isProtected(_ gpa: UInt64) -> Bool { slots.withLock { $0.isProtected(gpa) } }

    /// A20 is switched: the first 64 KiB appear at 1 MiB too, or no longer. A guest with less than 1 MiB has nothing there.
    func setA20(_ isOn: Bool) throws(KVMError) {
        guard lowest.range.upperBound >= MemorySlots.wrapped.upperBound else { return }
        try slots.withLock { slots throws(KVMError) in try slots.setWrap(!isOn, vm.vm) }
    }

    func suspendProtection() throws(KVMError) {
        try slots.withLock { slots throws(KVMError) in try slots.suspend(vm.vm) }
    }

    func resumeProtection() throws(KVMError) {
        try slots.withLock { slots throws(KVMError) in try slots.resume(vm.vm) }
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

    func word(_ gpa: UInt64, size: Int) -> UInt64? {
        // What is read most is in the first of them. Its last bytes are read one by one.
        guard (1...8).contains(size), let word = lowest.word(gpa) else { return readWord(gpa, size: size) }
        return size == 8 ? word : word & (1 << UInt64(size * 8) - 1)
    }

    func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        if bytes.isEmpty { return }
        let part = try part(gpa)
        do { try part.write(gpa, bytes) } catch { throw MemoryFault(gpa: error.gpa) }
    }

    func isROM(_ gpa: UInt64) -> Bool { rom.map { $0.isProtected && $0.range.contains(gpa) } ?? false }

    /// What lies in the ROM stays as it is, and is counted.
    func writeAsGuest(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        guard let rom, rom.isProtected, !bytes.isEmpty else { return try write(gpa, bytes) }
        let (end, overflow) = gpa.addingReportingOverflow(UInt64(bytes.count))
        let inside = (gpa..<(overflow ? .max : end)).clamped(to: rom.range)
        guard !inside.isEmpty else { return try write(gpa, bytes) }
        let first = Int(inside.lowerBound - gpa)
        let last = Int(inside.upperBound - gpa)
        // SAFETY: both are within the bytes, and used within this function only.
        rom.note(inside.lowerBound, UnsafeRawBufferPointer(rebasing: bytes[first..<last]))
        try write(gpa, UnsafeRawBufferPointer(rebasing: bytes[..<first]))
        // SAFETY: as above.
        try write(inside.upperBound, UnsafeRawBufferPointer(rebasing: bytes[last...]))
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

    /// Does what the guest would have done itself. What a read gets; all ones where the access leaves the RAM.
    func perform(_ access: MMIO) -> UInt64 {
        var value = access.isWrite ? access.data.value.littleEndian : .max
        withUnsafeMutableBytes(of: &value) { bytes in
            // SAFETY: an access has 8 bytes at most, and the part is used within this closure only.
            let part = UnsafeMutableRawBufferPointer(rebasing: bytes.prefix(access.data.count))
            if access.isWrite {
                try? writeAsGuest(access.gpa, UnsafeRawBufferPointer(part))
            } else {
                try? read(access.gpa, into: part)
            }
        }
        return UInt64(littleEndian: value)
    }
}
