import CLinux
import Foundation
import Locking
import Testing

@testable import Monitor

/// Rings are read before they are full, whoever looks or not.
@Suite struct RingReaderTests {
    /// A ring that is made up: each byte of its socket is an exit.
    private final class Stream: EventStream {
        let descriptor: Int32
        let taken: Taken
        var trouble: MonitorError?

        final class Taken: Sendable { let count = Lock(0) }

        init(_ descriptor: Int32, _ taken: Taken) {
            self.descriptor = descriptor
            self.taken = taken
        }

        deinit {
            close(descriptor)
            taken.count.withLock { $0 = -1 }
        }

        var descriptors: [Int32] { [descriptor] }

        func take(before end: UInt64) -> [PerfRings.Found] {
            var found: [PerfRings.Found] = []
            var byte: UInt8 = 0
            while clinux_receive(descriptor, &byte, 1, 0) == 1 {
                let event = ExitEvent(time: 1, thread: 7, .userspaceExit(code: UInt64(byte)))
                found.append(PerfRings.Found(time: 1, process: 5, what: .event(event)))
                // What cannot be read goes on to be told.
                if byte == 99 { trouble = MonitorError("the ring is gone") }
            }
            let count = found.count
            taken.count.withLock { $0 += count }
            return found
        }
    }

    private func reader() throws -> (RingReader, writer: Int32, Stream.Taken) {
        var ends: [Int32] = [-1, -1]
        try #require(clinux_socket_pair(&ends) >= 0)
        let taken = Stream.Taken()
        return (try RingReader(Stream(ends[0], taken)), ends[1], taken)
    }

    private func send(_ byte: UInt8, _ socket: Int32) {
        _ = [byte].withUnsafeBytes { clinux_send(socket, $0.baseAddress, 1) }
    }

    private func wait(until isDone: () -> Bool) throws {
        let end = ContinuousClock.now + .seconds(60)
        while !isDone() {
            try #require(ContinuousClock.now < end)
            usleep(1000)
        }
    }

    @Test func eventsAreTakenWithoutALook() throws {
        let (reader, writer, taken) = try reader()
        defer { close(writer) }
        for round in 1...3 {
            send(2, writer)
            try wait { taken.count.withLock { $0 } >= round }
        }
        let snapshot = try reader.snapshot()
        #expect(snapshot.counters.map(\.key) == [CounterKey(7, .userspaceExit, 2)])
        #expect(snapshot.counters.first?.counter.count == 3)
        #expect(snapshot.processes == [7: 5])
        reader.forget([7])
        #expect(try reader.snapshot().counters.isEmpty)
    }

    @Test func itEndsWithItsLastReference() throws {
        let taken: Stream.Taken
        do {
            let (reader, writer, own) = try reader()
            taken = own
            send(2, writer)
            _ = try reader.snapshot()
            // A ring that is gone is no reason to look for it without end.
            close(writer)
        }
        // The rings are given back with it.
        #expect(taken.count.withLock { $0 } == -1)
    }

    @Test func whatCannotBeReadIsSaid() throws {
        let (reader, writer, taken) = try reader()
        defer { close(writer) }
        send(99, writer)
        try wait { taken.count.withLock { $0 } >= 1 }
        #expect(throws: MonitorError("the ring is gone")) { try reader.snapshot() }
    }

    /// More than a ring of perf's or a trace buffer holds, without a look in between: most of it is counted, and what is not
    /// is said to be lost.
    @Test(.enabled(if: TinyVMM.isThere, "needs /dev/kvm and root"))
    func moreThanARingHoldsIsCounted() throws {
        let guest = try TinyVMM()
        let thread = try guest.threads()[0]
        func returns(_ snapshot: CounterSnapshot) -> UInt64 {
            snapshot.counters.first { $0.key == CounterKey(thread, .userspaceExit, 2) }?.counter.count ?? 0
        }
        let rules = EventRule.all.filter { $0.event == "kvm_userspace_exit" }
        let programs = try BPFSource(rules: rules)
        // A record is 72 bytes: some 1,800 of them.
        let rings = try PerfSource(rules: rules, missing: [], size: 1 << 17)
        let first = returns(try programs.read())
        let before = returns(try rings.read())
        var now = first
        let end = ContinuousClock.now + .seconds(60)
        while now - first < 20_000, ContinuousClock.now < end {
            usleep(10_000)
            now = returns(try programs.read())
        }
        let snapshot = try rings.read()
        #expect(returns(snapshot) - before > 4000)
        // Other guests' records may be among the lost ones.
        #expect(Double(returns(snapshot) - before + snapshot.losses.records) >= Double(now - first) * 0.95)
    }
}
