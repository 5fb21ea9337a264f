import Debugger
import X86

extension FaultRow {
    /// CPL, IOPL, the I/O map. Source: SDM volume 1, 19.5; volume 3A, 5.9 and 21.3.
    static let privileges: [FaultRow] = [
        FaultRow("HLT at CPL 3", .protectedUser, [0xF4], 13, 0, .privilege(cpl: 3)),
        FaultRow("HLT in V86 mode", .virtual8086, [0xF4], 13, 0, .privilege(cpl: 3)),
        FaultRow(
            "LGDT at CPL 3", .protectedUser, [0x0F, 0x01, 0x15, 0, 0x40, 0, 0], 13, 0, .privilege(cpl: 3)),
        FaultRow(
            "LIDT at CPL 3", .protectedUser, [0x0F, 0x01, 0x1D, 0, 0x40, 0, 0], 13, 0, .privilege(cpl: 3)),
        FaultRow("LLDT at CPL 3", .protectedUser, [0x0F, 0x00, 0xD0], 13, 0, .privilege(cpl: 3)),
        FaultRow("LTR at CPL 3", .protectedUser, [0x0F, 0x00, 0xD8], 13, 0, .privilege(cpl: 3)),
        FaultRow("MOV to CR0 at CPL 3", .protectedUser, [0x0F, 0x22, 0xC0], 13, 0, .privilege(cpl: 3)),
        FaultRow("MOV from CR0 at CPL 3", .protectedUser, [0x0F, 0x20, 0xC0], 13, 0, .privilege(cpl: 3)),
        FaultRow("MOV from DR7 at CPL 3", .protectedUser, [0x0F, 0x21, 0xF8], 13, 0, .privilege(cpl: 3)),
        FaultRow("LMSW at CPL 3", .protectedUser, [0x0F, 0x01, 0xF0], 13, 0, .privilege(cpl: 3)),
        FaultRow("CLTS at CPL 3", .protectedUser, [0x0F, 0x06], 13, 0, .privilege(cpl: 3)),
        FaultRow(
            "INVLPG at CPL 3", .protectedUser, [0x0F, 0x01, 0x3D, 0, 0x40, 0, 0], 13, 0, .privilege(cpl: 3)),
        FaultRow("INVD at CPL 3", .protectedUser, [0x0F, 0x08], 13, 0, .privilege(cpl: 3)),
        FaultRow("WBINVD at CPL 3", .protectedUser, [0x0F, 0x09], 13, 0, .privilege(cpl: 3)),
        FaultRow("RDMSR at CPL 3", .protectedUser, [0x0F, 0x32], 13, 0, .privilege(cpl: 3)),
        FaultRow("WRMSR at CPL 3", .longUser, [0x0F, 0x30], 13, 0, .privilege(cpl: 3)),
        FaultRow("SYSEXIT at CPL 3", .protectedUser, [0x0F, 0x35], 13, 0, .privilege(cpl: 3)),
        FaultRow("SYSRET at CPL 3", .longUser, [0x48, 0x0F, 0x07], 13, 0, .privilege(cpl: 3)),
        FaultRow("SWAPGS at CPL 3", .longUser, [0x0F, 0x01, 0xF8], 13, 0, .privilege(cpl: 3)),
        FaultRow("STAC at CPL 3", .protectedUser, [0x0F, 0x01, 0xCB], 6, nil, .privilege(cpl: 3)),
        FaultRow("RDTSC with TSD", .protectedUser, [0x0F, 0x31], 13, 0, .disabled(.timeStamp)) {
            $0.special.cr4.insert(.tsd)
        },
        FaultRow("RDTSC with TSD at CPL 0", .protected, [0x0F, 0x31], nil) { $0.special.cr4.insert(.tsd) },
        FaultRow("RDPMC without PCE", .protectedUser, [0x0F, 0x33], 13, 0, .disabled(.performanceCounters)),
        FaultRow(
            "SGDT with UMIP", .protectedUser, [0x0F, 0x01, 0x05, 0, 0x40, 0, 0], 13, 0, .disabled(.umip)
        ) {
            $0.special.cr4.insert(.umip)
        },
        FaultRow("CLI above IOPL", .protectedUser, [0xFA], 13, 0, .flagPrivilege(cpl: 3, iopl: 0)),
        FaultRow("STI above IOPL", .longUser, [0xFB], 13, 0, .flagPrivilege(cpl: 3, iopl: 0)),
        FaultRow("CLI with IOPL 3", .protectedUser, [0xFA, 0xEB, 0xFE], nil, isMadeUpOnly: true) {
            $0.registers.rflags.iopl = 3
        },
        FaultRow("CLI in V86 mode", .virtual8086, [0xFA], 13, 0, .virtualPrivilege(iopl: 0)),
        FaultRow("PUSHF in V86 mode", .virtual8086, [0x9C], 13, 0, .virtualPrivilege(iopl: 0)),
        FaultRow("POPF in V86 mode", .virtual8086, [0x9D], 13, 0, .virtualPrivilege(iopl: 0)),
        FaultRow("IRET in V86 mode", .virtual8086, [0xCF], 13, 0, .virtualPrivilege(iopl: 0)),
        FaultRow("INT n in V86 mode", .virtual8086, [0xCD, 0x20], 13, 0, .virtualPrivilege(iopl: 0)),
        FaultRow(
            "OUT with a bit in the I/O map", .protectedUser, [0xE6, 0x80], 13, 0,
            .portPrivilege(cpl: 3, iopl: 0, .denied(port: 0x80))
        ) {
            $0.special.tr.limit = 0x79
            $0.put(0x3078, 0xFF01, size: 2)
        },
        FaultRow(
            "OUT of a word to the last port that the map allows", .protectedUser, [0x66, 0xE7, 0x80], 13, 0,
            .portPrivilege(cpl: 3, iopl: 0, .denied(port: 0x81))
        ) {
            $0.special.tr.limit = 0x79
            $0.put(0x3078, 0xFF02, size: 2)
        },
        FaultRow(
            "IN beyond the I/O map", .protectedUser, [0xE4, 0x80], 13, 0,
            .portPrivilege(cpl: 3, iopl: 0, .beyondLimit(0x67))),
        FaultRow(
            "IN in V86 mode", .virtual8086, [0xEC], 13, 0, .portPrivilege(cpl: 3, iopl: 3, .beyondLimit(0x67))
        ) {
            $0.registers.rflags.iopl = 3
        },
        FaultRow(
            "OUT with a 16-bit TSS", .protectedUser, [0xEE], 13, 0, .portPrivilege(cpl: 3, iopl: 0, .none)
        ) {
            $0.special.tr.attributes.type = 3
            $0.put(0x3002, 0x0010_7800, size: 4)
        },
        FaultRow("OUT at CPL 0", .protected, [0xE6, 0x80], nil),
        FaultRow("MOV from DR6 with GD", .protected, [0x0F, 0x21, 0xF0], 1, nil, .disabled(.generalDetect)) {
            var debug = DebugRegisters()
            debug.dr7 = 0x2400
            $0.debug = debug
        },
    ]

