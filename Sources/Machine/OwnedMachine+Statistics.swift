public import DebugTarget
import KVMCore
import Locking
import SystemPackage

/// The kernel's counters of a machine: a descriptor for the VM and one for each vCPU, opened when they are first asked
/// for.
final class KernelCounters: Sendable {
    final class Reader: Sendable {
        let reader: StatisticsReader
        init(_ reader: consuming StatisticsReader) { self.reader = reader }
    }

    private struct State {
        var machine: Reader?
        var vcpus: [Int: Reader] = [:]
    }
    private let state = Lock(State())

    func machine(_ open: () throws -> Reader) throws -> Reader {
        if let known = state.withLock({ $0.machine }) { return known }
        let reader = try open()
        state.withLock { $0.machine = reader }
        return reader
    }

    func vcpu(_ id: Int, _ open: () throws -> Reader) throws -> Reader {
        if let known = state.withLock({ $0.vcpus[id] }) { return known }
        let reader = try open()
        state.withLock { $0.vcpus[id] = reader }
        return reader
    }
}

extension OwnedMachine: StatisticsProviding {
    public func kernelStatistics() throws -> [KernelStatistics] {
        let machine = try counters.machine { KernelCounters.Reader(try vm.vm.statistics()) }
        var all = [
            KernelStatistics(vcpu: nil, name: machine.reader.id, values: try machine.reader.read())
        ]
        for vcpu in vcpus {
            // Once, on the vCPU's own thread; later reads keep nothing from running.
            let counters = try counters.vcpu(vcpu.id) {
                try withVCPU(vcpu.id) { access in
                    guard let vcpu = access as? VCPU else {
                        throw KVMError("KVM_GET_STATS_FD", .notSupported)
                    }
                    return KernelCounters.Reader(try vcpu.statistics())
                }
            }
            all.append(
                KernelStatistics(vcpu: vcpu.id, name: counters.reader.id, values: try counters.reader.read()))
        }
        return all
    }
}
