import DebugTarget
import Debugger
import X86

extension ConformanceCase {
    /// Patches while what their addresses mean changes: other page tables, other modes.
    static let patchedSpaces: [ConformanceCase] = [
        ConformanceCase(
            "patches survive paging being turned on, and CR3 writes that move their pages", pages: true
        ) { fixture in
            try fixture.load(switching, at: Fixture.code)
            try fixture.twoAddressSpaces()
            try fixture.debugger.writeMemory(.physical(0xA000), [0x43, 0x43, 0xC3])
            try fixture.debugger.writeMemory(.physical(0xB000), [0x42, 0x42, 0xC3])
            try fixture.useUpRegisters()
            // Before there is paging. The second page of the routine is nobody's yet.
            let linear = try fixture.patch(0xA001)
            let physical = try fixture.debugger.setBreakpoint(at: .physical(0xA002))
            let behind = try fixture.patch(0x9009)
            let last = try fixture.patch(0x9015)
            let elsewhere = try fixture.debugger.setBreakpoint(at: .physical(0xB002))
            let all = [linear, physical, behind, last, elsewhere].map(\.number)
            try fixture.turnPagingOn()

            for round: UInt64 in 1...3 {
                // In the first space A000 is its own page; in the second it is B000, and C000 is A000.
                for (number, ip) in [
                    (linear.number, 0xA001), (physical.number, 0xA002), (behind.number, 0x9009),
                    (linear.number, 0xA001), (elsewhere.number, 0xA002), (physical.number, 0xC002),
                    (last.number, 0x9015),
                ] as [(Int, UInt64)] {
                    try fixture.go()
                    try fixture.expect(.breakpoint([number]))
                    try fixture.expect("rip", ip)
                    try fixture.expect(
                        try fixture.bytes(0xA000, 3) == [0x43, 0x43, 0xC3]
                            && fixture.bytes(0xB000, 3) == [0x42, 0x42, 0xC3], "memory is the image")
                    let seen = try fixture.debugger.readMemory(.linear(0xA000), count: 3).bytes
                    let isSecond = try fixture.register("cr3") == 0x5000
                    try fixture.expect(
                        seen == (isSecond ? [0x42, 0x42, 0xC3] : [0x43, 0x43, 0xC3]),
                        "and so it is by its linear addresses: \(seen)")
                }
                // Twice A000's routine, once that of B000, two instructions each.
                try fixture.expect("bx", round * 4)
                try fixture.expect("dx", round * 2)
            }
            let hits = try all.map { try fixture.debugger.breakpoint($0).hits }
            try fixture.expect(hits == [6, 6, 3, 3, 3], "they were hit \(hits) times")

            // Free of stops on the way: the spaces are known by now, and none is missed.
            for number in all {
                try fixture.debugger.setBreakpoint(number, ignore: number == last.number ? 9 : 1_000_000)
            }
            try fixture.go()
            try fixture.expect(.breakpoint([last.number]))
            let later = try all.map { try fixture.debugger.breakpoint($0).hits }
            try fixture.expect(later == [26, 26, 13, 13, 13], "they were hit \(later) times")
            try fixture.expect("bx", 13 * 4)
            try fixture.expect("dx", 13 * 2)
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.expectRaw(0xA000, [0x43, 0x43, 0xC3])
            try fixture.expectRaw(0xB000, [0x42, 0x42, 0xC3])
            try fixture.expectRaw(Fixture.code, switching)
        },
        ConformanceCase(
            "patches in every part of the way from real to 64-bit mode are hit, each as often as it is come to",
            needsProcessor: true
        ) { fixture in
            try fixture.load(throughModes, at: Fixture.code)
            try fixture.modeTables()
            // The tables' handlers are in this page, too.
            try fixture.useUpRegisters()
            var numbers: [UInt64: Int] = [:]
            for place in places { numbers[place] = try fixture.patch(place).number }
            for place in order {
                try fixture.go()
                guard let number = numbers[place] else { continue }
                try fixture.expect(.breakpoint([number]))
                try fixture.expect("rip", place)
                try fixture.expect(
                    try fixture.bytes(Fixture.code, throughModes.count) == throughModes, "memory is the image"
                )
            }
            try fixture.expect(fixture.debugger.selected.mode == .long64, "it is in 64-bit mode")
            try fixture.expect("rbx", 6)
            try fixture.expect("rsi", 3)
            try fixture.expect("rdi", 6)
            for (place, number) in numbers {
                let hits = try fixture.debugger.breakpoint(number).hits
                let wanted = order.filter { $0 == place }.count
                try fixture.expect(hits == wanted, "\(hits) hits of \(wanted) at \(place)")
            }
            try fixture.debugger.deleteAllBreakpoints()
            try fixture.expectRaw(Fixture.code, throughModes)
        },
    ]

