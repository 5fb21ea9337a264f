import KVMCore
import SystemPackage
import Testing
import X86

@testable import DebugTarget

/// What a host honours, and what is made of it.
@Suite struct DebugFacilitiesTests {
    @Test func aContextIsModeAndPrivilege() {
        let expected: [(CPUMode, UInt8, CodeContext)] = [
            (.real, 0, .real), (.virtual8086, 3, .virtual8086), (.protected16, 0, .protectedKernel),
            (.protected32, 1, .protectedKernel), (.protected32, 3, .protectedUser), (.long64, 0, .longKernel),
            (.long64, 3, .longUser), (.compatibility32, 3, .compatibilityUser),
            (.compatibility16, 0, .longKernel),
        ]
        for (mode, privilege, context) in expected {
            #expect(CodeContext(mode, privilege: privilege) == context)
        }
        for context in CodeContext.allCases where context != .real {
            #expect(context.user.isUser && !context.kernel.isUser)
        }
        #expect(CodeContext.real.user == .real)
    }

    @Test func whatWasNotTriedIsWhatEveryKVMHas() {
        let unknown = DebugFacilities(obstacle: KVMError("open /dev/kvm", .permissionDenied))
        for context in CodeContext.allCases {
            for facility: DebugFacility in [.singleStep, .executionBreakpoint, .portPatch, .pageProtection] {
                #expect(unknown.works(facility, in: context))
            }
            for facility: DebugFacility in [.int3, .dataBreakpoint, .handlerStep, .msrFilter] {
                #expect(!unknown.works(facility, in: context))
            }
        }
    }

    @Test func everywhereIsWhereItWasTried() {
        var host = DebugFacilities()
        host[.int3, .real] = .works
        host[.int3, .longKernel] = .works
        #expect(host.worksEverywhere(.int3) && !host.works(.int3, in: .longUser))
        host[.int3, .longUser] = .fails(.vector(3))
        #expect(!host.worksEverywhere(.int3) && host.works(.int3, in: [.real, .longKernel]))
    }

    @Test func aHostWithoutKVMSaysWhy() {
        let host = HostProbe.run(path: "/nonexistent/kvm")
        #expect(host.obstacle?.errno == .noSuchFileOrDirectory)
        #expect(host[.singleStep, .real] == .untried)
    }

    /// Each facility is tried wherever code can use it, and the host can enter every mode.
    @Test(.enabled(if: KVM.isAvailable, "needs /dev/kvm"))
    func everythingIsTried() {
        let host = DebugFacilities.ofHost
        #expect(host.obstacle == nil)
        #expect(host.vendor?.count == 12)
        for facility in DebugFacility.allCases where facility != .msrFilter {
            for context in CodeContext.allCases {
                #expect(host[facility, context] != .untried, "\(facility) in \(context)")
            }
        }
        // What no KVM lacks: were a state of the probe wrong, these would fail first.
        #expect(host.works(.singleStep, in: [.real, .protectedKernel, .longKernel]))
        #expect(host.works(.portPatch, in: CodeContext.allCases))
        #expect(host.works(.pageProtection, in: CodeContext.allCases))
    }
}
