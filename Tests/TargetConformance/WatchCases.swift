import DebugTarget
import Debugger
import Expressions
import X86

extension Fixture {
    /// The one access that stopped the guest.
    func watched(line: Int = #line) throws -> WatchHit {
        guard case .watchpoint(let hits) = debugger.stop.reason, let hit = hits.first, hits.count == 1 else {
            throw ConformanceFailure(
                description: "stopped for \(debugger.stop.reason), expected one access (line \(line))")
        }
        return hit
    }

    /// Each access is known by itself, and not only what it changed.
    var isExact: Bool { (target as? FakeTarget)?.hasWeakEmulator != true }

    func expect(
        _ number: Int, write: Bool = true, _ address: UInt64, _ length: Int, _ old: UInt64, _ new: UInt64,
        line: Int = #line
    ) throws {
        var hit = try watched(line: line)
        if !isExact, case .linear(let start) = hit.address {
            // Found by comparison: only bytes that changed are seen, and others between them.
            func byte(_ value: UInt64, _ index: UInt64) -> UInt64 { value >> (index * 8) & 0xFF }
            for index in 0..<UInt64(length) where byte(old, index) != byte(new, index) {
                let place = address &+ index &- start
                try expect(place < UInt64(hit.length), "caught \(hit)", line: line)
                try expect(byte(hit.new, place) == byte(new, index), "caught \(hit)", line: line)
            }
            hit.address = .linear(address)
            hit.length = length
            (hit.old, hit.new) = (old, new)
        }
        let wanted = WatchHit(
            number: number, isWrite: write, address: .linear(address), length: length, old: old, new: new,
            extent: hit.extent)
        try expect(hit == wanted, "caught \(hit), expected \(wanted)", line: line)
    }
}

extension ConformanceCase {
    /// 9000 mov ax, 1234; 9003 mov [b000], ax; 9006 inc ax; 9007 mov [b001], ax; 900A mov [b004], ax;
    /// 900D mov ax, [b000]; 9010 hlt
    private static let writing: [UInt8] = [
        0xB8, 0x34, 0x12, 0xA3, 0x00, 0xB0, 0x40, 0xA3, 0x01, 0xB0, 0xA3, 0x04, 0xB0, 0xA1, 0x00, 0xB0, 0xF4,
    ]

