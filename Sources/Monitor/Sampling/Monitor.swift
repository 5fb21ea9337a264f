import Glibc
import Host

/// Samples the host's guests: each call of ``sample()`` ends one interval and begins the next.
///
/// For one thread.
package final class Monitor {
    package let source: any ExitSource
    private let directory: any GuestDirectory
    private var ledger = CounterLedger()
    private var number = 0
    private var last: UInt64?
    private var guests: [MonitoredGuest] = []
    private var hidden = 0
    private var listed: UInt64 = 0
    private var looked: UInt64 = 0
    private var threads: [Int32: Watched] = [:]

    private struct Watched {
        var process: Int32
        var sample: ThreadSample
        var moves: UInt64 = 0
    }

    /// A look at whether a guest came or went, so often.
    private static let lookingPeriod: UInt64 = 5_000_000_000
    /// The host is looked through for guests so often, whatever that says, and whenever something is seen that no known guest
    /// explains: all descriptors of all processes, which takes more than everything else together.
    private static let listingPeriod: UInt64 = 30_000_000_000

    package init(source: any ExitSource, directory: any GuestDirectory) {
        self.source = source
        self.directory = directory
    }

    /// Begins the first interval: what was counted before is not of it.
    package func begin() throws(MonitorError) { _ = try sample() }

    /// What came since the last call. The first one has nothing before it, and all of the source's counts in it.
    package func sample() throws(MonitorError) -> MonitorSample {
        let snapshot = try source.read()
        var (cells, losses) = ledger.advance(to: snapshot)
        losses.restarted &+= takenNumbers(snapshot)
        let before = guests
        list(snapshot)
        let shares = shares(&losses)
        // A guest that has ended since the last look is in this sample with its last exits, and in no later one.
        let present = Set(guests.map(\.process))
        let counting = Set(cells.map(\.key.thread))
        let ended = before.filter { guest in
            !present.contains(guest.process)
                && (counting.contains(guest.process) || guest.threads.contains(where: counting.contains)
                    || snapshot.processes.contains {
                        $0.value == guest.process && counting.contains($0.key)
                    })
        }
        let all = ended.isEmpty ? guests : (guests + ended).sorted { $0.process < $1.process }
        let owners = owners(of: counting, all, snapshot)
        dropEnded()
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        defer {
            number += 1
            last = snapshot.time
        }
        var sample = MonitorSample(
            number: number, start: last ?? snapshot.time, end: snapshot.time,
            wallTime: Double(wall.tv_sec) + Double(wall.tv_nsec) / 1e9, guests: all, cells: cells,
            shares: shares, lastExits: snapshot.lastExits, losses: losses, hiddenProcesses: hidden,
            owners: owners)
        sample.isWhole = directory.isWhole
        sample.preciseTimes = snapshot.preciseTimes
        return sample
    }

    /// The processes of threads that counted and that no guest has as a vCPU's.
    private func owners(
        of counting: Set<Int32>, _ guests: [MonitoredGuest], _ snapshot: CounterSnapshot
    ) -> [Int32: Int32] {
        let known = Set(guests.flatMap(\.threads)).union(guests.map(\.process))
        var owners: [Int32: Int32] = [:]
        for thread in counting where !known.contains(thread) {
            if let process = snapshot.processes[thread], known.contains(process) { owners[thread] = process }
        }
        return owners
    }

    /// Threads that have the number of another process' thread, which has ended since the last look: what was counted of both
    /// in the interval cannot be told apart.
    private func takenNumbers(_ snapshot: CounterSnapshot) -> UInt64 {
        var count: UInt64 = 0
        for (thread, process) in snapshot.processes {
            if let before = processes[thread], before != process { count &+= 1 }
        }
        processes = snapshot.processes
        return count
    }
    private var processes: [Int32: Int32] = [:]

    private func list(_ snapshot: CounterSnapshot) {
        let known = Set(guests.map(\.process))
        let knownThreads = Set(guests.flatMap(\.threads))
        // Threads that were looked for and belong to nobody, as those that ended at once, wait for the next period.
        let isNew = snapshot.processes.contains { thread, process in
            !explained.contains(thread) && !(known.contains(process) && knownThreads.contains(thread))
        }
        guard last == nil || isNew || isListingDue(snapshot.time) else { return }
        (listed, looked) = (snapshot.time, snapshot.time)
        (guests, hidden) = directory.guests()
        explained = Set(snapshot.processes.keys)
    }
    private var explained: Set<Int32> = []

    private func isListingDue(_ now: UInt64) -> Bool {
        if now &- listed >= Self.listingPeriod { return true }
        guard now &- looked >= Self.lookingPeriod else { return false }
        looked = now
        return directory.mayHaveChanged
    }

    /// Threads that something is kept of.
    var watchedThreads: Int { ledger.threads.union(threads.keys).count }

    private func shares(_ losses: inout Losses) -> [Int32: ThreadShare] {
        var shares: [Int32: ThreadShare] = [:]
        for guest in guests {
            for thread in guest.threads {
                guard let now = directory.thread(thread, of: guest.process) else { continue }
                // Of a thread that had its number before, nothing is known.
                let known = threads[thread].flatMap { $0.process == guest.process ? $0 : nil }
                var watched = known ?? Watched(process: guest.process, sample: now)
                if let usage = ThreadUsage(
                    from: watched.sample, to: now, ticksPerSecond: ThreadSample.ticksPerSecond)
                {
                    if now.hostCPU != watched.sample.hostCPU { watched.moves += 1 }
                    shares[thread] = ThreadShare(usage, from: watched.sample, to: now, moves: watched.moves)
                } else if now.time > watched.sample.time {
                    // What it has used went back: another thread has its number now.
                    losses.restarted &+= 1
                    watched = Watched(process: guest.process, sample: now)
                }
                watched.sample = now
                threads[thread] = watched
            }
        }
        return shares
    }

    /// Drops what belongs to threads that have ended, here and in the kernel, so that nothing grows with guests that come
    /// and go. Their last counts are still in this sample.
    private func dropEnded() {
        let living = Set(guests.flatMap(\.threads)).union(guests.map(\.process))
        let ended = ledger.threads.subtracting(living).filter { thread in
            // A thread that no guest is known for may be one of a guest that may not be looked into.
            kill(thread, 0) != 0 && errno == ESRCH
        }
        // Also of guests that counted nothing.
        if threads.count > living.count { threads = threads.filter { living.contains($0.key) } }
        guard !ended.isEmpty else { return }
        source.forget(Set(ended))
        ledger.forget(Set(ended))
    }
}

extension ThreadShare {
    fileprivate init(_ usage: ThreadUsage, from before: ThreadSample, to now: ThreadSample, moves: UInt64) {
        self.init(
            guest: usage.guest, kernel: usage.kernel, user: usage.user, ready: usage.waiting, asleep: nil,
            hostCPU: now.hostCPU, moves: moves)
        let elapsed = Double(now.time &- before.time)
        if let earlier = before.onCPU, let later = now.onCPU, later >= earlier, let ready {
            asleep = max(0, 1 - Double(later - earlier) / elapsed - ready)
        }
    }
}