    /// Calls A000 in one address space, A000 and C000 in another.
    private static let switching: [UInt8] = [
        0xE8, 0xFD, 0x0F,  // 9000 call a000
        0xB8, 0x00, 0x50,  // 9003 mov ax, 5000
        0x0F, 0x22, 0xD8,  // 9006 mov cr3, eax
        0xE8, 0xF4, 0x0F,  // 9009 call a000
        0xE8, 0xF1, 0x2F,  // 900C call c000
        0xB8, 0x00, 0x10,  // 900F mov ax, 1000
        0x0F, 0x22, 0xD8,  // 9012 mov cr3, eax
        0x41,  // 9015 inc cx
        0xEB, 0xE8,  // 9016 jmp 9000
        0x0F, 0x22, 0xE0,  // 9018 mov cr4, eax
        0x0F, 0x30,  // 901B wrmsr
        0x0F, 0x22, 0xD8,  // 901D mov cr3, eax
        0x0F, 0x22, 0xC0,  // 9020 mov cr0, eax
        0xEB, 0xDB,  // 9023 jmp 9000
    ]

    /// Assembled for 0x9000; the tables are where ``Fixture/modeTables()`` puts them.
    private static let throughModes = ModeSwitch.code(
        at: 0x9000,
        real: [
            0x66, 0x0F, 0x01, 0x16, 0x00, 0x80,  // 9000 lgdtd ds:0x8000
        ],
        protected: [
            0xB8, 0x10, 0x00, 0x00, 0x00,  // 9013 mov eax,0x10
            0x8E, 0xD8,  // 9018 mov ds,eax
            0x8E, 0xC0,  // 901A mov es,eax
            0x8E, 0xD0,  // 901C mov ss,eax
            0xBC, 0x00, 0x70, 0x00, 0x00,  // 901E mov esp,0x7000
            0xB9, 0x03, 0x00, 0x00, 0x00,  // 9023 mov ecx,0x3
            0x43,  // 9028 inc ebx
            0x49,  // 9029 dec ecx
            0x75, 0xFC,  // 902A jne 9028
            0x53,  // 902C push ebx
            0x5E,  // 902D pop esi
        ],
        long: [
            0xB9, 0x03, 0x00, 0x00, 0x00,  // 905B mov ecx,0x3
            0x48, 0xFF, 0xC3,  // 9060 inc rbx
            0x48, 0xFF, 0xC9,  // 9063 dec rcx
            0x75, 0xF8,  // 9066 jne 9060
            0x53,  // 9068 push rbx
            0x5F,  // 9069 pop rdi
            0x48, 0x31, 0xC0,  // 906A xor rax,rax
            0xEB, 0xFE,  // 906D jmp 906d
        ])

    /// Some of its instructions, in each mode, right before and after the switches, and beside each other.
    private static let places: [UInt64] = [
        0x9006, 0x900B, 0x900E, 0x9013, 0x901E, 0x9028, 0x9029, 0x902C, 0x902E, 0x9033, 0x903B, 0x9048,
        0x9051,
        0x9054, 0x905B, 0x9060, 0x9066, 0x9068, 0x9069, 0x906D,
    ]

    /// How they are come to: both loops are gone through three times.
    private static let order: [UInt64] =
        [0x9006, 0x900B, 0x900E, 0x9013, 0x901E, 0x9028, 0x9029, 0x9028, 0x9029, 0x9028, 0x9029]
        + [0x902C, 0x902E, 0x9033, 0x903B, 0x9048, 0x9051, 0x9054, 0x905B]
        + [0x9060, 0x9066, 0x9060, 0x9066, 0x9060, 0x9066, 0x9068, 0x9069, 0x906D]
}

extension Fixture {
    /// 4-level tables for the first 64 KiB and the page above it. Those at 1000 map every address to itself; those at
    /// 5000 map A000 to B000 and C000 to A000.
    func twoAddressSpaces() throws {
        for (root, tables) in [(0x1000, [0x2000, 0x3000, 0x4000]), (0x5000, [0xD000, 0xE000, 0xF000])]
            as [(UInt64, [UInt64])]
        {
            try put([tables[0] | 3], at: root)
            try put([tables[1] | 3], at: tables[0])
            try put([tables[2] | 3], at: tables[1])
            var pages = (0..<17).map { UInt64($0) << 12 | 3 }
            if root == 0x5000 { (pages[0xA], pages[0xC]) = (0xB003, 0xA003) }
            try put(pages, at: tables[2])
        }
    }

    private func put(_ words: [UInt64], at address: UInt64) throws {
        let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
        }
        try debugger.writeMemory(.physical(address), bytes)
    }

    /// By the code at 9018, a step each: CR4.PAE, EFER.LME, CR3, and CR0.PG with PE. The code stays of 16 bits.
    func turnPagingOn() throws {
        try debugger.setRegister("rip", to: 0x9018)
        for (value, ip) in [(0x20, 0x901B), (0x100, 0x901D), (0x1000, 0x9020), (0x8000_0011, 0x9023)]
            as [(UInt64, UInt64)]
        {
            try debugger.setRegister("rax", to: value)
            try debugger.setRegister("rcx", to: 0xC000_0080)
            try debugger.setRegister("rdx", to: 0)
            try steps(to: [ip])
        }
        try debugger.setRegister("rax", to: 0)
        try debugger.setRegister("rcx", to: 0)
        try steps(to: [0x9000])
        try expect("efer.lma", 1)
    }

    /// What stands in memory beneath the debugger.
    func expectRaw(_ address: UInt64, _ bytes: [UInt8], line: Int = #line) throws {
        var raw = [UInt8](repeating: 0, count: bytes.count)
        try raw.withUnsafeMutableBytes { try target.memory.read(address, into: $0) }
        try expect(raw == bytes, "memory from \(address) is \(raw)", line: line)
    }
}