    /// Segments, limits, alignment. Source: SDM volume 3A, 5.3, 6.15 and table 6-7.
    static let memory: [FaultRow] = [
        // mov eax, [4000]; mov [4000], eax
        FaultRow("a null DS", .protected, [0xA1, 0, 0x40, 0, 0], 13, 0, .unusableSegment(.ds)) {
            $0.special.ds = Segment(attributes: SegmentAttributes(rawValue: 0x1_0000))
        },
        FaultRow(
            "a write to data that is read-only", .protected, [0xA3, 0, 0x40, 0, 0], 13, 0,
            .readOnlySegment(.ds)
        ) {
            $0.special.ds = FaultStage.segment(0x58, 0xC091)
        },
        FaultRow("a write to code", .protected, [0x2E, 0xA3, 0, 0x40, 0, 0], 13, 0, .readOnlySegment(.cs)),
        FaultRow(
            "a read of code that is not readable", .protected, [0x2E, 0xA1, 0, 0x40, 0, 0], 13, 0,
            .unreadableSegment(.cs)
        ) {
            $0.special.cs = FaultStage.segment(0x50, 0xC099)
        },
        FaultRow(
            "beyond DS's limit", .protected, [0xA1, 0, 0x40, 0, 0], 13, 0,
            .segmentLimit(.ds, offset: 0x4000, limit: 0x4002)
        ) {
            $0.special.ds.limit = 0x4002
            $0.special.ds.attributes.isPageGranular = false
        },
        FaultRow(
            "beyond 64 KiB in real mode", .real, [0xA1, 0xFF, 0xFF], 13, nil,
            .segmentLimit(.ds, offset: 0xFFFF, limit: 0xFFFF)),
        FaultRow(
            "beyond 64 KiB in V86 mode", .virtual8086, [0xA1, 0xFF, 0xFF], 13, 0,
            .segmentLimit(.ds, offset: 0xFFFF, limit: 0xFFFF)),
        FaultRow(
            "below what expands down", .protected, [0xA1, 0, 0x40, 0, 0], 13, 0,
            .segmentLimit(.ds, offset: 0x4000, limit: 0x8FFF)
        ) {
            $0.special.ds = Segment(
                base: 0, limit: 0x8FFF, selector: 0xC8, attributes: SegmentAttributes(rawValue: 0x4097))
        },
        FaultRow(
            "a PUSH beyond SS's limit", .protected, [0x50], 12, 0,
            .segmentLimit(.ss, offset: 0x6FFC, limit: 0x6FFE), isMadeUpOnly: true
        ) {
            $0.special.ss.limit = 0x6FFE
            $0.special.ss.attributes.isPageGranular = false
        },
        // mov eax, [ebp]
        FaultRow(
            "a read beyond SS's limit", .protected, [0x8B, 0x45, 0x00], 12, 0,
            .segmentLimit(.ss, offset: 0x8000, limit: 0x7FFF)
        ) {
            $0.special.ss.limit = 0x7FFF
            $0.special.ss.attributes.isPageGranular = false
            $0.registers.rbp = 0x8000
        },
        // mov rax, [rbx]; mov rax, [rbp]
        FaultRow(
            "an address that is not canonical", .long, [0x48, 0x8B, 0x03], 13, 0,
            .nonCanonical(0x8000_0000_0000)
        ) {
            $0.registers.rbx = 0x8000_0000_0000
        },
        FaultRow(
            "a stack address that is not canonical", .long, [0x48, 0x8B, 0x45, 0], 12, 0,
            .nonCanonical(0x8000_0000_0000)
        ) {
            $0.registers.rbp = 0x8000_0000_0000
        },
        // rep stosb
        FaultRow("REP with a counter of 0", .protected, [0xF3, 0xAA], nil) {
            $0.special.es = Segment(attributes: SegmentAttributes(rawValue: 0x1_0000))
        },
        FaultRow("REP STOS to a null ES", .protected, [0xF3, 0xAA], 13, 0, .unusableSegment(.es)) {
            $0.registers.rcx = 1
            $0.special.es = Segment(attributes: SegmentAttributes(rawValue: 0x1_0000))
        },
        FaultRow("#AC at CPL 3", .protectedUser, [0xA1, 1, 0x40, 0, 0], 17, 0, .alignment(0x4001, 4)) {
            $0.special.cr0.insert(.am)
            $0.registers.rflags.insert(.ac)
        },
        FaultRow("no #AC at CPL 0", .protected, [0xA1, 1, 0x40, 0, 0], nil) {
            $0.special.cr0.insert(.am)
            $0.registers.rflags.insert(.ac)
        },
        // movaps xmm0, [4008]; movups xmm0, [4008]; lock cmpxchg16b [4008]
        FaultRow(
            "MOVAPS of 4008h", .long, [0x0F, 0x28, 0x04, 0x25, 8, 0x40, 0, 0], 13, 0, .alignment(0x4008, 16)
        ) {
            $0.special.cr4.insert(.osfxsr)
        },
        FaultRow("MOVUPS of 4008h", .long, [0x0F, 0x10, 0x04, 0x25, 8, 0x40, 0, 0], nil) {
            $0.special.cr4.insert(.osfxsr)
        },
        FaultRow(
            "CMPXCHG16B of 4008h", .long, [0x48, 0x0F, 0xC7, 0x0C, 0x25, 8, 0x40, 0, 0], 13, 0,
            .alignment(0x4008, 16)),
    ]

