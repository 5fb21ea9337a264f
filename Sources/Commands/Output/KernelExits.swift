import DebugTarget
import Debugger
import KVMCore

/// What the kernel has counted of the exits of a guest that another program runs, since its VM was made.
public struct KernelExits: Sendable, Hashable, Encodable {
    public struct Counter: Sendable, Hashable, Encodable {
        /// The kernel's name: `exits`, `io_exits`, ...
        public var name: String
        /// Over all vCPUs.
        public var count: UInt64
        /// By vCPU, in the order of the list of vCPUs.
        public var vcpus: [UInt64]
    }
    /// Those that are not zero, the most frequent first.
    public var counters: [Counter]
    /// Why there are none.
    public var failure: String?

    init(failure: String) {
        counters = []
        self.failure = failure
    }

    /// The counters of exits among a vCPU's. Source: kvm_vcpu_stats_desc in arch/x86/kvm/x86.c.
    init(_ statistics: [KernelStatistics]) {
        let vcpus = statistics.filter { $0.vcpu != nil }
        var names: [String] = []
        for value in vcpus.flatMap(\.values) where Self.counts(value.name) && !names.contains(value.name) {
            names.append(value.name)
        }
        let all = names.map { name in
            let each = vcpus.map { vcpu in vcpu.values.first { $0.name == name }?.values.first ?? 0 }
            return Counter(name: name, count: each.reduce(0, &+), vcpus: each)
        }
        counters = all.filter { $0.count > 0 }.sorted { ($1.count, $0.name) < ($0.count, $1.name) }
    }

    private static func counts(_ name: String) -> Bool {
        // Times of the guest that the kernel calls so, too: none ends in `exits`.
        name == "exits" || name.hasSuffix("_exits")
    }

    func lines(width: Int) -> [StyledLine] {
        var lines = [
            StyledLine(),
            StyledLine("Counted by the kernel since the VM was made (KVM_GET_STATS_FD):", .heading),
        ]
        if let failure { return lines + [StyledLine("they cannot be read: \(failure)", .warning)] }
        guard !counters.isEmpty else {
            return lines + [StyledLine("none: this KVM has counted no exit of it.", .dim)]
        }
        var table = TextTable(["Counter", "Count"], rightAligned: [1])
        for counter in counters { table.add([.init(counter.name, .symbol), .init(grouped(counter.count))]) }
        lines += table.lines(width: width, dropping: [])
        lines.append(
            StyledLine(
                "Not counted there: exits by any other reason but in `exits`, how long they took, and what a KVM that "
                    + "emulates the guest's code does without leaving it.", .dim))
        return lines
    }
}
