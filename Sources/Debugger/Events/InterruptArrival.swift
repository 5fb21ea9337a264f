import DebugTarget
import KVMCore
import X86

/// A step ended in a vector's handler.
struct HandlerEntry: Sendable {
    /// More than one where they share the handler.
    var vectors: [UInt8]
    var isSoftware: Bool
    /// The handler's first instruction was executed, too.
    var isInside: Bool
    /// Where it is, and what was pushed.
    var arrival: InterruptDelivery.Arrival

    /// What of it a catchpoint wants.
    func event(wanted: [UInt8]) -> CaughtEvent.What? {
        let found = vectors.filter(wanted.contains)
        guard !found.isEmpty else { return nil }
        return .interrupt(vectors: found, isSoftware: isSoftware, isInside: isInside)
    }
}

/// Whether an interrupt or exception came where an instruction was stepped.
struct InterruptArrival {
    let place: InstructionAtHand
    /// The vCPU before.
    let old: SpecialRegisters
    let memory: any PhysicalMemory

    private var before: GeneralRegisters { place.registers }

    /// The interrupt or exception that the step ended in; nil where it executed its instruction.
    ///
    /// KVM gives an interrupt to the guest before the instruction, so what was pushed is the place where the step
    /// began. Where a debug register stands at the handler, the step ends before its first instruction; elsewhere the
    /// emulator has executed that as well.
    func entry(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> HandlerEntry? {
        let pc = VCPUSnapshot.pc(registers, special)
        guard registers.rsp != before.rsp else { return nil }
        let delivery = InterruptDelivery(
            registers: before, view: LinearMemory(memory: memory, special: old))
        if case .softwareInterrupt(let vector) = place.opcode {
            guard
                case .arrives(let arrival) = delivery.deliver(vector, errorCode: nil, isSoftware: vector != 1)
            else { return nil }
            let isInside = arrival.linear != pc
            guard !isInside || follows(arrival.linear, pc, special) else { return nil }
            return HandlerEntry(vectors: [vector], isSoftware: true, isInside: isInside, arrival: arrival)
        }
        guard mayHavePushed(registers, special) else { return nil }
        var found: HandlerEntry?
        for vector in UInt8.min...UInt8.max {
            // With an error code and without: whether there is one is not known before.
            for code in [nil, 0] as [UInt32?] {
                if code != nil, ![8, 10, 11, 12, 13, 14, 17, 21].contains(vector) { continue }
                guard
                    case .arrives(let arrival) = delivery.deliver(vector, errorCode: code, isSoftware: false),
                    arrival.linear == pc || follows(arrival.linear, pc, special),
                    isPushed(at: arrival.frame, arrival.width, special)
                else { continue }
                let isInside = arrival.linear != pc
                // A handler whose first instruction this is counts for more than one that is a step away.
                if let known = found, known.isInside != isInside {
                    if !known.isInside { break }
                    found = nil
                }
                if found == nil {
                    found = HandlerEntry(
                        vectors: [], isSoftware: false, isInside: isInside, arrival: arrival)
                }
                found?.vectors.append(vector)
                break
            }
        }
        return found
    }

    /// In the black box the step did what the delivery did, and no more: the handler's first instruction has a step of
    /// its own.
    func book(_ entry: HandlerEntry, _ special: SpecialRegisters, in box: inout StepRing) {
        guard let vector = entry.vectors.first else { return }
        box.markDelivered(vector)
        guard entry.isInside else { return }
        var registers = before
        let mode = CPUMode(before, special)
        registers.rip = mode == .long64 ? entry.arrival.linear : entry.arrival.linear &- special.cs.base
        let base = mode == .long64 ? 0 : special.ss.base
        let isReal = !special.cr0.contains(.pe)
        let hasCode = !isReal && [8, 10, 11, 12, 13, 14, 17, 21].contains(vector)
        registers.rsp = entry.arrival.frame &- base &- (hasCode ? UInt64(entry.arrival.width) : 0)
        registers.rflags.subtract([.tf, .nt, .rf, .vm])
        // A trap gate leaves IF; type bit 0 tells it from an interrupt gate.
        let gate = isReal ? 0 : tableByte(vector, special)
        if gate & 1 == 0 { registers.rflags.remove(.if) }
        let first = LinearMemory.prefix(memory, special, entry.arrival.linear)
        box.record(registers, special, prefix: first.bytes, count: first.count)
    }

    /// The byte of a gate that holds its type.
    private func tableByte(_ vector: UInt8, _ special: SpecialRegisters) -> UInt64 {
        let view = LinearMemory(memory: memory, special: special)
        let size: UInt64 = special.efer.contains(.lma) ? 16 : 8
        return view.word(view.cut(special.idt.base &+ UInt64(vector) * size &+ 5), size: 1) ?? 0
    }

    // MARK: what was pushed

    /// Looked at first, for it costs a few reads where a vector's gate costs many: IP and CS below the old stack
    /// pointer, or at the new one, on another stack.
    private func mayHavePushed(_ registers: GeneralRegisters, _ special: SpecialRegisters) -> Bool {
        let widths: [Int] = old.efer.contains(.lma) ? [8] : old.cr0.contains(.pe) ? [4, 2] : [2]
        return widths.contains { width in
            let size = UInt64(width)
            let below = width == 8 ? (before.rsp & ~15) &- 40 : before.rsp &- 3 &* size
            if isPushed(at: linear(below, special), width, special) { return true }
            guard old.cr0.contains(.pe) else { return false }
            return (0..<4).contains(where: { (slot: Int) in
                isPushed(at: linear(registers.rsp &+ UInt64(slot) &* size, special), width, special)
            })
        }
    }

    private func linear(_ pointer: UInt64, _ special: SpecialRegisters) -> UInt64 {
        if special.efer.contains(.lma), special.cs.attributes.isLong { return pointer }
        let mask: UInt64 = special.ss.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
        return (special.ss.base &+ pointer & mask) & 0xFFFF_FFFF
    }

    /// IP, CS and RFLAGS are those before the step. TF may be the host's, and RF is set for a fault.
    private func isPushed(at frame: UInt64, _ width: Int, _ special: SpecialRegisters) -> Bool {
        let after = LinearMemory(memory: memory, special: special)
        let slot = UInt64(width)
        guard after.word(frame, size: width) == cut(before.rip, width),
            after.word(after.cut(frame &+ slot), size: 2) == UInt64(old.cs.selector),
            let flags = after.word(after.cut(frame &+ 2 &* slot), size: 2)
        else { return false }
        return (flags ^ before.rflags.rawValue) & 0xFEFF == 0
    }

    private func cut(_ ip: UInt64, _ width: Int) -> UInt64 {
        width == 8 ? ip : ip & (1 << UInt64(width * 8) - 1)
    }

    /// One instruction leads from `entry` to `pc`: the next one, or the target of a near jump.
    private func follows(_ entry: UInt64, _ pc: UInt64, _ special: SpecialRegisters) -> Bool {
        if pc &- entry <= 15 { return true }
        let first = LinearMemory.prefix(memory, special, entry)
        guard first.count > 2 else { return false }
        let width = special.efer.contains(.lma) && special.cs.attributes.isLong
        let size: UInt64 = width || special.cs.attributes.isBig ? 4 : 2
        let bytes = first.bytes
        switch bytes & 0xFF {
        case 0xEB: return entry &+ 2 &+ UInt64(bitPattern: Int64(Int8(truncatingIfNeeded: bytes >> 8))) == pc
        case 0xE9, 0xE8:
            let distance =
                size == 2
                ? Int64(Int16(truncatingIfNeeded: bytes >> 8)) : Int64(Int32(truncatingIfNeeded: bytes >> 8))
            return entry &+ 1 &+ size &+ UInt64(bitPattern: distance) == pc
        default: return false
        }
    }
}
