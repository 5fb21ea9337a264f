import DebugTarget
import X86

/// What an instruction, an interrupt or an exception has pushed: where it lies, and the TF in the RFLAGS of it, which is
/// the debugger's own where the host steps with TF.
struct StackImage {
    let view: LinearMemory
    private var special: SpecialRegisters { view.special }

    /// - Parameter view: by the vCPU's state after the push.
    init(_ view: LinearMemory) { self.view = view }

    /// The linear address so far above the stack pointer.
    func address(_ registers: GeneralRegisters, _ offset: UInt64) -> UInt64 {
        let mode = CPUMode(registers, special)
        let width = mode.stackWidth(ss: special.ss.attributes)
        let mask: UInt64 = width == 8 ? .max : 1 << UInt64(width * 8) - 1
        return special.linear(.ss, (registers.rsp &+ offset) & mask, mode: mode)
    }

    /// Makes TF what it should be in RFLAGS at a linear address.
    func mend(flagsAt linear: UInt64, to wanted: Bool) {
        // TF is bit 0 of the second byte.
        guard let place = view.physical(view.cut(linear &+ 1)), let byte = view.memory.word(place, size: 1),
            (byte & 1 != 0) != wanted
        else { return }
        let mended = UInt8(truncatingIfNeeded: byte ^ 1)
        // It was read: it can be written, or it is ROM, where nothing was pushed to.
        withUnsafeBytes(of: mended) { try? view.memory.write(place, $0) }
    }

    /// Where RFLAGS lies of what an exception or interrupt has pushed in place of the instruction that was to be
    /// executed; nil where none came.
    func flagsOfException(at place: InstructionAtHand, _ registers: GeneralRegisters) -> UInt64? {
        if case .softwareInterrupt = place.opcode { return nil }
        let isLong = special.efer.contains(.lma)
        let widths: [UInt64] = isLong ? [8] : special.cr0.contains(.pe) ? [4, 2] : [2]
        let before = place.registers
        for width in widths {
            // Below the old stack pointer, whatever the handler's first instruction did to the new one; and above the new
            // one, on a stack of its own, with or without an error code.
            let old = width == 8 ? (before.rsp & ~15) &- 40 : before.rsp &- 3 &* width
            let offsets = [old &- registers.rsp] + (0..<4).map { $0 &* width }
            for offset in offsets {
                let frame = address(registers, offset)
                guard view.word(frame, size: Int(width)) == before.rip & Self.mask(width),
                    view.word(frame &+ width, size: 2) == UInt64(place.selector)
                else { continue }
                // What a CALL has pushed may lie above what an interrupt left there.
                return isCall(at: place.pc) ? nil : frame &+ 2 &* width
            }
        }
        return nil
    }

    private static func mask(_ width: UInt64) -> UInt64 { width == 8 ? .max : 1 << (width * 8) - 1 }

    private func isCall(at pc: UInt64) -> Bool {
        var bytes = view.prefix(pc).bytes
        // Operand-size and segment prefixes, and REX, which in other modes is an INC or DEC: no call.
        for _ in 0..<7 {
            switch bytes & 0xFF {
            case 0x26, 0x2E, 0x36, 0x3E, 0x40...0x4F, 0x64...0x67: bytes >>= 8
            case 0xE8, 0x9A: return true
            // FF /2 and /3.
            case 0xFF: return (2...3).contains(bytes >> 11 & 7)
            default: return false
            }
        }
        return false
    }
}
