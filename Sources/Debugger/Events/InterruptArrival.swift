import KVMCore
import X86

/// Whether an interrupt or exception came where an instruction was stepped.
struct InterruptArrival {
    let place: InstructionAtHand
    /// The vCPU before.
    let before: SpecialRegisters

    /// The interrupt or exception that the step ended in; nil where it executed its instruction. Only vectors
    /// that are wanted are looked for.
    ///
    /// KVM gives an interrupt to the guest before the instruction, so what was pushed is the place where the step
    /// began. Where a debug register stands at the handler, the step ends before its first instruction; elsewhere the
    /// emulator has executed that as well.
    func event(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, wanted: [UInt8],
        _ memory: any PhysicalMemory
    ) -> CaughtEvent.What? {
        guard !wanted.isEmpty else { return nil }
        let pc = VCPUSnapshot.pc(registers, special)
        let delivery = InterruptDelivery(
            registers: place.registers, view: LinearMemory(memory: memory, special: before))
        let after = LinearMemory(memory: memory, special: special)
        if case .softwareInterrupt(let vector) = place.opcode {
            guard case .arrives(let arrival) = delivery.deliver(vector, errorCode: nil, isSoftware: true)
            else { return nil }
            let isInside = arrival.linear != pc
            guard !isInside || follows(arrival.linear, pc, after) else { return nil }
            return .interrupt(vectors: [vector], isSoftware: true, isInside: isInside)
        }
        // Straight on is no interrupt; a handler within reach of its own exception would be an odd one.
        guard pc &- place.pc > 15, registers.rsp != place.registers.rsp else { return nil }
        let isVirtual = place.registers.rflags.contains(.vm)
        var found: [UInt8] = []
        var isInside = false
        for vector in wanted.sorted() where !found.contains(vector) {
            // With an error code and without: whether there is one is not known before.
            for code in [nil, 0] as [UInt32?] {
                if code != nil, ![8, 10, 11, 12, 13, 14, 17, 21].contains(vector) { continue }
                guard
                    case .arrives(let arrival) = delivery.deliver(vector, errorCode: code, isSoftware: false),
                    arrival.linear == pc || follows(arrival.linear, pc, after),
                    after.word(arrival.frame, size: arrival.width) == cut(place.registers.rip, arrival.width),
                    let selector = after.word(after.cut(arrival.frame &+ UInt64(arrival.width)), size: 2),
                    isVirtual || selector == UInt64(before.cs.selector)
                else { continue }
                found.append(vector)
                isInside = arrival.linear != pc
                break
            }
        }
        return found.isEmpty ? nil : .interrupt(vectors: found, isSoftware: false, isInside: isInside)
    }

    private func cut(_ ip: UInt64, _ width: Int) -> UInt64 {
        width == 8 ? ip : ip & (1 << UInt64(width * 8) - 1)
    }

    /// One instruction leads from `entry` to `pc`: the next one, or the target of a near jump.
    private func follows(_ entry: UInt64, _ pc: UInt64, _ view: LinearMemory) -> Bool {
        if pc &- entry <= 15 { return true }
        let first = view.prefix(entry)
        guard first.count > 2 else { return false }
        let size: UInt64 = view.special.codeWidth == 16 ? 2 : 4
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
