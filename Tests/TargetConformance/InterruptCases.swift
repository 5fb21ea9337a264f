import DebugTarget
import Debugger
import KVMCore
import X86

extension Fixture {
    /// A real-mode vector leads to this code at 0000:7D00.
    func handler(_ vector: UInt64, _ code: [UInt8], at address: UInt64 = 0x7D00) throws {
        try debugger.writeMemory(
            .physical(vector * 4),
            [UInt8(truncatingIfNeeded: address), UInt8(truncatingIfNeeded: address >> 8), 0, 0])
        try debugger.writeMemory(.physical(address), code)
    }

    /// The interrupt that a catchpoint stopped at: at its handler or, where the host lets no debug register fire
    /// there, one instruction further.
    func expectInterrupt(
        _ number: Int, _ vectors: [UInt8], software: Bool, _ handler: UInt64, line: Int = #line
    ) throws {
        let events = try caught(line: line)
        guard events.count == 1, events[0].number == number,
            case .interrupt(let found, let isSoftware, let isInside) = events[0].what
        else { throw ConformanceFailure(description: "caught \(events) (line \(line))") }
        try expect(found == vectors && isSoftware == software, "caught \(events[0])", line: line)
        try expect("rip", handler + (isInside ? 1 : 0), line: line)
    }
}

extension ConformanceCase {
    static let catchingInterrupts: [ConformanceCase] = [
        ConformanceCase("catches a software interrupt by its vector, and no other") { fixture in
            // 9000 int 21h; 9002 int 20h; 9004 jmp 9000. The handlers: inc dx; iret
            try fixture.load([0xCD, 0x21, 0xCD, 0x20, 0xEB, 0xFA], at: Fixture.code)
            try fixture.handler(0x20, [0x42, 0xCF])
            try fixture.handler(0x21, [0x42, 0xCF], at: 0x7E00)
            let catchpoint = try fixture.debugger.setCatchpoint(.interrupt(0x20))
            let exception = try fixture.debugger.setCatchpoint(.exception(nil))
            for _ in 0..<2 {
                try fixture.go()
                try fixture.expectInterrupt(catchpoint.number, [0x20], software: true, 0x7D00)
            }
            try fixture.expect(try fixture.debugger.breakpoint(exception.number).hits == 0, "no exception")
            try fixture.expect("dx", 3)
            try fixture.step(3)
            try fixture.expect(.step(count: 3))
        },
        ConformanceCase("catches an exception by its vector, with the fault's address on the stack") {
            fixture in
            // 9000 mov cx, 1; 9003 div cx; 9005 dec cx; 9006 div cx; 9008 jmp 9000
            // The handler: inc cx; iret: the second DIV is done again, and works.
            try fixture.load(
                [0xB9, 0x01, 0x00, 0xF7, 0xF1, 0x49, 0xF7, 0xF1, 0xEB, 0xF6], at: Fixture.code)
            try fixture.handler(0, [0x41, 0xCF])
            let catchpoint = try fixture.debugger.setCatchpoint(.exception(0))
            let other = try fixture.debugger.setCatchpoint(.exception(13))
            for _ in 0..<2 {
                try fixture.go()
                try fixture.expectInterrupt(catchpoint.number, [0], software: false, 0x7D00)
                try fixture.expect(try fixture.bytes(0x6FFA, 2) == [0x06, 0x90], "it returns to the DIV")
            }
            try fixture.expect(try fixture.debugger.breakpoint(other.number).hits == 0, "no #GP")
            try fixture.debugger.setBreakpoint(catchpoint.number, enabled: false)
            let any = try fixture.debugger.setCatchpoint(.exception(nil))
            let interrupt = try fixture.debugger.setCatchpoint(.interrupt(0x20))
            try fixture.go()
            try fixture.expectInterrupt(any.number, [0], software: false, 0x7D00)
            try fixture.expect(try fixture.debugger.breakpoint(interrupt.number).hits == 0, "no INT 20")
        },
        ConformanceCase("INT n with an exception's vector is no exception, and INT3 is one") { fixture in
            // 9000 int 0dh; 9002 int3; 9003 jmp 9000
            try fixture.load([0xCD, 0x0D, 0xCC, 0xEB, 0xFB], at: Fixture.code)
            try fixture.handler(13, [0x42, 0xCF])
            try fixture.handler(3, [0x42, 0xCF], at: 0x7E00)
            let exception = try fixture.debugger.setCatchpoint(.exception(nil))
            try fixture.go()
            try fixture.expectInterrupt(exception.number, [3], software: true, 0x7E00)
            try fixture.debugger.deleteAllBreakpoints()
            let interrupt = try fixture.debugger.setCatchpoint(.interrupt(13))
            try fixture.go()
            try fixture.expectInterrupt(interrupt.number, [13], software: true, 0x7D00)
        },
    ]

    /// mov dx, PORT; mov ax, VALUE; out dx, ax; and so on
    private static func iodebug(_ words: [(port: UInt16, value: UInt16)]) -> [UInt8] {
        var code: [UInt8] = []
        for (port, value) in words {
            code += [0xBA, UInt8(port & 0xFF), UInt8(port >> 8)]
            code += [0xB8, UInt8(value & 0xFF), UInt8(value >> 8), 0xEF]
        }
        return code
    }