    /// Each way to a page fault. Source: SDM volume 3A, 4.6 and 4.7.
    static let pages: [FaultRow] = [
        // mov eax, [addr]; mov [addr], eax
        FaultRow("a read of no page", .paged, [0xA1, 0, 0, 0, 0x40], 14, 0, page: .unmapped),
        FaultRow("a write to no page", .paged, [0xA3, 0, 0, 0, 0x40], 14, 2, page: .unmapped),
        FaultRow("the user's read of no page", .pagedUser, [0xA1, 0, 0, 0, 0x40], 14, 4, page: .unmapped),
        FaultRow("the user's write to no page", .pagedUser, [0xA3, 0, 0, 0, 0x40], 14, 6, page: .unmapped),
        FaultRow(
            "a write to a read-only page with WP", .paged, [0xA3, 0, 0, 0x40, 0], 14, 3, page: .readOnly
        ) {
            $0.put(0x10004, 1 << 22 | 0x85, size: 4)
        },
        FaultRow(
            "the user's write to a read-only page", .pagedUser, [0xA3, 0, 0, 0x40, 0], 14, 7, page: .readOnly
        ) {
            $0.put(0x10004, 1 << 22 | 0x85, size: 4)
        },
        FaultRow(
            "the user's read of the supervisor's page", .pagedUser, [0xA1, 0, 0, 0x40, 0], 14, 5,
            page: .supervisor
        ) {
            $0.put(0x10004, 1 << 22 | 0x83, size: 4)
        },
        FaultRow(
            "a read of the user's page with SMAP", .long, [0x8B, 0x04, 0x25, 0, 0, 0x20, 0], 14, 1,
            page: .userData
        ) {
            $0.special.cr4.insert(.smap)
            $0.put(0x12000, 0x83)
            $0.put(0x12008, 1 << 21 | 0x87)
        },
        FaultRow("reserved bits in a PDE of 4 MiB", .paged, [0xA1, 0, 0, 0x40, 0], 14, 9, page: .unmapped) {
            $0.put(0x10004, 1 << 22 | 0x87 | 1 << 21, size: 4)
        },
        FaultRow(
            "reserved bits in a PDE of 2 MiB", .long, [0x8B, 0x04, 0x25, 0, 0, 0x20, 0], 14, 9,
            page: .unmapped
        ) {
            $0.put(0x12008, 1 << 21 | 0x83 | 1 << 13)
        },
        FaultRow(
            "XD without NXE is reserved", .long, [0x8B, 0x04, 0x25, 0, 0, 0x20, 0], 14, 9, page: .unmapped
        ) {
            $0.special.efer.remove(.nxe)
            $0.put(0x12008, 1 << 63 | 1 << 21 | 0x83)
        },
        FaultRow("PS in a PML4E is reserved", .long, [0x48, 0x8B, 0x03], 14, 9, page: .unmapped) {
            $0.registers.rbx = 1 << 39
            $0.put(0x10008, 0x11087)
        },
        FaultRow(
            "a word over the end of a page", .long, [0x8B, 0x04, 0x25, 0xFE, 0xFF, 0x7F, 0], 14, 0,
            page: .unmapped),
        FaultRow("a PUSH to no page", .long, [0x50], 14, 2, page: .unmapped, isMadeUpOnly: true) {
            $0.registers.rsp = 0x4000_0008
        },
        FaultRow(
            "a protection key that denies reads", .longUser, [0x8B, 0x04, 0x25, 0, 0, 0x20, 0], 14, 0x25,
            page: .protectionKey(1), isMadeUpOnly: true
        ) {
            $0.special.cr4.insert(.pke)
            $0.pkru = 0b0100
            $0.put(0x12008, 1 << 59 | 1 << 21 | 0x87)
        },
        FaultRow(
            "a protection key that denies writes", .longUser, [0x89, 0x04, 0x25, 0, 0, 0x20, 0], 14, 0x27,
            page: .protectionKey(1), isMadeUpOnly: true
        ) {
            $0.special.cr4.insert(.pke)
            $0.pkru = 0b1000
            $0.put(0x12008, 1 << 59 | 1 << 21 | 0x87)
        },
        FaultRow(
            "a CALL whose stack is not mapped", .long, [0xE8, 0, 0, 0, 0], 14, 2, page: .unmapped,
            isMadeUpOnly: true
        ) {
            $0.registers.rsp = 0x4000_0008
        },
        FaultRow("INVLPG of any address", .long, [0x0F, 0x01, 0x3C, 0x25, 0, 0, 0, 0x40], nil),
    ]

