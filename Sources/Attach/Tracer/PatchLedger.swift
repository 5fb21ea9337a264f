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
    func isPatch(_ page: borrowing SharedRunPage, _ memory: AttachedMemory) -> Bool {
        guard !isEmpty, let port = page.outOfOneByte, let registers = page.syncedRegisters else {
            return false
        }
        return OutPlace.candidates(registers, memory: memory).contains { gpa in
            guard covers(gpa) else { return false }
            var next: UInt8 = 0
            let isRead = withUnsafeMutableBytes(of: &next) { (try? memory.read(gpa &+ 1, into: $0)) != nil }
            return isRead && UInt16(next) == port
        }
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
            order = nil
        }
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
