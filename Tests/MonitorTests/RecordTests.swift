import RecordedHosts
import Testing

@testable import Monitor

/// Records of each kernel, decoded to what is counted.
@Suite struct RecordTests {
    @Test(arguments: KernelFormats.allCases)
    func exitsOfBothInstructionSets(_ kernel: KernelFormats) throws {
        let records = Records(kernel)
        #expect(
            try records.event("kvm_exit", ["exit_reason": 48, "isa": 1, "guest_rip": -4096], at: 5).content
                == .exit(code: 1 << 32 | 48, instructionPointer: 0xFFFF_FFFF_FFFF_F000))
        #expect(
            try records.event("kvm_exit", ["exit_reason": 0x400, "isa": 2, "guest_rip": 0x7C00]).content
                == .exit(code: 2 << 32 | 0x400, instructionPointer: 0x7C00))
        // -1 does not run into the instruction set.
        #expect(
            try records.event("kvm_exit", ["exit_reason": -1, "isa": 2]).content
                == .exit(code: 2 << 32 | 0xFFFF_FFFF, instructionPointer: 0))
        #expect(try records.event("kvm_entry").content == .entry)
    }

    @Test(arguments: KernelFormats.allCases)
    func everythingElse(_ kernel: KernelFormats) throws {
        let records = Records(kernel)
        func content(_ event: String, _ values: [String: Int64]) throws -> ExitEvent.Content {
            try records.event(event, values).content
        }
        #expect(try content("kvm_userspace_exit", ["reason": 6]) == .userspaceExit(code: 6))
        #expect(
            try content("kvm_userspace_exit", ["reason": 6, "errno": -4])
                == .userspaceExit(code: CounterKey.failedRun | 4))
        #expect(
            try content("kvm_pio", ["rw": 1, "port": 0x3F8])
                == .count(kind: .port, code: CounterKey.write | 0x3F8, emulation: .begins))
        #expect(
            try content("kvm_pio", ["port": 0x60]) == .count(kind: .port, code: 0x60, emulation: .completed))
        #expect(
            try content("kvm_mmio", ["type": 2, "gpa": 0xFEE0_0300])
                == .count(kind: .mmio, code: CounterKey.mmioWrite | 0xFEE00, emulation: .begins))
        // A read that userspace has to answer comes twice and is counted once.
        #expect(
            try content("kvm_mmio", ["type": 0, "gpa": 0x1000])
                == .count(kind: nil, code: 1, emulation: .begins))
        #expect(
            try content("kvm_mmio", ["type": 1, "gpa": 0x1000])
                == .count(kind: .mmio, code: 1, emulation: .completed))
        #expect(
            try content("kvm_msr", ["write": 1, "ecx": 0xC000_0080])
                == .count(kind: .msr, code: CounterKey.write | 0xC000_0080, emulation: nil))
        #expect(
            try content("kvm_inj_virq", [kernel == .v510 ? "irq" : "vector": 0x31])
                == .count(kind: .interrupt, code: 0x31, emulation: nil))
        #expect(
            try content("kvm_hypercall", ["nr": 11]) == .count(kind: .hypercall, code: 11, emulation: nil))
        #expect(
            try content("kvm_page_fault", ["fault_address": 0x1234_5678])
                == .count(kind: .pageFault, code: 0x12345, emulation: nil))
        #expect(
            try content("kvm_cpuid", ["function": 0x4000_0000])
                == .count(kind: .cpuid, code: 0x4000_0000, emulation: nil))
        #expect(
            try content("kvm_inj_exception", ["exception": 14])
                == .count(kind: .exception, code: 14, emulation: nil))
        #expect(
            try content("kvm_halt_poll_ns", ["grow": 1])
                == .count(kind: .haltPollChange, code: 1, emulation: nil))
        #expect(
            try content("kvm_vcpu_wakeup", ["ns": 5000, "waited": 1])
                == .timed(kind: .halt, code: 1, nanoseconds: 5000))
    }

    @Test func aRecordThatIsCutOffIsNone() throws {
        let records = Records(.v618)
        let whole = try records.bytes("kvm_exit", ["exit_reason": 1, "isa": 1])
        // The last field that is needed is info-less: guest_rip and isa end at 28.
        for length in 0..<28 {
            #expect(records.reader.event(whole.prefix(length), time: 0, thread: 0) == nil)
        }
        #expect(records.reader.event(whole.prefix(28), time: 0, thread: 0) != nil)
        #expect(records.reader.event([0xFF, 0xFF, 0, 0, 0, 0, 0, 0], time: 0, thread: 0) == nil)
    }
}
