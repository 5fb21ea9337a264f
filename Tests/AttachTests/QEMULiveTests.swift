import Debugger
import Foundation
import KVMCore
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

    @Test("registers and memory are what QEMU says, at its own prompt", arguments: [1, 2])
    func same(vcpus: Int) throws {
        let qemu = try QEMU(["-smp", "\(vcpus)"])
        usleep(500_000)
        try qemu.ask("stop")
        let target = try qemu.attach()
        let (general, special) = try target.withVCPU(0) { vcpu in
            // What only a vCPU that stands still gives.
            _ = try vcpu.mpState()
            return (try vcpu.registers(), try vcpu.specialRegisters())
        }
        let said = fields(try qemu.ask("info registers"))
        func check(_ long: String, _ short: String, _ value: UInt64) {
            let expected = said[long]?.first ?? said[short]?.first
            #expect(expected == (said[long] == nil ? value & 0xFFFF_FFFF : value), "\(long)")
        }
        check("RAX", "EAX", general.rax)
        check("RBX", "EBX", general.rbx)
        check("RCX", "ECX", general.rcx)
        check("RDX", "EDX", general.rdx)
        check("RSI", "ESI", general.rsi)
        check("RDI", "EDI", general.rdi)
        check("RBP", "EBP", general.rbp)
        check("RSP", "ESP", general.rsp)
        check("RIP", "EIP", general.rip)
        check("RFL", "EFL", general.rflags.rawValue)
        check("CR0", "CR0", special.cr0.rawValue)
        check("CR3", "CR3", special.cr3)
        check("CR4", "CR4", special.cr4.rawValue)
        for (name, segment) in [
            ("CS", special.cs), ("DS", special.ds), ("ES", special.es), ("SS", special.ss),
            ("FS", special.fs),
            ("GS", special.gs),
        ] {
            let values = try #require(said[name])
            #expect(values.count >= 3)
            #expect(
                Array(values.prefix(3)) == [UInt64(segment.selector), segment.base, UInt64(segment.limit)],
                "\(name)")
        }
        #expect(said["GDT"] == [special.gdt.base, UInt64(special.gdt.limit)])

        // The first page and the last of the BIOS, as QEMU saves them.
        for gpa in [UInt64(0), 0xFFFF_F000] {
            let path = NSTemporaryDirectory() + "page-\(UUID().uuidString)"
            defer { unlink(path) }
            try qemu.ask("pmemsave \(gpa) 4096 \"\(path)\"")
            var mine = [UInt8](repeating: 0, count: 4096)
            try mine.withUnsafeMutableBytes { try target.memory.read(gpa, into: $0) }
            #expect(try [UInt8](Data(contentsOf: URL(filePath: path))) == mine)
        }
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

    @Test("the memory map is what `info mtree -f` says of KVM")
    func map() throws {
        let qemu = try QEMU([])
        usleep(500_000)
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
                    isReadOnly: line.contains(", rom)")))
        }
        #expect(said.count >= 3)
        #expect(merged(target.memory.regions) == merged(said))
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
            let stop = try #require(try debugger.collectStop(timeout: .seconds(10)))
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
            _ = try debugger.collectStop(timeout: .seconds(10))
        }
        try target.detach()
        usleep(50_000)
        #expect(qemu.process.isRunning)
        let again = try #require(GuestFinder().guest(process: qemu.pid))
        #expect(again.obstacle == nil)
    }
}
