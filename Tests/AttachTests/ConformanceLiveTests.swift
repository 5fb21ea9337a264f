import Debugger
import TargetConformance
import Testing

@testable import Attach

/// The debugging cases that every kind of target passes, on a guest that another program runs.
@Suite("The conformance cases, attached", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct ConformanceLiveTests {
    @Test(arguments: ConformanceCase.chosen)
    func passes(_ test: ConformanceCase) throws {
        var guests: [TinyGuest] = []
        // The tests' VMM gives its vCPUs no CPUID.
        let missing = try test.run(lacks: [.cpuid]) { vcpus in
            // jmp $
            let guest = try TinyGuest(vcpus: vcpus, image: [0xEB, 0xFE])
            guests.append(guest)
            let target = try guest.attach()
            try target.hold()
            return target
        }
        for guest in guests { #expect(try guest.vcpu().debug == 0) }
        if let missing {
            // A cancelled case has no line of its own.
            print("declared away: needs \(missing)")
            try Test.cancel("needs: \(missing)")
        }
    }
}
