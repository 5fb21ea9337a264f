import CLinux
import DebugTarget

/// The bytes of guest memory that the debugger's patches stand on, and what they hide: what the tracer needs to put
/// them back by itself. Used by its one thread alone.
final class PatchLedger {
    private struct Entry {
        /// Where the byte is in the VMM. It stays there even if the VMM lays other memory over its guest-physical
        /// address.
        var hva: UInt64
        var patch: UInt8
        var hidden: UInt8
    }

    private var entries: [UInt64: Entry] = [:]
    /// Places in the VMM, in order, made of ``entries`` when they are asked for; and which of them is looked at next.
    private var order: [Entry]?
    private var next = 0
    /// What stood around each patch that is an OUT: copies that the guest made of it with its code are known by it.
    private var surroundings = PatchSurroundings()
    /// Bytes of copies that the guest came to, which the debugger puts right; here in case that it does not come to that.
    private var copies: [UInt64: Entry] = [:]
    /// OUT imm8, AL, and the port that it is to.
    private static let out: UInt8 = 0xE6

    var isEmpty: Bool { entries.isEmpty }

    /// Bytes that are about to be patched, or that hide something else now.
    func note(
        _ gpa: UInt64, _ patch: UInt8, hiding hidden: [UInt8], _ memory: AttachedMemory, _ process: Int32
    ) {
        order = nil
        for (offset, byte) in hidden.enumerated() {
            let place = gpa &+ UInt64(offset)
            guard let hva = memory.address(place, count: 1) else { continue }
            if let before = entries[place], before.hva != hva { Self.restore([before], process) }
            entries[place] = Entry(hva: hva, patch: patch, hidden: byte)
        }
        guard patch == Self.out, hidden.count == 2 else { return }
        let bytes = Self.surrounding(gpa, memory)
        surroundings.note(patch, at: gpa, hiding: hidden) { entries[$0]?.hidden ?? bytes($0) }
    }

    /// The bytes around a place, all of them read at once where they can be.
    private static func surrounding(_ gpa: UInt64, _ memory: AttachedMemory) -> (UInt64) -> UInt8? {
        let reach = UInt64(PatchSurroundings.Patch.reach)
        let start = gpa > reach ? gpa - reach : 0
        var chunk = [UInt8](repeating: 0, count: Int(gpa - start + reach) + 2)
        let isRead = chunk.withUnsafeMutableBytes { (try? memory.read(start, into: $0)) != nil }
        return { place in
            if isRead { return place &- start < UInt64(chunk.count) ? chunk[Int(place &- start)] : nil }
            return byte(place, memory)
        }
    }

    /// Bytes that are the guest's own again. Where the VMM has laid other memory over them meanwhile, they still have
    /// their patch.
    func forget(_ gpa: UInt64, count: Int, _ process: Int32) {
        order = nil
        for offset in 0..<UInt64(max(count, 0)) {
            if let entry = entries.removeValue(forKey: gpa &+ offset) { Self.restore([entry], process) }
        }
    }

    func covers(_ gpa: UInt64) -> Bool { entries[gpa] != nil }

    /// Whether the exit in the page is the OUT of a patch, or one that a branch into a patch made of its second byte.
    ///
    /// - Parameter isStep: the vCPU was stepped: the patch on its instruction is lifted then.
    func isPatch(_ page: borrowing SharedRunPage, _ memory: AttachedMemory, isStep: Bool) -> Bool {
        guard !isEmpty, let port = page.outOfOneByte, let registers = page.syncedRegisters else {
            return false
        }
        return OutPlace.candidates(registers, memory: memory).contains { gpa in
            covers(gpa) ? isPatch(at: gpa, port, memory, isStep: isStep) : isCopy(gpa, port, memory)
        }
    }

