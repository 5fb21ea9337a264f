import KVMCore

/// How much slower this host is than those that the tests' limits and rounds were written for.
///
/// Measured once a process by the exits of a guest, whatever host it is: where the processor is emulated, an exit of its
/// guests costs many times what it costs elsewhere, and all else with it.
public enum HostPace {
    /// What an exit to user space costs where the limits were written.
    private static let usual = Duration.microseconds(15)

    /// 1 to 100; 1 where there is no KVM, and so no guest to wait for.
    public static let factor: Double = {
        guard let cost = try? exitCost() else { return 1 }
        return min(max(cost / usual, 1), 100)
    }()

    /// So many rounds, or fewer on a slow host, but enough to see what they are there for.
    public static func rounds(_ count: Int, atLeast least: Int) -> Int {
        max(Int(Double(count) / factor), min(least, count))
    }

    /// So many minutes, and more on a slow host, for a test's limit.
    public static func minutes(_ count: Int) -> Int { Int((Double(count) * factor).rounded(.up)) }

    /// The median of some exits: others on the host do not count.
    private static func exitCost() throws -> Duration {
        // out 0x80, al; jmp $-2
        let vcpu = try CodeGuest([0xE6, 0x80, 0xEB, 0xFC]).vcpus[0]
        let clock = ContinuousClock()
        var costs: [Duration] = []
        for _ in 0..<101 {
            let start = clock.now
            _ = try vcpu.run()
            costs.append(clock.now - start)
        }
        return costs.sorted()[costs.count / 2]
    }
}

extension Duration {
    /// So many seconds where the limits were written, and more on a host that is slower.
    public static func paced(_ seconds: Int) -> Duration { .seconds(Double(seconds) * HostPace.factor) }
}
