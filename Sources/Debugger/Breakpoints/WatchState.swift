import DebugTarget
import Locking
import X86

/// What drivers need of one watchpoint.
final class WatchState: Sendable {
    /// Watched bytes that lie together in physical memory.
    struct Piece: Sendable, Hashable {
        var gpa: UInt64
        /// Of the watched range.
        var offset: Int
        var count: Int
    }

    let counter: BreakpointState
    let address: Address
    /// The linear address where there is one: what a debug register compares.
    let linear: UInt64?
    let access: Breakpoint.Access
    let pieces: [Piece]
    let length: Int
    let mechanism: Breakpoint.Mechanism
    /// The bytes as they last were, where only a comparison shows a write.
    private let shadow: Lock<[UInt8]>

    init(
        counter: BreakpointState, address: Address, linear: UInt64?, access: Breakpoint.Access,
        pieces: [Piece], length: Int, mechanism: Breakpoint.Mechanism
    ) {
        self.counter = counter
        self.address = address
        self.linear = linear
        self.access = access
        self.pieces = pieces
        self.length = length
        self.mechanism = mechanism
        shadow = Lock([])
    }

    func with(_ counter: BreakpointState) -> WatchState {
        WatchState(
            counter: counter, address: address, linear: linear, access: access, pieces: pieces,
            length: length, mechanism: mechanism)
    }

    /// The most bytes that are compared.
    static let largestShadow = 4096

    /// Takes the bytes as they are now.
    func remember(_ memory: any PhysicalMemory) {
        let now = read(memory)
        shadow.withLock { $0 = now }
    }

    /// Takes the bytes as they are now, and says what an instruction did to them; nil where it did nothing.
    ///
    /// - Parameters:
    ///   - accesses: what the instruction accessed, as far as it is known. A write counts, whether it changed anything
    ///     or not, as it does for the processor.
    ///   - isMatched: a debug register says that there was an access.
    func judge(
        _ memory: any PhysicalMemory, _ accesses: [MemoryAccess] = [], isMatched: Bool = false
    ) -> WatchHit? {
        let now = read(memory)
        let before = shadow.withLock { shadow in
            defer { shadow = now }
            return shadow
        }
        let isComparable = before.count == now.count
        let changed = isComparable ? now.indices.filter { before[$0] != now[$0] } : []
        func old(_ offset: Int, _ count: Int) -> UInt64? {
            isComparable && offset + count <= before.count ? Self.value(before, offset, count) : nil
        }
        for one in accesses where access.includes(write: one.isWrite) {
            guard let part = overlap(one.gpa, one.count), changed.isEmpty || one.isWrite else { continue }
            let range = part.offset..<part.offset + part.count
            guard changed.isEmpty || changed.contains(where: range.contains), range.upperBound <= now.count
            else { continue }
            let count = min(part.count, 8)
            return hit(
                isWrite: one.isWrite, offset: part.offset, count: count, old: old(part.offset, count),
                new: Self.value(now, part.offset, count),
                extent: extent(part.offset - part.place, one.count))
        }
        if let first = changed.first, let last = changed.last {
            let count = min(last - first + 1, 8)
            return hit(
                isWrite: true, offset: first, count: count, old: old(first, count),
                new: Self.value(now, first, count))
        }
        guard isMatched else { return nil }
        let count = min(now.count, 8)
        return hit(
            isWrite: access == .write, offset: 0, count: count, old: old(0, count),
            new: Self.value(now, 0, count))
    }

    func hit(
        isWrite: Bool, offset: Int, count: Int, old: UInt64?, new: UInt64, extent: WatchHit.Extent? = nil
    ) -> WatchHit {
        WatchHit(
            number: counter.number, isWrite: isWrite, address: address.advanced(by: offset), length: count,
            old: old, new: new, extent: extent)
    }

    /// An access that begins so far from the first watched byte.
    func extent(_ offset: Int, _ count: Int) -> WatchHit.Extent {
        WatchHit.Extent(address: address.advanced(by: offset), length: count)
    }

    /// The part of an access that is watched: where in the watched range, where in the access, how much.
    func overlap(_ gpa: UInt64, _ count: Int) -> (offset: Int, place: Int, count: Int)? {
        for piece in pieces {
            let start = max(gpa, piece.gpa)
            let end = min(gpa &+ UInt64(count), piece.gpa &+ UInt64(piece.count))
            guard start < end else { continue }
            return (piece.offset + Int(start - piece.gpa), Int(start - gpa), Int(end - start))
        }
        return nil
    }

    /// What its debug registers cover.
    var linearRange: Range<UInt64> {
        guard let linear, linear <= .max - UInt64(length) else { return 0..<0 }
        return linear..<linear + UInt64(length)
    }

    var pages: Set<UInt64> {
        var pages: Set<UInt64> = []
        for piece in pieces {
            var page = piece.gpa & ~0xFFF
            while page < piece.gpa &+ UInt64(piece.count) {
                pages.insert(page)
                page += 4096
            }
        }
        return pages
    }

    private func read(_ memory: any PhysicalMemory) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: min(length, Self.largestShadow))
        bytes.withUnsafeMutableBytes { buffer in
            for piece in pieces where piece.offset + piece.count <= buffer.count {
                // SAFETY: the range was compared with the buffer's size, and the part is used in this closure only.
                let part = UnsafeMutableRawBufferPointer(
                    rebasing: buffer[piece.offset..<piece.offset + piece.count])
                try? memory.read(piece.gpa, into: part)
            }
        }
        return bytes
    }

    private static func value(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
    }
}
