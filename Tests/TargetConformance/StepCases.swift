import DebugTarget
import Debugger
import X86

extension ConformanceCase {
    /// 7C00 mov ax, 0; 7C03 inc ax; 7C04 inc bx; 7C05 jmp 7C03
    static let counting: [UInt8] = [0xB8, 0, 0, 0x40, 0x43, 0xEB, 0xFC]

    static let stepping: [ConformanceCase] = [
        ConformanceCase("starts stopped") { fixture in
            try fixture.expect(.created)
            try fixture.expect(fixture.debugger.stop.number == 0, "the first stop is number 0")
            try fixture.expect(!fixture.debugger.isRunning, "it runs")
            try fixture.expect(
                fixture.debugger.stop.vcpus.map(\.id) == fixture.target.vcpus.map(\.id), "all vCPUs are there"
            )
        },
        ConformanceCase("steps one instruction at a time") { fixture in
            try fixture.load(counting)
            for (count, (ip, ax)) in [(0x7C03, 0), (0x7C04, 1), (0x7C05, 1), (0x7C03, 1), (0x7C04, 2)]
                .enumerated()
            {
                try fixture.step()
                try fixture.expect(.step(count: 1))
                try fixture.expect("rip", UInt64(ip))
                try fixture.expect("ax", UInt64(ax))
                try fixture.expect(fixture.debugger.stop.number == count + 1, "stops are counted")
            }
        },
        ConformanceCase("steps a thousand") { fixture in
            try fixture.load(counting)
            try fixture.step(1000)
            try fixture.expect(.step(count: 1000))
            try fixture.expect("ax", 333)
            try fixture.expect("bx", 333)
            try fixture.expect(fixture.debugger.stop.steps == 1000, "steps are counted")
            try fixture.expect(fixture.debugger.stop.exitsSince >= 1000, "exits are counted")
        },
        ConformanceCase("goes on stepping after an edit of RIP") { fixture in
            try fixture.load(counting)
            try fixture.step()
            try fixture.debugger.setRegister("rip", to: 0x7C04)
            try fixture.step()
            try fixture.expect("rip", 0x7C05)
            try fixture.expect("ax", 0)
            try fixture.expect("bx", 1)
        },
        ConformanceCase("steps into an interrupt and out of it") { fixture in
            // 7C00 int 20h; 7C02 inc cx; 7C03 hlt
            try fixture.load([0xCD, 0x20, 0x41, 0xF4])
            try fixture.interruptHandler()
            try fixture.step()
            try fixture.expect("rip", 0x7D00)
            try fixture.step()
            try fixture.expect("rip", 0x7D01)
            try fixture.step()
            try fixture.expect("rip", 0x7C02)
            try fixture.step()
            try fixture.expect("rip", 0x7C03)
            try fixture.expect("cx", 1)
            try fixture.expect("dx", 1)
        },
        ConformanceCase("steps over an interrupt") { fixture in
            try fixture.load([0xCD, 0x20, 0x41, 0xF4])
            try fixture.interruptHandler()
            try fixture.next()
            try fixture.expect(.step(count: 1))
            try fixture.expect("rip", 0x7C02)
            try fixture.expect("dx", 1)
        },
        ConformanceCase("steps over a call that calls itself") { fixture in
            try fixture.load([
                0xBA, 3, 0,  // 7C00 mov dx, 3
                0xE8, 2, 0,  // 7C03 call 7C08
                0x41,  // 7C06 inc cx
                0xF4,  // 7C07 hlt
                0x4A,  // 7C08 dec dx
                0x74, 3,  // 7C09 jz 7C0E
                0xE8, 0xFA, 0xFF,  // 7C0B call 7C08
                0x43,  // 7C0E inc bx
                0xC3,  // 7C0F ret
            ])
            try fixture.step(4)
            try fixture.expect("rip", 0x7C0B)
            try fixture.next()
            try fixture.expect("rip", 0x7C0E)
            try fixture.expect("sp", 0x6FFE)
            try fixture.expect("bx", 2)
            try fixture.place(0, at: 0x7C00)
            try fixture.debugger.startNext(count: 2)
            try fixture.collect()
            try fixture.expect(.step(count: 2))
            try fixture.expect("rip", 0x7C06)
            try fixture.expect("bx", 3)
        },
        ConformanceCase("steps over a loop and a repeated move") { fixture in
            try fixture.load([
                0xB9, 5, 0,  // 7C00 mov cx, 5
                0x43,  // 7C03 inc bx
                0xE2, 0xFD,  // 7C04 loop 7C03
                0xB9, 4, 0,  // 7C06 mov cx, 4
                0xBE, 0, 0x7C,  // 7C09 mov si, 7C00
                0xBF, 0, 0x60,  // 7C0C mov di, 6000
                0xF3, 0xA4,  // 7C0F rep movsb
                0x40,  // 7C11 inc ax
            ])
            try fixture.step(2)
            try fixture.next()
            try fixture.expect("rip", 0x7C06)
            try fixture.expect("bx", 5)
            try fixture.step(3)
            try fixture.next()
            try fixture.expect("rip", 0x7C11)
            try fixture.expect("cx", 0)
            let copied = try fixture.debugger.readMemory(.linear(0x6000), count: 4)
            try fixture.expect(
                copied.bytes == [0xB9, 5, 0, 0x43], "four bytes were copied, not \(copied.bytes)")
        },
        ConformanceCase("steps over port I/O") { fixture in
            try fixture.load([
                0xB0, 0x41,  // 7C00 mov al, 'A'
                0xE6, 0xE9,  // 7C02 out e9, al
                0xE4, 0xE9,  // 7C04 in al, e9
                0x43,  // 7C06 inc bx
                0x43,  // 7C07 inc bx
            ])
            for ip: UInt64 in [0x7C02, 0x7C04, 0x7C06, 0x7C07] {
                try fixture.step()
                try fixture.expect(.step(count: 1))
                try fixture.expect("rip", ip)
            }
            try fixture.expect("bx", 1)
            try fixture.expect(try fixture.register("al") != 0x41, "IN was answered")
            let statistics = fixture.target.exits.statistics()
            for direction in [KeyDirection.out, .in] {
                let count = statistics.count(of: direction.key(0xE9)).count
                try fixture.expect(count == 1, "\(direction) was counted \(count) times")
            }
        },
    ]
}

extension Fixture {
    /// Vector 20h leads to 0000:7D00: inc dx; iret.
    func interruptHandler() throws {
        try debugger.writeMemory(.physical(0x80), [0x00, 0x7D, 0, 0])
        try debugger.writeMemory(.physical(0x7D00), [0x42, 0xCF])
    }
}
