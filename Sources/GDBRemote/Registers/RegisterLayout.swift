import X86

/// The registers of one architecture in the order of their numbers, and the features that clients know them by.
///
/// Source: GDB's manual, "i386 Features"; registers of other features are GDB's users' to read by name.
struct RegisterLayout: Sendable {
    struct Feature: Sendable {
        var name: String
        var types: [RegisterType]
        var registers: Range<Int>
    }

    let architecture: RemoteArchitecture
    private(set) var registers: [RemoteRegister] = []
    private(set) var features: [Feature] = []
    /// How many of them `g` gives; a client asks for each of the others.
    private(set) var blockCount = 0

    /// The registers that a stop reply brings: what a client looks at after each step.
    private(set) var expedited: [RemoteRegister] = []

    /// The processor has AVX.
    init(_ architecture: RemoteArchitecture, hasAVX: Bool) {
        self.architecture = architecture
        addCore()
        addSSE()
        if hasAVX { addAVX() }
        if architecture == .long64 { addSegmentBases() }
        addSystem()
        let names: Set = ["eip", "rip", "esp", "rsp", "ebp", "rbp"]
        expedited = registers.filter { names.contains($0.name) }
    }

    private static let plain = RemoteArchitecture.allCases.map { RegisterLayout($0, hasAVX: false) }
    private static let wide = RemoteArchitecture.allCases.map { RegisterLayout($0, hasAVX: true) }

    /// Made once.
    static func of(_ architecture: RemoteArchitecture, hasAVX: Bool) -> RegisterLayout {
        let all = hasAVX ? wide : plain
        return all.first { $0.architecture == architecture } ?? RegisterLayout(architecture, hasAVX: hasAVX)
    }

    subscript(number: UInt64) -> RemoteRegister? {
        number < UInt64(registers.count) ? registers[Int(number)] : nil
    }

    // MARK: -

    private mutating func add(
        _ name: String, _ bits: Int, _ type: String, _ group: RemoteRegister.Group, _ source: RegisterSource
    ) {
        registers.append(
            RemoteRegister(
                number: registers.count, name: name, bits: bits, type: type, group: group, source: source))
    }

    private mutating func add(_ name: String, _ bits: Int, _ type: String, named register: String) {
        guard let register = RegisterName(register) else { return }
        add(name, bits, type, name == register.name ? .general : .system, .named(register))
    }

    private mutating func close(_ name: String, _ types: [RegisterType], from start: Int) {
        features.append(Feature(name: name, types: types, registers: start..<registers.count))
    }

    private mutating func addCore() {
        let isLong = architecture == .long64
        let bits = isLong ? 64 : 32
        let names =
            isLong
            ? ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"] + (8...15).map { "r\($0)" }
            : ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
        for name in names {
            let isPointer = ["rbp", "rsp", "esp", "ebp"].contains(name)
            add(name, bits, isPointer ? "data_ptr" : isLong ? "int64" : "int32", named: name)
        }
        add(isLong ? "rip" : "eip", bits, "code_ptr", .general, .place)
        add("eflags", 32, "i386_eflags", named: "eflags")
        for name in ["cs", "ss", "ds", "es", "fs", "gs"] { add(name, 32, "int32", named: name) }
        blockCount = registers.count
        for index in 0..<8 { add("st\(index)", 80, "i387_ext", .float, .st(index)) }
        for word in RegisterSource.X87Word.allCases { add(word.rawValue, 32, "int32", .float, .x87(word)) }
        close("org.gnu.gdb.i386.core", [.flags("i386_eflags", 4, RFlags.fields)], from: 0)
    }

