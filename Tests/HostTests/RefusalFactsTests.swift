import Foundation
import KVMCore
import SystemPackage
import Testing

@testable import Host

/// Refusals decided on made-up facts alone: hosts, kernels and VMMs that are not at hand.
@Suite("Refused on made-up facts")
struct RefusalFactsTests {
    private static let root: UInt64 = .max
    private static let elf64: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2]
    private static let elf32: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 1]

    private static func status(
        tracer: Int32 = 0, seccomp: Int = 0, user: UInt32 = 0
    ) throws -> ProcessStatus {
        try #require(
            ProcessStatus(
                "TracerPid:\t\(tracer)\nUid:\t\(user)\t\(user)\t\(user)\t\(user)\nSeccomp:\t\(seccomp)\n"))
    }

    private static func without(_ capabilities: Privileges.Capability...) -> UInt64 {
        capabilities.reduce(root) { $0 & ~(1 << $1.rawValue) }
    }

    /// A guest with two vCPUs that nothing speaks against, changed.
    private func obstacle(
        _ privileges: Privileges = Privileges(effective: Self.root, user: 0, ptraceScope: 0),
        asked: Bool = true,
        _ change: (inout HostGuest, inout GuestFinder.VMMFacts, inout KernelReader.Facts) throws -> Void
    ) throws -> HostGuestError? {
        var guest = HostGuest(
            process: 700, name: "made up", vmm: .qemu, arguments: ["qemu-system-x86_64", "-m", "512"],
            vmDescriptors: [9],
            vcpus: (0..<2).map { HostVCPU(id: $0, descriptor: 10 + Int32($0), thread: 701 + Int32($0)) })
        var seen = GuestFinder.VMMFacts(status: try Self.status(), executable: Self.elf64)
        seen.threads = try [700, 701, 702].map { ($0, try Self.status()) }
        seen.links = ["/dev/kvm", "anon_inode:kvm-vm"]
        var facts = KernelReader.Facts()
        facts.threads = [0: 701, 1: 702]
        facts.guestDebug = [0: 0, 1: 0]
        try change(&guest, &seen, &facts)
        return GuestFinder.obstacle(to: guest, seen, asked ? facts : nil, privileges, tracer: 99)
    }

    private func expect(
        _ error: HostGuestError?, _ code: HostGuestError.Code, _ message: String, remedy: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(error?.code == code, sourceLocation: sourceLocation)
        #expect(
            error?.message.contains(message) == true, "\(error?.message ?? "-")",
            sourceLocation: sourceLocation)
        #expect(
            error?.remedy?.contains(remedy) == true, "\(error?.remedy ?? "-")", sourceLocation: sourceLocation
        )
    }

    @Test("nothing speaks against an ordinary guest")
    func none() throws {
        #expect(try obstacle { _, _, _ in } == nil)
        #expect(try obstacle(asked: false) { _, _, _ in } == nil)
        // An executable that cannot be read says nothing.
        #expect(try obstacle { _, seen, _ in seen.executable = [] } == nil)
    }

    @Test("a vCPU whose thread is not found; not one that the kernel says has none")
    func threads() throws {
        expect(
            try obstacle { guest, _, _ in guest.vcpus[1].thread = nil }, .notRunning, "seen to run vCPU 1",
            remedy: "once the guest runs")
        #expect(
            try obstacle { guest, _, _ in
                guest.vcpus[1].thread = nil
                guest.vcpus[1].isUntouched = true
            } == nil)
        // Where the kernel was not asked, it is found out with all threads stopped.
        #expect(try obstacle(asked: false) { guest, _, _ in guest.vcpus[1].thread = nil } == nil)
    }

    @Test("a 32-bit VMM")
    func bits32() throws {
        expect(
            try obstacle { _, seen, _ in seen.executable = Self.elf32 }, .bits32, "32-bit program",
            remedy: "only 64-bit VMMs")
    }

    @Test("an encrypted guest: SEV by its device, SEV-ES and TDX by KVM's word, all by QEMU's object")
    func encrypted() throws {
        expect(
            try obstacle { _, seen, _ in seen.links.append("/dev/sev") }, .encrypted, "uses /dev/sev",
            remedy: "by design")
        expect(
            try obstacle { _, _, facts in facts.isProtected = true }, .encrypted, "SEV-ES, SEV-SNP, TDX",
            remedy: "by design")
        // KVM_X86_*_VM, whatever VMM it is: plain and software-protected VMs are not encrypted.
        for (type, kind) in [2: "SEV", 3: "SEV-ES", 4: "SEV-SNP", 5: "TDX"] as [UInt8: String] {
            expect(
                try obstacle { guest, _, facts in
                    guest.vmm = VMMKind(rawValue: "home-made")
                    facts.machineType = type
                }, .encrypted, "a VM of type \(kind)", remedy: "by design")
        }
        for type: UInt8? in [nil, 0, 1] { #expect(try obstacle { $2.machineType = type } == nil) }
        for object in ["tdx-guest,id=tdx0", "qom-type=tdx-guest,id=a", #"{"qom-type":"tdx-guest","id":"a"}"#]
        {
            expect(
                try obstacle(asked: false) { guest, _, _ in guest.arguments += ["-object", object] },
                .encrypted, "given a tdx-guest", remedy: "by design")
        }
        expect(
            try obstacle { guest, _, _ in guest.arguments += ["-object", "sev-snp-guest,id=a"] }, .encrypted,
            "given a sev-snp-guest", remedy: "by design")
        // Another object, and something that only has the name.
        #expect(
            try obstacle { guest, _, _ in
                guest.arguments += ["-object", "memory-backend-ram,id=tdx-guest", "-name", "tdx-guest"]
            } == nil)
    }

    @Test("a VMM that is traced: its main thread or one of a vCPU, but not by our own tracer")
    func traced() throws {
        for index in 0..<3 {
            expect(
                try obstacle { _, seen, _ in seen.threads[index].status = try Self.status(tracer: 42) },
                .traced, "thread \(700 + index) of the VMM is already traced by process 42",
                remedy: "end that debugger")
        }
        #expect(
            try obstacle { _, seen, _ in seen.threads[1].status = try Self.status(tracer: 99) } == nil)
        func tracedBy(_ process: String) throws -> HostGuestError? {
            try obstacle { _, seen, _ in
                seen.threads[1].status = try Self.status(tracer: 42)
                seen.tracers[42] = process
            }
        }
        expect(try tracedBy("gdb"), .traced, "traced by process 42 (gdb)", remedy: "end that debugger")
        // How that one is left is a front end's matter.
        let ours = try #require(try tracedBy(HostGuest.tracerName))
        #expect(ours.code == .attachedElsewhere)
        #expect(ours.message.contains("traced by process 42 (kvmscope)"))
        #expect(ours.remedy == nil)
    }

    @Test("a filtered VMM, where the filter may not be lifted")
    func filtered() throws {
        let limited = Privileges(effective: Self.without(.systemAdministration), user: 0, ptraceScope: 0)
        expect(
            try obstacle(limited) { _, seen, _ in seen.threads[2].status = try Self.status(seccomp: 2) },
            .seccomp, "its thread 702 (seccomp)", remedy: "CAP_SYS_ADMIN: run kvmscope as root")
        #expect(try obstacle { _, seen, _ in seen.threads[2].status = try Self.status(seccomp: 2) } == nil)
        #expect(try obstacle(limited) { _, _, _ in } == nil)
    }

    @Test("without CAP_SYS_PTRACE: another user's VMM, and each ptrace scope")
    func privileges() throws {
        let none = Self.without(.ptrace)
        func scope(_ scope: Int, _ effective: UInt64, user: UInt32) throws -> HostGuestError? {
            try obstacle(Privileges(effective: effective, user: user, ptraceScope: scope)) { _, seen, _ in
                seen.status = try Self.status(user: 1000)
            }
        }
        expect(
            try scope(0, none, user: 7), .notPermitted, "belongs to user 1000, kvmscope runs as 7",
            remedy: "as that user or as root (CAP_SYS_PTRACE)")
        #expect(try scope(0, none, user: 1000) == nil)
        for number in 1...2 {
            expect(
                try scope(number, none, user: 1000), .notPermitted, "ptrace_scope is \(number)",
                remedy: "CAP_SYS_PTRACE")
            #expect(try scope(number, Self.root, user: 0) == nil)
        }
        expect(
            try scope(1, none, user: 1000), .notPermitted, "only a parent",
            remedy: "sysctl kernel.yama.ptrace_scope=0")
        expect(
            try scope(3, Self.root, user: 0), .notPermitted, "forbids tracing altogether",
            remedy: "start the host without it")
    }

    @Test("BPF refused: which capabilities are missing, lockdown, or what the kernel did not like")
    func bpf() {
        func error(
            _ errno: Int32, _ log: String = "", _ effective: UInt64 = Self.root, lockdown: String? = nil
        ) -> HostGuestError {
            BPFProgram.error(
                errno, log: log, Privileges(effective: effective, user: 0, ptraceScope: 0), lockdown: lockdown
            )
        }
        expect(
            error(EPERM, "", 0), .notPermitted, "refuses BPF programs",
            remedy: "CAP_BPF and CAP_PERFMON missing: run kvmscope as root")
        expect(
            error(EPERM, "", Self.without(.systemAdministration, .perfMonitoring)), .notPermitted,
            "refuses BPF programs", remedy: "; CAP_PERFMON missing")
        for errno in [EPERM, EACCES] {
            expect(error(errno), .notPermitted, "refuses BPF programs", remedy: "a kernel lockdown")
        }
        // With the helper that reads the kernel's memory gone the verifier complains of the program.
        expect(
            error(EINVAL, "unknown func bpf_probe_read_kernel#113", lockdown: "confidentiality"),
            .notPermitted, "locked down", remedy: "start the host without `lockdown=confidentiality`")
        #expect(error(EINVAL, "bad", lockdown: "integrity").code == .unsupported)
        expect(error(ENOSYS), .unsupported, "no BPF", remedy: "CONFIG_BPF_SYSCALL")
        let complaint = error(EACCES, "R1 invalid mem access")
        #expect(complaint.code == .unsupported && complaint.message.contains("R1 invalid mem access"))
        #expect(error(EINVAL).message.contains("Invalid argument"))
    }

    @Test(
        "the mode of lockdown",
        arguments: [
            ("[none] integrity confidentiality\n", "none"),
            ("none [integrity] confidentiality\n", "integrity"),
            ("none integrity [confidentiality]\n", "confidentiality"), ("", nil), ("none", nil),
        ] as [(String, String?)])
    func lockdown(text: String, mode: String?) { #expect(BPFProgram.lockdown(text) == mode) }
}
