import DebugTarget
import Synchronization
public import X86

/// Where a search looks.
public enum SearchRange: Sendable, Hashable {
    /// All RAM, by guest-physical address.
    case everything
    /// From an address to the last one, through the page tables unless it is physical.
    case range(Address, count: UInt64)
}

/// What a search found.
public struct SearchResult: Sendable, Hashable {
    /// In the form of the range's address.
    public var matches: [Address] = []
    /// Bytes that were looked at.
    public var searched: UInt64 = 0
    /// Bytes of the range that could not be read.
    public var unreadable: UInt64 = 0
    public var end = LookEnd.complete
}

extension Debugger {
    /// Bytes looked at between two looks for the user's wish to stop.
    private static let searchStep = 16 << 20

    /// Finds all places where `pattern` stands, at the speed of the C library's search: RAM of ours is searched
    /// where it is. A match may lie across pages wherever they are. What cannot be read is passed over.
    ///
    /// - Parameters:
    ///   - limit: of matches.
    ///   - shouldStop: asked every few MiB; true ends it, with what was found so far.
    /// - Throws: `.outOfRange` for an empty pattern, `.badAddress` for a range that stands for nothing.
    public func find(
        _ pattern: [UInt8], in range: SearchRange, limit: Int, vcpu id: Int? = nil,
        shouldStop: () -> Bool = { false }
    ) throws(DebuggerError) -> SearchResult {
        guard !pattern.isEmpty else { throw DebuggerError(.outOfRange, "there is nothing to find") }
        var matcher = Matcher(pattern, limit: limit)
        var result = SearchResult()
        let place = try extents(of: range, vcpu: id)
        let isComplete = place.forEach(
            searched, step: Self.searchStep, shouldStop: shouldStop
        ) { bytes, address in
            matcher.feed(bytes, at: address)
            result.searched &+= UInt64(bytes.count)
            return !matcher.isFull
        }
        result.end = isComplete ? .complete : matcher.isFull ? .limit : .interrupted
        result.unreadable = isComplete ? place.count &- result.searched : 0
        result.matches = matcher.found.prefix(limit).map(place.name)
        return result
    }

    /// The CRC-32 of a range.
    /// - Throws: `.unreadable` where any byte cannot be read; `.interrupted`.
    public func crc32(
        _ address: Address, count: UInt64, vcpu id: Int? = nil, shouldStop: () -> Bool = { false }
    ) throws(DebuggerError) -> UInt32 {
        var crc = CRC32()
        let place = try extents(of: .range(address, count: count), vcpu: id)
        var next = place.start
        let isComplete = place.forEach(
            searched, step: Self.searchStep, shouldStop: shouldStop
        ) { bytes, address in
            guard address == next else { return false }
            crc.feed(bytes)
            next = address &+ UInt64(bytes.count)
            return true
        }
        guard next == place.start &+ place.count else {
            if isComplete || !shouldStop() {
                let missing = address.advanced(by: Int(truncatingIfNeeded: next &- place.start))
                throw DebuggerError(
                    .unreadable, "\(missing) cannot be read, so there is no checksum of the whole range")
            }
            throw DebuggerError(.interrupted, "the checksum was interrupted")
        }
        return crc.value
    }

    /// A search looks at too much to be remembered.
    private var searched: any PhysicalMemory {
        if isRevisiting { return memoryInSight }
        // Lent memory would show the patches of breakpoints.
        return patching.table.isEmpty.load(ordering: .acquiring) ? target.memory : memory
    }

    private func extents(
        of range: SearchRange, vcpu id: Int?
    ) throws(DebuggerError) -> Extents {
        let regions = searched.regions.sorted { $0.gpa < $1.gpa }
        switch range {
        case .everything:
            let ram = regions.map { Extents.Piece(address: $0.gpa, gpa: $0.gpa, count: $0.size) }
            let total = ram.reduce(UInt64(0)) { $0 &+ $1.count }
            return Extents(start: 0, count: total, regions: regions, pieces: ram) { .physical($0) }
        case .range(.physical(let gpa), let count):
            let wanted = min(count, UInt64.max &- gpa)
            return Extents(
                start: gpa, count: wanted, regions: regions,
                pieces: [Extents.Piece(address: gpa, gpa: gpa, count: wanted)]
            ) { .physical($0) }
        case .range(let address, let count):
            let snapshot = try known(id)
            let start = try linear(address, vcpu: id)
            let scan = PageScan(snapshot.special, features: pagingFeatures(of: snapshot))
            guard count > 0, start <= scan.everything.upperBound else {
                return Extents(start: start, count: 0, regions: regions, pieces: []) { .linear($0) }
            }
            let last = start &+ min(count &- 1, scan.everything.upperBound &- start)
            return Extents(
                start: start, count: last &- start &+ 1, regions: regions,
                scan: (scan, start...last)
            ) { found in
                address.advanced(by: Int(truncatingIfNeeded: found &- start))
            }
        }
    }
}

