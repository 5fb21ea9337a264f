import Foundation
import Testing

/// What `kvmscope top` counts, beside perf and bpftrace on the same tracepoints: guests whose exits are bounded are watched
/// from before their first one until after their last, so that all three have to agree.
@Suite(
    .serialized, .enabled(if: Host.runsKVM && geteuid() == 0, "needs /dev/kvm and root"),
    .enabled(if: Host.has("qemu-system-x86_64"), "needs qemu-system-x86"))
struct PeerCountTests {
    /// A line of `top --json`, as far as it is looked at.
    private struct Interval: Decodable {
        struct Bucket: Decodable { var fromNanoseconds, count: UInt64 }
        struct Reason: Decodable {
            var exit, level, timing: String
            var count: UInt64
            var histogram: [Bucket]
        }
        struct Detail: Decodable {
            var name: String
            var count: UInt64
        }
        struct Guest: Decodable {
            var process: Int32
            var reasons: [Reason]
            var details: [Detail]
        }
        struct Result: Decodable {
            var losses: [String: UInt64]
            var guests: [Guest]
        }
        var result: Result
    }

    /// Sums over all intervals that `top --json` printed.
    private struct Sums {
        /// By level.
        var exits: [String: UInt64] = [:]
        /// By the first word of their names: `port`, `MSR`, `CPUID`.
        var details: [String: UInt64] = [:]
        /// By their names.
        var places: [String: UInt64] = [:]
        /// Of port I/O and hardware exits: by timing, then by the nanoseconds that a bucket begins at.
        var times: [String: [UInt64: UInt64]] = [:]
        var isListed = false
        var losses: UInt64 = 0

        init(_ text: String, process: Int32) {
            for line in text.split(separator: "\n") {
                // The last line may be cut.
                guard let interval = try? JSONDecoder().decode(Interval.self, from: Data(line.utf8)) else {
                    continue
                }
                losses += interval.result.losses.values.reduce(0, +)
                for guest in interval.result.guests where guest.process == process {
                    isListed = true
                    for reason in guest.reasons { add(reason) }
                    for detail in guest.details {
                        details[String(detail.name.prefix { $0 != " " }), default: 0] += detail.count
                        places[detail.name, default: 0] += detail.count
                    }
                }
            }
        }

        private mutating func add(_ reason: Interval.Reason) {
            exits[reason.level, default: 0] += reason.count
            guard reason.level == "hardware" || reason.exit == "IO" else { return }
            for bucket in reason.histogram {
                times[reason.timing, default: [:]][bucket.fromNanoseconds, default: 0] += bucket.count
            }
        }

        func all(_ level: String) -> UInt64 { exits[level] ?? 0 }
    }

    private static let events = [
        "kvm_userspace_exit", "kvm_pio", "kvm_exit", "kvm_msr", "kvm_cpuid", "kvm_hypercall",
        "kvm_inj_virq",
    ]

    /// perf on one process, counting before this returns.
    private func perf(_ process: Int32, in folder: TemporaryFolder) throws -> (Running, counts: URL) {
        let names = ["control-\(process)", "answer-\(process)"].map { folder.url.appending(path: $0).path }
        for name in names { try #require(mkfifo(name, 0o600) == 0) }
        let counts = folder.url.appending(path: "perf-\(process)")
        let running = try Running(
            "perf",
            [
                "stat", "-x", ",", "-e", Self.events.map { "kvm:\($0)" }.joined(separator: ","), "-p",
                "\(process)", "-D", "-1", "--control", "fifo:\(names[0]),\(names[1])", "-o", counts.path,
            ], in: folder)
        // Both ends are opened for reading and writing, so that no open waits for perf.
        let control = open(names[0], O_RDWR | O_CLOEXEC)
        let answer = open(names[1], O_RDWR | O_CLOEXEC)
        defer {
            close(control)
            close(answer)
        }
        let order = Array("enable\n".utf8)
        try #require(write(control, order, order.count) == order.count)
        var entry = pollfd(fd: answer, events: Int16(POLLIN), revents: 0)
        try #require(poll(&entry, 1, 60_000) == 1, "perf does not begin: \(running.text)")
        // It goes on with the pipes that it has opened.
        var bytes = [UInt8](repeating: 0, count: 16)
        _ = read(answer, &bytes, bytes.count)
        return (running, counts)
    }

    private func counted(_ file: URL) throws -> [String: UInt64] {
        var counts: [String: UInt64] = [:]
        for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            guard fields.count > 2, fields[2].hasPrefix("kvm:"), let count = UInt64(fields[0]) else {
                continue
            }
            counts[String(fields[2].dropFirst(4))] = count
        }
        return counts
    }

