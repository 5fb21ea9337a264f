/// The patches of one page. Arrays of a page's size, because they are asked at every step.
// SAFETY: a page belongs to one table, which uses it under its lock alone.
final class PatchPage: @unchecked Sendable {
    static let size = 4096

    /// How many breakpoints want a patch, by its offset.
    var starts: [UInt16: Int] = [:]
    /// Something keeps the guest from writing here.
    var isGuarded = false
    /// No patch's byte lies outside, a multiple of 8 at both ends: pages are looked through at every stop.
    private var reach = 0..<0
    /// All ones for a byte that is a patch's.
    private var mask = [UInt8](repeating: 0, count: PatchPage.size)
    /// What patched bytes hide.
    private var hidden = [UInt8](repeating: 0, count: PatchPage.size)

    /// What the byte at `offset` hides; nil for one that is no patch's.
    subscript(offset: UInt16) -> UInt8? {
        get { mask[Int(offset)] != 0 ? hidden[Int(offset)] : nil }
        set {
            mask[Int(offset)] = newValue == nil ? 0 : .max
            hidden[Int(offset)] = newValue ?? 0
            guard newValue != nil else { return }
            let word = Int(offset) & ~7
            reach =
                reach.isEmpty
                ? word..<word + 8 : min(reach.lowerBound, word)..<max(reach.upperBound, word + 8)
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

    /// Every byte that is a patch's is `byte` in `page`, which is of a page's size.
    func isIntact(_ page: UnsafeRawBufferPointer, _ byte: UInt8) -> Bool {
        let wanted = UInt64(byte) &* 0x0101_0101_0101_0101
        return mask.withUnsafeBytes { mask in
            guard page.count == mask.count else { return false }
            var differences: UInt64 = 0
            for offset in stride(from: reach.lowerBound, to: reach.upperBound, by: 8) {
                // SAFETY: both are of a page's size, a multiple of 8.
                let found = page.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                // SAFETY: as above.
                let patched = mask.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                differences |= (found ^ wanted) & patched
            }
            return differences == 0
        }
    }
}
