import Host
import Locking

/// Keeps the memory map of an attached guest up to date: the VMM may change its slots at any time.
///
/// Locked: any thread that reads or writes the guest's memory may find the map an old one. It may then wait for the
/// tracer's answer, and so for a wait for events that is under way.
final class MemoryMapUpdater: Sendable {
    private let guest: HostGuest
    private let client: TracerClient
    private let memory: AttachedMemory
    private let launched: AttachedTarget.Launch?

    private struct State {
        /// `struct kvm_vcpu` of the first vCPU, once the kernel was asked for it.
        var vcpu: KernelReader.VCPUObject?
        /// Of the memory slots as they were last read; nil if that is not known.
        var slots: KernelReader.SlotsVersion?
        /// The guest has run: what a launched VMM has asked KVM for since is not known from its first calls.
        var hasRun = false
    }
    private let state = Lock(State())

    init(
        _ guest: HostGuest, _ client: TracerClient, _ memory: AttachedMemory,
        _ launched: AttachedTarget.Launch?
    ) {
        self.guest = guest
        self.client = client
        self.memory = memory
        self.launched = launched
    }

    /// The guest is resumed.
    func noteRun() { state.withLock { $0.hasRun = true } }

    /// Takes a newer map, if there is one.
    func update() {
        guard !client.isLost else { return }
        state.withLock { state in
            switch memory.source {
            case .kernel: break
            case .calls where state.hasRun: break
            case .calls, .search, .none: return
            }
            if memory.source == .kernel, let kernel = try? KernelReader.shared(),
                let vcpu = state.vcpu
                    ?? guest.vcpus.first.flatMap({ kernel.object(of: guest.process, vcpu: $0.descriptor) })
            {
                state.vcpu = vcpu
                let version = kernel.slotsVersion(vcpu)
                if version != nil, version == state.slots { return memory.confirm() }
                state.slots = version
            }
            if launched?.readsKernel != false, let map = GuestMemoryMap.fromKernel(guest) {
                replace(map)
            } else if launched != nil, case .progress(.ready(let machine))? = try? client.ask(.progress) {
                replace(GuestMemoryMap(regions: machine.regions, source: .calls(isChecked: false)))
            }
        }
    }

    func replace(_ map: GuestMemoryMap) {
        guard map.regions != memory.regions || map.source != memory.source else { return memory.confirm() }
        memory.replace(map)
        // Where the tracer is lost, the next question says so.
        try? client.tell(.memory(map.regions))
    }
}
