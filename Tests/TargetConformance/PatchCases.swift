import DebugTarget
import Debugger
import X86

extension Fixture {
    /// A place outside of the page where a boot sector's stack is.
    static let code: UInt64 = 0x9000

    /// Takes the debug registers that breakpoints get before patches.
    func useUpRegisters() throws {
        guard target.debugFacilities.works(.executionBreakpoint, in: .real) else { return }
        for address: UInt64 in 0xF000...0xF002 { try debugger.setBreakpoint(at: .linear(address)) }
    }

    /// And the one that is kept for `next`, which breakpoints may take that are about to be read.
    func useUpLastRegister() throws {
        guard target.debugFacilities.works(.executionBreakpoint, in: .real) else { return }
        try debugger.setBreakpoint(at: .linear(0xF003), needsRegister: true)
    }

    /// A breakpoint that is no debug register's.
    @discardableResult
    func patch(_ address: UInt64, condition: String? = nil, line: Int = #line) throws -> Breakpoint {
        let breakpoint = try debugger.setBreakpoint(at: .linear(address), condition: condition)
        try expect(breakpoint.mechanism != .debugRegister, "it is a \(breakpoint.mechanism)", line: line)
        return breakpoint
    }

    var canPatch: Bool { target is any CodePatching }

    func bytes(_ address: UInt64, _ count: Int) throws -> [UInt8] {
        try debugger.readMemory(.physical(address), count: count).bytes
    }
}

