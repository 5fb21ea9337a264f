/// The header, program headers and notes of an ELF file, checked against the file's size.
///
/// Source: System V ABI, chapters 4 and 5 (ELF header, program header); elf(5).
struct ELFFile: Sendable, Hashable {
    /// One program header.
    struct Segment: Sendable, Hashable {
        static let load: UInt32 = 1
        static let note: UInt32 = 4

        var type: UInt32
        /// In the file.
        var offset: UInt64
        var fileSize: UInt64
        var memorySize: UInt64
        var physical: UInt64
        var virtual: UInt64

        /// Whether `address`, a virtual one, lies in it.
        func holds(_ address: UInt64) -> Bool { address >= virtual && address - virtual < memorySize }
    }

    /// One note: who defined its type, the type, and its bytes.
    struct Note: Sendable, Hashable {
        var owner: String
        var type: UInt32
        var bytes: [UInt8]
    }

    /// What e_machine says; others cannot run here.
    enum Machine: UInt16, Sendable, Hashable {
        case i386 = 3
        case amd64 = 62
    }

    static let magic: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]
    /// More program headers than any kernel has: a file that says so is damaged.
    static let mostSegments = 1024
    /// Notes are small; more than that is not looked at.
    static let mostNoteBytes: UInt64 = 64 << 10

    let is64Bit: Bool
    let machine: Machine
    let entry: UInt64
    let segments: [Segment]

    init(_ image: ImageBytes) throws(MachineError) {
        let head = try image.read(0, 64)
        func bad(_ what: String) -> MachineError {
            MachineError(.malformed, "\(image.name) is no ELF file that can be run: \(what)")
        }
        guard head.starts(with: Self.magic), head.count >= 52 else { throw bad("its header is not there") }
        guard head[4] == 1 || head[4] == 2 else {
            throw bad("its class is \(head[4]), and not 32 or 64 bits")
        }
        guard head[5] == 1 else { throw bad("it is not little-endian") }
        let is64 = head[4] == 2
        guard !is64 || head.count == 64 else { throw bad("its header is not there") }
        let type = head.word(at: 16) ?? 0
        guard type == 2 || type == 3 else {
            throw bad("its type is \(type), and neither an executable nor a shared object")
        }
        let named = head.word(at: 18) ?? 0
        guard let machine = Machine(rawValue: named) else {
            throw bad("it is for machine \(named), and not for x86")
        }
        let start = is64 ? head.quad(at: 32) ?? 0 : UInt64(head.long(at: 28) ?? 0)
        let each = Int(head.word(at: is64 ? 54 : 42) ?? 0)
        let count = Int(head.word(at: is64 ? 56 : 44) ?? 0)
        guard count <= Self.mostSegments else { throw bad("it has \(count) program headers") }
        guard count == 0 || each >= (is64 ? 56 : 32) else {
            throw bad("its program headers have \(each) bytes each")
        }
        let table = try image.bytes(start, UInt64(count * each), "its table of program headers")
        is64Bit = is64
        self.machine = machine
        entry = is64 ? head.quad(at: 24) ?? 0 : UInt64(head.long(at: 24) ?? 0)
        segments = (0..<count).map { index in
            let row = table[(index * each)..<((index + 1) * each)]
            func field(_ wide: Int, _ narrow: Int) -> UInt64 {
                is64 ? row.quad(at: wide) ?? 0 : UInt64(row.long(at: narrow) ?? 0)
            }
            return Segment(
                type: row.long(at: 0) ?? 0, offset: field(8, 4), fileSize: field(32, 16),
                memorySize: field(40, 20), physical: field(24, 12), virtual: field(16, 8))
        }
    }

    /// All notes; those that are damaged, and what comes after them in their segment, are left out.
    func notes(_ image: ImageBytes) throws(MachineError) -> [Note] {
        var notes: [Note] = []
        for segment in segments where segment.type == Segment.note && segment.fileSize <= Self.mostNoteBytes {
            let bytes = try image.read(segment.offset, Int(segment.fileSize))
            var place = 0
            while let nameSize = bytes.long(at: place), let size = bytes.long(at: place + 4),
                let type = bytes.long(at: place + 8)
            {
                let name = place + 12
                let start = name + (Int(nameSize) + 3) & ~3
                guard start + Int(size) <= bytes.count else { break }
                let owner = bytes[name..<name + Int(nameSize)].prefix { $0 != 0 }
                notes.append(
                    Note(
                        owner: String(decoding: owner, as: UTF8.self), type: type,
                        bytes: Array(bytes[start..<start + Int(size)])))
                place = start + (Int(size) + 3) & ~3
            }
        }
        return notes
    }
}
