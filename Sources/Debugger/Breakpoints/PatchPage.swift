/// The patches of one page. Arrays of a page's size, because they are asked at every step.
// SAFETY: a page belongs to one table, which uses it under its lock alone.
final class PatchPage: @unchecked Sendable {
    static let size = 4096

    /// A patch that begins somewhere.
    struct Start {
        var kind: PatchTable.Kind
        /// How many breakpoints want it.
        var count: Int
    }

    /// By their offset.
    var starts: [UInt16: Start] = [:]
    /// Something keeps the guest from writing here.
    var isGuarded = false
    /// No patch's byte lies outside, a multiple of 8 at both ends: pages are looked through at every stop.
    private var reach = 0..<0
    /// All ones for a byte that is a patch's.
    private var mask = [UInt8](repeating: 0, count: PatchPage.size)
    /// What stands there for them.
    private var planted = [UInt8](repeating: 0, count: PatchPage.size)
    /// What patched bytes hide.
    private var hidden = [UInt8](repeating: 0, count: PatchPage.size)

    /// What the byte at `offset` hides; nil for one that is no patch's.
    subscript(offset: UInt16) -> UInt8? { mask[Int(offset)] != 0 ? hidden[Int(offset)] : nil }

    /// What stands at `offset`, which is a patch's.
    func patch(at offset: UInt16) -> UInt8 { planted[Int(offset)] }

    /// The byte at `offset` is a patch's.
    func cover(_ offset: UInt16, with patch: UInt8, hiding byte: UInt8) {
        mask[Int(offset)] = .max
        planted[Int(offset)] = patch
        hidden[Int(offset)] = byte
        let word = Int(offset) & ~7
        reach =
            reach.isEmpty
            ? word..<word + 8 : min(reach.lowerBound, word)..<max(reach.upperBound, word + 8)
    }

    /// It is one no more.
    func uncover(_ offset: UInt16) {
        mask[Int(offset)] = 0
        planted[Int(offset)] = 0
        hidden[Int(offset)] = 0
    }

    /// A patch that begins at `start` has the byte at `offset`.
    private func reaches(_ start: UInt16, _ offset: UInt16) -> Bool {
        starts[start].map { Int(offset - start) < $0.kind.length } ?? false
    }

    /// Some patch has the byte at `offset`.
    func isPatched(_ offset: UInt16) -> Bool {
        reaches(offset, offset) || offset > 0 && reaches(offset - 1, offset)
    }

    /// A patch of this kind that begins at `offset` would take a byte that one of another kind has.
    func hasOther(than kind: PatchTable.Kind, at offset: UInt16) -> Bool {
        (Int(offset)..<min(Int(offset) + kind.length, Self.size)).contains { place in
            mask[place] != 0 && planted[place] != kind.byte
        }
    }

    /// Some byte of them is a patch's.
    func covers(_ offsets: Range<Int>) -> Bool {
        let offsets = offsets.clamped(to: reach)
        for offset in offsets where mask[offset] != 0 { return true }
        return false
    }

    /// The bytes that are a patch's, in order.
    func offsets(in range: Range<Int> = 0..<PatchPage.size) -> [UInt16] {
        range.filter { mask[$0] != 0 }.map { UInt16($0) }
    }

    /// Every byte that is a patch's stands in `page`, which is of a page's size.
    func isIntact(_ page: UnsafeRawBufferPointer) -> Bool {
        mask.withUnsafeBytes { mask in
            planted.withUnsafeBytes { planted in
                guard page.count == mask.count else { return false }
                var differences: UInt64 = 0
                for offset in stride(from: reach.lowerBound, to: reach.upperBound, by: 8) {
                    // SAFETY: all three are of a page's size, a multiple of 8.
                    let found = page.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    // SAFETY: as above.
                    let wanted = planted.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    // SAFETY: as above.
                    let patched = mask.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    differences |= (found ^ wanted) & patched
                }
                return differences == 0
            }
        }
    }
}
