import DebugTarget
import Debugger
import Glibc
import Host
import KVMCore
import Machine
import SystemPackage
import TargetConformance
import Testing
import X86

@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct CreationLiveTests {
    /// The names in a directory of /proc.
    private func names(_ path: String) throws -> [String] {
        let folder = try #require(opendir(path))
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            // SAFETY: d_name is a string that ends in zero, within the entry that readdir lends.
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    /// Threads of vCPUs in this process. Other suites may run at the same time: count only these names.
    private func vcpuThreads(_ ids: [Int32]) throws -> Int {
        let tasks = Set(try names("/proc/self/task"))
        return ids.filter { tasks.contains(String($0)) }.count
    }

    @Test func saysWhatItDid() throws {
        let machine = try machine("spin")
        let creation = try machine.createVCPU(id: nil, at: 0x7C16)
        #expect(creation.identity.id == 1)
        #expect(!creation.identity.isBoot)
        #expect(creation.identity.process == getpid())
        #expect(creation.identity.thread > 0)
        #expect(creation.descriptorName == "anon_inode:kvm-vcpu:1")
        #expect(!creation.hasLocalAPIC)
        #expect(creation.mpState == .runnable)
        #expect(creation.entry == 0x7C16)
        #expect(
            creation.parts.map(\.name) == [
                "KVM_CREATE_VCPU", "mmap of kvm_run", "KVM_SET_CPUID2", "KVM_SET_SREGS", "KVM_SET_REGS",
                "reading its state", "thread",
            ])
        #expect(creation.parts.allSatisfy { $0.cost > .zero })
        #expect(machine.vcpus.map(\.id) == [0, 1])
        #expect(machine.vcpus.map(\.isBoot) == [true, false])
        #expect(try machine.withVCPU(1) { try $0.registers().rip } == 0x7C16)
    }

    @Test func takenAndImpossibleIDs() throws {
        let machine = try machine("boot")
        let taken = #expect(throws: KVMError.self) { try machine.createVCPU(id: 0, at: nil) }
        #expect(taken?.errno == .fileExists)
        #expect(taken?.advice?.contains("taken") == true)
        let limit = #expect(throws: KVMError.self) { try machine.createVCPU(id: 1 << 20, at: nil) }
        #expect(limit?.errno == .invalidArgument)
        #expect(limit?.advice?.contains("KVM_CAP_MAX_VCPU_ID") == true)
        #expect(throws: KVMError.self) { try machine.createVCPU(id: -1, at: nil) }
        #expect(throws: MachineError.self) { try machine.createVCPU(id: nil, at: 1 << 32) }
        // The machine is as it was.
        #expect(machine.vcpus.count == 1)
        #expect(try machine.createVCPU(id: nil, at: 0x7C00).identity.id == 1)
        try machine.resume([RunOrder(vcpu: 0, controller: FreeRun())])
        #expect(machine.waitForStop(timeout: .paced(60))?.reason == .hlt)
    }

    @Test func whileTheGuestRuns() throws {
        let machine = try machine("spin")
        try machine.go()
        let creation = try machine.createVCPU(id: 5, at: 0x7C16)
        #expect(creation.identity.id == 5)
        #expect(machine.isRunning)
        #expect(try machine.withVCPU(5) { try $0.registers().rip } == 0x7C16)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        // Now it goes with the others.
        try machine.go()
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        #expect(try machine.withVCPU(5) { try $0.registers().rip } == 0x7C16)
    }

    @Test func withoutAnEntryItWaits() throws {
        let machine = try machine("boot")
        _ = try machine.createVCPU(id: nil, at: nil)
        #expect(try machine.runToStop().reason == .hlt)
        #expect(try machine.withVCPU(1) { try $0.registers().rip } == 0xFFF0)
        // An entry by hand: it runs to the HLT at the start of RAM.
        var hlt: UInt8 = 0xF4
        try withUnsafeBytes(of: &hlt) { try machine.memory.write(0x500, $0) }
        try machine.withVCPU(1) { vcpu in
            var special = try vcpu.specialRegisters()
            special.cs = .real(0, code: true)
            try vcpu.setSpecialRegisters(special)
            var registers = try vcpu.registers()
            registers.rip = 0x500
            try vcpu.setRegisters(registers)
        }
        try machine.resume([RunOrder(vcpu: 1, controller: FreeRun())])
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .hlt)
        #expect(try machine.withVCPU(1) { try $0.registers().rip } == 0x501)
    }

    @Test func apicIDsAreTheirOwn() throws {
        // mov eax, 1; cpuid; shr ebx, 24; hlt
        let code: [UInt8] = [0x66, 0xB8, 1, 0, 0, 0, 0x0F, 0xA2, 0x66, 0xC1, 0xEB, 24, 0xF4]
        let machine = try machine(code: code) { $0.vcpus = 3 }
        #expect(try machine.runToStop().reason == .hlt)
        for id in 0..<3 {
            let registers = try machine.withVCPU(id) { try $0.registers() }
            #expect(registers.rbx == UInt64(id))
            // EDX.APIC: there is none.
            #expect(registers.rdx & 1 << 9 == 0)
        }
    }

    @Test func nothingLeaks() throws {
        let rounds = 40
        let before = try names("/proc/self/fd").count
        var threads: [Int32] = []
        for _ in 0..<rounds {
            let machine = try machine("smp")
            // It goes while its guest runs.
            try machine.go()
            threads += machine.vcpus.map(\.thread)
            #expect(try vcpuThreads(machine.vcpus.map(\.thread)) == 2)
        }
        #expect(try vcpuThreads(threads) == 0)
        // A VM, two vCPUs and an event each: a leak of any would show, beside what other suites hold meanwhile.
        #expect(try names("/proc/self/fd").count < before + rounds)
    }

    @Test func threadsAreNamedAndSampled() throws {
        let machine = try machine("spin")
        let identity = try #require(machine.vcpus.first)
        try machine.go()
        let before = try #require(ThreadSample(process: identity.process, thread: identity.thread))
        #expect(machine.waitForStop(timeout: .milliseconds(300)) == nil)
        let after = try #require(ThreadSample(process: identity.process, thread: identity.thread))
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20)) != nil)
        let usage = try #require(
            ThreadUsage(from: before, to: after, ticksPerSecond: ThreadSample.ticksPerSecond))
        // A guest that spins is guest or kernel time (an emulated one is the kernel's), never only sleep.
        #expect(usage.guest + usage.kernel + usage.user > 0)
        #expect(ThreadSample(process: identity.process, thread: 0) == nil)
    }
}

