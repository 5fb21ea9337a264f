import DebugTarget
import Debugger
import KVMCore
import Locking
import SystemPackage

/// The fake guest as another program's: it can be detached, measures its standstills, and says where its values
/// come from.
final class ForeignGuest: Target, Detaching, SourceProviding, StandstillMeasuring, StatisticsProviding,
    ExitForwarding
{
    let inner: FakeGuest
    private struct State {
        var isDetached = false
        var standstills = Standstills()
        var statisticsFail = false
        var stopsTogether: Duration?
    }
    private let state = Lock(State())

    init(_ inner: FakeGuest) { self.inner = inner }

    var name: String { "made-up (QEMU, process 77)" }
    var memory: any PhysicalMemory { inner.memory }
    var vcpus: [VCPUIdentity] { inner.vcpus }
    var exits: ExitLog { inner.exits }
    var isRunning: Bool { inner.isRunning }
    var stopDescriptor: Int32 { inner.stopDescriptor }

    func withVCPU<R: Sendable>(_ id: Int, _ body: @Sendable (any VCPUAccess) throws -> R) throws -> R {
        // Only what is done to a guest that runs makes it stop.
        if isRunning {
            stand(for: .microseconds(143))
            if let spread = stopsTogether { stopTogether(within: spread) }
        }
        return try inner.withVCPU(id, body)
    }

    func resume(_ orders: [RunOrder]) throws {
        stand(for: .milliseconds(7))
        try inner.resume(orders)
    }

    func interrupt() { inner.interrupt() }
    func waitForStop(timeout: Duration?) -> StopReport? { inner.waitForStop(timeout: timeout) }

    private func stand(for time: Duration) {
        state.withLock { state in
            state.standstills.count += 1
            state.standstills.last = time
            state.standstills.total += time
        }
    }

    /// Each stop for an edit is one of several vCPUs, this far apart.
    var stopsTogether: Duration? {
        get { state.withLock { $0.stopsTogether } }
        set { state.withLock { $0.stopsTogether = newValue } }
    }

    /// As if several vCPUs had been stopped together.
    func stopTogether(within time: Duration) {
        state.withLock { state in
            state.standstills.commonStops += 1
            state.standstills.spread = time
        }
    }

    var standstills: Standstills { state.withLock { $0.standstills } }
    var isDetached: Bool { state.withLock { $0.isDetached } }

    func detach() throws -> Detachment {
        // The contract: no order is under way.
        guard !isRunning else { throw KVMError("detach", .resourceBusy) }
        state.withLock { $0.isDetached = true }
        return Detachment(
            process: 77, threads: 2, guestDebug: 1, runPages: 2, standstill: .microseconds(215))
    }

    var valueSources: [ValueSource] {
        [
            ValueSource(.registers, vcpu: 0, .syncRegisters, registersAge(vcpu: 0)),
            ValueSource(
                .memoryMap, .largestMapping, .read(.milliseconds(1500)), isChecked: false,
                missing: [.init(.kernelMemory, "no BPF here")]),
            ValueSource(.statistics, .none, .unknown),
        ]
    }

    func registersAge(vcpu id: Int) -> ValueAge {
        isRunning ? .lastExit(unchanged: .microseconds(20)) : .live
    }

    func kernelStatistics() throws -> [KernelStatistics] {
        if state.withLock({ $0.statisticsFail }) { throw KVMError("KVM_GET_STATS_FD", .invalidArgument) }
        func value(_ name: String, _ values: [UInt64], _ kind: Statistic.Kind = .cumulative) -> Statistic {
            Statistic(name: name, kind: kind, unit: .none, exponent: 0, radix: 10, values: values)
        }
        return [
            KernelStatistics(vcpu: nil, name: "kvm-77", values: [value("remote_tlb_flush", [0])]),
            KernelStatistics(
                vcpu: 0, name: "kvm-77/vcpu-0",
                values: [
                    value("exits", [1234]), value("halt_exits", [0]),
                    Statistic(
                        name: "halt_wait_hist", kind: .logHistogram, unit: .seconds, exponent: -9, radix: 10,
                        values: [0, 0, 3, 0, 2]),
                    Statistic(
                        name: "halt_wait_ns", kind: .cumulative, unit: .seconds, exponent: -9, radix: 10,
                        values: [2_500_000]),
                ]),
        ]
    }

    func failStatistics() { state.withLock { $0.statisticsFail = true } }
}
