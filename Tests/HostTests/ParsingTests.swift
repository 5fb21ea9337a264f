import Foundation
import Testing

@testable import Host

@Suite("What /proc says")
struct ParsingTests {
    @Test(
        "a descriptor's link",
        arguments: [
            ("anon_inode:kvm-vm", KVMDescriptor.vm), ("anon_inode:kvm-vcpu:0", .vcpu(id: 0)),
            ("anon_inode:[kvm-vcpu:17]", .vcpu(id: 17)), ("anon_inode:kvm-vcpu-stats:0", .vcpuStatistics),
            ("anon_inode:kvm-vcpu:", .other), ("anon_inode:kvm-vcpu:-1", .other),
        ])
    func descriptor(link: String, expected: KVMDescriptor) { #expect(KVMDescriptor(link: link) == expected) }

    @Test(
        "a link of something else",
        arguments: ["anon_inode:[eventfd]", "/dev/kvm", "", "anon_inode:", "kvm-vm"])
    func otherLink(link: String) { #expect(KVMDescriptor(link: link) == nil) }

    @Test("a thread's system call")
    func systemCall() {
        let run = ThreadSyscall("16 0xd 0xae80 0x0 0x7f 0x1 0x2 0x7ffe10 0x7f0010\n")
        #expect(run?.runDescriptor == 13)
        #expect(ThreadSyscall("202 0xd 0xae80 0x0 0x7f 0x1 0x2 0x7ffe10 0x7f0010")?.runDescriptor == nil)
        #expect(ThreadSyscall("16 0xd 0xae81 0x0 0x7f 0x1 0x2 0x7ffe10 0x7f0010")?.runDescriptor == nil)
        #expect(ThreadSyscall("running\n") == .running)
        #expect(ThreadSyscall("-1 0x7ffe10 0x7f0010") == .blocked)
        for bad in ["", "16", "16 0xd", "16 d ae80 0 0 0 0 0 0", "x 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0"] {
            #expect(ThreadSyscall(bad) == nil, "\(bad)")
        }
    }

    @Test("a thread that lives, one that is killed, and one that is not there")
    func ending() throws {
        #expect(!ProcessFiles(getpid()).isEnding(thread: getpid()))
        let child = Process()
        // It reads until this process ends, by whatever cause.
        child.executableURL = URL(filePath: "/bin/cat")
        let input = Pipe()
        child.standardInput = input
        child.standardOutput = FileHandle.nullDevice
        defer { try? input.fileHandleForWriting.close() }
        try child.run()
        let pid = child.processIdentifier
        #expect(!ProcessFiles(pid).isEnding(thread: pid))
        kill(pid, SIGKILL)
        let end = ContinuousClock.now + .seconds(10)
        while !ProcessFiles(pid).isEnding(thread: pid) {
            try #require(ContinuousClock.now < end, "it does not end")
        }
        child.waitUntilExit()
        #expect(ProcessFiles(pid).isEnding(thread: pid))
    }

    @Test("a status file")
    func status() throws {
        let text =
            "Name:\tqemu\nTracerPid:\t7\nUid:\t1000\t1001\t0\t0\nSeccomp:\t2\nSigPnd:\t0000000000000100\nSigCgt:\t0000000000000200\n"
        let status = try #require(ProcessStatus(text))
        #expect(status.tracer == 7)
        #expect(status.effectiveUser == 1001)
        #expect(status.seccomp == 2)
        #expect(status.caughtSignals == 0x200)
        #expect(status.pendingSignals == 0x100)
        #expect(ProcessStatus("Name:\tx\n") == nil)
        #expect(ProcessStatus("") == nil)
    }

    @Test("the mappings of a VMM")
    func maps() {
        let map = AddressMap(
            """
            7f00000000-7f00003000 rw-s 00000000 00:0f 1 anon_inode:kvm-vcpu:1
            7f00100000-7f00110000 rw-s 00040000 00:0f 1 anon_inode:kvm-vcpu:0
            7f00200000-7f00203000 rw-s 00000000 00:0f 1 anon_inode:kvm-vcpu:0
            nonsense
            7f-7e rw-p 0 0 0
            10000000-20000000 rw-p 00000000 00:00 0
            """)
        #expect(map.areas.count == 4)
        #expect(map.runArea(ofVCPU: 0).map { [$0.start, $0.size] } == [0x7F_0020_0000, 0x3000])
        #expect(map.runArea(ofVCPU: 1)?.start == 0x7F_0000_0000)
        #expect(map.runArea(ofVCPU: 2) == nil)
    }

    @Test(
        "what a guest is called",
        arguments: [
            ("/usr/bin/qemu-system-x86_64", ["qemu", "-name", "guest=web,debug-threads=on"], "QEMU", "web"),
            ("/usr/bin/qemu-system-x86_64", ["qemu", "-name", "a,,b"], "QEMU", "a,b"),
            ("/usr/bin/qemu-system-x86_64", ["qemu", "-name", "process=x"], "QEMU", nil),
            ("/usr/bin/qemu-system-x86_64", ["qemu", "-name"], "QEMU", nil),
            ("/opt/firecracker (deleted)", ["fc", "--id=vm7"], "Firecracker", "vm7"),
            (
                "/opt/cloud-hypervisor", ["ch", "--api-socket", "path=/run/ch/one.sock"], "cloud-hypervisor",
                "one.sock"
            ),
            (
                "/opt/cloud-hypervisor", ["ch", "--api-socket", "/run/vc/vm/4f2e/clh-api.sock"],
                "cloud-hypervisor", "4f2e"
            ),
            ("/firecracker", ["fc", "--api-sock", "/tmp/fc1.sock"], "Firecracker", "fc1.sock"),
            ("/firecracker", ["fc", "--api-sock", "a/fc1.sock", "--id", "x"], "Firecracker", "x"),
            ("/firecracker", ["fc", "--api-sock", "api.sock"], "Firecracker", "api.sock"),
            ("/firecracker", ["fc", "--no-api"], "Firecracker", nil),
            ("/usr/bin/lkvm", ["lkvm", "run", "--name", "n"], "kvmtool", "n"),
            ("/home/me/vmm", ["vmm"], "vmm", nil),
        ] as [(String, [String], String, String?)])
    func name(executable: String, arguments: [String], kind: String, name: String?) {
        let vmm = VMMKind(executable: executable)
        #expect(vmm.rawValue == kind)
        #expect(vmm.guestName(arguments) == name)
    }

    @Test("a program that uses libkrun")
    func libkrun() {
        let vmm = VMMKind(executable: "/opt/bin/msb", command: "libkrun VM")
        #expect(vmm == .libkrun)
        #expect(vmm.guestName(["msb", "machine", "--name", "fleet1"]) == "fleet1")
        #expect(vmm.guestName(["msb"]) == nil)
        #expect(vmm.defaultName(executable: "/opt/bin/msb (deleted)", command: "libkrun VM") == "msb")
        let other = VMMKind(executable: "/opt/bin/msb", command: "msb")
        #expect(other.rawValue == "msb")
        #expect(other.defaultName(executable: "/opt/bin/msb", command: "worker") == "worker")
    }

    @Test(
        "a vCPU by its thread's name",
        arguments: [
            ("CPU 3/KVM", 3), ("fc_vcpu 0", 0), ("vcpu12", 12), ("kvm-nx-lpage-re", nil), ("CPU /KVM", nil),
            ("vcpu", nil), ("vcpu-1", nil),
        ] as [(String, Int?)])
    func threadName(name: String, id: Int?) { #expect(HostVCPU.id(fromThreadName: name) == id) }

    @Test("how long a VMM runs")
    func uptime() {
        let stat = "7 (a) b) " + (["S"] + (4...21).map(String.init)).joined(separator: " ") + " 500 0"
        #expect(GuestFinder.uptime(stat: stat, system: Array("15.25 9.0\n".utf8)) == .milliseconds(10_250))
        #expect(GuestFinder.uptime(stat: "7 (a) S", system: Array("15.25".utf8)) == nil)
        #expect(GuestFinder.uptime(stat: nil, system: nil) == nil)
    }

    @Test("what the host's rules for ptrace allow")
    func privileges() throws {
        let status = try #require(ProcessStatus("TracerPid:\t0\nUid:\t1000\t1000\t0\t0\n"))
        let ptrace: UInt64 = 1 << 19
        #expect(
            Privileges(effective: ptrace, user: 0, ptraceScope: 1).obstacle(to: status, process: 1) == nil)
        #expect(Privileges(effective: 0, user: 1000, ptraceScope: 0).obstacle(to: status, process: 1) == nil)
        for refused in [
            Privileges(effective: 0, user: 1000, ptraceScope: 1),
            Privileges(effective: 0, user: 7, ptraceScope: 0),
            Privileges(effective: ptrace, user: 0, ptraceScope: 3),
        ] {
            let error = refused.obstacle(to: status, process: 1)
            #expect(error?.code == .notPermitted)
            #expect(error?.remedy != nil)
        }
    }

    @Test(
        "a guest is meant by its process or its whole name; names that begin so are listed, and none is taken"
    )
    func matching() throws {
        func guest(_ process: Int32, _ name: String) -> HostGuest {
            HostGuest(process: process, name: name, vmm: .qemu, arguments: [], vmDescriptors: [], vcpus: [])
        }
        let list = GuestList(
            guests: [guest(10, "web"), guest(20, "web-old"), guest(30, "Mail")], hiddenProcesses: 2)
        #expect(try list.guest(matching: "30").name == "Mail")
        #expect(try list.guest(matching: "web").process == 10)
        for (part, names) in [("web-", "20 web-old"), ("we", "10 web, 20 web-old"), ("mail", "30 Mail")] {
            let error = #expect(throws: HostGuestError.self) { try list.guest(matching: part) }
            #expect(error?.code == .noGuest && error?.remedy?.hasSuffix(": \(names)") == true, "\(part)")
        }
        for other in ["old", "", "10x"] {
            let error = #expect(throws: HostGuestError.self) { try list.guest(matching: other) }
            #expect(error?.code == .noGuest && error?.remedy?.contains("web") == false, "\(other)")
        }
        let twins = GuestList(guests: [guest(10, "web"), guest(40, "web")], hiddenProcesses: 0)
        let ambiguous = #expect(throws: HostGuestError.self) { try twins.guest(matching: "web") }
        #expect(ambiguous?.code == .ambiguous && ambiguous?.message.hasSuffix("10 web, 40 web") == true)
        let none = #expect(throws: HostGuestError.self) { try list.guest(matching: "nothing") }
        #expect(none?.code == .noGuest)
        #expect(none?.remedy?.contains("2 processes") == true)
        let gone = #expect(throws: HostGuestError.self) { try list.guest(matching: "2147483647") }
        #expect(gone?.code == .noProcess)
    }
}
