import Debugger
import Machine
import TargetConformance
import Testing

/// The debugging cases of every target, on KVM.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct ConformanceLiveTests {
    @Test(arguments: ConformanceCase.all)
    func passes(_ conformance: ConformanceCase) throws {
        try conformance.run { vcpus in
            var configuration = MachineConfiguration()
            configuration.name = "conformance"
            configuration.ramSize = 2 << 20
            configuration.vcpus = vcpus
            configuration.applicationProcessors = .startAtEntry
            return try OwnedMachine(configuration)
        }
    }
}
