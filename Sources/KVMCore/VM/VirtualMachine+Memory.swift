import CKVM
import Locking
import SystemPackage

extension VirtualMachine {
    /// The memslots set through this value, by slot number.
    public var memorySlots: [MemorySlot] {
        state.contents.withLock { contents in contents.slots.values.sorted { $0.slot < $1.slot } }
    }

    /// Gives the guest all of `memory` at `gpa`, or moves a slot, or changes its dirty log flag.
    ///
    /// See ``setMemoryRegion(slot:gpa:memory:offset:size:flags:)``.
    public func setMemoryRegion(
        slot: UInt32, gpa: UInt64, memory: GuestMemory, flags: MemoryFlags = []
    ) throws(KVMError) {
        try setMemoryRegion(slot: slot, gpa: gpa, memory: memory, offset: 0, size: memory.size, flags: flags)
    }

    /// Gives the guest a part of `memory` at `gpa`; the VM keeps the memory alive until the slot is removed.
    ///
    /// An existing slot can be moved and its dirty log flag changed; for another size or memory, or to change
    /// ``MemoryFlags/readOnly``, remove it first.
    ///
    /// - Parameters:
    ///   - slot: its number, under KVM_CAP_NR_MEMSLOTS. In bits 16 to 31, the address space (1 is SMM's).
    ///   - gpa: a multiple of 4096.
    ///   - memory: what the guest sees there; ``GuestMemory/gpa`` does not count.
    ///   - offset: where in `memory` the slot begins, in bytes; a multiple of 4096.
    ///   - size: in bytes; a multiple of 4096, not 0.
    ///   - flags: what KVM does with it.
    /// - Throws: EEXIST where another slot has some of the addresses; EINVAL as above.
    ///
    /// Corresponds to `KVM_SET_USER_MEMORY_REGION`; needs KVM_CAP_USER_MEMORY, and KVM_CAP_READONLY_MEM for
    /// ``MemoryFlags/readOnly``.
    public func setMemoryRegion(
        slot: UInt32, gpa: UInt64, memory: GuestMemory, offset: UInt64, size: UInt64, flags: MemoryFlags = []
    ) throws(KVMError) {
        guard offset <= memory.size, size <= memory.size - offset, size > 0 else {
            throw KVMError(
                Request.setUserMemoryRegion.name, .invalidArgument,
                advice: "\(size) bytes from offset \(offset) do not lie in memory of \(memory.size) bytes")
        }
        let region = MemorySlot(
            slot: slot, gpa: gpa, size: size, hostAddress: UInt64(memory.hostAddress) + offset, flags: flags)
        try set(region, memory)
    }

    /// Gives the guest memory of the process that owns the VM, which keeps it mapped.
    ///
    /// For a VM of another process; for one of ours use ``GuestMemory``. Corresponds to
    /// `KVM_SET_USER_MEMORY_REGION`.
    ///
    /// - Throws: EINVAL for a VM of ours, and as ``setMemoryRegion(slot:gpa:memory:offset:size:flags:)``.
    public func setRemoteMemoryRegion(_ region: MemorySlot) throws(KVMError) {
        guard case .remote = handle.channel, region.size > 0 else {
            throw KVMError(
                Request.setUserMemoryRegion.name, .invalidArgument,
                advice: "a bare host address is only taken for a VM of another process, and not an empty one")
        }
        try set(region, nil)
    }

    /// Takes a slot's memory from the guest.
    ///
    /// - Throws: EINVAL where there is no such slot.
    ///
    /// Corresponds to `KVM_SET_USER_MEMORY_REGION` with a size of 0.
    public func removeMemoryRegion(slot: UInt32) throws(KVMError) {
        try set(MemorySlot(slot: slot, gpa: 0, size: 0, hostAddress: 0, flags: []), nil)
    }

    private func set(_ region: MemorySlot, _ memory: GuestMemory?) throws(KVMError) {
        // The lock is held over the call, so that the table and the kernel agree.
        try state.contents.withLock { contents throws(KVMError) in
            var argument = kvm_userspace_memory_region(
                slot: region.slot, flags: region.flags.rawValue, guest_phys_addr: region.gpa,
                memory_size: region.size, userspace_addr: region.hostAddress)
            let slots = contents.slots
            try handle.call(.setUserMemoryRegion, &argument) { regionAdvice($0, region, slots) }
            contents.slots[region.slot] = region.size == 0 ? nil : region
            contents.memories[region.slot] = memory
        }
    }

