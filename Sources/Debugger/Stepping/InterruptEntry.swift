import DebugTarget
import X86

/// Where the processor goes on an interrupt.
enum InterruptEntry {
    /// The linear address of the handler's first instruction; nil where a table cannot be read or the entry is
    /// no interrupt or trap gate (a task gate leads elsewhere).
    ///
    /// Source: SDM volume 3A, 6.12.1, 6.14.1 and 21.1.4.
    static func linear(_ vector: UInt8, _ memory: LinearMemory) -> UInt64? {
        let special = memory.special
        let isLong = special.efer.contains(.lma)
        guard special.cr0.contains(.pe) else {
            let offset = UInt64(vector) * 4
            guard offset + 3 <= UInt64(special.idt.limit),
                let pointer = word(special.idt.base &+ offset, size: 4, memory)
            else { return nil }
            return (pointer >> 16) << 4 &+ pointer & 0xFFFF
        }
        let size: UInt64 = isLong ? 16 : 8
        let offset = UInt64(vector) * size
        guard offset + size - 1 <= UInt64(special.idt.limit),
            let low = word(memory.cut(special.idt.base &+ offset), size: 8, memory)
        else { return nil }
        // Types 6 and 7 are 16-bit gates, 14 and 15 are 32- or 64-bit ones; S must be clear and P set.
        let type = low >> 40 & 0x9F
        guard [0x86, 0x87, 0x8E, 0x8F].contains(type) else { return nil }
        let isWide = type & 8 != 0
        var entry = low & 0xFFFF | (isWide ? low >> 32 & 0xFFFF_0000 : 0)
        if isLong {
            guard isWide, let high = word(special.idt.base &+ offset &+ 8, size: 8, memory) else {
                return nil
            }
            return entry | (high & 0xFFFF_FFFF) << 32
        }
        let file = RegisterFile(special: special)
        guard let place = try? file.descriptorAddress(of: UInt16(truncatingIfNeeded: low >> 16)),
            let descriptor = word(place, size: 8, memory)
        else { return nil }
        entry &+= Segment(loading: descriptor, selector: 0, inLongMode: false).base
        return entry & 0xFFFF_FFFF
    }

    /// Where RFLAGS lies above the stack pointer at a handler's first instruction, where no error code was pushed.
    static func flagsOffset(_ vector: UInt8, _ memory: LinearMemory) -> UInt64 {
        let special = memory.special
        if special.efer.contains(.lma) { return 16 }
        guard special.cr0.contains(.pe) else { return 4 }
        // Bit 3 of the type: a 32-bit gate.
        let type = word(memory.cut(special.idt.base &+ UInt64(vector) * 8 &+ 5), size: 1, memory) ?? 0x8E
        return type & 8 != 0 ? 8 : 4
    }

    private static func word(_ linear: UInt64, size: Int, _ memory: LinearMemory) -> UInt64? {
        // An entry never crosses a page if its table is aligned, and no one aligns it otherwise.
        memory.physical(linear).flatMap { memory.memory.word($0, size: size) }
    }
}
