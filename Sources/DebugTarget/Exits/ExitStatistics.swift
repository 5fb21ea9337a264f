import Glibc

/// How often, and for how long.
public struct ExitCount: Sendable, Hashable {
    public var count: UInt64 = 0
    /// Nanoseconds spent in handling them, all together.
    public var handling: UInt64 = 0
    /// The longest handling, in nanoseconds.
    public var maximumHandling: UInt64 = 0
    /// Nanoseconds in KVM_RUN before them, all together.
    public var guest: UInt64 = 0

    public init(count: UInt64 = 0, handling: UInt64 = 0, maximumHandling: UInt64 = 0, guest: UInt64 = 0) {
        self.count = count
        self.handling = handling
        self.maximumHandling = maximumHandling
        self.guest = guest
    }

    /// Nanoseconds of handling an exit, on average; zero when there was none.
    public var averageHandling: UInt64 { count == 0 ? 0 : handling / count }

    public mutating func add(_ other: ExitCount) {
        count &+= other.count
        handling &+= other.handling
        maximumHandling = max(maximumHandling, other.maximumHandling)
        guest &+= other.guest
    }
}

/// All counts at one moment: what `info exits` and the exits pane are made from.
public struct ExitStatistics: Sendable, Hashable {
    public struct Row: Sendable, Hashable {
        public var key: ExitKey
        public var count: ExitCount
        public init(key: ExitKey, count: ExitCount) {
            self.key = key
            self.count = count
        }
    }

    public struct PerVCPU: Sendable, Hashable {
        public var vcpu: Int
        /// The most frequent first; equal counts by name.
        public var rows: [Row]
        public var total: ExitCount

        public init(vcpu: Int, rows: [Row]) {
            self.vcpu = vcpu
            self.rows = ExitStatistics.sorted(rows)
            self.total = rows.reduce(into: ExitCount()) { $0.add($1.count) }
        }
    }

    /// When, in CLOCK_MONOTONIC nanoseconds.
    public var time: UInt64
    /// By id.
    public var vcpus: [PerVCPU]
    /// Over all vCPUs, the most frequent first.
    public var rows: [Row]
    public var overall: ExitCount

    public init(time: UInt64, vcpus: [PerVCPU]) {
        self.time = time
        self.vcpus = vcpus
        var merged: [ExitKey: ExitCount] = [:]
        var overall = ExitCount()
        for vcpu in vcpus {
            overall.add(vcpu.total)
            for row in vcpu.rows { merged[row.key, default: ExitCount()].add(row.count) }
        }
        self.rows = Self.sorted(merged.map { Row(key: $0.key, count: $0.value) })
        self.overall = overall
    }

    private static func sorted(_ rows: [Row]) -> [Row] {
        rows.map { (row: $0, name: $0.key.name) }
            .sorted {
                $0.row.count.count != $1.row.count.count
                    ? $0.row.count.count > $1.row.count.count : $0.name < $1.name
            }
            .map(\.row)
    }

    public func vcpu(_ id: Int) -> PerVCPU? { vcpus.first { $0.vcpu == id } }

    /// Counts of one key, over all vCPUs or of one; zero where there is none.
    public func count(of key: ExitKey, vcpu id: Int? = nil) -> ExitCount {
        let rows = id.map { vcpu($0)?.rows ?? [] } ?? rows
        return rows.first { $0.key == key }?.count ?? ExitCount()
    }

    /// Exits a second since `earlier`: of one key or of all, on one vCPU or on all. Counts that went back, as
    /// after a reset, are taken from zero.
    public func rate(of key: ExitKey? = nil, vcpu id: Int? = nil, since earlier: ExitStatistics) -> Double {
        guard time > earlier.time else { return 0 }
        let (new, old) = (counted(key, id), earlier.counted(key, id))
        let difference = new >= old ? new - old : new
        return Double(difference) * 1e9 / Double(time - earlier.time)
    }

    private func counted(_ key: ExitKey?, _ id: Int?) -> UInt64 {
        if let key { return count(of: key, vcpu: id).count }
        return id.map { vcpu($0)?.total.count ?? 0 } ?? overall.count
    }
}