    /// The guest's own OUT imm8 is what a patch looks like, too: where it is lifted, the OUT is the guest's.
    func isPatch(at gpa: UInt64, _ port: UInt16, _ memory: AttachedMemory, isStep: Bool) -> Bool {
        guard let next = Self.byte(gpa &+ 1, memory), UInt16(next) == port else { return false }
        // The place that is executed may be the second byte of a patch; what follows it then is the guest's.
        let first = entries[gpa &+ 1] == nil ? gpa &- 1 : gpa
        let bytes = (0..<2).map { (entries[first &+ $0], Self.byte(first &+ $0, memory)) }
        guard bytes.allSatisfy({ $0?.patch == Self.out && $1 == Self.out }) else { return false }
        return !(isStep && bytes.allSatisfy { entry, _ in entry?.hidden == Self.out })
    }

    private static func byte(_ gpa: UInt64, _ memory: AttachedMemory) -> UInt8? {
        var byte: UInt8 = 0
        return withUnsafeMutableBytes(of: &byte) { (try? memory.read(gpa, into: $0)) != nil } ? byte : nil
    }

    /// Whether the OUT is a patch that the guest has copied with its code: there it is nobody's, and the VMM would get it.
    private func isCopy(_ gpa: UInt64, _ port: UInt16, _ memory: AttachedMemory) -> Bool {
        guard port == UInt16(Self.out) else { return false }
        let byte = Self.surrounding(gpa, memory)
        guard let original = surroundings.original(of: Self.out, at: gpa, byte) else { return false }
        for (offset, hidden) in original.hidden.enumerated() {
            let place = gpa &+ UInt64(offset)
            guard let hva = memory.address(place, count: 1) else { continue }
            copies[place] = Entry(hva: hva, patch: Self.out, hidden: hidden)
        }
        return true
    }

    /// So many pages of the VMM are looked at in one call.
    private static let pages = 64

    /// Whether a byte of them is no patch any more: the guest has loaded something over it, or it is lifted for a step.
    /// Of many, some are looked at in each call.
    func isOverwritten(_ process: Int32) -> Bool {
        guard !isEmpty else { return false }
        let all = order ?? entries.values.sorted { $0.hva < $1.hva }
        order = all
        if next >= all.count { next = 0 }
        var page = [UInt8](repeating: 0, count: 4096)
        for _ in 0..<Self.pages where next < all.count {
            let start = all[next].hva & ~0xFFF
            let isRead = clinux_process_read(process, start, &page, page.count) == page.count
            var isIntact = true
            while next < all.count, all[next].hva & ~0xFFF == start {
                if isRead, page[Int(all[next].hva & 0xFFF)] != all[next].patch { isIntact = false }
                next += 1
            }
            if !isIntact { return true }
        }
        return false
    }

    /// Puts all of them back. A byte that is no patch any more is the guest's, and is left alone.
    ///
    /// - Returns: how many there were.
    @discardableResult
    func restoreAll(_ process: Int32) -> Int {
        defer {
            entries = [:]
            copies = [:]
            order = nil
        }
        for copy in copies.values.sorted(by: { $0.hva < $1.hva }) { Self.restore([copy], process) }
        // Those of one patch at once, so that no vCPU that could not be stopped comes to half of it.
        var run: [Entry] = []
        for entry in entries.values.sorted(by: { $0.hva < $1.hva }) {
            if let last = run.last, last.hva &+ 1 != entry.hva || run.count == 4096 {
                Self.restore(run, process)
                run = []
            }
            run.append(entry)
        }
        Self.restore(run, process)
        return entries.count
    }

    /// - Parameter run: one after the other.
    private static func restore(_ run: [Entry], _ process: Int32) {
        guard let first = run.first else { return }
        var bytes = [UInt8](repeating: 0, count: run.count)
        guard clinux_process_read(process, first.hva, &bytes, bytes.count) == bytes.count else {
            // A mapping that is gone has no patch either; those before and after it have.
            guard run.count > 1 else { return }
            let page = run.firstIndex { $0.hva & 0xFFF == 0 && $0.hva != first.hva } ?? run.count / 2
            restore(Array(run[..<page]), process)
            return restore(Array(run[page...]), process)
        }
        guard run.indices.contains(where: { bytes[$0] == run[$0].patch }) else { return }
        for (index, entry) in run.enumerated() where bytes[index] == entry.patch {
            bytes[index] = entry.hidden
        }
        _ = clinux_process_write(process, first.hva, bytes, bytes.count)
    }
}
