#if DEBUG
    import Testing

    @testable import KVMCore

    /// The contract of ``VCPU``, as debug builds hold it.
    @Suite struct RunUseTests {
        @Test func oneUseAfterTheOtherIsFine() {
            let use = RunUse()
            use.requireIdle("KVM_GET_REGS")
            for _ in 0..<2 {
                use.begin()
                use.end()
            }
            use.requireIdle("KVM_GET_REGS")
        }

        @Test func aCallWhileTheGuestRunsEndsTheProcess() async {
            await #expect(processExitsWith: .failure) {
                let use = RunUse()
                use.begin()
                use.requireIdle("KVM_GET_REGS")
            }
        }

        @Test func aSecondRunEndsTheProcess() async {
            await #expect(processExitsWith: .failure) {
                let use = RunUse()
                use.begin()
                use.begin()
            }
        }
    }
#endif
