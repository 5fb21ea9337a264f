import Debugger
import TargetConformance
import Testing

/// The cases of every target, on vCPUs that behave as different hosts do.
@Suite struct FakeConformanceTests {
    static let hosts: [FakeQuirks] = [
        [], [.lateHalt, .emptyREP], [.tfIsReal], [.tfIsReal, .trapAfterIO, .emptyREP],
        [.tfIsReal, .outStays], [.tfIsReal, .int3Traps, .dataFires], [.weakEmulator, .noHighVectors],
        [.tfIsReal, .outStays, .registersNeverFire],
        [.tfIsReal, .int3Traps, .registersNeverFire],
        [.tfIsReal, .int3Traps, .dataFires, .outStays, .emptySteps],
        [.tfIsReal, .int3Traps, .dataFires, .outStays, .mergedTraps],
        // As on VMX and SVM.
        [.tfIsReal, .int3Traps, .dataFires, .emulationDropsTF, .outStays, .trapAfterIO],
    ]

    @Test(arguments: ConformanceCase.all, hosts)
    func passes(_ conformance: ConformanceCase, _ host: FakeQuirks) throws {
        let missing = try conformance.run { FakeTarget(vcpus: $0, quirks: host) }
        if let missing { try Test.cancel("needs: \(missing)") }
    }
}
