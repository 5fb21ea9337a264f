package import X86

/// Guest memory as one vCPU sees it: through its page tables. Nothing here needs the vCPU's thread, so it works
/// while the guest runs.
package struct LinearMemory: Sendable {
    package let memory: any PhysicalMemory
    package let special: SpecialRegisters
    /// What the processor has of paging; by default everything.
    package var features: PagingFeatures

    package init(
        memory: any PhysicalMemory, special: SpecialRegisters, features: PagingFeatures = PagingFeatures()
    ) {
        self.memory = memory
        self.special = special
        self.features = features
    }

    /// Where a linear address is in guest-physical memory, or why it is nowhere.
    package func walk(_ linear: UInt64) -> PageWalk {
        PageWalk(linear, special, features: features) { gpa, size in memory.word(gpa, size: size) }
    }

    /// The guest-physical address; nil where nothing is mapped. Allocates nothing without paging.
    package func physical(_ linear: UInt64) -> UInt64? {
        guard special.cr0.contains(.pg) else { return linear & 0xFFFF_FFFF }
        return walk(linear).gpa
    }

    /// A linear address as it is after the processor cut it.
    package func cut(_ linear: UInt64) -> UInt64 {
        special.efer.contains(.lma) ? linear : linear & 0xFFFF_FFFF
    }

    /// The first bytes of the instruction at `pc`. Without paging, and within a page, there is nothing to translate.
    package static func prefix(
        _ memory: any PhysicalMemory, _ special: SpecialRegisters, _ pc: UInt64
    ) -> (bytes: UInt64, count: Int) {
        if !special.cr0.contains(.pg), pc & 0xFFF <= 0xFF8, let word = memory.word(pc, size: 8) {
            return (word, 8)
        }
        return LinearMemory(memory: memory, special: special).prefix(pc)
    }

    /// The first bytes at `linear`, eight at most, the first in bits 0-7; fewer where memory ends.
    package func prefix(_ linear: UInt64) -> (bytes: UInt64, count: Int) {
        let inPage = Int(4096 - (linear & 0xFFF))
        guard let first = physical(linear) else { return (0, 0) }
        if inPage >= 8 {
            if let word = memory.word(first, size: 8) { return (word, 8) }
            return (memory.word(first, size: 1).map { ($0, 1) }) ?? (0, 0)
        }
        // The instruction crosses a page: byte by byte, for the other page may be anywhere or nowhere.
        var bytes: UInt64 = 0
        for i in 0..<8 {
            guard let gpa = physical(cut(linear &+ UInt64(i))), let byte = memory.word(gpa, size: 1)
            else { return (bytes, i) }
            bytes |= byte << UInt64(i * 8)
        }
        return (bytes, 8)
    }
}

extension PhysicalMemory {
    public func word(_ gpa: UInt64, size: Int) -> UInt64? { readWord(gpa, size: size) }

    /// ``word(_:size:)`` by ``read(_:into:)``.
    public func readWord(_ gpa: UInt64, size: Int) -> UInt64? {
        var word: UInt64 = 0
        let isRead = withUnsafeMutableBytes(of: &word) { buffer in
            // SAFETY: the prefix is of the word's own eight bytes and is used within this closure only.
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(size))
            do {
                try read(gpa, into: part)
                return true
            } catch {
                return false
            }
        }
        // A failed read may have left bytes behind.
        return isRead ? UInt64(littleEndian: word) : nil
    }
}