    private func regionAdvice(_ errno: Errno, _ region: MemorySlot, _ slots: [UInt32: MemorySlot]) -> String?
    {
        func span(_ slot: MemorySlot) -> String {
            "0x\(String(slot.gpa, radix: 16)) to 0x\(String(slot.gpa &+ slot.size &- 1, radix: 16))"
        }
        switch errno {
        case .fileExists:
            let space = region.slot >> 16
            let other = slots.values.filter { other in
                other.slot != region.slot && other.slot >> 16 == space
                    && other.gpa < region.gpa &+ region.size && region.gpa < other.gpa &+ other.size
            }.min { $0.gpa < $1.gpa }
            guard let other else { return "another slot has some of \(span(region))" }
            return "\(span(region)) overlaps slot \(other.slot), which has \(span(other))"
        case .invalidArgument:
            let limit = check(.nrMemslots)
            if region.slot & 0xFFFF >= UInt32(limit) {
                return "slots are 0 to \(limit - 1) (KVM_CAP_NR_MEMSLOTS is \(limit))"
            }
            guard region.size > 0 else { return "there is no slot \(region.slot)" }
            if region.gpa % 4096 != 0 || region.size % 4096 != 0 || region.hostAddress % 4096 != 0 {
                return "address, offset and size must be multiples of 4096"
            }
            if region.flags.contains(.readOnly), check(.readonlyMem) == 0 {
                return "this KVM has no read-only memory (KVM_CAP_READONLY_MEM)"
            }
            if slots[region.slot] != nil {
                return
                    "slot \(region.slot) exists; remove it before its size, memory or read-only flag changes"
            }
            return "the addresses \(span(region)) or the flags are beyond what this KVM takes"
        default: return nil
        }
    }

    /// The pages of a slot that the guest wrote since the last call, which starts the log anew unless
    /// KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is enabled (then ``clearDirtyLog(slot:firstPage:pageCount:bitmap:)``
    /// does).
    ///
    /// All pages that were written are in it; others may be. KVM maps a page that the guest only reads or executes
    /// writable, at the first access after the slot was set, and then counts it as written (make_spte in
    /// arch/x86/kvm/mmu/spte.c); and the processor itself writes accessed and dirty bits and stacks. Where KVM's
    /// emulator runs the guest, the log has written pages alone.
    ///
    /// - Throws: ENOENT for a slot that is not there or was set without ``MemoryFlags/logDirtyPages``; ENXIO where a
    ///   dirty ring has taken the log's place.
    ///
    /// Corresponds to `KVM_GET_DIRTY_LOG`.
    public func dirtyLog(slot: UInt32) throws(KVMError) -> DirtyLog {
        // The lock keeps the slot's size what it is during the call: the kernel writes a bit for each page.
        try state.contents.withLock { contents throws(KVMError) -> DirtyLog in
            let pageCount = try pages(of: slot, contents, .getDirtyLog)
            var bitmap = [UInt64](repeating: 0, count: (pageCount + 63) / 64)
            var argument = kvm_dirty_log()
            argument.slot = slot
            try handle.call(.getDirtyLog, &argument, offset: 8, indirect: &bitmap) {
                Self.noLogAdvice($0, slot)
            }
            return DirtyLog(bitmap: bitmap, pageCount: pageCount)
        }
    }

    /// Starts the log anew for the pages whose bits are set.
    ///
    /// - Parameters:
    ///   - slot: the slot's number.
    ///   - firstPage: a multiple of 64.
    ///   - pageCount: a multiple of 64, unless it ends with the slot.
    ///   - bitmap: bit 0 of word 0 is `firstPage`.
    /// - Throws: EINVAL for a range that is not in the slot or not aligned; ENXIO where a dirty ring has taken the
    ///   log's place.
    ///
    /// Corresponds to `KVM_CLEAR_DIRTY_LOG`; needs KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
    public func clearDirtyLog(slot: UInt32, firstPage: Int, pageCount: Int, bitmap: [UInt64]) throws(KVMError)
    {
        try state.contents.withLock { contents throws(KVMError) in
            let pages = try pages(of: slot, contents, .clearDirtyLog)
            guard firstPage >= 0, pageCount > 0, firstPage <= pages, pageCount <= pages - firstPage,
                bitmap.count >= (pageCount + 63) / 64, let count = UInt32(exactly: pageCount)
            else {
                throw KVMError(
                    Request.clearDirtyLog.name, .invalidArgument,
                    advice: "\(pageCount) pages from page \(firstPage) do not lie in slot \(slot), which has "
                        + "\(pages), or the bitmap is shorter")
            }
            var bits = bitmap
            var argument = kvm_clear_dirty_log()
            argument.slot = slot
            argument.num_pages = count
            argument.first_page = UInt64(firstPage)
            try handle.call(.clearDirtyLog, &argument, offset: 16, indirect: &bits) { errno in
                errno == .invalidArgument
                    ? "the first page must be a multiple of 64, and the count too unless it ends with the slot"
                    : Self.noLogAdvice(errno, slot)
            }
        }
    }

    private static func noLogAdvice(_ errno: Errno, _ slot: UInt32) -> String? {
        switch errno {
        case .noSuchFileOrDirectory: "slot \(slot) was set without the dirty log flag"
        case .noSuchAddressOrDevice: "the VM has dirty rings, which take the log's place (takeDirtyPages)"
        default: nil
        }
    }

    private func pages(of slot: UInt32, _ contents: borrowing VMState.Contents, _ request: Request)
        throws(KVMError) -> Int
    {
        guard let region = contents.slots[slot] else {
            throw KVMError(request.name, .noSuchFileOrDirectory, advice: "there is no slot \(slot)")
        }
        return Int(region.size / 4096)
    }
}
