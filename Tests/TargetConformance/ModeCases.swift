import DebugTarget
import Debugger
import KVMCore
import X86

extension ConformanceCase {
    /// Every kind of instruction in 32- and in 64-bit code, and the way there.
    static let stepModes: [ConformanceCase] = [
        ConformanceCase(
            "steps each kind of instruction in 32- and 64-bit code, and through the switches between",
            needsProcessor: true
        ) { fixture in
            try fixture.load(modes)
            try fixture.modeTables()
            var next = instructionStarts(from: 0x7C00).dropFirst()
            while let expected = next.popFirst() {
                let before = try fixture.register("rip")
                let opcode = try fixture.debugger.readMemory(.linear(before), count: 1).bytes[0]
                try fixture.step()
                if opcode == 0xCD || opcode == 0xCC, case .internalError = fixture.debugger.stop.reason {
                    // KVM's emulator knows INT in real mode alone; where it runs the guest, none can be stepped.
                    try fixture.debugger.setRegister("rip", to: expected)
                    continue
                }
                if opcode == 0xCD || opcode == 0xCC {
                    // inc edx; iret
                    try fixture.expect("rip", before < 0x7C73 ? 0x9100 : 0x9110)
                    try fixture.step()
                    try fixture.step()
                }
                try fixture.expect(.step(count: 1))
                if fixture.debugger.stop.steppedTwo, let second = next.popFirst() {
                    try fixture.expect("rip", second)
                } else {
                    try fixture.expect("rip", expected)
                }
                // What PUSHF has pushed, after the POP.
                if before == 0x7C2E || before == 0x7C8A {
                    try fixture.expect(try fixture.register("rbx") & 0x100 == 0, "TF is not the guest's")
                }
            }
            try fixture.expect(fixture.debugger.selected.mode == .long64, "it is in 64-bit mode")
            let stored = try fixture.debugger.readMemory(.linear(0x6000), count: 5).bytes
            try fixture.expect(Set(stored.prefix(4)).count == 1 && stored[4] == 0, "four bytes were stored")
        },
        ConformanceCase(
            "steps HLT in 32- and in 64-bit code, and says that it went over one", stopsAtHalt: true,
            needsProcessor: true
        ) { fixture in
            try fixture.load(modes)
            try fixture.modeTables()
            // 6800 hlt; 6801 inc ebx; 6803 hlt; 6804 inc ebx; 6806 hlt
            try fixture.debugger.writeMemory(
                .physical(0x6800), [0xF4, 0xFF, 0xC3, 0xF4, 0xFF, 0xC3, 0xF4])
            for (start, mode) in [(0x7C29, CPUMode.protected32), (0x7C87, .long64)] as [(UInt64, CPUMode)] {
                while try fixture.register("rip") != start {
                    let ip = try fixture.register("rip")
                    // INT n and INT3, for which a host may have nothing.
                    if ip == 0x7C31 {
                        try fixture.debugger.setRegister("rip", to: 0x7C34)
                    } else {
                        try fixture.step()
                    }
                }
                try fixture.expect(fixture.debugger.selected.mode == mode, "the code is of \(mode)")
                try fixture.debugger.setRegister("rbx", to: 0)
                try fixture.debugger.setRegister("rip", to: 0x6800)
                for (ip, isHalt) in [(0x6801, true), (0x6803, false), (0x6804, true)] as [(UInt64, Bool)] {
                    try fixture.steps(to: [ip])
                    try fixture.expect(fixture.debugger.stop.passedHalt == isHalt, "it says so")
                    try fixture.expect(
                        (fixture.debugger.selected.activity == .halted) == isHalt, "it would sleep")
                }
                try fixture.steps(to: [0x6806])
                try fixture.next()
                try fixture.expect(.hlt)
                try fixture.expect("rip", 0x6807)
                try fixture.expect("rbx", 2)
                // And freely, from a place before one.
                try fixture.debugger.setRegister("rip", to: 0x6801)
                try fixture.go()
                try fixture.expect(.hlt)
                try fixture.expect("rip", 0x6804)
                try fixture.debugger.setRegister("rip", to: start)
            }
        },
        ConformanceCase(
            "SEG:OFF of protected mode, set before it, is compared with CS and IP as they are then",
            needsProcessor: true
        ) { fixture in
            try fixture.load(modes)
            try fixture.modeTables()
            let first = try fixture.debugger.setBreakpoint(
                at: .segmented(.selector(8), offset: 0x7C20), kind: .virtual)
            try fixture.expect(first.mechanism == .stepping && first.linear == nil, "\(first)")
            try fixture.go()
            try fixture.expect(.breakpoint([first.number]))
            try fixture.expect("rip", 0x7C20)
            try fixture.expect(fixture.debugger.selected.mode == .protected32, "it is in protected mode")
            // From here on its place is known.
            let now = try fixture.debugger.breakpoint(first.number)
            try fixture.expect(now.linear == 0x7C20 && now.mechanism != .stepping, "\(now)")
            try fixture.debugger.setRegister("rip", to: 0x7C1E)
            try fixture.go()
            try fixture.expect(.breakpoint([first.number]))
        },
        ConformanceCase(
            "INT n in 32- and in 64-bit code is one step, or KVM's refusal names it", needsProcessor: true
        ) { fixture in
            try fixture.load(modes)
            try fixture.modeTables()
            for (start, ip, handler) in [(0x7C31, 0x7C33, 0x9100), (0x7C8D, 0x7C8F, 0x9110)]
                as [(UInt64, UInt64, UInt64)]
            {
                while try fixture.register("rip") != start { try fixture.step() }
                let before = try fixture.register("rdx")
                try fixture.step()
                if case .internalError(let error) = fixture.debugger.stop.reason {
                    // KVM's emulator, where that runs the guest.
                    try fixture.expect(error.suberror == 1, "an emulation failed")
                    try fixture.expect(error.instruction.starts(with: [0xCD, 0x20]), "of INT: \(error)")
                    try fixture.expect("rip", start)
                    try fixture.expect(fixture.debugger.selected.activity == .dead, "it cannot go on")
                } else {
                    try fixture.expect(.step(count: 1))
                    try fixture.expect("rip", handler)
                    try fixture.step(2)
                    try fixture.expect("rip", ip)
                    try fixture.expect("rdx", before + 1)
                }
                // On from after INT3.
                try fixture.debugger.setRegister("rip", to: ip + 1)
                try fixture.step()
                try fixture.expect(.step(count: 1))
            }
        },
    ]

