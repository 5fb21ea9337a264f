import Foundation
import KVMCore
import Testing

@testable import Host

/// What speaks against attaching, with made-up facts about a process that is there: this one's parent.
@Suite("Obstacles to attaching")
struct ObstacleTests {
    private let process = getppid()

    private func obstacle(
        _ change: (inout HostGuest, inout KernelReader.Facts) -> Void
    ) -> HostGuestError? {
        var guest = HostGuest(
            process: process, name: "made up", vmm: .qemu, arguments: [], vmDescriptors: [9],
            vcpus: [HostVCPU(id: 0, descriptor: 10, thread: process)])
        var facts = KernelReader.Facts()
        facts.threads = [0: process]
        facts.guestDebug = [0: 0]
        change(&guest, &facts)
        return GuestFinder(readsKernel: false).obstacle(
            to: guest, ProcessFiles(guest.process), facts, tracer: 0)
    }

    private func expect(
        _ error: HostGuestError?, _ code: HostGuestError.Code, _ words: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(error?.code == code, sourceLocation: sourceLocation)
        // Every refusal says what to do.
        #expect(error?.remedy?.isEmpty == false, sourceLocation: sourceLocation)
        for word in words {
            #expect(error?.description.contains(word) == true, "\(word)", sourceLocation: sourceLocation)
        }
    }

    @Test(
        "an encrypted guest, one debugged by its VMM, one of several VMs, one whose thread is not found",
        .enabled(if: getuid() == 0, "needs root"))
    func facts() {
        #expect(obstacle { _, _ in } == nil)
        expect(obstacle { $1.isProtected = true }, .encrypted, "SEV or TDX", "by design")
        expect(
            obstacle { $1.guestDebug[0] = 0x10001 }, .guestDebugInUse, "vCPU 0", "gdbstub",
            "delete its breakpoints")
        expect(obstacle { guest, _ in guest.machines = 2 }, .unsupported, "2 VMs")
        expect(
            obstacle { guest, _ in guest.isForeign = true }, .noGuest, "another process made",
            "attach to that one")
        expect(
            obstacle { guest, _ in
                guest.vcpus.append(HostVCPU(id: 1, descriptor: 11, thread: guest.process))
            }, .unsupported, "runs vCPUs 0 and 1 in turn", "a thread for each vCPU")
        expect(
            obstacle { guest, facts in
                guest.vcpus[0].thread = nil
                facts.threads = [:]
            }, .notRunning, "was seen to run vCPU 0", "once the guest runs")
        let gone = obstacle { guest, _ in guest.process = 0x3FFF_FFFF }
        #expect(gone?.code == .noProcess)
        expect(obstacle { guest, _ in guest.process = getpid() }, .ownProcess, "without attaching")
    }

    @Test(
        "which descriptors are of one VM: those that are duplicates, and a VM without vCPUs beside one that has some"
    )
    func machines() {
        typealias Kin = KernelReader.Kinship
        func found(_ all: [(Int32, KVMDescriptor)], _ kin: [Int32: UInt64]?) -> [[Int]] {
            let (vms, vcpus, count) = GuestFinder.machines(
                all.map { (descriptor: $0.0, kind: $0.1) }, kin.map { Kin(machines: $0) })
            return [vms.map { Int($0) }, vcpus.map(\.id), vcpus.map { Int($0.descriptor) }, [count]]
        }
        let one: [(Int32, KVMDescriptor)] = [
            (3, .vm), (4, .vcpu(id: 0)), (5, .vcpu(id: 1)), (6, .vcpu(id: 0)),
        ]
        #expect(found(one, nil) == [[3], [0, 1], [4, 5], [1]])
        #expect(found(one, [3: 0xA, 4: 0xA, 5: 0xA, 6: 0xA]) == [[3], [0, 1], [4, 5], [1]])
        // Another VM's vCPU of the same id is another one.
        #expect(found(one, [3: 0xA, 4: 0xA, 5: 0xA, 6: 0xB]) == [[3], [0, 1, 0], [4, 5, 6], [2]])
        let two: [(Int32, KVMDescriptor)] = [(3, .vm), (4, .vm), (5, .vcpu(id: 0)), (6, .vm), (7, .other)]
        #expect(found(two, nil) == [[3, 4, 6], [0], [5], [3]])
        #expect(found(two, [3: 0xA, 4: 0xB, 5: 0xB, 6: 0xB]) == [[4], [0], [5], [1]])
        // None has vCPUs yet.
        #expect(found([(3, .vm), (4, .vm)], [3: 0xA, 4: 0xB]) == [[3, 4], [], [], [2]])
        // The VM's own descriptor is closed.
        #expect(found([(5, .vcpu(id: 2))], [5: 0xB]) == [[], [2], [5], [1]])
        #expect(found([(5, .vcpu(id: 2))], nil) == [[], [2], [5], [1]])
    }

    @Test(
        "where the kernel does not tell which thread runs a vCPU, that is no obstacle: it is found out later",
        .enabled(if: getuid() == 0, "needs root"))
    func unknownThread() {
        let guest = HostGuest(
            process: process, name: "made up", vmm: .qemu, arguments: [], vmDescriptors: [9],
            vcpus: [HostVCPU(id: 3, descriptor: 10)])
        #expect(
            GuestFinder(readsKernel: false).obstacle(to: guest, ProcessFiles(process), nil, tracer: 0) == nil)
    }

    @Test(
        "a 32-bit program by its ELF header",
        arguments: [
            ([0x7F, 0x45, 0x4C, 0x46, 1], true), ([0x7F, 0x45, 0x4C, 0x46, 2], false),
            ([0x7F, 0x45, 0x4C, 0x46], false), ([], false), (Array("#!/bi".utf8), false),
        ] as [([UInt8], Bool)])
    func bits32(head: [UInt8], expected: Bool) { #expect(GuestFinder.is32Bit(elf: head) == expected) }

    @Test("SEV by the device that its VMM holds open")
    func sev() {
        #expect(GuestFinder.usesSEV(links: ["/dev/kvm", "anon_inode:kvm-vm", "/dev/sev"]))
        #expect(!GuestFinder.usesSEV(links: ["/dev/kvm", "/dev/sevenths"]))
        #expect(!GuestFinder.usesSEV(links: []))
    }

    @Test("the guest's RAM is neither its firmware's nor its screen's")
    func ram() {
        var facts = KernelReader.Facts()
        #expect(facts.ram == nil)
        func region(_ gpa: UInt64, _ size: UInt64, _ isReadOnly: Bool = false) -> MemorySlot {
            MemorySlot(slot: 0, gpa: gpa, size: size, hostAddress: 0, flags: isReadOnly ? .readOnly : [])
        }
        facts.slots = [
            region(0, 0xA_0000), region(0xC_0000, 0x2_0000, true), region(0x10_0000, 0x3F0_0000),
            region(0xFD00_0000, 16 << 20), region(0xFFFC_0000, 0x4_0000, true), region(1 << 32, 1 << 30),
        ]
        #expect(facts.ram == 0xA_0000 + 0x3F0_0000 + 1 << 30)
    }
}
