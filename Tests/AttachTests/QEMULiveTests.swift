import DebugTarget
import Debugger
import Foundation
import Host
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

@Suite("Attached to a stock QEMU", .enabled(if: Host.runsQEMU, "needs /dev/kvm and QEMU"), .serialized)
struct QEMULiveTests {
    /// `RAX=0123456789abcdef` or `EAX=01234567`, and the segments' `CS =f000 ffff0000 0000ffff 00009b00`.
    private func fields(_ text: String) -> [String: [UInt64]] {
        var fields = [String: [UInt64]]()
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.replacingOccurrences(of: " =", with: "=").replacingOccurrences(
                of: "= ", with: "=")
            var name: String?
            for word in line.split(separator: " ") {
                let parts = word.split(separator: "=", maxSplits: 1)
                if word.hasSuffix("=") {
                    // `GDT=     000f6180 00000037`
                    name = String(word.dropLast())
                    fields[String(word.dropLast())] = []
                } else if parts.count == 2, let value = UInt64(parts[1], radix: 16) {
                    name = String(parts[0])
                    fields[String(parts[0])] = [value]
                } else if let current = name, let value = UInt64(word, radix: 16) {
                    fields[current]?.append(value)
                } else {
                    name = nil
                }
            }
        }
        return fields
    }

    /// The forms that the comparisons are made in.
    private static let forms = [["-smp", "1"], ["-smp", "2"], ["-smp", "2", "-sandbox", "on"]]
    /// The same, and told to wait at its prompt from the start.
    private static let waiting = [["-smp", "2", "-S"], ["-smp", "3,cores=3", "-S", "-sandbox", "on"]]

    @Test("registers of every vCPU are what QEMU says, at its own prompt", arguments: forms + waiting)
    func registers(form: [String]) throws {
        let qemu = try QEMU(form, waits: !form.contains("-S"))
        usleep(500_000)
        try qemu.ask("stop")
        let target = try qemu.attach()
        #expect(target.vcpus.count == Int(form[1].prefix(1)))
        #expect(target.vcpus.allSatisfy { ($0.thread == 0) == form.contains("-S") })
        for identity in target.vcpus {
            let (general, special, debug) = try target.withVCPU(identity.id) { vcpu in
                // What only a vCPU that is stopped gives comes first: the others are then of the moment, too.
                let debug = try vcpu.debugRegisters()
                return (try vcpu.registers(), try vcpu.specialRegisters(), debug)
            }
            try qemu.ask("cpu \(identity.id)")
            let said = fields(try qemu.ask("info registers"))
            func check(_ long: String, _ short: String, _ value: UInt64) {
                let expected = said[long]?.first ?? said[short]?.first
                #expect(expected == (said[long] == nil ? value & 0xFFFF_FFFF : value), "\(long)")
            }
            let pairs: [(String, String, UInt64)] = [
                ("RAX", "EAX", general.rax), ("RBX", "EBX", general.rbx), ("RCX", "ECX", general.rcx),
                ("RDX", "EDX", general.rdx), ("RSI", "ESI", general.rsi), ("RDI", "EDI", general.rdi),
                ("RBP", "EBP", general.rbp), ("RSP", "ESP", general.rsp), ("RIP", "EIP", general.rip),
                ("RFL", "EFL", general.rflags.rawValue), ("CR0", "CR0", special.cr0.rawValue),
                ("CR2", "CR2", special.cr2), ("CR3", "CR3", special.cr3),
                ("CR4", "CR4", special.cr4.rawValue), ("EFER", "EFER", special.efer.rawValue),
                ("DR6", "DR6", debug.dr6), ("DR7", "DR7", debug.dr7), ("DR0", "DR0", debug.dr0),
            ]
            for (long, short, value) in pairs { check(long, short, value) }
            for (name, segment) in [
                ("CS", special.cs), ("DS", special.ds), ("ES", special.es), ("SS", special.ss),
                ("FS", special.fs), ("GS", special.gs), ("LDT", special.ldt), ("TR", special.tr),
            ] {
                let values = try #require(said[name])
                #expect(values.count >= 3)
                #expect(
                    Array(values.prefix(3)) == [
                        UInt64(segment.selector), segment.base, UInt64(segment.limit),
                    ], "\(name) of vCPU \(identity.id)")
            }
            #expect(said["GDT"] == [special.gdt.base, UInt64(special.gdt.limit)])
            #expect(said["IDT"] == [special.idt.base, UInt64(special.idt.limit)])
        }
        try target.detach()
        try qemu.ask("cont")
        #expect(try qemu.ask("info status").contains("running"))
    }

    @Test(
        "memory is what QEMU says, at its own prompt, and what is written is there",
        arguments: forms + waiting)
    func memory(form: [String]) throws {
        let qemu = try QEMU(form, waits: !form.contains("-S"))
        usleep(500_000)
        try qemu.ask("stop")
        let target = try qemu.attach()
        // Low memory, the firmware's copy, the middle of RAM, and the last page below 4 GiB, as QEMU saves them.
        for gpa in [UInt64(0), 0xF_0000, 0x200_0000, 0xFFFF_F000] {
            let path = NSTemporaryDirectory() + "page-\(UUID().uuidString)"
            defer { unlink(path) }
            try qemu.ask("pmemsave \(gpa) 4096 \"\(path)\"")
            var mine = [UInt8](repeating: 0, count: 4096)
            try mine.withUnsafeMutableBytes { try target.memory.read(gpa, into: $0) }
            #expect(try [UInt8](Data(contentsOf: URL(filePath: path))) == mine, "at \(gpa)")
        }
        let bytes: [UInt8] = [0x11, 0x22, 0x33, 0x44]
        try bytes.withUnsafeBytes { try target.memory.write(0x200_0000, $0) }
        #expect(try qemu.ask("xp/1xw 0x2000000").contains("0x44332211"))
        // The first words, as `xp` prints them: `0000000000000000: 0xf000ff53 ...`.
        let words = try qemu.ask("xp/4xw 0").split(separator: " ").filter { $0.hasPrefix("0x") }.compactMap {
            UInt32($0.dropFirst(2).prefix { $0.isHexDigit }, radix: 16)
        }
        var first = [UInt32](repeating: 0, count: 4)
        try first.withUnsafeMutableBytes { try target.memory.read(0, into: $0) }
        #expect(words == first)
        try target.detach()
        try qemu.ask("cont")
        #expect(try qemu.ask("info status").contains("running"))
    }

    /// Ranges side by side with the same kind, as one.
    private func merged(_ regions: [MemoryRegion]) -> [MemoryRegion] {
        var result = [MemoryRegion]()
        for region in regions.sorted(by: { $0.gpa < $1.gpa }) {
            if let last = result.last, last.gpa + last.size == region.gpa,
                last.isReadOnly == region.isReadOnly
            {
                result[result.count - 1].size += region.size
            } else {
                result.append(
                    MemoryRegion(
                        slot: 0, gpa: region.gpa, size: region.size, hva: 0, isReadOnly: region.isReadOnly))
            }
        }
        return result
    }

    @Test(
        "the memory map is what `info mtree -f` says of KVM, early and late", arguments: forms,
        [0, 3_000_000])
    func map(form: [String], delay: UInt32) throws {
        let qemu = try QEMU(form)
        // The firmware moves memory about while it starts.
        usleep(500_000 + delay)
        try qemu.ask("stop")
        let target = try qemu.attach()
        #expect(target.attachedMemory.source == .kernel)
        var said = [MemoryRegion]()
        var isMemory = false
        for line in try qemu.ask("info mtree -f").split(whereSeparator: \.isNewline) {
            if line.hasPrefix("FlatView") { isMemory = false }
            if line.contains("AS \"memory\"") { isMemory = true }
            guard isMemory, line.hasSuffix(" KVM") else { continue }
            let words = line.split(separator: " ")
            let ends = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard ends.count == 2 else { continue }
            said.append(
                MemoryRegion(
                    slot: 0, gpa: ends[0], size: ends[1] - ends[0] + 1, hva: 0,
                    // What the chipset makes of RAM read-only KVM has as RAM.
                    isReadOnly: line.contains(", rom)") && !line.contains("pc.ram")))
        }
        #expect(said.count >= 3)
        #expect(merged(target.memory.regions) == merged(said))
    }

    @Test("a spinning guest's register is set, and it behaves as it must", arguments: [forms[0], forms[2]])
    func edit(form: [String]) throws {
        let disk = NSTemporaryDirectory() + "disk-\(UUID().uuidString)"
        defer { unlink(disk) }
        // Interrupts off: the firmware's handlers put back the registers that they save.
        // cli; xor bx, bx; again: test bx, bx; jz again; mov [0x600], bx; xor bx, bx; jmp again
        var sector: [UInt8] = [
            0xFA, 0x31, 0xDB, 0x85, 0xDB, 0x74, 0xFC, 0x89, 0x1E, 0x00, 0x06, 0x31, 0xDB, 0xEB, 0xF4,
        ]
        sector += [UInt8](repeating: 0, count: 510 - sector.count) + [0x55, 0xAA]
        try Data(sector + [UInt8](repeating: 0, count: 1 << 20)).write(to: URL(filePath: disk))
        let qemu = try QEMU(form + ["-drive", "file=\(disk),format=raw"], monitor: false)
        let target = try qemu.attach()
        let debugger = try Debugger(target: target)
        // Stopped on its way there by nothing but the breakpoint.
        try debugger.startContinue()
        debugger.interrupt()
        _ = try debugger.collectStop(timeout: .paced(10))
        _ = try debugger.setBreakpoint(at: .linear(0x7C03))
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(120)))
        #expect(stop.reason == .breakpoint([1]))
        try debugger.deleteAllBreakpoints()
        try debugger.startContinue()
        for value in [0x1234, 0x5678] as [UInt64] {
            try debugger.setRegister("bx", to: value, vcpu: 0)
            let deadline = ContinuousClock.now + .paced(20)
            var stored: UInt16 = 0
            while stored != UInt16(value), ContinuousClock.now < deadline {
                usleep(1000)
                try withUnsafeMutableBytes(of: &stored) { try target.memory.read(0x600, into: $0) }
            }
            #expect(stored == UInt16(value))
        }
        try debugger.detach()
        #expect(qemu.process.isRunning)
        let again = try #require(GuestFinder().guest(process: qemu.pid))
        #expect(again.obstacle == nil)
        for vcpu in again.vcpus {
            #expect(try KernelReader.shared().guestDebug(of: qemu.pid, vcpu: vcpu.descriptor) == 0)
        }
    }

    @Test(
        "it is stopped, stepped and let go, sandboxed and without any monitor too",
        arguments: [["-smp", "1"], ["-smp", "2"], ["-sandbox", "on", "-smp", "2"]])
    func stepping(options: [String]) throws {
        let qemu = try QEMU(options, monitor: false)
        let target = try qemu.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        for _ in 0..<5 {
            usleep(20_000)
            debugger.interrupt()
            let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
            #expect(stop.reason == .interrupted)
            let stepped = try debugger.step(count: 50)
            guard case .step(count: 50) = stepped.reason else {
                // SeaBIOS sleeps in HLT where it waits for a key.
                #expect(stepped.reason == .hlt)
                continue
            }
            #expect(stepped.steps == 50)
            try debugger.startContinue()
        }
        if debugger.isRunning {
            debugger.interrupt()
            _ = try debugger.collectStop(timeout: .paced(10))
        }
        try target.detach()
        usleep(50_000)
        #expect(qemu.process.isRunning)
        let again = try #require(GuestFinder().guest(process: qemu.pid))
        #expect(again.obstacle == nil)
    }

    @Test(
        "paused at its own prompt it is looked at, and a step says who keeps it from running",
        arguments: forms)
    func paused(form: [String]) throws {
        let qemu = try QEMU(form)
        usleep(500_000)
        try qemu.ask("stop")
        let target = try qemu.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        #expect(try debugger.liveSnapshot().activity == .paused)
        #expect(target.valueSources.first { $0.kind == .registers }?.way == .injectedCalls)
        debugger.interrupt()
        let held = try #require(try debugger.collectStop(timeout: .paced(10)))
        let stop = try debugger.step()
        guard case .withheld(let withholding) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(withholding.reason.contains("keeps vCPU 0 from running"))
        #expect(withholding.reason.contains("waits in futex, not in KVM_RUN"))
        #expect(withholding.remedy.contains("`cont` in QEMU's monitor"))
        #expect(stop[0]?.registers == held[0]?.registers)
        // It is let run there, and runs; then it is stepped.
        try debugger.startContinue()
        try qemu.ask("cont")
        let deadline = ContinuousClock.now + .paced(20)
        while try debugger.liveSnapshot().activity == .paused {
            guard ContinuousClock.now < deadline else { throw Failure("it does not run") }
            _ = try debugger.collectStop(timeout: .milliseconds(5))
        }
        debugger.interrupt()
        _ = try #require(try debugger.collectStop(timeout: .paced(10)))
        let stepped = try debugger.step()
        guard [.step(count: 1), .hlt].contains(stepped.reason) else { throw Failure("\(stepped.reason)") }
        try debugger.detach()
        #expect(try qemu.ask("info status").contains("running"))
    }

    @Test("told to wait from the start: a breakpoint at the firmware's entry is hit once it is let run")
    func firmwareEntry() throws {
        let qemu = try QEMU(["-smp", "2", "-S", "-sandbox", "on"], waits: false)
        let debugger = try Debugger(target: try qemu.attach())
        let breakpoint = try debugger.setBreakpoint(at: .linear(0xFE05B))
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(50)) == nil)
        try qemu.ask("cont")
        let stop = try #require(try debugger.collectStop(timeout: .paced(20)))
        #expect(stop.reason == .breakpoint([breakpoint.number]) && stop.vcpu == 0)
        // The one instruction before it is the jump of the reset vector: EDX has the processor's signature still.
        #expect(stop[0]?.pc == 0xFE05B && stop[0]?.registers.rax == 0 && stop[0]?.registers.rdx != 0)
        try debugger.detach()
        #expect(try qemu.ask("info status").contains("running"))
        #expect(try #require(GuestFinder().guest(process: qemu.pid)).obstacle == nil)
    }

    @Test("accesses of a boot sector to memory, to ports and to devices are caught, and its HLT")
    func events() throws {
        let disk = NSTemporaryDirectory() + "disk-\(UUID().uuidString)"
        defer { unlink(disk) }
        var sector: [UInt8] = [
            0xFA,  // 7C00        cli
            0x31, 0xDB,  // 7C01  xor bx, bx
            0x43,  // 7C03        again: inc bx
            0x89, 0x1E, 0x00, 0x06,  // 7C04  mov [0x600], bx
            0x88, 0xD8,  // 7C08  mov al, bl
            0xE6, 0x80,  // 7C0A  out 0x80, al
            0xB8, 0x00, 0xA0,  // 7C0C  mov ax, 0xa000
            0x8E, 0xC0,  // 7C0F  mov es, ax
            0x26, 0x88, 0x1E, 0x00, 0x00,  // 7C11  mov es:[0], bl
            0xEB, 0xEB,  // 7C16  jmp again
        ]
        sector += [UInt8](repeating: 0, count: 510 - sector.count) + [0x55, 0xAA]
        try Data(sector + [UInt8](repeating: 0, count: 1 << 20)).write(to: URL(filePath: disk))
        let qemu = try QEMU(["-drive", "file=\(disk),format=raw"])
        let debugger = try Debugger(target: try qemu.attach())
        try debugger.setBreakpoint(at: .linear(0x7C03), isTemporary: true)
        func next() throws -> Stop {
            try debugger.startContinue()
            return try #require(try debugger.collectStop(timeout: .paced(120)))
        }
        #expect(try next().reason == .breakpoint([1]))
        let watch = try debugger.setWatchpoint(at: .linear(0x600), length: 2, access: .write)
        for number: UInt64 in 1...2 {
            let stop = try next()
            guard case .watchpoint(let hits) = stop.reason, let hit = hits.first else {
                throw Failure("\(stop.reason)")
            }
            #expect(hit.number == watch.number && hit.new & 0xFF == number)
            #expect(number == 1 || hit.old.map { $0 & 0xFF } == number - 1)
            #expect(stop[0]?.registers.rip == 0x7C08)
        }
        try debugger.deleteAllBreakpoints()
        let port = try debugger.setCatchpoint(.io(ports: 0x80...0x80, direction: .out))
        var stop = try next()
        guard case .caught(let caught) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(caught.map(\.number) == [port.number] && stop[0]?.registers.rip == 0x7C0C)
        try debugger.deleteAllBreakpoints()
        // The frame buffer of VGA: a device's, in this mode.
        let device = try debugger.setCatchpoint(.mmio(0xA0000...0xAFFFF))
        stop = try next()
        guard case .caught(let access) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(access.map(\.number) == [device.number] && stop[0]?.registers.rip == 0x7C16)
        try debugger.detach()
        #expect(try qemu.ask("info status").contains("running"))
        #expect(try #require(GuestFinder().guest(process: qemu.pid)).obstacle == nil)
    }
}