    /// #DE, #BR, #OF, and near branches out of the segment.
    static let arithmetic: [FaultRow] = [
        // div cl; div ecx; idiv cl; idiv ecx
        FaultRow("DIV by 0", .real, [0xF6, 0xF1], 0, nil, .divideByZero),
        FaultRow("DIV that overflows", .protected, [0xF7, 0xF1], 0, nil, .divideOverflow) {
            ($0.registers.rcx, $0.registers.rdx) = (2, 2)
        },
        FaultRow("DIV that fits", .protected, [0xF7, 0xF1], nil) {
            ($0.registers.rcx, $0.registers.rdx) = (2, 1)
        },
        FaultRow("IDIV by 0", .long, [0x48, 0xF7, 0xF9], 0, nil, .divideByZero),
        FaultRow("IDIV of -128 by -1", .protected, [0xF6, 0xF9], 0, nil, .divideOverflow) {
            ($0.registers.rax, $0.registers.rcx) = (0xFF80, 0xFF)
        },
        FaultRow("IDIV of 80000000h by -1", .protected, [0xF7, 0xF9], 0, nil, .divideOverflow) {
            ($0.registers.rdx, $0.registers.rax, $0.registers.rcx) = (0xFFFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
        },
        FaultRow(
            "IDIV of the lowest number of 128 bits by -1", .long, [0x48, 0xF7, 0xF9], 0, nil, .divideOverflow
        ) {
            ($0.registers.rdx, $0.registers.rax, $0.registers.rcx) = (1 << 63, 0, .max)
        },
        FaultRow("IDIV of 80000000h by 1 as 64 bits", .protected, [0xF7, 0xF9], nil) {
            ($0.registers.rdx, $0.registers.rax, $0.registers.rcx) = (0xFFFF_FFFF, 0x8000_0000, 1)
        },
        FaultRow("AAM 0", .real, [0xD4, 0], 0, nil, .divideByZero),
        // bound eax, [4000]
        FaultRow(
            "BOUND", .protected, [0x62, 0x05, 0, 0x40, 0, 0], 5, nil, .outOfBounds(-2, lower: -1, upper: 9)
        ) {
            $0.registers.rax = 0xFFFF_FFFE
            $0.put(0x4000, 9 << 32 | 0xFFFF_FFFF)
        },
        FaultRow("BOUND within", .protected, [0x62, 0x05, 0, 0x40, 0, 0], nil) {
            $0.registers.rax = 9
            $0.put(0x4000, 9 << 32 | 0xFFFF_FFFF)
        },
        FaultRow("INTO", .protected, [0xCE], 4, nil, .softwareInterrupt) { $0.registers.rflags.insert(.of) },
        FaultRow("INTO without OF", .protected, [0xCE], nil),
        // jmp 7000; call eax; ret; je
        FaultRow(
            "JMP beyond the limit", .protected, [0xE9, 0xFB, 0x1F, 0, 0], 13, 0,
            .targetLimit(offset: 0x7000, limit: 0x6FFF)
        ) {
            $0.special.cs.limit = 0x6FFF
        },
        FaultRow(
            "CALL by a register beyond the limit", .protected, [0xFF, 0xD0], 13, 0,
            .targetLimit(offset: 0x7000, limit: 0x6FFF)
        ) {
            $0.special.cs.limit = 0x6FFF
            $0.registers.rax = 0x7000
        },
        FaultRow(
            "RET beyond the limit", .protected, [0xC3], 13, 0, .targetLimit(offset: 0x9000, limit: 0x6FFF)
        ) {
            $0.special.cs.limit = 0x6FFF
            $0.push([0x9000], size: 4)
        },
        FaultRow("JE that is not taken, beyond the limit", .protected, [0x0F, 0x84, 0xFA, 0x1F, 0, 0], nil) {
            $0.special.cs.limit = 0x6FFF
        },
        FaultRow(
            "JMP to an address that is not canonical", .long, [0xFF, 0xE0], 13, 0,
            .targetNonCanonical(1 << 47)
        ) {
            $0.registers.rax = 1 << 47
        },
        FaultRow(
            "RET to an address that is not canonical", .long, [0xC3], 13, 0, .targetNonCanonical(1 << 47)
        ) {
            $0.push([1 << 47], size: 8)
        },
    ]
}
