import Monitor

extension RecordedHost {
    /// Three guests, one of them idle, with exits of every kind.
    package static func busy() -> RecordedHost {
        let host = RecordedHost()
        host.add(1200, "web", vcpus: 2, ram: 4 << 30)
        host.add(1300, "db \"primary\"\u{1B}[31m\n", ram: 16 << 30)
        host.add(1400, "idle", ram: nil)
        return host
    }

    /// A second of theirs; `step` makes one differ from the next.
    package func passBusily(_ step: UInt64 = 0) {
        pass()
        count(.vmx(1201, 12), 40, each: 5_000_000)
        count(.vmx(1201, 30), 300 + step * 10, each: 2000 + step)
        count(.vmx(1201, 48), 120, each: 800)
        count(.vmx(1202, 32), 90, each: 1100)
        count(.vmx(1202, 1), 5, each: 60_000)
        count(CounterKey(1201, .userspaceExit, 2), 300, each: 9000)
        count(CounterKey(1201, .port, CounterKey.write | 0x3F8), 280)
        count(CounterKey(1201, .port, 0x3FD), 20)
        count(CounterKey(1202, .msr, CounterKey.write | 0x6E0), 90)
        count(CounterKey(1202, .interrupt, 0x31), 12)
        count(CounterKey(1202, .halt, 0), 3, each: 900)
        count(CounterKey(1202, .halt, 1), 1, each: 400_000)
        count(CounterKey(1301, .userspaceExit, 6), 25)
        count(CounterKey(1301, .emulation, 6), 25, each: 1500)
        count(CounterKey(1301, .mmio, CounterKey.mmioWrite | 0xFEB00), 25)
        lastExits = [1201: 2, 1301: 6]
        use(1201, guest: 60, kernel: 20, user: 5, onCPU: 850_000_000, waiting: 120_000_000, cpu: 1)
        use(1202, guest: 10, kernel: 2, user: 0, onCPU: 120_000_000, waiting: 0)
        use(1301, guest: 1, kernel: 0, user: 1, onCPU: 20_000_000, waiting: 0)
        use(1401, guest: 0, kernel: 0, user: 0, onCPU: 0, waiting: 0)
    }
}