    static let asking: [ConformanceCase] = [
        ConformanceCase("port 0x8A00 stops the guest once it has been enabled", needs: [.ioDebug]) {
            fixture in
            // Twice "return to debugger", the first of them before 0x8A00; then in ax, dx; jmp $
            let code = iodebug([(0x8A00, 0x8AE0), (0x8A00, 0x8A00), (0x8A00, 0x8AE0)]) + [0xED, 0xEB, 0xFE]
            try fixture.load(code, at: Fixture.code)
            let end = try fixture.debugger.setBreakpoint(at: .linear(0x9016))
            try fixture.go()
            try fixture.expect(.ioDebug(.stop))
            try fixture.expect("rip", 0x9015)
            try fixture.go()
            try fixture.expect(.breakpoint([end.number]))
            try fixture.expect("ax", 0x8A00)
        },
        ConformanceCase(
            "port 0x8A00 turns traces on and off: what runs meanwhile is in the black box", needs: [.ioDebug]
        ) {
            fixture in
            // Tracing is asked for before 0x8A00, which is nothing; then of instructions and of registers, and off again.
            let on = iodebug([(0x8A00, 0x8AE3), (0x8A00, 0x8A00), (0x8A00, 0x8AE3), (0x8A00, 0x8AE5)])
            let off = iodebug([(0x8A00, 0x8AE2), (0x8A00, 0x8AE4)])
            // inc bx; inc cx; at the end inc di eight times more, and jmp $
            let tail = [0x43, 0x41] + [UInt8](repeating: 0x47, count: 8)
            try fixture.load(on + [0x43, 0x41] + off + tail + [0xEB, 0xFE], at: Fixture.code)
            let inside = UInt64(0x9000 + on.count)
            let traced = try fixture.debugger.setBreakpoint(at: .linear(inside + 1))
            let end = try fixture.debugger.setBreakpoint(
                at: .linear(inside + UInt64(off.count + tail.count) + 2))
            try fixture.go()
            try fixture.expect(.breakpoint([traced.number]))
            try fixture.expect(fixture.debugger.isTracing, "it is on")
            let box = try fixture.debugger.blackBox(limit: 10)
            let last = box.steps.last?.record.registers
            try fixture.expect(
                last?.rip == inside && last?.rbx == 0, "the last step is INC BX: \(last?.rip ?? 0)")
            try fixture.expect(
                !box.steps.contains { $0.record.registers.rip == 0x9003 }, "not what ran before")
            try fixture.go()
            try fixture.expect(.breakpoint([end.number]))
            try fixture.expect(!fixture.debugger.isTracing, "it is off")
            try fixture.expect("bx", 2)
            try fixture.expect("cx", 2)
            let after = try fixture.debugger.blackBox(limit: 100)
            try fixture.expect(
                after.steps.last.map { $0.record.registers.rip < inside + UInt64(off.count) + 6 } ?? false,
                "what ran after it was not stepped")
            // The user's own, and 0x8AFF ends it.
            try fixture.debugger.setTracing(true)
            try fixture.load(iodebug([(0x8A00, 0x8AFF)]) + [0x43, 0xEB, 0xFE], at: 0xA000)
            let behind = try fixture.debugger.setBreakpoint(at: .linear(0xA008))
            try fixture.go()
            try fixture.expect(.breakpoint([behind.number]))
            try fixture.expect(!fixture.debugger.isTracing, "it is off again")
        },
        ConformanceCase(
            "instructions are counted where the guest asks for something on the way", needs: [.ioDebug]
        ) { fixture in
            // Tracing of instructions on and off, again and again: jmp to the second.
            let on = iodebug([(0x8A00, 0x8A00), (0x8A00, 0x8AE3)])
            let off = iodebug([(0x8A00, 0x8AE2)])
            let back = UInt8(truncatingIfNeeded: -(off.count + on.count / 2 + 2))
            try fixture.load(on + off + [0xEB, back], at: Fixture.code)
            for _ in 0..<20 {
                try fixture.step(100)
                try fixture.expect(.step(count: 100))
                try fixture.expect(
                    fixture.debugger.stop.steps == 100, "\(fixture.debugger.stop.steps) were counted")
            }
        },
        ConformanceCase("port 0x8A00 has a range of memory watched, and given up", needs: [.ioDebug]) {
            fixture in
            let set = iodebug([
                (0x8A00, 0x8A00), (0x8A00, 0x8A01), (0x8A01, 0), (0x8A01, 0xB000), (0x8A00, 0x8A02),
                (0x8A01, 0), (0x8A01, 0xB004), (0x8A00, 0x8A80),
            ])
            // mov [b004], ax; mov [b002], ax
            let writes: [UInt8] = [0xA3, 0x04, 0xB0, 0xA3, 0x02, 0xB0]
            let end = iodebug([(0x8A00, 0x8AFF)])
            try fixture.load(set + writes + end + writes + [0xEB, 0xFE], at: Fixture.code)
            let behind = UInt64(0x9000 + set.count + writes.count)
            try fixture.go()
            let hit = try fixture.watched()
            try fixture.expect(hit.address == .physical(0xB002) && hit.new == 0x8A80, "\(hit)")
            try fixture.expect("rip", behind)
            try fixture.expect(fixture.debugger.breakpoints.map(\.kind) == [.watch], "it is a watchpoint")
            let last = try fixture.debugger.setBreakpoint(
                at: .linear(behind + UInt64(end.count + writes.count)))
            // Not the request itself is what a step ends at.
            try fixture.step(3)
            try fixture.expect(.step(count: 3))
            try fixture.expect("rip", behind + 7)
            try fixture.expect(fixture.debugger.breakpoints.map(\.number) == [last.number], "given up")
            try fixture.go()
            try fixture.expect(.breakpoint([last.number]))
        },
    ]
}