    static let watching: [ConformanceCase] = [
        ConformanceCase("catches writes, with address, length, old and new value") { fixture in
            try fixture.load(writing, at: Fixture.code)
            let watch = try fixture.debugger.setWatchpoint(at: .linear(0xB000), length: 2, access: .write)
            try fixture.go()
            try fixture.expect(watch.number, 0xB000, 2, 0, 0x1234)
            try fixture.expect("rip", 0x9006)
            try fixture.go()
            // The second write touches its last byte alone.
            try fixture.expect(watch.number, 0xB001, 1, 0x12, 0x35)
            try fixture.expect("rip", 0x900A)
            // What becomes of a HLT that is run freely is for the guest's VMM to say.
            let end = try fixture.debugger.setBreakpoint(at: .linear(0x9010))
            try fixture.go()
            try fixture.expect(.breakpoint([end.number]))
            try fixture.expect("ax", 0x3534)
            try fixture.expect(
                try fixture.bytes(0xB000, 6) == [0x34, 0x35, 0x12, 0, 0x35, 0x12], "it was written")
            try fixture.expect(try fixture.debugger.breakpoint(watch.number).hits == 2, "hits are counted")
        },
        ConformanceCase("a write counts that changes nothing, and says how much it covers") { fixture in
            // 9000 nop; 9001 mov [b000], ax; 9004 nop; 9005 hlt
            try fixture.load([0x90, 0xA3, 0x00, 0xB0, 0x90, 0xF4], at: Fixture.code)
            let watch = try fixture.debugger.setWatchpoint(at: .linear(0xB001), length: 1, access: .write)
            for isStepped in [false, true] {
                try fixture.debugger.setRegister("rip", to: Fixture.code)
                guard fixture.isExact else { break }
                if isStepped { try fixture.step(5) } else { try fixture.go() }
                try fixture.expect(watch.number, 0xB001, 1, 0, 0)
                try fixture.expect("rip", 0x9004)
                let extent = try fixture.watched().extent
                try fixture.expect(
                    extent == WatchHit.Extent(address: .linear(0xB000), length: 2),
                    "\(String(describing: extent))")
            }
            // One that is watched by stepping, on the page of a stack.
            let below = try fixture.debugger.setWatchpoint(at: .linear(0x6FFE), length: 1, access: .write)
            // 9000 push ax; 9001 nop
            try fixture.load([0x50, 0x90], at: Fixture.code)
            try fixture.go()
            try fixture.expect(below.number, 0x6FFE, 1, 0, 0)
            try fixture.expect("rip", 0x9001)
        },
        ConformanceCase(
            "a repeated store that changes nothing counts once, however it is watched", needsProcessor: true
        ) { fixture in
            // 9000 rep stosd; 9003 nop; 9004 hlt
            try fixture.load([0x66, 0xF3, 0xAB, 0x90, 0xF4], at: Fixture.code)
            // On a page of its own, and on that of the stack, where each instruction is stepped.
            for start: UInt64 in [0xB000, 0x6F00] {
                let watch = try fixture.debugger.setWatchpoint(
                    at: .linear(start + 8), length: 4, access: .write)
                for isStepped in [false, true] {
                    for (name, value) in [("rip", Fixture.code), ("rdi", start), ("rcx", 4), ("rax", 0)] {
                        try fixture.debugger.setRegister(name, to: value)
                    }
                    if isStepped { try fixture.step(3) } else { try fixture.go() }
                    let hit = try fixture.watched()
                    try fixture.expect(
                        hit.number == watch.number && hit.isWrite && hit.address == .linear(start + 8)
                            && hit.length == 4 && hit.old == 0 && hit.new == 0, "caught \(hit)")
                    // Hosts that trap stop between two stores, at the same instruction.
                    let rip = try fixture.debugger.registerValue("rip").bits
                    try fixture.expect([0x9000, 0x9003].contains(rip), "stopped at \(rip)")
                    let left = try fixture.debugger.registerValue("cx").bits
                    try fixture.expect(left == (rip == 0x9003 ? 0 : 1), "CX is \(left)")
                    try fixture.step()
                    try fixture.expect(.step(count: 1))
                }
                try fixture.debugger.deleteBreakpoint(watch.number)
            }
        },
        ConformanceCase("catches writes while stepping") { fixture in
            try fixture.load(writing, at: Fixture.code)
            let watch = try fixture.debugger.setWatchpoint(at: .linear(0xB004), length: 1, access: .write)
            try fixture.step(100)
            try fixture.expect(watch.number, 0xB004, 1, 0, 0x35)
            try fixture.expect("rip", 0x900D)
            try fixture.step()
            try fixture.expect(.step(count: 1))
            try fixture.expect("rip", 0x9010)
            try fixture.expect("ax", 0x3534)
        },
        ConformanceCase("watches any length, and leaves the neighbours alone") { fixture in
            try fixture.load(writing, at: Fixture.code)
            let watch = try fixture.debugger.setWatchpoint(
                at: .linear(0xAFF0), length: 0x13, access: .write)
            try fixture.go()
            try fixture.expect(watch.number, 0xB000, 2, 0, 0x1234)
            try fixture.go()
            try fixture.expect(watch.number, 0xB001, 2, 0x12, 0x1235)
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expectError(.outOfRange) {
                try fixture.debugger.setWatchpoint(at: .linear(0xB000), length: 0, access: .write)
            }
            try fixture.expectError(.unreadable) {
                try fixture.debugger.setWatchpoint(at: .physical(1 << 46), length: 1, access: .write)
            }
        },
        ConformanceCase("a watchpoint has a condition, an ignore count, and can be taken off") { fixture in
            // 9000 inc ax; 9001 mov [b000], ax; 9004 jmp 9000
            try fixture.load([0x40, 0xA3, 0x00, 0xB0, 0xEB, 0xFA], at: Fixture.code)
            let watch = try fixture.debugger.setWatchpoint(
                at: .linear(0xB000), length: 2, access: .write, condition: "$ax == 20")
            try fixture.go()
            try fixture.expect(watch.number, 0xB000, 2, 19, 20)
            try fixture.debugger.setBreakpoint(watch.number, condition: nil)
            try fixture.debugger.setBreakpoint(watch.number, ignore: 4)
            try fixture.go()
            try fixture.expect(watch.number, 0xB000, 2, 24, 25)
            try fixture.debugger.setBreakpoint(watch.number, enabled: false)
            let stop = try fixture.debugger.setBreakpoint(at: .linear(0x9000), condition: "$ax == 40")
            try fixture.go()
            try fixture.expect(.breakpoint([stop.number]))
            try fixture.debugger.setBreakpoint(watch.number, enabled: true)
            try fixture.go()
            try fixture.expect(watch.number, 0xB000, 2, 40, 41)
            try fixture.debugger.deleteBreakpoint(watch.number)
            try fixture.debugger.setBreakpoint(stop.number, condition: "$ax == 60")
            try fixture.go()
            try fixture.expect(.breakpoint([stop.number]))
        },
        ConformanceCase("catches reads where pages can be protected, and refuses them where code runs") {
            fixture in
            try fixture.load(writing, at: Fixture.code)
            guard fixture.target is any MemoryProtecting else {
                return try fixture.expectError(.refused) {
                    try fixture.debugger.setWatchpoint(at: .linear(0xB000), length: 2, access: .read)
                }
            }
            let watch = try fixture.debugger.setWatchpoint(at: .linear(0xB000), length: 1, access: .read)
            try fixture.go()
            try fixture.expect(watch.number, write: false, 0xB000, 1, 0x34, 0x34)
            try fixture.expect("rip", 0x9010)
            try fixture.expect("ax", 0x3534)
            try fixture.expectError(.refused) {
                try fixture.debugger.setWatchpoint(at: .linear(0x9080), length: 1, access: .read)
            }
            try fixture.go()
            try fixture.expect(.hlt)
        },
        ConformanceCase(
            "watches a stack by stepping, where its page cannot be protected", stopsAtHalt: true
        ) { fixture in
            // 9000 mov ax, 1234; push ax; push ax; pop bx; int 20h; hlt
            try fixture.load([0xB8, 0x34, 0x12, 0x50, 0x50, 0x5B, 0xCD, 0x20, 0xF4], at: Fixture.code)
            try fixture.interruptHandler()
            let watch = try fixture.debugger.setWatchpoint(at: .linear(0x6FFC), length: 2, access: .write)
            try fixture.go()
            try fixture.expect(watch.number, 0x6FFC, 2, 0, 0x1234)
            try fixture.expect("rip", 0x9005)
            // INT pushes flags, CS and IP: the flags come there.
            try fixture.go()
            let hit = try fixture.watched()
            try fixture.expect(hit.number == watch.number && hit.old == 0x1234, "\(hit)")
            try fixture.expect("rip", 0x7D00)
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.go()
            try fixture.expect(.hlt)
            try fixture.expect("bx", 0x1234)
            try fixture.expect("rsp", 0x6FFE)
        },
        ConformanceCase("code on a page that is watched for writes runs, patched and not") { fixture in
            // 9000 inc ax; 9001 mov [9010], ax; 9004 inc bx; 9005 jmp 9000
            try fixture.load([0x40, 0xA3, 0x10, 0x90, 0x43, 0xEB, 0xF9], at: Fixture.code)
            try fixture.useUpRegisters()
            let breakpoint = try fixture.debugger.setBreakpoint(at: .linear(0x9004), condition: "$bx == 3")
            let watch = try fixture.debugger.setWatchpoint(
                at: .linear(0x9010), length: 2, access: .write, condition: "$ax == 2")
            try fixture.go()
            try fixture.expect(watch.number, 0x9010, 2, 1, 2)
            try fixture.go()
            try fixture.expect(.breakpoint([breakpoint.number]))
            try fixture.expect("ax", 4)
        },
        ConformanceCase("what the debugger writes while the guest runs is no write of the guest's") {
            fixture in
            // 9000 inc cx; 9001 jmp 9000
            try fixture.load([0x41, 0xEB, 0xFD], at: Fixture.code)
            try fixture.allowInterrupts()
            // In the stack's page, which is watched by steps where no debug register fires.
            let watch = try fixture.debugger.setWatchpoint(at: .linear(0x6F00), length: 2, access: .write)
            try fixture.debugger.startContinue()
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(20))
            try fixture.debugger.writeMemory(.physical(0x6F00), [0xAA, 0x55])
            _ = try fixture.debugger.collectStop(timeout: .milliseconds(20))
            fixture.debugger.interrupt()
            try fixture.collect()
            try fixture.expect(.interrupted)
            try fixture.expect(try fixture.debugger.breakpoint(watch.number).hits == 0, "it has no hit")
            try fixture.expect(try fixture.bytes(0x6F00, 2) == [0xAA, 0x55], "it was written")
        },
    ]
}