    private mutating func addSSE() {
        let start = registers.count
        for index in 0..<(architecture == .long64 ? 16 : 8) {
            add("xmm\(index)", 128, "vec128", .vector, .xmm(index))
        }
        add("mxcsr", 32, "i386_mxcsr", .vector, .mxcsr)
        let vectors: [RegisterType] = [
            .vector("v4f", of: "ieee_single", 4), .vector("v2d", of: "ieee_double", 2),
            .vector("v16i8", of: "int8", 16), .vector("v8i16", of: "int16", 8),
            .vector("v4i32", of: "int32", 4), .vector("v2i64", of: "int64", 2),
            .union(
                "vec128",
                [
                    ("v4_float", "v4f"), ("v2_double", "v2d"), ("v16_int8", "v16i8"), ("v8_int16", "v8i16"),
                    ("v4_int32", "v4i32"), ("v2_int64", "v2i64"), ("uint128", "uint128"),
                ]),
            .flags("i386_mxcsr", 4, Self.mxcsr),
        ]
        close("org.gnu.gdb.i386.sse", vectors, from: start)
    }

    /// Source: SDM volume 1, 10.2.3.
    private static let mxcsr =
        [
            "IE", "DE", "ZE", "OE", "UE", "PE", "DAZ", "IM", "DM", "ZM", "OM", "UM", "PM",
        ].enumerated().map { FlagField($1, $0, "") } + [FlagField("FZ", 15, "")]

    private mutating func addAVX() {
        let start = registers.count
        for index in 0..<(architecture == .long64 ? 16 : 8) {
            add("ymm\(index)h", 128, "uint128", .vector, .ymmHigh(index))
        }
        close("org.gnu.gdb.i386.avx", [], from: start)
    }

    private mutating func addSegmentBases() {
        let start = registers.count
        add("fs_base", 64, "int64", named: "fs.base")
        add("gs_base", 64, "int64", named: "gs.base")
        close("org.gnu.gdb.i386.segments", [], from: start)
    }

    private mutating func addSystem() {
        let start = registers.count
        add("ip", 64, "uint64", named: "rip")
        for segment in ["cs", "ss", "ds", "es", "fs", "gs", "tr", "ldt"] {
            let name = segment == "ldt" ? "ldtr" : segment
            if name == "tr" || name == "ldtr" { addSystem(name, 16, named: segment) }
            // The 64-bit layout has these two among GDB's own.
            if !(architecture == .long64 && ["fs", "gs"].contains(segment)) {
                addSystem("\(name)_base", 64, named: "\(segment).base")
            }
            addSystem("\(name)_limit", 32, named: "\(segment).limit")
            addSystem("\(name)_attr", 32, named: "\(segment).attr")
        }
        for table in ["gdtr", "idtr"] {
            addSystem("\(table)_base", 64, named: "\(table).base")
            addSystem("\(table)_limit", 16, named: "\(table).limit")
        }
        addSystem("cr0", 64, "x86_cr0", named: "cr0")
        addSystem("cr2", 64, named: "cr2")
        addSystem("cr3", 64, named: "cr3")
        addSystem("cr4", 64, "x86_cr4", named: "cr4")
        addSystem("cr8", 64, named: "cr8")
        addSystem("efer", 64, "x86_efer", named: "efer")
        addSystem("apic_base", 64, named: "apicbase")
        for name in ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"] { addSystem(name, 64, named: name) }
        for (name, index) in Self.msrs { add(name, 64, "uint64", .system, .msr(index)) }
        close(
            "org.kvmscope.x86.system",
            [
                .flags("x86_cr0", 8, CR0.fields), .flags("x86_cr4", 8, CR4.fields),
                .flags("x86_efer", 8, EFER.fields),
            ], from: start)
    }

    private mutating func addSystem(
        _ name: String, _ bits: Int, _ type: String? = nil, named register: String
    ) {
        guard let register = RegisterName(register) else { return }
        add(name, bits, type ?? "uint\(bits)", .system, .named(register))
    }

    /// Those that system code sets itself; `monitor msr` reads any other. Source: SDM volume 4, table 2-2.
    private static let msrs: [(String, UInt32)] = [
        ("tsc", 0x10), ("sysenter_cs", 0x174), ("sysenter_esp", 0x175), ("sysenter_eip", 0x176),
        ("misc_enable", 0x1A0), ("pat", 0x277), ("mtrr_def_type", 0x2FF), ("star", 0xC000_0081),
        ("lstar", 0xC000_0082), ("cstar", 0xC000_0083), ("fmask", 0xC000_0084),
        ("kernel_gs_base", 0xC000_0102), ("tsc_aux", 0xC000_0103),
    ]
}
