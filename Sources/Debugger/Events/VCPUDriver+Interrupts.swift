import KVMCore
import X86

extension VCPUDriver {
    /// The interrupt or exception that the step at hand ended in; nil where it executed its instruction. Only vectors
    /// that a catchpoint wants are looked for.
    ///
    /// KVM gives an interrupt to the guest before the instruction, so what was pushed is the place where the step
    /// began. Where a debug register stands at the handler, the step ends before its first instruction; elsewhere the
    /// emulator has executed that as well.
    func delivered(
        _ registers: GeneralRegisters, _ special: SpecialRegisters, _ pc: UInt64
    ) -> CaughtEvent.What? {
        var wanted = armedSet.events.vectors
        guard !wanted.isEmpty else { return nil }
        if case .softwareInterrupt(let vector) = opcode {
            let delivery = InterruptDelivery(
                registers: before, view: LinearMemory(memory: memory, special: events.special))
            guard case .arrives(let arrival) = delivery.deliver(vector, errorCode: nil, isSoftware: true)
            else { return nil }
            let isInside = arrival.linear != pc
            guard !isInside || follows(arrival.linear, pc, special) else { return nil }
            return .interrupt(vectors: [vector], isSoftware: true, isInside: isInside)
        }
        // Straight on is no interrupt; a handler within reach of its own exception would be an odd one.
        guard pc &- beforePC > 15, registers.rsp != before.rsp else { return nil }
        let isVirtual = before.rflags.contains(.vm)
        let delivery = InterruptDelivery(
            registers: before, view: LinearMemory(memory: memory, special: events.special))
        let after = LinearMemory(memory: memory, special: special)
        wanted.sort()
        var found: [UInt8] = []
        var isInside = false
        for vector in wanted where !found.contains(vector) {
            // With an error code and without: whether there is one is not known before.
            for code in [nil, 0] as [UInt32?] {
                if code != nil, ![8, 10, 11, 12, 13, 14, 17, 21].contains(vector) { continue }
                guard
                    case .arrives(let arrival) = delivery.deliver(vector, errorCode: code, isSoftware: false),
                    arrival.linear == pc || follows(arrival.linear, pc, special),
                    after.word(arrival.frame, size: arrival.width) == cut(before.rip, arrival.width),
                    let selector = after.word(after.cut(arrival.frame &+ UInt64(arrival.width)), size: 2),
                    isVirtual || selector == UInt64(events.special.cs.selector)
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
    private func follows(_ entry: UInt64, _ pc: UInt64, _ special: SpecialRegisters) -> Bool {
        if pc &- entry <= 15 { return true }
        let first = Self.prefix(memory, special, entry)
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