    /// Where the instructions of ``modes`` begin.
    private static func instructionStarts(from origin: UInt64) -> ArraySlice<UInt64> {
        let lengths: [UInt64] = [
            6, 6, 3, 2, 3, 5, 5, 2, 2, 2, 5, 1, 1, 1, 1, 1, 1, 1, 1, 2,
            1, 2, 2, 2, 5, 5, 2, 3, 2, 3, 5, 3, 5, 2, 3, 2, 3, 4, 3, 7,
            8, 5, 2, 5, 1, 1, 1, 1, 1, 1, 2, 1, 2, 2, 2, 5, 5, 2, 5, 2,
            2, 1,
        ]
        var starts = [origin]
        for length in lengths { starts.append((starts.last ?? origin) + length) }
        return starts[...]
    }

    /// Assembled for 0x7C00; the tables are where ``Fixture/modeTables()`` puts them.
    static let modes = ModeSwitch.code(
        at: 0x7C00,
        real: [
            0x66, 0x0F, 0x01, 0x16, 0x00, 0x80,  // 7C00 lgdtd ds:0x8000
            0x66, 0x0F, 0x01, 0x1E, 0x08, 0x80,  // 7C06 lidtd ds:0x8008
        ],
        protected: [
            0xB8, 0x10, 0x00, 0x00, 0x00,  // 7C19 mov eax,0x10
            0x8E, 0xD8,  // 7C1E mov ds,eax
            0x8E, 0xC0,  // 7C20 mov es,eax
            0x8E, 0xD0,  // 7C22 mov ss,eax
            0xBC, 0x00, 0x70, 0x00, 0x00,  // 7C24 mov esp,0x7000
            0xFB,  // 7C29 sti
            0xFA,  // 7C2A cli
            0x16,  // 7C2B push ss
            0x17,  // 7C2C pop ss
            0x9C,  // 7C2D pushf
            0x5B,  // 7C2E pop ebx
            0x53,  // 7C2F push ebx
            0x9D,  // 7C30 popf
            0xCD, 0x20,  // 7C31 int 0x20
            0xCC,  // 7C33 int3
            0x0F, 0xA2,  // 7C34 cpuid
            0xE4, 0xE9,  // 7C36 in al,0xe9
            0xE6, 0xE9,  // 7C38 out 0xe9,al
            0xBF, 0x00, 0x60, 0x00, 0x00,  // 7C3A mov edi,0x6000
            0xB9, 0x04, 0x00, 0x00, 0x00,  // 7C3F mov ecx,0x4
            0xF3, 0xAA,  // 7C44 rep stos BYTE PTR es:[edi],al
        ],
        long: [
            0x0F, 0x01, 0x1C, 0x25, 0x10, 0x80, 0x00, 0x00,  // 7C73 lidt ds:0x8010
            0xB8, 0x10, 0x00, 0x00, 0x00,  // 7C7B mov eax,0x10
            0x8E, 0xD0,  // 7C80 mov ss,eax
            0xBC, 0x00, 0x70, 0x00, 0x00,  // 7C82 mov esp,0x7000
            0xFB,  // 7C87 sti
            0xFA,  // 7C88 cli
            0x9C,  // 7C89 pushf
            0x5B,  // 7C8A pop rbx
            0x53,  // 7C8B push rbx
            0x9D,  // 7C8C popf
            0xCD, 0x20,  // 7C8D int 0x20
            0xCC,  // 7C8F int3
            0x0F, 0xA2,  // 7C90 cpuid
            0xE4, 0xE9,  // 7C92 in al,0xe9
            0xE6, 0xE9,  // 7C94 out 0xe9,al
            0xBF, 0x00, 0x60, 0x00, 0x00,  // 7C96 mov edi,0x6000
            0xB9, 0x04, 0x00, 0x00, 0x00,  // 7C9B mov ecx,0x4
            0xF3, 0xAA,  // 7CA0 rep stos BYTE PTR es:[rdi],al
            0xB9, 0x1B, 0x00, 0x00, 0x00,  // 7CA2 mov ecx,0x1b
            0x0F, 0x32,  // 7CA7 rdmsr
            0x0F, 0x30,  // 7CA9 wrmsr
            0x90,  // 7CAB nop
        ])
}

extension Fixture {
    /// A GDT with code of 32 and 64 bits and data, an IDT for each, and page tables that map the first 2 MiB.
    func modeTables() throws {
        func put(_ address: UInt64, _ words: [UInt64]) throws {
            let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } }
            try debugger.writeMemory(.physical(address), bytes)
        }
        // The operands of LGDT and of the two LIDTs: limit and base.
        try put(0x8000, [0x8020_001F, 0x8300_01FF])
        try put(0x8010, [0x8600_03FF, 0])
        // Null, 32-bit code, data, 64-bit code.
        try put(0x8020, [0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00AF_9B00_0000_FFFF])
        for vector: UInt64 in [3, 0x20] {
            try put(0x8300 + vector * 8, [0x0000_8E00_0008_9100])
            try put(0x8600 + vector * 16, [0x0000_8E00_0018_9110, 0])
        }
        // inc edx; iretd, and inc edx; iretq
        try debugger.writeMemory(.physical(0x9100), [0xFF, 0xC2, 0xCF])
        try debugger.writeMemory(.physical(0x9110), [0xFF, 0xC2, 0x48, 0xCF])
        try put(0x10000, [0x11003])
        try put(0x11000, [0x12003])
        try put(0x12000, [0x83])
    }
}
