import DebugTarget
import Debugger
import GuestView
import Interface
import X86

/// Guests for the screen to show: nothing of them is run.
enum MadeUp {
    static func snapshot(_ id: Int, long: Bool, ip: UInt64) -> VCPUSnapshot {
        var general = GeneralRegisters()
        general.rax = 0xAA55
        general.rbx = 0x7E00
        general.rcx = 0x10
        general.rdx = 0x80
        general.rsp = 0x7BFA
        general.rip = ip
        general.rflags = [.reserved1, .zf, .pf, .if]
        var special = SpecialRegisters()
        for name in SegmentName.allCases { special[name] = .real(0) }
        special.cs = .real(0, code: true)
        special.tr = Segment(limit: 0xFFFF, attributes: SegmentAttributes(rawValue: 0x8B))
        special.ldt = Segment(limit: 0xFFFF, attributes: SegmentAttributes(rawValue: 0x82))
        special.gdt = DescriptorTable(base: 0x7D10, limit: 0x27)
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        special.cr0 = [.et]
        special.apicBase = 0xFEE0_0900
        if long {
            general.r8 = 0xFFFF_8000_0000_1234
            general.r15 = 15
            special.cr0 = [.pe, .et, .wp, .pg]
            special.cr3 = 0x1000
            special.cr4 = [.pae, .osfxsr]
            special.efer = [.lme, .lma, .sce]
            special.cs.attributes = SegmentAttributes(rawValue: 0xA09B)
            special.gs.base = 0xFFFF_8880_0000_0000
        }
        return VCPUSnapshot(id: id, registers: general, special: special, activity: .stopped)
    }

    /// Stopped after one step that changed AX, ZF and a byte of memory.
    static func guest(vcpus: Int = 1, long: Bool = false, running: Bool = false) -> GuestView {
        let now = (0..<vcpus).map { snapshot($0, long: long, ip: 0x7C02 + UInt64($0) * 0x10) }
        let before = now.map { vcpu in
            var vcpu = vcpu
            vcpu.registers.rax = 0
            vcpu.registers.rip = 0x7C00
            vcpu.registers.rflags.remove(.zf)
            vcpu.special.ds.base = 0x100
            return vcpu
        }
        let stop = Stop(
            number: 12, vcpu: 0, reason: .step(count: 1), vcpus: now, exitsSince: 1,
            elapsed: .microseconds(8))
        var view = GuestView(name: "boot", stop: stop, selected: 0)
        view.previous = Stop(
            number: 11, vcpu: 0, reason: .step(count: 1), vcpus: before, exitsSince: 1,
            elapsed: .microseconds(8))
        view.reason = "stepped 1 instruction"
        view.isRunning = running
        view.vcpus = now.map { vcpu in
            var line = VCPULine(
                id: vcpu.id, isBoot: vcpu.id == 0, state: running ? "running" : "stopped", mode: vcpu.mode,
                location: long ? "0000000000007c02" : "0000:7c02", lastExit: "IO 0xe9 out",
                exitsPerSecond: 12_345, exits: 99)
            line.share = .init(guest: 71.6, kernel: 20, user: 8.4)
            return line
        }
        view.debug = DebugRegisters()
        view.chains = ["rbx": "\u{2192} 7e10 \u{2192} \"some text\"", "rsp": "\u{2192} 0000"]
        view.code = code(long: long)
        for index in UInt64(0)..<40 {
            let offset = 0x7BFA + index * 2
            var slot = StackLine(offset: offset, linear: offset, width: 2, value: index * 0x41)
            if index == 3 { slot.value = nil }
            slot.changed = index == 0 ? 1 : 0
            slot.note = index == 1 ? "after call 0x7c41" : ""
            view.stack.append(slot)
        }
        var bytes: [UInt8?] = []
        for index in 0..<640 { bytes.append(UInt8(truncatingIfNeeded: index * 7)) }
        bytes[5] = nil
        view.memory = MemoryWindow(start: 0x7C00, bytes: bytes, changed: [2, 18])
        view.exits = exits(vcpus: vcpus)
        view.console = ConsoleText(
            bytes: Array("real mode\r\nprotected mode\n\u{1B}[1mbold\u{1B}[0m\tx\n".utf8) + [0xFF, 0x41],
            name: "e9", consoles: 2)
        return view
    }

    private static func code(long: Bool) -> CodeWindow {
        let lines: [(UInt64, [UInt8], String)] = [
            (0x7C00, [0x31, 0xC0], "xor ax, ax"), (0x7C02, [0x74, 0x0E], "jz 0x7c12"),
            (
                0x7C04, [0x66, 0x67, 0x8B, 0x84, 0x8B, 0x78, 0x56, 0x34, 0x12],
                "mov eax, [ebx+ecx*4+0x12345678]"
            ),
            (0x7C0D, [0xA1, 0x34, 0x12], "mov ax, [0x1234]"), (0x7C10, [0xE6, 0xE9], "out 0xe9, al"),
            (0x7C12, [0xEB, 0xEC], "jmp 0x7c00"), (0x7C14, [], "unreadable"),
        ]
        var window = CodeWindow(mode: long ? "64-bit" : "16-bit")
        for (address, bytes, text) in lines {
            var line = CodeWindow.Line(
                address: address,
                location: (long ? "000000000000" : "0000:") + String(address, radix: 16), bytes: bytes,
                text: text)
            line.isPC = address == 0x7C02
            line.willBranch = address == 0x7C02 ? true : nil
            line.breakpoint = address == 0x7C0D ? 1 : address == 0x7C12 ? 2 : nil
            line.isBreakpointEnabled = address != 0x7C12
            if long { line.symbol = "start+0x\(String(address - 0x7C00, radix: 16))" }
            line.jump = address == 0x7C02 ? .line(5) : address == 0x7C12 ? .line(0) : nil
            line.note = address == 0x7C0D ? "ds:1234 = 0xbeef" : ""
            window.lines.append(line)
            if long { window.source = "boot.c:12" }
        }
        return window
    }

    private static func exits(vcpus: Int) -> ExitTable {
        ExitTable(
            rows: [
                .init(
                    name: "IO 0xe9 out", count: 123_456, rate: 12_345.6, total: 987_654_321,
                    maximum: 1_234_567),
                .init(name: "DEBUG", count: 12, rate: 0, total: 24_000, maximum: 4_100),
                .init(name: "MMIO 0xfee00000 write", count: 3, rate: 0.5, total: 900, maximum: 400),
            ],
            total: 123_471, rate: 12_346,
            recent: (0..<30).map {
                .init(
                    number: 123_471 - UInt64($0), vcpu: $0 % vcpus, age: UInt64($0) * 1_700_000,
                    text: "IO out 0xe9 1 byte 0x41 'A'")
            })
    }

    /// A model that shows `guest`, with something in its output.
    static func model(_ size: Size, _ guest: GuestView) -> Model {
        var model = Model(size: size)
        _ = model.update(.guest(guest))
        _ = model.update(.entered("step"))
        _ = model.update(
            .output([
                OutputLine([
                    .init("(0) "), .init("[0x00007c02] 0000:7c02", Look(.address)),
                    .init(": jz 0x7c14 ; 7410"),
                ])
            ]))
        _ = model.update(.commandLine(CommandLine(prompt: "kvmscope> ", text: "break 0x7c", cursor: 10)))
        return model
    }
}
