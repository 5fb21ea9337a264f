/// The `format` files of KVM's tracepoints on three kernels, as far as they matter: every field with its place, and of the
/// lists of names a few entries of each kind of writing.
///
/// Linux 6.18: read from /sys/kernel/tracing/events/kvm on a machine that runs it, its lists cut. Linux 6.1 and 5.10: by the
/// TP_STRUCT__entry of arch/x86/kvm/trace.h and include/trace/events/kvm.h of v6.1 and v5.10, laid out as the compiler
/// does: each field at a multiple of its size.
package enum KernelFormats: String, CaseIterable, Sendable {
    case v510 = "5.10"
    case v61 = "6.1"
    case v618 = "6.18"

    package func text(_ event: String) -> String? {
        (Self.files[self]?[event] ?? Self.files[.v618]?[event]).map { $0.text(event) }
    }

    /// An event: its ID, its fields as `TYPE NAME @OFFSET SIZE [signed]`, and its print format.
    struct File: Sendable {
        var id: Int
        var fields: [String]
        var printFormat: String

        init(_ id: Int, _ fields: [String], _ printFormat: String) {
            self.id = id
            self.fields = fields
            self.printFormat = printFormat
        }

        private static let common = [
            "unsigned short common_type @0 2", "unsigned char common_flags @2 1",
            "unsigned char common_preempt_count @3 1", "int common_pid @4 4 signed",
        ]

        func text(_ name: String) -> String {
            let lines = (Self.common + [""] + fields).map { field in
                guard !field.isEmpty else { return "\n" }
                let at = field.split(separator: " @")
                let rest = at[1].split(separator: " ")
                return
                    "\tfield:\(at[0]);\toffset:\(rest[0]);\tsize:\(rest[1]);\tsigned:\(rest.count > 2 ? 1 : 0);\n"
            }
            return "name: \(name)\nID: \(id)\nformat:\n" + lines.joined() + "\nprint fmt: \(printFormat)\n"
        }
    }

    /// What an older kernel has as 6.18 has it stands there alone.
    private static let files: [KernelFormats: [String: File]] = [
        .v510: oldest, .v61: middle, .v618: newest,
    ]

    private static let oldest: [String: File] = [
        "kvm_exit": File(
            103,
            [
                "unsigned int exit_reason @8 4", "unsigned long guest_rip @16 8", "u32 isa @24 4",
                "u64 info1 @32 8", "u64 info2 @40 8", "u32 intr_info @48 4", "u32 error_code @52 4",
                "unsigned int vcpu_id @56 4",
            ],
            #""vcpu %u reason %s%s%s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x "#
                + #"error_code 0x%08x", REC->vcpu_id, (REC->isa == 1) ? __print_symbolic(REC->exit_reason & "#
                + #"0xffff, { 0, "EXCEPTION_NMI" }, { 1, "EXTERNAL_INTERRUPT" }, { 10, "CPUID" }, { 12, "HLT" "#
                + #"}, { 18, "VMCALL" }, { 30, "IO_INSTRUCTION" }, { 31, "MSR_READ" }, { 32, "MSR_WRITE" }, { "#
                + #"48, "EPT_VIOLATION" }, { 49, "EPT_MISCONFIG" }) : __print_symbolic(REC->exit_reason, { "#
                + #"0x000, "read_cr0" }, { 0x040 + 14, "PF excp" }, { 0x060, "interrupt" }, { 0x072, "cpuid" "#
                + #"}, { 0x078, "hlt" }, { 0x07b, "io" }, { 0x07c, "msr" }, { 0x081, "vmmcall" }, { 0x400, "#
                + #""npf" }, { -1, "invalid_guest_state" }), (REC->isa == 1 && REC->exit_reason & ~0xffff) ? "#
                + #"" " : "", (REC->isa == 1) ? __print_flags(REC->exit_reason & ~0xffff, " ", { 0x80000000, "#
                + #""FAILED_VMENTRY" }) : "", REC->guest_rip, REC->info1, REC->info2, REC->intr_info, "#
                + #"REC->error_code"#),
        "kvm_entry": File(
            115,
            ["unsigned int vcpu_id @8 4", "unsigned long rip @16 8"],
            #""vcpu %u, rip 0x%lx", REC->vcpu_id, REC->rip"#),
        "kvm_inj_virq": File(
            102,
            ["unsigned int irq @8 4"],
            #""irq %u", REC->irq"#),
        "kvm_page_fault": File(
            100,
            ["unsigned long fault_address @8 8", "unsigned int error_code @16 4"],
            #""address %llx error_code %llx", REC->fault_address, REC->error_code"#),
        "kvm_inj_exception": File(
            101,
            ["u8 exception @8 1", "u8 has_error @9 1", "u32 error_code @12 4"],
            ##""%s", __print_symbolic(REC->exception, { 0, "#" "DE" }, { 14, "#" "PF" })"##),
    ]

    private static let middle: [String: File] = [
        "kvm_exit": File(
            103,
            [
                "unsigned int exit_reason @8 4", "unsigned long guest_rip @16 8", "u32 isa @24 4",
                "u64 info1 @32 8", "u64 info2 @40 8", "u32 intr_info @48 4", "u32 error_code @52 4",
                "unsigned int vcpu_id @56 4",
            ],
            #""vcpu %u reason %s%s%s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x "#
                + #"error_code 0x%08x", REC->vcpu_id, (REC->isa == 1) ? __print_symbolic(REC->exit_reason & "#
                + #"0xffff, { 0, "EXCEPTION_NMI" }, { 1, "EXTERNAL_INTERRUPT" }, { 10, "CPUID" }, { 12, "HLT" "#
                + #"}, { 18, "VMCALL" }, { 30, "IO_INSTRUCTION" }, { 31, "MSR_READ" }, { 32, "MSR_WRITE" }, { "#
                + #"48, "EPT_VIOLATION" }, { 49, "EPT_MISCONFIG" }) : __print_symbolic(REC->exit_reason, { "#
                + #"0x000, "read_cr0" }, { 0x040 + 14, "PF excp" }, { 0x060, "interrupt" }, { 0x072, "cpuid" "#
                + #"}, { 0x078, "hlt" }, { 0x07b, "io" }, { 0x07c, "msr" }, { 0x081, "vmmcall" }, { 0x400, "#
                + #""npf" }, { -1, "invalid_guest_state" }), (REC->isa == 1 && REC->exit_reason & ~0xffff) ? "#
                + #"" " : "", (REC->isa == 1) ? __print_flags(REC->exit_reason & ~0xffff, " ", { 0x80000000, "#
                + #""FAILED_VMENTRY" }) : "", REC->guest_rip, REC->info1, REC->info2, REC->intr_info, "#
                + #"REC->error_code"#),
        "kvm_entry": File(
            115,
            ["unsigned int vcpu_id @8 4", "unsigned long rip @16 8", "bool immediate_exit @24 1"],
            #""vcpu %u, rip 0x%lx", REC->vcpu_id, REC->rip"#),
        "kvm_inj_exception": File(
            101,
            ["u8 exception @8 1", "u8 has_error @9 1", "u32 error_code @12 4"],
            ##""%s", __print_symbolic(REC->exception, { 0, "#" "DE" }, { 14, "#" "PF" })"##),
    ]

    private static let newest: [String: File] = [
        "kvm_exit": File(
            103,
            [
                "unsigned int exit_reason @8 4", "unsigned long guest_rip @16 8", "u32 isa @24 4",
                "u64 info1 @32 8", "u64 info2 @40 8", "u32 intr_info @48 4", "u32 error_code @52 4",
                "unsigned int vcpu_id @56 4", "u64 requests @64 8",
            ],
            #""vcpu %u reason %s%s%s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x "#
                + #"error_code 0x%08x requests 0x%016llx", REC->vcpu_id, (REC->isa == 1) ? "#
                + #"__print_symbolic(REC->exit_reason & 0xffff, { 0, "EXCEPTION_NMI" }, { 1, "#
                + #""EXTERNAL_INTERRUPT" }, { 10, "CPUID" }, { 12, "HLT" }, { 18, "VMCALL" }, { 30, "#
                + #""IO_INSTRUCTION" }, { 31, "MSR_READ" }, { 32, "MSR_WRITE" }, { 48, "EPT_VIOLATION" }, { "#
                + #"49, "EPT_MISCONFIG" }) : __print_symbolic(REC->exit_reason, { 0x000, "read_cr0" }, { "#
                + #"0x040 + 14, "PF excp" }, { 0x060, "interrupt" }, { 0x072, "cpuid" }, { 0x078, "hlt" }, { "#
                + #"0x07b, "io" }, { 0x07c, "msr" }, { 0x081, "vmmcall" }, { 0x400, "npf" }, { -1, "#
                + #""invalid_guest_state" }), (REC->isa == 1 && REC->exit_reason & ~0xffff) ? " " : "", "#
                + #"(REC->isa == 1) ? __print_flags(REC->exit_reason & ~0xffff, " ", { 0x80000000, "#
                + #""FAILED_VMENTRY" }) : "", REC->guest_rip, REC->info1, REC->info2, REC->intr_info, "#
                + #"REC->error_code, REC->requests"#),
        "kvm_entry": File(
            115,
            [
                "unsigned int vcpu_id @8 4", "unsigned long rip @16 8", "bool immediate_exit @24 1",
                "u32 intr_info @28 4", "u32 error_code @32 4",
            ],
            #""vcpu %u, rip 0x%lx", REC->vcpu_id, REC->rip"#),
        "kvm_userspace_exit": File(
            42,
            ["__u32 reason @8 4", "int errno @12 4 signed"],
            #""reason %s (%d)", REC->errno < 0 ? (REC->errno == -4 ? "restart" : "error") : "#
                + #"__print_symbolic(REC->reason, { 0, "KVM_EXIT_" "UNKNOWN" }, { 2, "KVM_EXIT_" "IO" }, { 5, "#
                + #""KVM_EXIT_" "HLT" }, { 6, "KVM_EXIT_" "MMIO" }, { 29, "KVM_EXIT_" "X86_RDMSR" }), "#
                + #"REC->errno < 0 ? -REC->errno : REC->reason"#),
        "kvm_pio": File(
            110,
            [
                "unsigned int rw @8 4", "unsigned int port @12 4", "unsigned int size @16 4",
                "unsigned int count @20 4", "unsigned int val @24 4",
            ],
            #""pio_%s at 0x%x", REC->rw ? "write" : "read", REC->port"#),
        "kvm_mmio": File(
            38,
            ["u32 type @8 4", "u32 len @12 4", "u64 gpa @16 8", "u64 val @24 8"],
            #""mmio %s len %u gpa 0x%llx val 0x%llx", __print_symbolic(REC->type, { 0, "#
                + #""unsatisfied-read" }, { 1, "read" }, { 2, "write" }), REC->len, REC->gpa, REC->val"#),
        "kvm_msr": File(
            99,
            ["unsigned write @8 4", "u32 ecx @12 4", "u64 data @16 8", "u8 exception @24 1"],
            #""msr_%s %x = 0x%llx%s", REC->write ? "write" : "read", REC->ecx, REC->data, "#
                + #"REC->exception ? " (#GP)" : """#),
        "kvm_inj_virq": File(
            102,
            ["unsigned int vector @8 4", "bool soft @12 1", "bool reinjected @13 1"],
            #""%s 0x%x%s", REC->soft ? "Soft/INTn" : "IRQ", REC->vector, REC->reinjected ? " "#
                + #"[reinjected]" : """#),
        "kvm_hypercall": File(
            114,
            [
                "unsigned long nr @8 8", "unsigned long a0 @16 8", "unsigned long a1 @24 8",
                "unsigned long a2 @32 8", "unsigned long a3 @40 8",
            ],
            #""nr 0x%lx a0 0x%lx a1 0x%lx a2 0x%lx a3 0x%lx", REC->nr, REC->a0, REC->a1, REC->a2, "#
                + #"REC->a3"#),
        "kvm_halt_poll_ns": File(
            31,
            [
                "bool grow @8 1", "unsigned int vcpu_id @12 4", "unsigned int new @16 4",
                "unsigned int old @20 4",
            ],
            #""vcpu %u: halt_poll_ns %u (%s %u)", REC->vcpu_id, REC->new, REC->grow ? "grow" : "#
                + #""shrink", REC->old"#),
        "kvm_page_fault": File(
            100,
            [
                "unsigned int vcpu_id @8 4", "unsigned long guest_rip @16 8", "u64 fault_address @24 8",
                "u64 error_code @32 8",
            ],
            #""address %llx error_code %llx", REC->fault_address, REC->error_code"#),
        "kvm_cpuid": File(
            108,
            [
                "unsigned int function @8 4", "unsigned int index @12 4", "unsigned long rax @16 8",
                "unsigned long rbx @24 8", "unsigned long rcx @32 8", "unsigned long rdx @40 8",
                "bool found @48 1", "bool used_max_basic @49 1",
            ],
            #""func %x", REC->function"#),
        "kvm_inj_exception": File(
            101,
            ["u8 exception @8 1", "u8 has_error @9 1", "u32 error_code @12 4", "bool reinjected @16 1"],
            ##""%s", __print_symbolic(REC->exception, { 0, "#" "DE" }, { 14, "#" "PF" })"##),
        "kvm_vcpu_wakeup": File(
            30,
            ["__u64 ns @8 8", "bool waited @16 1", "bool valid @17 1"],
            #""%s time %lld ns, polling %s", REC->waited ? "wait" : "poll", REC->ns, REC->valid ? "#
                + #""valid" : "invalid""#),
    ]
}