/// Where the bytes of a range are.
private struct Extents {
    struct Piece {
        /// As the user counts.
        var address: UInt64
        var gpa: UInt64
        var count: UInt64
    }

    let start: UInt64
    let count: UInt64
    let regions: [MemoryRegion]
    var pieces: [Piece] = []
    /// Instead of pieces: those that the page tables give.
    var scan: (PageScan, ClosedRange<UInt64>)?
    let name: (UInt64) -> Address

    init(
        start: UInt64, count: UInt64, regions: [MemoryRegion], pieces: [Piece] = [],
        scan: (PageScan, ClosedRange<UInt64>)? = nil, name: @escaping (UInt64) -> Address
    ) {
        self.start = start
        self.count = count
        self.regions = regions
        self.pieces = pieces
        self.scan = scan
        self.name = name
    }

    /// Lends all bytes that can be read, in order, `step` at most at once.
    /// - Returns: false if `body` or `shouldStop` ended it.
    func forEach(
        _ memory: any PhysicalMemory, step: Int, shouldStop: () -> Bool,
        _ body: (UnsafeRawBufferPointer, UInt64) -> Bool
    ) -> Bool {
        guard let (scan, range) = scan else {
            return pieces.allSatisfy { lend($0, memory, step, shouldStop, body) }
        }
        var run: PageRun?
        var tables = 0
        let isComplete = scan.forEach(in: range) { gpa, buffer in
            do {
                try memory.read(gpa, into: buffer)
                return true
            } catch {
                return false
            }
        } visit: { item in
            switch item {
            case .table:
                tables &+= 1
                return tables & 0x3F != 0 || !shouldStop()
            case .page(let page):
                if run?.follow(page) == true { return true }
                let done = run
                run = PageRun(page)
                return done.map { lend(piece($0, range), memory, step, shouldStop, body) } ?? true
            case .reservedBits, .unreadable: return true
            }
        }
        guard isComplete else { return false }
        return run.map { lend(piece($0, range), memory, step, shouldStop, body) } ?? true
    }

    /// The part of a run that lies in the range.
    private func piece(_ run: PageRun, _ range: ClosedRange<UInt64>) -> Piece {
        let first = max(run.linear, range.lowerBound)
        let last = min(run.last, range.upperBound)
        return Piece(
            address: first, gpa: run.mapping.gpa &+ (first &- run.linear), count: last &- first &+ 1)
    }

    private func lend(
        _ piece: Piece, _ memory: any PhysicalMemory, _ step: Int, _ shouldStop: () -> Bool,
        _ body: (UnsafeRawBufferPointer, UInt64) -> Bool
    ) -> Bool {
        for region in regions {
            let first = max(piece.gpa, region.gpa)
            let end = min(piece.gpa &+ piece.count, region.gpa &+ region.size)
            var place = first
            while place < end {
                if shouldStop() { return false }
                let count = Int(min(end - place, UInt64(step)))
                let address = piece.address &+ (place &- piece.gpa)
                guard lend(memory, place, count, { body($0, address) }) else { return false }
                place += UInt64(count)
            }
        }
        return true
    }

    /// A part of one region: where it is, or in copies that stay in the processor's cache.
    private func lend(
        _ memory: any PhysicalMemory, _ gpa: UInt64, _ count: Int, _ body: (UnsafeRawBufferPointer) -> Bool
    ) -> Bool {
        if let memory = memory as? any LendingMemory {
            // A region that went meanwhile has nothing to find.
            return (try? memory.withBytes(gpa, count: count, body)) ?? true
        }
        var copy = [UInt8](repeating: 0, count: count)
        return copy.withUnsafeMutableBytes { buffer in
            do {
                try memory.read(gpa, into: buffer)
            } catch {
                return true
            }
            return body(UnsafeRawBufferPointer(buffer))
        }
    }
}

extension PageRun {
    /// Takes in the page after if it lies after in physical memory, whatever it allows.
    fileprivate mutating func follow(_ page: MappedPage) -> Bool {
        guard page.linear == last &+ 1, page.mapping.gpa == mapping.gpa &+ (last &- linear) &+ 1 else {
            return false
        }
        last = page.lastLinear
        pages += 1
        return true
    }
}