@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct InterruptControllerLiveTests {
    private func kernelMachine(_ code: [UInt8], vcpus: Int = 1) throws -> OwnedMachine {
        try machine(code: code) {
            $0.interruptController = .kernel
            $0.vcpus = vcpus
        }
    }

    /// HLT waits in the kernel; the user gets it out all the same.
    @Test func haltIsInterrupted() throws {
        let machine = try kernelMachine([0xFA, 0xF4, 0xEB, 0xFD])
        for _ in 0..<20 {
            try machine.go()
            #expect(machine.waitForStop(timeout: .milliseconds(2)) == nil)
            machine.interrupt()
            #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        }
        #expect(try machine.withVCPU(0) { try $0.registers().rip } == 0x7C02)
    }

    /// Application processors wait for SIPI in the kernel, and are stopped and edited there.
    @Test func applicationProcessorsWait() throws {
        let machine = try kernelMachine([0xEB, 0xFE], vcpus: 3)
        #expect(try machine.withVCPU(0) { try $0.mpState() } == .runnable)
        #expect(try machine.withVCPU(2) { try $0.mpState() } == .uninitialized)
        try machine.go()
        for id in 0..<3 {
            _ = try machine.withVCPU(id) { try $0.registers() }
        }
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
        #expect(try machine.withVCPU(2) { try $0.mpState() } == .uninitialized)
        #expect(try machine.withVCPU(1) { try $0.registers().rip } == 0xFFF0)
    }

    @Test func createdAtAnEntryItRuns() throws {
        // inc dword [0x500]; jmp $
        let machine = try kernelMachine([0xEB, 0xFE, 0x66, 0xFF, 0x06, 0x00, 0x05, 0xEB, 0xFE])
        let creation = try machine.createVCPU(id: nil, at: 0x7C02)
        #expect(creation.hasLocalAPIC)
        #expect(creation.mpState == .runnable)
        let waiting = try machine.createVCPU(id: nil, at: nil)
        #expect(waiting.mpState == .uninitialized)
        #expect(waiting.entry == nil)
        try machine.go()
        var count: UInt32 = 0
        for _ in 0..<2000 where count == 0 {
            _ = machine.waitForStop(timeout: .milliseconds(5))
            try withUnsafeMutableBytes(of: &count) { try machine.memory.read(0x500, into: $0) }
        }
        #expect(count == 1)
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .paced(20))?.reason == .interrupted)
    }

    /// INIT and SIPI through the local APIC start the other processor.
    @Test func startByINITAndSIPI() throws {
        var code: [UInt8] = [
            0xFA,  // cli
            0x31, 0xC0, 0x8E, 0xD8,  // xor ax, ax; mov ds, ax
            // lgdt [0x7C60]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:0x7C20
            0x0F, 0x01, 0x16, 0x60, 0x7C, 0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, 0xEA, 0x20, 0x7C,
            0x08,
            0x00,
        ]
        code += [UInt8](repeating: 0x90, count: 0x20 - code.count)
        code += [
            0x66, 0xB8, 0x10, 0x00, 0x8E, 0xD8,  // mov ax, 16; mov ds, ax
            // mov dword [0xFEE00310], 1 << 24: to APIC 1
            0xC7, 0x05, 0x10, 0x03, 0xE0, 0xFE, 0x00, 0x00, 0x00, 0x01,
            // mov dword [0xFEE00300], 0x4500: INIT
            0xC7, 0x05, 0x00, 0x03, 0xE0, 0xFE, 0x00, 0x45, 0x00, 0x00,
            // mov dword [0xFEE00300], 0x4608: SIPI, start at 0x8000
            0xC7, 0x05, 0x00, 0x03, 0xE0, 0xFE, 0x08, 0x46, 0x00, 0x00,
            0xEB, 0xFE,  // jmp $
        ]
        code += [UInt8](repeating: 0, count: 0x60 - code.count)
        code += [0x17, 0x00, 0x68, 0x7C, 0x00, 0x00, 0, 0]  // limit, base of the GDT at 0x7C68
        code += [0, 0, 0, 0, 0, 0, 0, 0]
        code += [0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0, 0xFF, 0xFF, 0, 0, 0, 0x93, 0xCF, 0]
        let machine = try kernelMachine(code, vcpus: 2)
        // At 0x8000: mov al, 'A'; out 0xE9, al; out 0xF4, al
        let started: [UInt8] = [0xB0, 0x41, 0xE6, 0xE9, 0xE6, 0xF4]
        try started.withUnsafeBytes { try machine.memory.write(0x8000, $0) }
        let report = try machine.runToStop()
        #expect(report.reason == .poweredOff)
        #expect(report.vcpu == 1)
        #expect(machine.text(.debug) == "A")
    }

    @Test func chipsAreReadable() throws {
        let machine = try kernelMachine([0xEB, 0xFE])
        #expect(machine.hasInterruptControllers)
        #expect(try machine.ioapicState().redirections.allSatisfy(\.isMasked))
        _ = try machine.picState(.master)
        #expect(try machine.pitState().channels.count == 3)
        let apic = try machine.withVCPU(0) { try $0.localAPIC() }
        #expect(apic[0x20] >> 24 == 0)
        let none = try OwnedMachine(MachineConfiguration())
        #expect(!none.hasInterruptControllers)
        #expect(throws: KVMError.self) { try none.ioapicState() }
    }

    /// The serial port's interrupt reaches the PIC.
    @Test func serialInputRaisesItsLine() throws {
        // Out2 and the receive interrupt on: mov dx, 0x3FC; mov al, 8; out dx, al; mov dx, 0x3F9; mov al, 1;
        // out dx, al; jmp $
        let code: [UInt8] = [
            0xBA, 0xFC, 0x03, 0xB0, 0x08, 0xEE, 0xBA, 0xF9, 0x03, 0xB0, 0x01, 0xEE, 0xEB, 0xFE,
        ]
        let machine = try kernelMachine(code)
        let steps = Steps(6)
        #expect(try machine.runToStop { steps }.reason == .step(count: 6))
        #expect(try machine.picState(.master).irr & 1 << 4 == 0)
        #expect(machine.consoleInput(.serial, [0x41]))
        #expect(try machine.picState(.master).irr & 1 << 4 != 0)
        #expect(!machine.consoleInput(.debug, [0x41]))
    }
}
