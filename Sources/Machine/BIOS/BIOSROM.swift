import DebugTarget

/// The 64 KiB at F0000h: a stub for each service, the handlers of hardware interrupts as code, and tables.
///
/// A stub is an OUT to a private port, which leaves the guest, and IRET. By the address after the OUT the host knows which
/// service is called.
package struct BIOSROM: Sendable {
    static let segment: UInt16 = 0xF000
    static let base: UInt64 = 0xF0000
    static let size = 0x10000
    /// The private port. What is written to it means nothing.
    static let port: UInt16 = 0xBE

    /// What an OUT in it asks for.
    package enum Entry: Sendable, Hashable {
        /// The service of a vector.
        case service(UInt8)
        /// INT 09h has a scan code in AL.
        case scanCode
        /// INT 70h has the clock's flags in AL.
        case clockFlags
        /// The reset vector.
        case reset
    }

    /// Offsets in the segment.
    enum Place {
        /// Stubs of 16 bytes each, by vector.
        static let stubs: UInt16 = 0xC000
        /// From a stub's start: waiting for an interrupt, and for time to pass, both before its OUT.
        static let halting: UInt16 = 4
        static let spinning: UInt16 = 8
        /// Fonts of 16, 14 and 8 lines: 256 characters each.
        static let font16: UInt16 = 0x8000
        static let font14: UInt16 = 0x9000
        static let font8: UInt16 = 0x9E00
        /// An empty list of characters.
        static let noFont: UInt16 = 0xA600
        /// The first half of the font of 8 lines once more, where programs of the first PCs look for it.
        static let font8OfPC: UInt16 = 0xFA6E
        static let iret: UInt16 = 0xB000
        static let firstEOI: UInt16 = 0xB010
        static let bothEOI: UInt16 = 0xB020
        static let notSupported: UInt16 = 0xB030
        static let tick: UInt16 = 0xB040
        static let keyboard: UInt16 = 0xB090
        static let clock: UInt16 = 0xB0C0
        static let reset: UInt16 = 0xB0F0
        static let plugAndPlay: UInt16 = 0xB100
        static let configuration: UInt16 = 0xB140
        static let floppyTable: UInt16 = 0xB160
        static let diskTables: UInt16 = 0xB170
        static let videoTable: UInt16 = 0xB1A0
        static let resetVector: UInt16 = 0xFFF0
    }

    private(set) var bytes = [UInt8](repeating: 0, count: size)
    /// By the address after the OUT.
    private(set) var entries: [UInt16: Entry] = [:]

    init(drives: [Drive]) {
        for vector in UInt8.min...UInt8.max { addStub(vector) }
        addInterrupts()
        addTables(drives)
        addFonts()
    }

    private mutating func put(_ offset: UInt16, _ code: [UInt8]) {
        for (index, byte) in code.enumerated() { bytes[Int(offset) + index] = byte }
    }

    package static func stub(_ vector: UInt8) -> UInt16 { Place.stubs + UInt16(vector) * 16 }

    private static let out: [UInt8] = [0xE6, UInt8(port)]

    private mutating func addStub(_ vector: UInt8) {
        let start = Self.stub(vector)
        put(start, Self.out + [0xCF])  // out port, al; iret
        put(start + Place.halting, [0xFB, 0xF4, 0xEB, 0xF8])  // sti; hlt; jmp start
        put(start + Place.spinning, [0xFB, 0x90, 0xEB, 0xF4])  // sti; nop; jmp start
        entries[start + 2] = .service(vector)
    }

    private mutating func addFonts() {
        for height in [8, 14, 16] { put(Self.font(height: height), CharacterSet.font(height: height)) }
        put(Place.font8OfPC, Array(CharacterSet.font(height: 8).prefix(128 * 8)))
    }

    /// The font of 8, 14 or 16 lines.
    static func font(height: Int) -> UInt16 {
        height == 8 ? Place.font8 : height == 14 ? Place.font14 : Place.font16
    }

    private mutating func addInterrupts() {
        put(Place.iret, [0xCF])
        put(
            Place.firstEOI,
            [
                0x50,  // push ax
                0xB0, 0x20, 0xE6, 0x20,  // EOI to the first controller
                0x58, 0xCF,  // pop ax; iret
            ])
        put(
            Place.bothEOI,
            [
                0x50,  // push ax
                0xB0, 0x20, 0xE6, 0xA0, 0xE6, 0x20,  // EOI to both
                0x58, 0xCF,  // pop ax; iret
            ])
        put(
            Place.tick,
            [
                0x1E, 0x50,  // push ds; push ax
                0xB8, 0x40, 0x00, 0x8E, 0xD8,  // ds = 40h
                0x66, 0xFF, 0x06, 0x6C, 0x00,  // inc dword [6Ch]
                0x66, 0x81, 0x3E, 0x6C, 0x00, 0xB0, 0x00, 0x18, 0x00,  // a day has 1800B0h ticks
                0x72, 0x0E,  // jb over the next two
                0x66, 0xC7, 0x06, 0x6C, 0x00, 0x00, 0x00, 0x00, 0x00,  // mov dword [6Ch], 0
                0xC6, 0x06, 0x70, 0x00, 0x01,  // mov byte [70h], 1: midnight has passed
                0xCD, 0x1C,  // int 1Ch, the user's
                0xB0, 0x20, 0xE6, 0x20,  // EOI
                0x58, 0x1F, 0xCF,  // pop ax; pop ds; iret
            ])
        put(
            Place.keyboard,
            [
                0x50,  // push ax
                0xE4, 0x60,  // in al, 60h
                0xB4, 0x4F, 0xF9, 0xCD, 0x15,  // mov ah, 4Fh; stc; int 15h: may be taken, or changed
                0x73, 0x02,  // jnc over the next
            ] + Self.out + [
                0xB0, 0x20, 0xE6, 0x20,  // EOI
                0x58, 0xCF,  // pop ax; iret
            ])
        entries[Place.keyboard + 12] = .scanCode
        put(
            Place.clock,
            [
                0x50,  // push ax
                0xB0, 0x0C, 0xE6, 0x70, 0xE4, 0x71,  // register C, which ends the request
                0xA8, 0x20, 0x74, 0x02,  // test al, 20h; jz over the next
                0xCD, 0x4A,  // int 4Ah, the user's alarm
            ] + Self.out + [
                0xB0, 0x20, 0xE6, 0xA0, 0xE6, 0x20,  // EOI to both
                0x58, 0xCF,  // pop ax; iret
            ])
        entries[Place.clock + 15] = .clockFlags
        put(Place.reset, Self.out + [0xF4, 0xEB, 0xFD])  // out; hlt; jmp hlt
        entries[Place.reset + 2] = .reset
        put(Place.resetVector, [0xEA] + Self.word(Place.reset) + Self.word(Self.segment))
        // The date where programs look for it, and the model: AT.
        put(0xFFF5, Array("01/01/25".utf8) + [0x00, 0xFC, 0x00])
    }

    private static func word(_ value: UInt16) -> [UInt8] {
        [UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8)]
    }

    private mutating func addTables(_ drives: [Drive]) {
        // Plug and Play BIOS Specification 1.0A, 4.5: a header without an entry that does anything.
        var header: [UInt8] = Array("$PnP".utf8) + [0x10, 0x21, 0, 0, 0]
        header += [0, 0, 0, 0] + Self.word(Place.notSupported) + Self.word(Self.segment)
        header += Self.word(Place.notSupported) + [0, 0, 0x0F, 0]
        header += [0, 0, 0, 0, 0, 0, 0, 0]
        header = Array(header.prefix(0x21)) + [UInt8](repeating: 0, count: max(0, 0x21 - header.count))
        header[8] = 0 &- header.reduce(0, &+)
        put(Place.plugAndPlay, header)
        put(Place.notSupported, [0xB8, 0x82, 0x00, 0xCB])  // mov ax, 82h; retf
        // INT 15h C0h: 8 bytes follow; model AT; a second controller, a clock, INT 09h calls 15h 4Fh, and an EBDA.
        put(Place.configuration, [8, 0, 0xFC, 0, 1, 0x74, 0, 0, 0, 0])
        // INT 1Eh: the parameters of a 1.44 MB drive.
        let spt = drives.first { $0.kind == .floppy }?.geometry.sectorsPerTrack ?? 18
        put(
            Place.floppyTable,
            [0xAF, 0x02, 0x25, 0x02, UInt8(clamping: spt), 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08])
        for (index, drive) in drives.filter({ $0.kind == .disk }).prefix(2).enumerated() {
            // INT 41h and 46h: cylinders, heads, no precompensation, "more than 8 heads", sectors.
            let geometry = drive.geometry
            put(
                Place.diskTables + UInt16(index) * 16,
                Self.word(UInt16(clamping: geometry.cylinders)) + [UInt8(clamping: geometry.heads)]
                    + [0, 0, 0xFF, 0xFF, 0, geometry.heads > 8 ? 8 : 0, 0, 0, 0]
                    + Self.word(UInt16(clamping: geometry.cylinders))
                    + [UInt8(clamping: geometry.sectorsPerTrack), 0])
        }
        // INT 1Dh: the CRT controller's registers in 80x25.
        put(
            Place.videoTable,
            [0x71, 0x50, 0x5A, 0x0A, 0x1F, 0x06, 0x19, 0x1C, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0])
    }

    /// What a vector leads to at first; nil for one that holds 0000:0000.
    static func target(of vector: UInt8) -> UInt16? {
        switch vector {
        case 0x08: Place.tick
        case 0x09: Place.keyboard
        case 0x0A...0x0F: Place.firstEOI
        case 0x10...0x1A, 0x40: stub(vector == 0x40 ? 0x13 : vector)
        case 0x1D: Place.videoTable
        case 0x1E: Place.floppyTable
        case 0x1F: Place.font8 + 128 * 8
        case 0x43: Place.font16
        case 0x41: Place.diskTables
        case 0x46: Place.diskTables + 16
        case 0x70: Place.clock
        case 0x71...0x77: Place.bothEOI
        case 0x60...0x67, 0x78...0xFF: nil
        default: Place.iret
        }
    }
}
