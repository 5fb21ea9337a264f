package import Host
package import Monitor

/// A host as it was, step by step: what sources and /proc would say, without either.
package final class RecordedHost: ExitSource, GuestDirectory {
    package let badge: SourceBadge
    package let names: ExitNames
    package var listed: [MonitoredGuest] = []
    package var counters: [CounterKey: Counter] = [:]
    package var losses = Losses()
    package var processes: [Int32: Int32] = [:]
    package var lastExits: [Int32: UInt64] = [:]
    /// Nanoseconds.
    package var time: UInt64 = 1_000_000_000
    package var threads: [Int32: ThreadSample] = [:]
    package var hidden = 0
    package var mayHaveChanged = true
    package private(set) var forgotten: Set<Int32> = []
    package private(set) var listings = 0

    package init(_ kernel: KernelFormats = .v61, way: SourceBadge.Way = .bpf) {
        names = KVMEvents { kernel.text($0) }.names
        badge = SourceBadge(way)
    }

    package func read() throws(MonitorError) -> CounterSnapshot {
        CounterSnapshot(
            time: time, counters: counters.map { (key: $0.key, counter: $0.value) }, losses: losses,
            processes: processes, lastExits: lastExits)
    }

    package func forget(_ threads: Set<Int32>) {
        forgotten.formUnion(threads)
        counters = counters.filter { !threads.contains($0.key.thread) }
    }

    package func guests() -> (guests: [MonitoredGuest], hidden: Int) {
        listings += 1
        return (listed, hidden)
    }

    package func thread(_ thread: Int32, of process: Int32) -> ThreadSample? { threads[thread] }

    // MARK: What happens

    /// So many exits, each of so many nanoseconds.
    package func count(_ key: CounterKey, _ count: UInt64, each nanoseconds: UInt64? = nil) {
        for _ in 0..<count {
            counters[key, default: Counter()].count += 1
            if let nanoseconds { counters[key, default: Counter()].record(nanoseconds) }
        }
    }

    /// One guest with a thread for each vCPU: process + 1, + 2, ...
    @discardableResult
    package func add(_ process: Int32, _ name: String, vcpus: Int = 1, ram: UInt64? = 1 << 30)
        -> MonitoredGuest
    {
        let guest = MonitoredGuest(
            process: process, name: name, vmm: "QEMU",
            vcpus: (0..<vcpus).map { MonitoredGuest.VCPU(id: $0, thread: process + 1 + Int32($0)) }, ram: ram)
        listed.append(guest)
        for thread in guest.threads {
            processes[thread] = process
            threads[thread] = ThreadSample(
                time: time, hostCPU: 0, userTicks: 0, guestTicks: 0, kernelTicks: 0, onCPU: 0, waiting: 0,
                voluntarySwitches: 0, involuntarySwitches: 0)
        }
        return guest
    }

    /// A second goes by, in which a thread did this.
    package func pass(seconds: Double = 1) { time += UInt64(seconds * 1e9) }

    package func use(
        _ thread: Int32, guest: UInt64, kernel: UInt64, user: UInt64, onCPU: UInt64, waiting: UInt64,
        cpu: Int = 0
    ) {
        guard var sample = threads[thread] else { return }
        sample.time = time
        sample.guestTicks += guest
        sample.kernelTicks += kernel
        sample.userTicks += user
        sample.onCPU = sample.onCPU.map { $0 + onCPU }
        sample.waiting = sample.waiting.map { $0 + waiting }
        sample.hostCPU = cpu
        threads[thread] = sample
    }
}

extension CounterKey {
    package static func vmx(_ thread: Int32, _ reason: UInt64) -> CounterKey {
        CounterKey(thread, .hardwareExit, 1 << 32 | reason)
    }
}
