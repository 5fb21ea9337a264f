import DebugTarget
import X86

/// Whether an exception would lead to an execution breakpoint: the one place where a step could run over one unseen, on
/// hosts whose steps end within a handler (``DebugFacility/handlerStep``).
///
/// Asked before every step, so the answer is remembered with all that it was made from.
struct HandlerBreakpointCheck {
    /// The exceptions of the processor. Source: SDM volume 3A, 6.3.1.
    private static let vectors = 32

    private struct Scene: Equatable {
        var breakpoints: ObjectIdentifier
        var idt: DescriptorTable
        var gdt: DescriptorTable
        var ldt: UInt64
        var isProtected: Bool
    }

    private var scene: Scene?
    private var table: [UInt8] = []
    /// The code segments' descriptors that its gates name, and where they are.
    private var descriptors: [(place: UInt64, word: UInt64)] = []
    private var answer = true

    /// True where it is so, or cannot be told: with paging it is not looked for.
    mutating func leads(
        to breakpoints: ArmedSet, _ special: SpecialRegisters, _ memory: any PhysicalMemory
    ) -> Bool {
        guard !special.cr0.contains(.pg) else { return true }
        let now = Scene(
            breakpoints: ObjectIdentifier(breakpoints), idt: special.idt, gdt: special.gdt,
            ldt: special.ldt.base, isProtected: special.cr0.contains(.pe))
        let size = Self.vectors * (now.isProtected ? 8 : 4)
        if now == scene, isSame(size, memory) { return answer }
        scene = nil
        var bytes = [UInt8](repeating: 0, count: size)
        let isRead = bytes.withUnsafeMutableBytes { Self.read(special.idt.base, into: $0, memory) }
        guard isRead else { return true }
        table = bytes
        descriptors.removeAll(keepingCapacity: true)
        answer = look(breakpoints.registers, LinearMemory(memory: memory, special: special))
        scene = now
        return answer
    }

    private func isSame(_ size: Int, _ memory: any PhysicalMemory) -> Bool {
        guard let scene, table.count == size else { return false }
        let isTableSame = withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer in
            guard Self.read(scene.idt.base, into: buffer, memory) else { return false }
            return table.elementsEqual(buffer)
        }
        return isTableSame && descriptors.allSatisfy { memory.word($0.place, size: 8) == $0.word }
    }

    private static func read(
        _ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer, _ memory: any PhysicalMemory
    ) -> Bool {
        do {
            try memory.read(gpa, into: buffer)
            return true
        } catch {
            return false
        }
    }

    private mutating func look(_ places: ArmedBreakpoints, _ view: LinearMemory) -> Bool {
        let file = RegisterFile(special: view.special)
        var leads = false
        for vector in 0..<Self.vectors {
            if let linear = InterruptEntry.linear(UInt8(vector), view) {
                leads = leads || places.contains(linear)
            }
            guard view.special.cr0.contains(.pe) else { continue }
            // A task gate leads to wherever its task is.
            if table[vector * 8 + 5] & 0x1F == 5 { leads = true }
            let selector = UInt16(table[vector * 8 + 2]) | UInt16(table[vector * 8 + 3]) << 8
            guard let place = try? file.descriptorAddress(of: selector),
                !descriptors.contains(where: { $0.place == place }),
                let word = view.memory.word(place, size: 8)
            else { continue }
            descriptors.append((place, word))
        }
        return leads
    }
}
