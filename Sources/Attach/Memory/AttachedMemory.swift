import CLinux
public import DebugTarget
import KVMCore
import Locking

/// The memory of another program's guest, through the VMM's own mapping of it.
public final class AttachedMemory: PhysicalMemory {
    private let process: Int32
    private struct State {
        var map: GuestMemoryMap
        /// CLOCK_MONOTONIC, nanoseconds.
        var taken: UInt64
        /// Takes a newer map, if there is one.
        var look: (@Sendable () -> Void)?
    }
    private let state: Lock<State>

    init(process: Int32, map: GuestMemoryMap) {
        self.process = process
        state = Lock(State(map: map, taken: monotonicTime()))
    }

    /// Where the map comes from, and whether that was checked.
    public var source: GuestMemoryMap.Source { state.withLock { $0.map.source } }
    public var regions: [MemoryRegion] { state.withLock { $0.map.regions } }
    /// How long ago the map was taken.
    var age: Duration {
        .nanoseconds(Int64(clamping: monotonicTime() &- state.withLock { $0.taken }))
    }

    /// Takes a newer map.
    func replace(_ newer: GuestMemoryMap) {
        let now = monotonicTime()
        state.withLock {
            $0.map = newer
            $0.taken = now
        }
    }

    /// What is to be done where the map may be an old one: the VMM plugs memory in and out at any time, also while its
    /// vCPUs are stopped, and what was the guest's may be something else of the VMM's then.
    func onDoubt(_ look: @escaping @Sendable () -> Void) { state.withLock { $0.look = look } }

    private func doubt(olderThan limit: Duration) {
        guard age >= limit else { return }
        state.withLock(\.look)?()
    }

    /// A map as old as this is looked at again where it has nothing at an address, and before a write.
    private static let missLimit = Duration.milliseconds(10)
    private static let writeLimit = Duration.milliseconds(1)

    /// The map was taken again, and is the same.
    func confirm() {
        let now = monotonicTime()
        state.withLock { $0.taken = now }
    }

    public func read(_ gpa: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        // Mostly it is all in one slot.
        if let hva = address(gpa, count: buffer.count) {
            let count = clinux_process_read(process, hva, buffer.baseAddress, buffer.count)
            if count != buffer.count { throw MemoryFault(gpa: gpa &+ UInt64(max(0, count))) }
            return
        }
        for piece in try surePieces(gpa, buffer.count) {
            // SAFETY: the pieces lie one after the other in the buffer.
            let count = clinux_process_read(
                process, piece.hva, buffer.baseAddress.map { $0 + piece.offset }, piece.count)
            if count != piece.count { throw MemoryFault(gpa: gpa &+ UInt64(piece.offset + max(0, count))) }
        }
    }

    public func write(_ gpa: UInt64, _ bytes: UnsafeRawBufferPointer) throws(MemoryFault) {
        doubt(olderThan: Self.writeLimit)
        let pieces = try surePieces(gpa, bytes.count)
        // Nothing is written if anything cannot be: what was there is put back. Reading it finds most of what is amiss.
        var before = [UInt8](repeating: 0, count: bytes.count)
        var fault: MemoryFault?
        before.withUnsafeMutableBytes { buffer in
            do throws(MemoryFault) { try read(gpa, into: buffer) } catch { fault = error }
        }
        if let fault { throw fault }
        for piece in pieces {
            // SAFETY: as above.
            let count = clinux_process_write(
                process, piece.hva, bytes.baseAddress.map { $0 + piece.offset }, piece.count)
            guard count != piece.count else { continue }
            for written in pieces where written.offset <= piece.offset {
                let length = written.offset == piece.offset ? max(0, count) : written.count
                _ = before.withUnsafeBytes {
                    // SAFETY: as above; `before` is as long as `bytes`.
                    clinux_process_write(
                        process, written.hva, $0.baseAddress.map { $0 + written.offset }, length)
                }
            }
            throw MemoryFault(gpa: gpa &+ UInt64(piece.offset + max(0, count)))
        }
    }

    /// Where a range is that does not cross slots.
    func address(_ gpa: UInt64, count: Int) -> UInt64? {
        state.withLock { state in
            for region in state.map.regions where gpa >= region.gpa && gpa - region.gpa < region.size {
                let offset = gpa - region.gpa
                return UInt64(count) <= region.size - offset ? region.hva &+ offset : nil
            }
            return nil
        }
    }

    private struct Piece {
        var hva: UInt64
        var offset: Int
        var count: Int
    }

    private func surePieces(_ gpa: UInt64, _ count: Int) throws(MemoryFault) -> [Piece] {
        do {
            return try pieces(gpa, count)
        } catch {
            doubt(olderThan: Self.missLimit)
            return try pieces(gpa, count)
        }
    }

    /// The range, cut where slots end.
    private func pieces(_ gpa: UInt64, _ count: Int) throws(MemoryFault) -> [Piece] {
        let regions = self.regions
        var pieces = [Piece]()
        var done = 0
        while done < count {
            let (at, overflow) = gpa.addingReportingOverflow(UInt64(done))
            guard !overflow, let region = regions.first(where: { at >= $0.gpa && at - $0.gpa < $0.size })
            else {
                throw MemoryFault(gpa: at)
            }
            let left = region.size - (at - region.gpa)
            let length = Int(min(left, UInt64(count - done)))
            pieces.append(Piece(hva: region.hva &+ (at - region.gpa), offset: done, count: length))
            done += length
        }
        return pieces
    }
}
