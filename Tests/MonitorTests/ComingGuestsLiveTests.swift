import Foundation
import Host
import Testing

@testable import Monitor

/// Guests that come and go leave nothing: no entry in the kernel's tables, no descriptor, no byte.
///
/// `KVMSCOPE_SLOW=1` makes them a thousand, and has the size of the process looked at: nothing else may run then.
@Suite(.serialized, .enabled(if: TinyVMM.isThere, "needs /dev/kvm and root"))
struct ComingGuestsLiveTests {
    private static let isWhole = ProcessInfo.processInfo.environment["KVMSCOPE_SLOW"] != nil

    private func descriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }

    /// In KiB.
    private func size() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        return try #require(line.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    }

    @Test func theyLeaveNothing() throws {
        let source = try BPFSource()
        let monitor = Monitor(source: source, directory: HostGuests())
        try monitor.begin()
        let (batches, each) = Self.isWhole ? (100, 10) : (8, 5)
        var seen: Set<Int32> = []
        var threads: Set<Int32> = []
        var before: (descriptors: Int, size: Int)?
        for batch in 0..<batches {
            let guests = try (0..<each).map { _ in try TinyVMM() }
            for guest in guests { threads.formUnion(try guest.threads()) }
            let sample = try monitor.sample()
            seen.formUnion(sample.guests.map(\.process))
            let own = Set(guests.map(\.pid))
            #expect(own.isSubset(of: seen), "batch \(batch)")
            for guest in guests { guest.end() }
            // Their last exits, and then nothing of them.
            _ = try monitor.sample()
            if batch == batches / 4 { before = (try descriptors(), try size()) }
        }
        // That they are gone is seen at the next look through the host, some seconds later.
        var left = try source.read()
        let end = ContinuousClock.now + .seconds(60)
        while left.counters.contains(where: { threads.contains($0.key.thread) }), ContinuousClock.now < end {
            usleep(200_000)
            _ = try monitor.sample()
            left = try source.read()
        }
        #expect(!left.counters.contains { threads.contains($0.key.thread) })
        #expect(left.processes.keys.allSatisfy { !threads.contains($0) })
        #expect(left.losses.unkept == 0)
        // Other tests' guests are watched, too.
        #expect(monitor.watchedThreads < batches * each / 2 || monitor.watchedThreads < 64)
        guard Self.isWhole, let before else { return }
        let after = (descriptors: try descriptors(), size: try size())
        print(
            "after \(seen.count) guests: \(before) became \(after), \(monitor.watchedThreads) threads watched"
        )
        #expect(after.descriptors <= before.descriptors)
        #expect(after.size < before.size + 4096)
    }
}
