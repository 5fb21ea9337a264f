import DebugTarget
import Host
import KVMCore

/// The kernel's counters of a guest: descriptors that were made in the VMM, fetched, and closed there. They are read
/// for as long as the guest lives, with no further stop.
final class StatisticsReaders {
    private final class Reader {
        let vcpu: Int?
        let reader: StatisticsReader

        init(vcpu: Int?, _ reader: consuming StatisticsReader) {
            self.vcpu = vcpu
            self.reader = reader
        }
    }
    private var readers: [Reader] = []

    /// The vCPUs must be stopped.
    init(_ guest: HostGuest, _ members: [AttachedVCPU], _ client: TracerClient) throws(KVMError) {
        if let descriptor = guest.vmDescriptors.first {
            readers.append(
                Reader(vcpu: nil, try VirtualMachine(descriptor: descriptor, channel: client).statistics()))
        }
        for member in members {
            readers.append(Reader(vcpu: member.identity.id, try member.vcpu.statistics()))
        }
    }

    func read() throws(KVMError) -> [KernelStatistics] {
        try readers.map { entry throws(KVMError) in
            KernelStatistics(vcpu: entry.vcpu, name: entry.reader.id, values: try entry.reader.read())
        }
    }
}
