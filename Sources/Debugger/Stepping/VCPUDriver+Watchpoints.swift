import KVMCore
import Synchronization
import X86

/// What a vCPU's driver does about watched memory and protected pages.
extension VCPUDriver {
    /// An access to a page that is protected: done beneath the patches, and compared with the watchpoints.
    func access(_ access: MMIO, _ vcpu: any VCPUAccess) throws(KVMError) -> AccessAnswer? {
        let count = access.data.count
        let old = memory.word(access.gpa, size: count)
        if access.isWrite {
            withUnsafeBytes(of: access.data.value.littleEndian) { bytes in
                // SAFETY: count is 8 at most, and the part is used within this closure only.
                try? memory.write(access.gpa, UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
            }
        }
        // A debug register does not see what the emulator does.
        for watch in armedSet.watches where watch.mechanism != .stepping {
            if watch.mechanism == .debugRegister { watch.remember(memory) }
            guard watch.access.includes(write: access.isWrite), let part = watch.overlap(access.gpa, count)
            else { continue }
            let shift = UInt64(part.place * 8)
            let mask: UInt64 = part.count == 8 ? .max : 1 << UInt64(part.count * 8) - 1
            let new = access.isWrite ? access.data.value : old ?? 0
            watchHits.append(
                watch.hit(
                    isWrite: access.isWrite, offset: part.offset, count: part.count,
                    old: old.map { $0 >> shift & mask }, new: new >> shift & mask))
        }
        return AccessAnswer(value: old ?? 0, isSeen: !watchHits.isEmpty)
    }

    /// Data breakpoints fired.
    func noteDataBreakpoints(_ matched: UInt8) {
        for watch in armedSet.watches where watch.mechanism == .debugRegister {
            if let hit = watch.compare(memory) {
                watchHits.append(hit)
            } else if matched & armedSet.registers.dataMask != 0, watch.access != .write {
                // Nothing changed: it was read, or the same was written.
                let value = watch.pieces.first.flatMap { memory.word($0.gpa, size: min($0.count, 8)) }
                watchHits.append(
                    watch.hit(
                        isWrite: false, offset: 0, count: min(watch.length, 8), old: value, new: value ?? 0))
            }
        }
    }

    /// After each step where watchpoints are found by comparison.
    func compareWatches() {
        for watch in armedSet.watches where watch.mechanism == .stepping {
            if let hit = watch.compare(memory) { watchHits.append(hit) }
        }
    }

    /// The verdict about what was watched, once the instruction is done; nil where nothing stops the guest.
    func watched(_ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        guard !watchHits.isEmpty else { return nil }
        let registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        var counted: [Int: Bool] = [:]
        watchHits.removeAll { hit in
            if let stops = counted[hit.number] { return !stops }
            let state = armedSet.watches.first { $0.counter.number == hit.number }?.counter
            let stops =
                state.map { isTrue($0.condition, registers, special, vcpu) && $0.count() } ?? false
            counted[hit.number] = stops
            return !stops
        }
        return watchHits.isEmpty ? nil : .stop(.watchpoint([]))
    }

    // MARK: what the emulator cannot do on a protected page

    /// KVM could not do an instruction, maybe because of a protected page: it is tried again with all pages open, alone.
    func retryOpen(_ exit: VCPUExit, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        // Suberrors: emulation failed; an exit while an event was delivered.
        guard case .internalError(let error) = exit, error.suberror == 1 || error.suberror == 3,
            patching.protector != nil, patching.hasProtection.load(ordering: .acquiring), !isOpenWanted
        else { return nil }
        let registers = try vcpu.registers()
        let special = try vcpu.specialRegisters()
        prepare(registers, special, pc: VCPUSnapshot.pc(registers, special))
        isStepping = true
        isOpenWanted = true
        armed = nil
        try arm(vcpu)
        return .resume
    }

    func openProtection() throws(KVMError) {
        hold()
        for watch in armedSet.watches where watch.mechanism == .pageProtection { watch.remember(memory) }
        patching.table.liftAll()
        try patching.protector?.suspendProtection()
        isOpen = true
    }

    func closeProtection() throws(KVMError) {
        isOpen = false
        isOpenWanted = false
        try patching.protector?.resumeProtection()
        for watch in armedSet.watches where watch.mechanism == .pageProtection && watch.access != .read {
            if let hit = watch.compare(memory) { watchHits.append(hit) }
        }
    }
}