extension ConformanceCase {
    static let patching: [ConformanceCase] = [
        ConformanceCase("breaks at a hundred places, and memory shows none of them") { fixture in
            // A hundred of inc bx (1 byte), mov al, n (2), mov cx, n (3), in turns; then jmp $.
            var code: [UInt8] = [0x90]
            var places: [UInt64] = []
            for number in 0..<100 {
                places.append(Fixture.code + UInt64(code.count))
                switch number % 3 {
                case 0: code.append(0x43)
                case 1: code += [0xB0, UInt8(number)]
                default: code += [0xB9, UInt8(number), 0]
                }
            }
            places.append(Fixture.code + UInt64(code.count))
            code += [0xEB, 0xFE]
            try fixture.load(code, at: Fixture.code)
            let numbers = try places.map { try fixture.debugger.setBreakpoint(at: .linear($0)).number }
            try fixture.expect(try fixture.bytes(Fixture.code, code.count) == code, "the patches show")
            try fixture.expect(
                try fixture.debugger.readMemory(.linear(Fixture.code + 1), count: 90).bytes
                    == Array(code[1..<91]), "the patches show in a part")
            for (place, number) in zip(places, numbers) {
                try fixture.go()
                try fixture.expect(.breakpoint([number]))
                try fixture.expect("rip", place)
            }
            try fixture.expect("bx", 34)
            try fixture.expect("cx", 98)
            try fixture.expect(fixture.debugger.breakpoints.allSatisfy { $0.hits == 1 }, "each was hit once")
            try fixture.expect(try fixture.bytes(Fixture.code, code.count) == code, "memory is as it was")
            try fixture.debugger.deleteAllBreakpoints()
            var raw = [UInt8](repeating: 0, count: code.count)
            try raw.withUnsafeMutableBytes { try fixture.target.memory.read(Fixture.code, into: $0) }
            try fixture.expect(raw == code, "the patches are gone")
        },
        ConformanceCase("steps through breakpoints as if there were none") { fixture in
            // 9000 inc ax; 9001 inc bx; 9002 mov cl, 5; 9004 jmp 9000
            try fixture.load([0x40, 0x43, 0xB1, 5, 0xEB, 0xFA], at: Fixture.code)
            try fixture.useUpRegisters()
            for address: UInt64 in [0x9000, 0x9001, 0x9002, 0x9004] {
                try fixture.debugger.setBreakpoint(at: .linear(address))
            }
            for round: UInt64 in 1...3 {
                for ip: UInt64 in [0x9001, 0x9002, 0x9004, 0x9000] {
                    try fixture.step()
                    try fixture.expect("rip", ip)
                }
                try fixture.expect("ax", round)
                try fixture.expect("cl", 5)
            }
        },
        ConformanceCase("survives a branch into the middle of a patch", stopsAtHalt: true) { fixture in
            // 9000 inc ax; 9001 inc bx; 9002 dec ax; 9003 jz 9008; 9005 inc ax; 9006 jmp 9001;
            // 9008 hlt. With a patch at 9000 the branch lands on its second byte.
            try fixture.load(
                [0x40, 0x43, 0x48, 0x74, 0x03, 0x40, 0xEB, 0xF9, 0xF4], at: Fixture.code)
            try fixture.useUpRegisters()
            try fixture.debugger.setRegister("ax", to: 2)
            try fixture.allowInterrupts()
            try fixture.debugger.setBreakpoint(at: .linear(0x9000))
            // Until it was seen to go round, however slow the host.
            for round in 1...1000 {
                try fixture.debugger.startContinue()
                _ = try fixture.debugger.collectStop(timeout: .milliseconds(10 * round))
                fixture.debugger.interrupt()
                try fixture.collect()
                // ax goes 3, 2, 3, 2 ...: never to zero, and never past the loop.
                try fixture.expect(.interrupted)
                let (ip, rounds) = (try fixture.register("rip"), try fixture.register("bx"))
                // On a slow host it may not have begun.
                let start: UInt64 = rounds == 0 ? 0x9000 : 0x9001
                try fixture.expect((start...0x9006).contains(ip), "it is at \(ip)")
                if rounds > 1 { break }
            }
            try fixture.expect(try fixture.register("bx") > 1, "it goes round")
            try fixture.debugger.setRegister("rip", to: 0x9005)
            try fixture.debugger.setRegister("ax", to: 0)
            try fixture.go()
            try fixture.expect(.hlt)
        },
        ConformanceCase("writes of the debugger go beneath a patch", stopsAtHalt: true) { fixture in
            try fixture.load([0x90, 0x90, 0x90, 0xF4], at: Fixture.code)
            try fixture.useUpRegisters()
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x9001))
            try fixture.debugger.writeMemory(.linear(0x9000), [0x40, 0x43, 0x42, 0xF4])
            try fixture.expect(
                try fixture.bytes(0x9000, 4) == [0x40, 0x43, 0x42, 0xF4], "they are read back")
            try fixture.go()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("bx", 1)
            try fixture.expect("dx", 1)
        },
        ConformanceCase("breaks in code that is loaded after the breakpoint was set", overwrites: true) {
            fixture in
            // 9000 mov si, 9100; mov di, a000; mov cx, 4; rep movsb; jmp a000
            try fixture.load(
                [
                    0xBE, 0x00, 0x91, 0xBF, 0x00, 0xA0, 0xB9, 4, 0, 0xF3, 0xA4, 0xE8, 0xF2, 0x0F,
                ], at: Fixture.code)
            // 9100: inc ax; inc bx; inc dx; hlt
            try fixture.debugger.writeMemory(.physical(0x9100), [0x40, 0x43, 0x42, 0xF4])
            try fixture.useUpRegisters()
            let first = try fixture.debugger.setBreakpoint(at: .linear(0xA000))
            let second = try fixture.debugger.setBreakpoint(at: .linear(0xA002))
            try fixture.go()
            try fixture.expect(.breakpoint([first.number]))
            try fixture.expect("rip", 0xA000)
            try fixture.expect(try fixture.bytes(0xA000, 4) == [0x40, 0x43, 0x42, 0xF4], "it was loaded")
            try fixture.go()
            try fixture.expect(.breakpoint([second.number]))
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("ax", 1)
            try fixture.expect("bx", 1)
            try fixture.expect("dx", 1)
        },
        ConformanceCase(
            "patches that the guest copies with its code are undone where they run", stopsAtHalt: true,
            needs: [.ownMachine]
        ) { fixture in
            // 9000 mov si, 9000; mov di, a000; mov cx, 16h; rep movsb; call a010
            // 9010 inc bx; mov ax, 1234h; inc dx; hlt
            let code: [UInt8] = [
                0xBE, 0x00, 0x90, 0xBF, 0x00, 0xA0, 0xB9, 0x16, 0, 0xF3, 0xA4, 0xE8, 0x02, 0x10, 0x90, 0x90,
                0x43,
                0xB8, 0x34, 0x12, 0x42, 0xF4,
            ]
            try fixture.load(code, at: Fixture.code)
            try fixture.useUpRegisters()
            try fixture.useUpLastRegister()
            let first = try fixture.patch(0x9011)
            try fixture.patch(0x9014)
            try fixture.expect(first.isAboutToBeRead, "it is known that the guest is about to read it")
            try fixture.go()
            try fixture.expect(.hlt)
            for (register, value) in [("bx", 1), ("ax", 0x1234), ("dx", 1)] as [(String, UInt64)] {
                try fixture.expect(register, value)
            }
            try fixture.expect(
                fixture.debugger.stop.undoneCopies == [0xA011, 0xA014],
                "the copies are told: \(fixture.debugger.stop.undoneCopies)")
            try fixture.expect(try fixture.bytes(0xA000, code.count) == code, "the copy is the guest's own")
            try fixture.expect(try fixture.bytes(Fixture.code, code.count) == code, "and so is the code")
            // The guest's own OUT to that port is its own.
            try fixture.debugger.writeMemory(.physical(0xB000), [0xE6, 0xE6, 0x41, 0xF4])
            try fixture.debugger.setRegister("rip", to: 0xB000)
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("cx", 1)
            try fixture.expect(fixture.debugger.stop.undoneCopies.isEmpty, "nothing was copied")
        },
        ConformanceCase(
            "takes the last debug register for code that is about to be copied, and a patch for other code",
            needs: [.debugRegisters]
        ) { fixture in
            // 9000 mov ax, 900; push ax; pop ds; mov si, 40; mov di, a040; mov cx, 8; cld; rep movsb
            let mover: [UInt8] = [
                0xB8, 0x00, 0x09, 0x50, 0x1F, 0xBE, 0x40, 0x00, 0xBF, 0x40, 0xA0, 0xB9, 0x08, 0x00, 0xFC,
                0xF3,
                0xA4, 0xF4,
            ]
            try fixture.load(mover, at: Fixture.code)
            try fixture.useUpRegisters()
            guard fixture.canPatch else { return }
            // Before and after what is moved.
            for address: UInt64 in [0x903E, 0x9048] {
                let other = try fixture.patch(address)
                try fixture.expect(!other.isAboutToBeRead, "it is not among what is moved")
            }
            let moved = try fixture.debugger.setBreakpoint(at: .linear(0x9047))
            try fixture.expect(moved.mechanism == .debugRegister, "it is by \(moved.mechanism)")
            let next = try fixture.patch(0x9041)
            try fixture.expect(next.isAboutToBeRead, "no register is left, and that is told")
        },
        ConformanceCase("gives a string instruction that is stepped the guest's own bytes") { fixture in
            // 9000 mov si, 9020; mov di, a020; mov cx, 6; rep movsb; hlt; 9020 inc bx; mov ax, 1234h; inc dx; ret
            let mover: [UInt8] = [0xBE, 0x20, 0x90, 0xBF, 0x20, 0xA0, 0xB9, 0x06, 0x00, 0xF3, 0xA4, 0xF4]
            let code: [UInt8] = [0x43, 0xB8, 0x34, 0x12, 0x42, 0xC3]
            try fixture.load(mover, at: Fixture.code)
            try fixture.debugger.writeMemory(.physical(0x9020), code)
            try fixture.useUpRegisters()
            try fixture.useUpLastRegister()
            for address: UInt64 in [0x9021, 0x9024] { try fixture.patch(address) }
            // A host may report REP twice.
            for _ in 0..<8 where try fixture.register("rip") != 0x900B { try fixture.step() }
            try fixture.expect("rip", 0x900B)
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.expect(try fixture.bytes(0xA020, code.count) == code, "the copy has a patch in it")
            try fixture.expect(try fixture.bytes(0x9020, code.count) == code, "and the code is whole")
        },
        ConformanceCase("breaks at physical and at virtual places") { fixture in
            try fixture.load([0x40, 0x43, 0x42, 0xEB, 0xFB], at: Fixture.code)
            let physical = try fixture.debugger.setBreakpoint(at: .physical(0x9001))
            try fixture.expect(physical.kind == .physical && physical.linear == nil, "it is physical")
            let far = try fixture.debugger.setBreakpoint(
                at: .segmented(.selector(0), offset: 0x9002), kind: .virtual)
            // The same place under another name: it is never come to.
            try fixture.debugger.setBreakpoint(
                at: .segmented(.selector(0x900), offset: 0x0002), kind: .virtual)
            for number in [physical.number, far.number, physical.number] {
                try fixture.go()
                try fixture.expect(.breakpoint([number]))
            }
            try fixture.expectError(.badAddress) {
                try fixture.debugger.setBreakpoint(at: .linear(0x9000), kind: .virtual)
            }
        },
        ConformanceCase(
            "refuses a fifth debug register, and says so when it is set", needs: [.debugRegisters]
        ) { fixture in
            try fixture.load(counting)
            let plain = try fixture.debugger.setBreakpoint(at: .linear(0x7C04))
            try fixture.expect(plain.mechanism == .debugRegister, "it got a register")
            for address: UInt64 in [0x7C03, 0x8000, 0x8001] {
                try fixture.debugger.setBreakpoint(at: .linear(address), needsRegister: true)
            }
            try fixture.debugger.setBreakpoint(at: .linear(0x7C03), needsRegister: true)
            if fixture.canPatch {
                // One that can be a patch makes room, and still stops the guest.
                let fifth = try fixture.debugger.setBreakpoint(at: .linear(0x8005), needsRegister: true)
                try fixture.expect(fifth.mechanism == .debugRegister, "it got a register")
                let moved = try fixture.debugger.breakpoint(plain.number)
                try fixture.expect(moved.mechanism.isPatch, "the one that may be done otherwise")
            }
            // Those that were wanted so stay so.
            try fixture.expectError(.limit) {
                try fixture.debugger.setBreakpoint(at: .linear(0x9000), needsRegister: true)
            }
            try fixture.go()
            try fixture.expect(.breakpoint([2, 5]))
            try fixture.go()
            try fixture.expect(.breakpoint([plain.number]))
        },
        ConformanceCase("breaks by what the host honours, and refuses a debug register where none fires") {
            fixture in
            try fixture.load(counting)
            let fires = fixture.target.debugFacilities.works(.executionBreakpoint, in: .real)
            var numbers: [Int] = []
            if fires {
                let hard = try fixture.debugger.setBreakpoint(at: .linear(0x7C03), needsRegister: true)
                try fixture.expect(hard.mechanism == .debugRegister && hard.isHardware, "as it was asked for")
                numbers.append(hard.number)
            } else {
                try fixture.expectError(.refused) {
                    try fixture.debugger.setBreakpoint(at: .linear(0x7C03), needsRegister: true)
                }
                numbers.append(try fixture.debugger.setBreakpoint(at: .linear(0x7C03)).number)
            }
            numbers.append(try fixture.debugger.setBreakpoint(at: .linear(0x7C04)).number)
            for breakpoint in fixture.debugger.breakpoints {
                try fixture.expect(
                    fires || breakpoint.mechanism != .debugRegister, "by a \(breakpoint.mechanism)")
                try fixture.expect(breakpoint.blind.isEmpty, "it fires where the guest is")
            }
            for number in numbers {
                try fixture.go()
                try fixture.expect(.breakpoint([number]))
            }
            // An order's own destination is found as well.
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.debugger.startRun(to: .linear(0x7C03))
            try fixture.collect()
            try fixture.expect("rip", 0x7C03)
        },
        ConformanceCase("disabled breakpoints do not stop, enabled ones do again") { fixture in
            try fixture.load(counting)
            try fixture.useUpRegisters()
            let one = try fixture.debugger.setBreakpoint(at: .linear(0x7C03))
            let other = try fixture.debugger.setBreakpoint(at: .linear(0x7C05))
            try fixture.debugger.setBreakpoint(one.number, enabled: false)
            for _ in 0..<3 {
                try fixture.go()
                try fixture.expect(.breakpoint([other.number]))
            }
            try fixture.debugger.setBreakpoint(one.number, enabled: true)
            try fixture.go()
            try fixture.expect(.breakpoint([one.number]))
        },
        ConformanceCase(
            "no vCPU runs through a breakpoint while another steps past it", vcpus: 2, stopsAtHalt: true
        ) { fixture in
            // 9000 inc bx; 9001 dec cx; 9002 jnz 9000; 9004 hlt
            try fixture.load([0x43, 0x49, 0x75, 0xFC, 0xF4], at: Fixture.code)
            try fixture.useUpRegisters()
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x9000))
            try fixture.debugger.setBreakpoint(breakpoint.number, ignore: 1_000_000)
            for vcpu in 0...1 { try fixture.debugger.setRegister("rcx", to: 200, vcpu: vcpu) }
            try fixture.go()
            try fixture.expect(.hlt)
            for vcpu in 0...1 { try fixture.expect("bx", 200, vcpu: vcpu) }
            // The first is stepped over by each, for they begin there.
            let hits = try fixture.debugger.breakpoint(breakpoint.number).hits
            try fixture.expect(hits == 398, "\(hits) of 398 were seen")
        },
        ConformanceCase("patches a guest that runs, and takes the patches back") { fixture in
            // 9000 inc ax; 9001 inc bx; 9002 jmp 9000
            try fixture.load([0x40, 0x43, 0xEB, 0xFC], at: Fixture.code)
            try fixture.useUpRegisters()
            try fixture.allowInterrupts()
            let others = fixture.debugger.breakpoints.count
            for _ in 0..<5 {
                try fixture.debugger.startContinue()
                _ = try fixture.debugger.collectStop(timeout: .milliseconds(2))
                let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x9001), isTemporary: true)
                try fixture.collect()
                try fixture.expect(.breakpoint([breakpoint.number]))
                try fixture.expect("rip", 0x9001)
                try fixture.expect(fixture.debugger.breakpoints.count == others, "it is gone")
            }
            try fixture.debugger.startContinue()
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(2))
            let never = try fixture.debugger.setBreakpoint(at: .linear(0x9001), condition: "$cx == 7")
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(5))
            try fixture.debugger.deleteBreakpoint(never.number)
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(5))
            fixture.debugger.interrupt()
            try fixture.collect()
            try fixture.expect(.interrupted)
            try fixture.expect((0x9000...0x9002).contains(try fixture.register("rip")), "it is in its loop")
        },
    ]

    static let conditions: [ConformanceCase] = [
        ConformanceCase("a false condition does not stop, a true one does") { fixture in
            try fixture.load(counting)
            try fixture.useUpRegisters()
            let breakpoint = try fixture.debugger.setBreakpoint(
                at: .linear(0x7C04), condition: "$ax == 50 && *(u8*)0x7c03 == 0x40")
            try fixture.go()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect("ax", 50)
            try fixture.expect("bx", 49)
            try fixture.debugger.setBreakpoint(breakpoint.number, condition: "$bx == 60")
            try fixture.go()
            try fixture.expect("bx", 60)
            try fixture.expect(
                try fixture.debugger.breakpoint(breakpoint.number).hits == 2, "true ones are counted")
            try fixture.debugger.setBreakpoint(breakpoint.number, condition: nil)
            try fixture.go()
            try fixture.expect("bx", 61)
        },
        ConformanceCase("a condition on a debug register's breakpoint", needs: [.debugRegisters]) { fixture in
            try fixture.load(counting)
            try fixture.debugger.setBreakpoint(
                at: .linear(0x7C03), condition: "$bx == 20", needsRegister: true)
            try fixture.debugger.setBreakpoint(
                at: .linear(0x7C04), condition: "$bx == 30", needsRegister: true)
            try fixture.go()
            try fixture.expect(.breakpoint([1]))
            try fixture.expect("bx", 20)
            try fixture.go()
            try fixture.expect(.breakpoint([2]))
            try fixture.expect("bx", 30)
        },
        ConformanceCase("a condition among port I/O") { fixture in
            _ = try conditionAmongPorts(fixture, 0xE9)
        },
        ConformanceCase("a condition among port I/O, by patches") { fixture in
            try fixture.load([0x90], at: Fixture.code)
            try fixture.useUpRegisters()
            try fixture.useUpLastRegister()
            // To port E6h is what a patch is, too.
            for port: UInt8 in [0xE9, 0xE6] {
                let numbers = try conditionAmongPorts(fixture, port)
                for number in numbers { try fixture.debugger.deleteBreakpoint(number) }
            }
        },
        ConformanceCase("a condition on the guest's own INT3, by a patch") { fixture in
            // 7C00 int3; 7C01 inc bx; 7C02 jmp 7C00. The handler: inc dx; iret
            try fixture.load([0xCC, 0x43, 0xEB, 0xFC])
            try fixture.handler(3, [0x42, 0xCF])
            try fixture.useUpRegisters()
            try fixture.useUpLastRegister()
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C00), condition: "$bx == 5")
            try fixture.go()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect("rip", 0x7C00)
            try fixture.expect("bx", 5)
            try fixture.expect("dx", 5)
            try fixture.step()
            try fixture.expect("rip", 0x7D00)
            try fixture.step(3)
            try fixture.expect("rip", 0x7C02)
            try fixture.expect("dx", 6)
        },
        ConformanceCase("ignores so many hits") { fixture in
            try fixture.load(counting)
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x7C04))
            try fixture.debugger.setBreakpoint(breakpoint.number, ignore: 9)
            try fixture.go()
            try fixture.expect("ax", 10)
            let after = try fixture.debugger.breakpoint(breakpoint.number)
            try fixture.expect(after.hits == 10 && after.ignore == 0, "all ten are counted")
            try fixture.go()
            try fixture.expect("ax", 11)
        },
        ConformanceCase("a condition that cannot be evaluated stops, and says why") { fixture in
            try fixture.load(counting)
            try fixture.debugger.setBreakpoint(at: .linear(0x7C04), condition: "1 / ($ax - 3)")
            // 1/-2 and 1/-1: only the second is not 0.
            try fixture.go()
            try fixture.expect("ax", 2)
            try fixture.go()
            try fixture.expect("ax", 3)
            try fixture.expect(fixture.debugger.stop.conditionFailure?.code == .outOfRange, "it says why")
            try fixture.expectError(.syntax) {
                try fixture.debugger.setBreakpoint(at: .linear(0x7C04), condition: "1 +")
            }
            try fixture.expectError(.refused) {
                try fixture.debugger.setBreakpoint(at: .linear(0x7C04), condition: "$ax = 3")
            }
            try fixture.expect(fixture.debugger.breakpoints.count == 1, "nothing was set")
        },
    ]

    private static func conditionAmongPorts(_ fixture: Fixture, _ port: UInt8) throws -> [Int] {
        // 7C00 out PORT, al; 7C02 in al, e9; 7C04 inc bx; 7C05 jmp 7C00
        try fixture.load([0xE6, port, 0xE4, 0xE9, 0x43, 0xEB, 0xF9])
        try fixture.debugger.setRegister("bx", to: 0)
        let numbers = try [0x7C00, 0x7C02, 0x7C04, 0x7C05].map { address in
            try fixture.debugger.setBreakpoint(at: .linear(address), condition: "$bx == 9").number
        }
        for (place, ip) in [(3, 0x7C05), (0, 0x7C00), (1, 0x7C02), (2, 0x7C04)] {
            try fixture.go()
            try fixture.expect(.breakpoint([numbers[place]]))
            try fixture.expect("rip", UInt64(ip))
            try fixture.expect("bx", 9)
        }
        return numbers
    }
}