    private func compare(_ sums: Sums, _ counts: [String: UInt64], _ who: String) {
        #expect(sums.isListed, "\(who) is listed")
        let ours: [String: UInt64] = [
            "kvm_userspace_exit": sums.all("userspace"), "kvm_exit": sums.all("hardware"),
            "kvm_pio": sums.details["port"] ?? 0, "kvm_msr": sums.details["MSR"] ?? 0,
            "kvm_cpuid": sums.details["CPUID"] ?? 0, "kvm_hypercall": sums.details["hypercall"] ?? 0,
            "kvm_inj_virq": sums.details["interrupt"] ?? 0,
        ]
        for (event, theirs) in counts {
            let own = ours[event] ?? 0
            let difference = max(own, theirs) - min(own, theirs)
            // What is counted in the moment in which one of them begins or ends is one of each thread.
            #expect(
                Double(difference) <= max(2, Double(theirs) * 0.02),
                "\(event) of \(who): \(own) here, \(theirs) by perf")
        }
        #expect(counts["kvm_pio", default: 0] >= 25_000, "perf counted \(who)")
        #expect((sums.places["port 0x80 out"] ?? 0) >= 20_000)
    }

    /// Until two intervals have passed since now.
    private func settle(_ top: Running) throws {
        let lines = top.text.split(separator: "\n").count
        try top.wait("two more intervals") { $0.split(separator: "\n").count >= lines + 3 }
    }

    @Test(
        "as many as perf stat, of a stock QEMU and of a guest of our own",
        .enabled(if: Host.has("perf"), "needs linux-perf"))
    func counts() throws {
        let folder = try TemporaryFolder()
        let image = try kernelFile("burst", in: folder)
        let qemu = try WaitingQEMU(
            "counted", image: image, options: ["-device", "isa-debug-exit,iobase=0xf4"], in: folder)
        let own = try Running(Built.kvmscope, [image.path], in: folder)
        try own.enter("info registers")
        try own.wait("the first stop") { $0.contains("eip") }
        let (first, firstCounts) = try perf(qemu.pid, in: folder)
        let (second, secondCounts) = try perf(own.pid, in: folder)
        let top = try Running(Built.kvmscope, ["top", "--json", "-d", "0.3"], in: folder)
        try top.wait("its first interval") { $0.contains("\n") }
        try qemu.go()
        try own.enter("continue")
        try own.enter("info vcpus")
        try own.wait("its HLT") { $0.contains("25,001 exits") }
        qemu.running.waitForEnd()
        try settle(top)
        second.interrupt()
        first.waitForEnd()
        top.interrupt()
        let text = top.text
        let (ofQEMU, ofOwn) = (
            Sums(text, process: qemu.pid), Sums(text, process: own.pid)
        )
        #expect(ofQEMU.losses == 0)
        compare(ofQEMU, try counted(firstCounts), "QEMU's guest")
        compare(ofOwn, try counted(secondCounts), "kvmscope's guest")
        #expect(ofOwn.places["port 0x80 out"] == 20_000)
        #expect(ofOwn.places["port 0x80 in"] == 5_000)
    }

    /// From the access to the return, and from the exit to the entry where the host has those.
    private static let script = """
        tracepoint:kvm:kvm_pio /comm == "NAME" && args->rw == 1/ { @start[tid] = nsecs; }
        tracepoint:kvm:kvm_userspace_exit /comm == "NAME" && @start[tid] && args->reason == 2/ {
            @emulation = hist(nsecs - @start[tid]); delete(@start[tid]);
        }
        tracepoint:kvm:kvm_exit /comm == "NAME"/ { @left[tid] = nsecs; }
        tracepoint:kvm:kvm_entry /comm == "NAME" && @left[tid]/ {
            @exits = hist(nsecs - @left[tid]); delete(@left[tid]);
        }
        BEGIN { printf("begun\\n"); }
        END { clear(@start); clear(@left); }
        """

    private struct Histograms: Decodable {
        struct Bucket: Decodable {
            var min: UInt64?
            var count: UInt64
        }
        var type: String
        var data: [String: [Bucket]]
    }

    /// The place of the power of two below which a share of all is.
    private func bucket(_ times: [UInt64: UInt64], _ share: Double) -> Int {
        let wanted = share * Double(times.values.reduce(0, +))
        var below = 0.0
        for (start, count) in times.sorted(by: { $0.key < $1.key }) {
            below += Double(count)
            if below >= wanted { return start == 0 ? 0 : 63 - start.leadingZeroBitCount }
        }
        return 64
    }

    @Test("times within one power of two of bpftrace's", .enabled(if: Host.has("bpftrace"), "needs bpftrace"))
    func times() throws {
        let folder = try TemporaryFolder()
        let image = try kernelFile("burst", in: folder)
        let qemu = try WaitingQEMU(
            "timed", image: image, options: ["-device", "isa-debug-exit,iobase=0xf4"], in: folder)
        let peer = try Running(
            "bpftrace", ["-f", "json", "-e", Self.script.replacingOccurrences(of: "NAME", with: "timed")],
            in: folder)
        try peer.wait("bpftrace's probes", seconds: 120) { $0.contains("begun") }
        let top = try Running(Built.kvmscope, ["top", "--json", "-d", "0.3"], in: folder)
        try top.wait("its first interval") { $0.contains("\n") }
        try qemu.go()
        qemu.running.waitForEnd()
        try settle(top)
        peer.interrupt()
        top.interrupt()
        let sums = Sums(top.text, process: qemu.pid)
        var compared = 0
        for line in peer.text.split(separator: "\n") where line.contains("\"hist\"") {
            let found = try JSONDecoder().decode(Histograms.self, from: Data(line.utf8))
            for (name, buckets) in found.data {
                let theirs = Dictionary(
                    buckets.map { ($0.min ?? 0, $0.count) },
                    uniquingKeysWith: { first, second in first + second })
                let ours =
                    sums.times[
                        name == "@emulation" && sums.all("hardware") == 0
                            ? "emulationToReturn" : "exitToEntry"]
                    ?? [:]
                // Where hardware exits are told, returns are timed by those.
                guard name == "@exits" || sums.all("hardware") == 0 else { continue }
                compared += 1
                let (own, other) = (ours.values.reduce(0, +), theirs.values.reduce(0, +))
                #expect(
                    Double(max(own, other) - min(own, other)) <= max(2, Double(other) * 0.02),
                    "\(name): \(own) timed here, \(other) by bpftrace")
                for share in [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99] {
                    let (mine, its) = (bucket(ours, share), bucket(theirs, share))
                    #expect(
                        abs(mine - its) <= 1, "\(name), \(share): bucket \(mine) here, \(its) by bpftrace")
                }
            }
        }
        #expect(compared == 1, "\(peer.text.suffix(1000))")
    }
}
