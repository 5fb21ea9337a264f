import DebugTarget
import Debugger
import KVMCore
import X86

enum KeyDirection {
    case `in`, out
    func key(_ port: UInt16) -> ExitKey { .io(port: port, direction: self == .in ? .in : .out) }
}

extension ConformanceCase {
    static let breaking: [ConformanceCase] = [
        ConformanceCase("breaks, and does not break again at the same place") { fixture in
            try fixture.load(counting)
            let first = try fixture.debugger.setBreakpoint(at: .linear(0x7C03))
            let second = try fixture.debugger.setBreakpoint(
                at: .segmented(.selector(0), offset: 0x7C04))
            // Neighbours: stepping past one must not drop the other.
            for (ip, number) in [(0x7C03, first.number), (0x7C04, second.number), (0x7C03, first.number)] {
                try fixture.go()
                try fixture.expect(.breakpoint([number]))
                try fixture.expect("rip", UInt64(ip))
            }
            try fixture.expect("ax", 1)
            try fixture.expect(fixture.debugger.breakpoints.map(\.hits) == [2, 1], "hits are counted")
        },
        ConformanceCase("stops at a breakpoint among steps") { fixture in
            try fixture.load(counting)
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C05))
            try fixture.step(100)
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect("rip", 0x7C05)
            try fixture.expect(fixture.debugger.stop.steps == 3, "three steps were made")
            try fixture.step()
            try fixture.expect(.step(count: 1))
            try fixture.expect("rip", 0x7C03)
        },
        ConformanceCase("deletes a temporary breakpoint when it is hit") { fixture in
            try fixture.load(counting)
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C04), isTemporary: true)
            try fixture.go()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect(fixture.debugger.breakpoints.isEmpty, "it is gone")
            try fixture.expectError(.noBreakpoint) {
                try fixture.debugger.deleteBreakpoint(breakpoint.number)
            }
        },
        ConformanceCase("runs to an address, also with all registers taken") { fixture in
            try fixture.load(counting)
            try fixture.debugger.startRun(to: .linear(0x7C05))
            try fixture.collect()
            try fixture.expect("rip", 0x7C05)
            try fixture.debugger.startRun(to: .linear(0x7C05))
            try fixture.collect()
            try fixture.expect("rip", 0x7C05)
            try fixture.expect("ax", 2)
            for address: UInt64 in 0x9000...0x9003 {
                try fixture.debugger.setBreakpoint(at: .linear(address))
            }
            try fixture.debugger.startRun(to: .linear(0x7C04))
            try fixture.collect()
            try fixture.expect("rip", 0x7C04)
            try fixture.expect("ax", 3)
        },
        ConformanceCase("breaks after port I/O") { fixture in
            // 7C00 out e9, al; 7C02 in al, e9; 7C04 jmp 7C00
            try fixture.load([0xE6, 0xE9, 0xE4, 0xE9, 0xEB, 0xFA])
            try fixture.debugger.setBreakpoint(at: .linear(0x7C02))
            try fixture.debugger.setBreakpoint(at: .linear(0x7C04))
            for (number, ip) in [(1, 0x7C02), (2, 0x7C04), (1, 0x7C02), (2, 0x7C04)] {
                try fixture.go()
                try fixture.expect(.breakpoint([number]))
                try fixture.expect("rip", UInt64(ip))
            }
        },
    ]

    static let halting: [ConformanceCase] = [
        ConformanceCase("halts, and does not run on where nothing wakes it", stopsAtHalt: true) { fixture in
            try fixture.load(halts)
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("rip", 0x7C02)
            try fixture.expect(fixture.debugger.selected.activity == .halted, "it is halted")
            try fixture.expectError(.refused) { try fixture.debugger.startContinue() }
            try fixture.expect("rip", 0x7C02)
            // The user may go on all the same.
            try fixture.step()
            try fixture.expect("rip", 0x7C03)
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("rip", 0x7C05)
            try fixture.expect("bx", 2)
            try fixture.debugger.setRegister("rip", to: 0x7C00)
            try fixture.go()
            try fixture.expect("rip", 0x7C02)
        },
        ConformanceCase(
            "says that it stepped over a HLT, and does not report it again", stopsAtHalt: true
        ) { fixture in
            try fixture.load(halts)
            try fixture.step(2)
            try fixture.expect(.step(count: 2))
            try fixture.expect("rip", 0x7C02)
            try fixture.expect(fixture.debugger.stop.passedHalt, "it says so")
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("rip", 0x7C05)
            try fixture.expect("bx", 2)
        },
        ConformanceCase("steps on after a HLT") { fixture in
            try fixture.load(halts)
            for ip: UInt64 in [0x7C01, 0x7C02, 0x7C03, 0x7C04, 0x7C05] {
                try fixture.step()
                try fixture.expect(.step(count: 1))
                try fixture.expect("rip", ip)
                let isBehind = ip == 0x7C02 || ip == 0x7C05
                try fixture.expect(fixture.debugger.stop.passedHalt == isBehind, "HLT was seen at \(ip)")
            }
            try fixture.expect("bx", 2)
        },
        ConformanceCase("does not step through a HLT among many steps") { fixture in
            try fixture.load(halts)
            try fixture.step(100)
            try fixture.expect(.hlt)
            try fixture.expect("rip", 0x7C02)
            try fixture.expect(fixture.debugger.stop.steps == 2, "two steps were made")
        },
        ConformanceCase("halts at a HLT with a breakpoint") { fixture in
            try fixture.load(halts)
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C01))
            try fixture.go()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("rip", 0x7C02)
        },
    ]

    /// 7C00 inc ax; 7C01 hlt; 7C02 inc bx; 7C03 inc bx; 7C04 hlt
    static let halts: [UInt8] = [0x40, 0xF4, 0x43, 0x43, 0xF4]
}
