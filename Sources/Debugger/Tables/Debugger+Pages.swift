import DebugTarget
public import X86

/// Why a long look at the guest ended.
public enum LookEnd: String, Sendable, Hashable {
    /// There is no more.
    case complete
    /// As much as was asked for, and there is more.
    case limit
    /// The user asked to stop it.
    case interrupted
}

/// What the page tables map, and where they are broken.
public struct PageMap: Sendable, Hashable {
    /// How neighbouring pages are taken together.
    public enum Grouping: Sendable, Hashable {
        /// Each page by itself.
        case pages
        /// Those that allow the same.
        case permissions
        /// Those that allow the same and follow one another in physical memory, too.
        case physical
    }

    /// An entry that maps nothing though it is present.
    public struct Flaw: Sendable, Hashable {
        public var linear: UInt64
        public var text: String
    }

    public var mode: PagingMode
    public var runs: [PageRun] = []
    /// A thousand at most.
    public var flaws: [Flaw] = []
    /// All that were met.
    public var flawCount = 0
    public var end = LookEnd.complete
}

extension Debugger {
    /// The most flaws that a ``PageMap`` keeps.
    static let maximumFlaws = 1000

    /// What CPUID says of paging: asked for once, when paging is met and the vCPU is stopped.
    func pagingFeatures(of snapshot: VCPUSnapshot) -> PagingFeatures {
        pagingFeatures(vcpu: snapshot.id, isPaging: snapshot.special.cr0.contains(.pg))
    }

    func pagingFeatures(vcpu id: Int, isPaging: Bool) -> PagingFeatures {
        guard isPaging else { return PagingFeatures() }
        for known in live.paging where known.vcpu == id { return known.features }
        guard !isRunning, let table = try? cpuid(vcpu: id) else { return PagingFeatures() }
        live.paging.append((id, table.pagingFeatures))
        return table.pagingFeatures
    }

    /// What the page tables map in a range of linear addresses.
    /// - Parameters:
    ///   - limit: of runs.
    ///   - shouldStop: asked now and then; true ends it.
    public func pageMap(
        in range: ClosedRange<UInt64>? = nil, grouping: PageMap.Grouping, limit: Int, vcpu id: Int? = nil,
        shouldStop: () -> Bool = { false }
    ) throws(DebuggerError) -> PageMap {
        let snapshot = try known(id)
        let scan = PageScan(snapshot.special, features: pagingFeatures(of: snapshot))
        var map = PageMap(mode: scan.mode)
        var current: PageRun?
        scanPages(scan, in: range ?? scan.everything, shouldStop: shouldStop) { item in
            switch item {
            case .table: return true
            case .page(let page):
                if grouping != .pages, current?.extend(page, contiguous: grouping == .physical) == true {
                    return true
                }
                if let done = current { map.runs.append(done) }
                current = nil
                guard map.runs.count < limit else {
                    map.end = .limit
                    return false
                }
                current = PageRun(page)
            case .reservedBits(let level, let linear, let mask):
                map.add(linear, "reserved bits \(hex(mask)) are set in its \(level.rawValue)")
            case .unreadable(let level, let linear, let gpa):
                map.add(linear, "no memory at \(hex(gpa)), where its table of \(level.rawValue)s should be")
            }
            return true
        } interrupted: {
            map.end = .interrupted
        }
        if let current { map.runs.append(current) }
        return map
    }

    /// The linear addresses that lead to a guest-physical one, in order.
    public func linearAddresses(
        of gpa: UInt64, limit: Int, vcpu id: Int? = nil, shouldStop: () -> Bool = { false }
    ) throws(DebuggerError) -> (pages: [MappedPage], end: LookEnd) {
        let snapshot = try known(id)
        let scan = PageScan(snapshot.special, features: pagingFeatures(of: snapshot))
        var found: [MappedPage] = []
        var end = LookEnd.complete
        scanPages(scan, in: scan.everything, shouldStop: shouldStop) { item in
            guard case .page(let page) = item, gpa &- page.mapping.gpa < page.size else { return true }
            guard found.count < limit else {
                end = .limit
                return false
            }
            found.append(page)
            return true
        } interrupted: {
            end = .interrupted
        }
        return (found, end)
    }

    /// Scans, and asks every few thousand items whether to go on.
    func scanPages(
        _ scan: PageScan, in range: ClosedRange<UInt64>, shouldStop: () -> Bool,
        visit: (PageScan.Item) -> Bool, interrupted: () -> Void
    ) {
        let memory = memoryInSight
        var count = 0
        scan.forEach(in: range) { gpa, buffer in
            do {
                try memory.read(gpa, into: buffer)
                return true
            } catch {
                return false
            }
        } visit: { item in
            count &+= 1
            if count & 0xFFF == 0, shouldStop() {
                interrupted()
                return false
            }
            return visit(item)
        }
    }
}

extension PageMap {
    fileprivate mutating func add(_ linear: UInt64, _ text: String) {
        flawCount += 1
        if flaws.count < Debugger.maximumFlaws { flaws.append(Flaw(linear: linear, text: text)) }
    }
}
