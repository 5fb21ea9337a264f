import Debugger
import Machine
import TargetConformance
import Testing

/// The debugging cases that every kind of target passes, on a machine of our own.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct ConformanceLiveTests {
    @Test(arguments: ConformanceCase.chosen)
    func passes(_ test: ConformanceCase) throws {
        let missing = try test.run { vcpus in
            var configuration = MachineConfiguration()
            configuration.ramSize = 1 << 20
            configuration.vcpus = vcpus
            return try OwnedMachine(configuration)
        }
        if let missing {
            // A cancelled case has no line of its own.
            print("declared away: needs \(missing)")
            try Test.cancel("needs: \(missing)")
        }
    }
}
