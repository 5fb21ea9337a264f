import DebugTarget
import Disassembler
import X86

/// MOV SS and POP SS, done as the processor does them. After either of them it traps for no one until one more
/// instruction is over (SDM volume 3A, 6.8.3), so a host that steps with TF would step two.
///
/// Source: SDM volume 2, MOV and POP.
struct StackSegmentLoad {
    /// Interrupts wait for the next instruction, too: KVM_X86_SHADOW_INT_MOV_SS.
    static let shadow: UInt8 = 1

    /// The vCPU after it.
    let file: RegisterFile

    /// Nil where the instruction is none of these, or raises an exception: that is the processor's to do.
    init?(_ instruction: Instruction, _ registers: GeneralRegisters, _ view: LinearMemory) {
        var file = RegisterFile(general: registers, special: view.special)
        let opcode = instruction.bytes.drop { Self.isPrefix($0, instruction.mode) }
        guard let first = opcode.first else { return nil }
        let selector: UInt16
        switch first {
        case 0x17:
            guard let slot = instruction.memory.first(where: { $0.isImplicit && $0.isRead }),
                let linear = slot.linear(in: file), let word = view.word(view.cut(linear), size: 2)
            else { return nil }
            selector = UInt16(truncatingIfNeeded: word)
            let mask: UInt64 = view.special.ss.attributes.isBig ? 0xFFFF_FFFF : 0xFFFF
            let pointer = file.general.rsp &+ UInt64(instruction.operandWidth / 8)
            file.general.rsp = file.general.rsp & ~mask | pointer & mask
        case 0x8E:
            guard let modrm = opcode.dropFirst().first, modrm >> 3 & 7 == 2 else { return nil }
            if modrm >= 0xC0 {
                // REX.B, of the prefix right before the opcode.
                let rex = instruction.bytes.dropLast(opcode.count).last
                let isExtended = instruction.mode == .long64 && rex.map { $0 & 0xF1 == 0x41 } ?? false
                let number = Int(modrm & 7) + (isExtended ? 8 : 0)
                selector = UInt16(truncatingIfNeeded: file.general[numbered: number])
            } else {
                guard let operand = instruction.memory.first(where: { $0.isRead }),
                    let offset = operand.offset(in: file), let linear = operand.linear(in: file),
                    Self.isWithin(offset, file.special[operand.segment], file.mode),
                    let word = view.word(view.cut(linear), size: 2)
                else { return nil }
                selector = UInt16(truncatingIfNeeded: word)
            }
        default: return nil
        }
        guard Self.load(selector, &file, view) else { return nil }
        file.general.rip = instruction.next
        file.general.rflags.remove(.rf)
        self.file = file
    }

    /// Whether a word at an offset lies within a segment that goes up from its base.
    private static func isWithin(_ offset: UInt64, _ segment: Segment, _ mode: CPUMode) -> Bool {
        if mode == .long64 { return true }
        let expandsDown = segment.attributes.isCodeOrData && segment.attributes.type & 0xC == 4
        return !expandsDown && !segment.attributes.isUnusable && offset &+ 1 <= UInt64(segment.limit)
    }

    private static func load(_ selector: UInt16, _ file: inout RegisterFile, _ view: LinearMemory) -> Bool {
        if file.mode == .real || file.mode == .virtual8086 {
            file.loadRealMode(.ss, selector: selector)
            return true
        }
        let cpl = file.special.ss.attributes.privilege
        let requested = UInt8(selector & 3)
        if selector & ~3 == 0 {
            guard file.mode == .long64, cpl != 3, requested == cpl else { return false }
            file.special.ss.selector = selector
            file.special.ss.attributes.isUnusable = true
            return true
        }
        guard requested == cpl, let place = try? file.descriptorAddress(of: selector),
            let low = view.word(view.cut(place), size: 8)
        else { return false }
        do {
            try file.load(.ss, selector: selector, low: low)
        } catch {
            return false
        }
        guard file.special.ss.attributes.privilege == cpl else { return false }
        // The accessed bit, which the processor sets in memory, too: byte 5, bit 0.
        if low >> 40 & 1 == 0 {
            guard let gpa = view.physical(view.cut(place &+ 5)) else { return false }
            let accessed = UInt8(truncatingIfNeeded: low >> 40) | 1
            do {
                try withUnsafeBytes(of: accessed) { (bytes) throws(MemoryFault) in
                    try view.memory.write(gpa, bytes)
                }
            } catch {
                return false
            }
        }
        return true
    }

    private static func isPrefix(_ byte: UInt8, _ mode: DecodeMode) -> Bool {
        switch byte {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3: true
        case 0x40...0x4F: mode == .long64
        default: false
        }
    }
}

extension GeneralRegisters {
    /// By the number that ModRM gives it.
    fileprivate subscript(numbered number: Int) -> UInt64 {
        let all = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15]
        return all[number & 15]
    }
}
