import Foundation
import Host
import TargetConformance
import Testing

@testable import Monitor

private enum TraceFS {
    static let isThere = (try? KernelFileSystem.instances()) != nil
}

/// The trace buffers of this host.
@Suite(
    .serialized, .enabled(if: TinyVMM.isThere && TraceFS.isThere, "needs /dev/kvm, root and tracefs")
)
struct TraceFSLiveTests {
    private static let keeper = HelperProgram(
        path: URL(filePath: HelperProgram.currentPath).deletingLastPathComponent().appending(path: "kvmscope")
            .path,
        arguments: [TraceInstanceKeeper.argument])

    private func source(_ rules: [EventRule] = EventRule.all, size: Int = TraceFSSource.bufferSize) throws
        -> TraceFSSource
    { try TraceFSSource(rules: rules, missing: [], keeper: Self.keeper, size: size) }

    /// Instances of this process.
    private func own() throws -> [String] {
        let system = try KernelFileSystem.instances()
        return try #require(ProcessFiles.names(in: "\(system.root)/instances")).filter {
            $0.hasPrefix("kvmscope-\(getpid())-")
        }
    }

    @Test func buffersCountWhatTheVMMCounts() throws {
        try LiveSourceTests().compare(try source(), try TinyVMM(vcpus: 2))
    }

    private static let returns = EventRule.all.filter { $0.event == "kvm_userspace_exit" }

    private func returns(_ source: any ExitSource, _ thread: Int32) throws -> UInt64 {
        try source.read().counters.first { $0.key == CounterKey(thread, .userspaceExit, 2) }?.counter.count
            ?? 0
    }

    /// What is counted between two looks lies between what the others count inside and around them, within 2 %.
    @Test func theyCountWhatTheOthersCount() throws {
        let guest = try TinyVMM()
        let thread = try guest.threads()[0]
        let buffers = try source()
        for other in [try BPFSource(), try PerfSource(missing: [])] as [any ExitSource] {
            let outerFirst = try returns(other, thread)
            let first = try returns(buffers, thread)
            let innerFirst = try returns(other, thread)
            usleep(500_000)
            let innerLast = try returns(other, thread)
            let last = try returns(buffers, thread)
            let outerLast = try returns(other, thread)
            let counted = Double(last - first)
            #expect(counted > 100)
            #expect(counted >= Double(innerLast - innerFirst) * 0.98 - 2)
            #expect(counted <= Double(outerLast - outerFirst) * 1.02 + 2)
        }
        // On a slow host the rings may be full before they are read, which is counted.
        let losses = try buffers.read().losses
        #expect(losses.isEmpty || HostPace.factor > 2)
    }

    @Test func whatWasLostIsCounted() throws {
        let guest = try TinyVMM(vcpus: 2)
        let programs = try BPFSource(rules: Self.returns)
        func counted(_ snapshot: CounterSnapshot) -> UInt64 {
            snapshot.counters.reduce(0) { $1.key.kind == .userspaceExit ? $0 + $1.counter.count : $0 }
        }
        let before = counted(try programs.read())
        // Two pages or a few more a CPU hold some hundreds of events, and nobody takes them before the guest has made more.
        let rings = try TraceRings(
            try KVMEvents.ofThisKernel(Self.returns), try KernelFileSystem.instances(), keeper: Self.keeper,
            size: 8192)
        let inside = counted(try programs.read())
        let end = ContinuousClock.now + .seconds(60)
        while counted(try programs.read()) < inside + 5000, ContinuousClock.now < end { usleep(10_000) }
        guest.end()
        // Once nothing comes any more each event is either counted or lost.
        var counter = RingCounter()
        for _ in 0..<2 { counter.count(rings.take()) }
        let snapshot = counter.snapshot(at: 0)
        let all = counted(snapshot) + snapshot.losses.records
        let last = counted(try programs.read())
        #expect(counted(snapshot) > 0 && snapshot.losses.records > 0)
        #expect(Double(all) >= Double(last - inside) * 0.98)
        #expect(Double(all) <= Double(last - before) * 1.02 + 2)
        #expect(rings.trouble == nil && rings.problems.isEmpty)
    }

    @Test func threadsThatAreForgottenLeaveNothing() throws {
        let guest = try TinyVMM()
        let buffers = try source()
        usleep(50_000)
        let thread = try guest.threads()[0]
        let seen = try buffers.read()
        #expect(seen.processes[thread] == guest.pid)
        guest.end()
        #expect(try buffers.read().counters.contains { $0.key.thread == thread })
        buffers.forget([thread])
        let snapshot = try buffers.read()
        #expect(!snapshot.counters.contains { $0.key.thread == thread })
        #expect(snapshot.processes[thread] == nil)
    }

    @Test func nothingIsLeftOfIt() throws {
        let system = try KernelFileSystem.instances()
        let dead = "kvmscope-\(Int32.max)-1-1"
        try #require(mkdir("\(system.root)/instances/\(dead)", 0o700) == 0)
        let alive = "kvmscope-\(getpid())-\(try #require(ProcessFiles(getpid()).startTime))-0"
        try #require(mkdir("\(system.root)/instances/\(alive)", 0o700) == 0)
        defer { TraceInstance.remove(alive, system) }
        do {
            let first = try source()
            let second = try source()
            #expect(try own().count == 3)
            #expect(access("\(system.root)/instances/\(dead)", F_OK) != 0)
            _ = (try first.read(), try second.read())
        }
        // The keepers have been waited for.
        #expect(try own() == [alive])
    }

    @Test func itIsChosenWhereNoBetterOneMayBe() throws {
        let allowed = Set(SourceBadge.Way.allCases).subtracting([.bpf, .perf])
        let source = try BestSource.open(allowed, keeper: Self.keeper)
        #expect(source.badge.way == .tracefs)
        // Where it cannot be had, the next one says why.
        let none = try BestSource.open(
            [.tracefs, .proc], keeper: HelperProgram(path: "/nowhere/x", arguments: []))
        #expect(none.badge.way == .proc)
        #expect(
            none.badge.missing.contains { $0.hasPrefix("no trace buffers: ") && $0.contains("/nowhere/x") })
    }
}
