import DebugTarget
import Disassembler
import X86

/// #GP by CPL, IOPL and the TSS's I/O map.
extension FaultScene {
    /// Only at CPL 0, and not marked so by the decoder.
    private static let privileged: Set<String> = [
        "xsetbv", "swapgs", "invpcid", "wbinvd", "invd", "wrmsr", "rdmsr", "sysexit", "sysret", "lldt", "ltr",
        "lgdt", "lidt", "lmsw", "clts", "hlt", "invlpg", "xsaves", "xrstors", "vmxon",
    ]
    private static let storesTables: Set<String> = ["sgdt", "sidt", "sldt", "smsw", "str"]

    func privilegeFault(_ instruction: Instruction) -> First? {
        let mnemonic = instruction.mnemonic
        if cpl != 0 {
            if instruction.traits.contains(.privileged) || Self.privileged.contains(mnemonic) {
                return first(13, 0, .privilege(cpl: cpl))
            }
            if Self.storesTables.contains(mnemonic), special.cr4.contains(.umip) {
                return first(13, 0, .disabled(.umip))
            }
            if mnemonic == "rdtsc" || mnemonic == "rdtscp", special.cr4.contains(.tsd) {
                return first(13, 0, .disabled(.timeStamp))
            }
            if mnemonic == "rdpmc", !special.cr4.contains(.pce) {
                return first(13, 0, .disabled(.performanceCounters))
            }
        }
        // MOV to and from debug registers, once it may be done at all. Source: SDM volume 3B, 17.2.4.
        let opcode = FaultOpcode(instruction)
        if opcode.matches([0x0F, 0x21]) || opcode.matches([0x0F, 0x23]),
            let debug = facts.debug, debug.dr7 >> 13 & 1 == 1
        {
            return first(1, nil, .disabled(.generalDetect))
        }
        return flagFault(instruction) ?? portFault(instruction)
    }

    /// Source: SDM volume 2, CLI, STI, PUSHF, POPF, IRET; volume 3A, 21.2.7 and 21.3.
    private func flagFault(_ instruction: Instruction) -> First? {
        let iopl = registers.rflags.iopl
        let name = instruction.mnemonic
        if mode == .virtual8086, iopl < 3 {
            let isFlags = ["pushf", "popf", "pushfd", "popfd", "iret", "iretd", "cli", "sti"].contains(name)
            // With VME those of 16 bits work on VIF, but where VIP is set.
            let isVirtualised =
                special.cr4.contains(.vme) && ["pushf", "popf", "iret", "cli", "sti"].contains(name)
                && instruction.operandWidth == 16
            let isPending = name == "sti" && registers.rflags.contains(.vip)
            return isFlags && (!isVirtualised || isPending)
                ? first(13, 0, .virtualPrivilege(iopl: iopl)) : nil
        }
        guard name == "cli" || name == "sti", cpl > iopl else { return nil }
        if special.cr4.contains(.pvi), cpl == 3, !(name == "sti" && registers.rflags.contains(.vip)) {
            return nil
        }
        return first(13, 0, .flagPrivilege(cpl: cpl, iopl: iopl))
    }

    private func portFault(_ instruction: Instruction) -> First? {
        let iopl = registers.rflags.iopl
        guard instruction.traits.contains(.portIO), cpl > iopl || mode == .virtual8086 else { return nil }
        let opcode = FaultOpcode(instruction)
        guard let code = opcode.byte(0) else { return nil }
        let isImmediate = code & 0xFC == 0xE4
        let port = isImmediate ? UInt16(opcode.byte(1) ?? 0) : UInt16(truncatingIfNeeded: registers.rdx)
        let size = code & 1 == 0 ? 1 : instruction.operandWidth == 16 ? 2 : 4
        guard let map = deniedBy(port, size) else { return nil }
        return first(13, 0, .portPrivilege(cpl: cpl, iopl: iopl, map))
    }

    /// Why the I/O map denies ports from `port` on. Two bytes are always read. Source: SDM volume 1, 19.5.2.
    private func deniedBy(_ port: UInt16, _ size: Int) -> FaultCause.PortMap? {
        let task = special.tr
        guard !task.attributes.isUnusable, task.attributes.isTaskState, task.attributes.type & 8 != 0 else {
            return FaultCause.PortMap.none
        }
        guard task.limit >= 0x67 else { return .beyondLimit(task.limit) }
        guard let base = view.word(view.cut(task.base &+ 0x66), size: 2) else { return .unreadable }
        let place = base + UInt64(port >> 3)
        guard place + 1 <= UInt64(task.limit) else { return .beyondLimit(task.limit) }
        guard let bits = view.word(view.cut(task.base &+ place), size: 2) else { return .unreadable }
        let denied = bits >> UInt64(port & 7) & (1 << UInt64(size) - 1)
        guard denied != 0 else { return nil }
        return .denied(port: port &+ UInt16(denied.trailingZeroBitCount))
    }
}
