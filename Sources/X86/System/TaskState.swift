/// A task-state segment's fields. Source: SDM volume 3A, figures 7-2, 7-10 and 7-11.
public struct TaskState: Sendable, Hashable {
    /// How the fields are laid out.
    public enum Format: String, Sendable, Hashable {
        /// The 80286's.
        case bits16 = "16-bit"
        /// The 80386's.
        case bits32 = "32-bit"
        /// IA-32e mode's, of stacks alone.
        case bits64 = "64-bit"
    }

    /// One field.
    public struct Field: Sendable, Hashable {
        /// The manual's name, in lower case.
        public var name: String
        /// From the segment's base, in bytes.
        public var offset: Int
        /// In bytes: 2, 4 or 8.
        public var width: Int
        /// Nil where memory ends before it.
        public var value: UInt64?
    }

    /// How the fields are laid out.
    public let format: Format
    /// All fields, from the base up.
    public let fields: [Field]

    /// - Parameters:
    ///   - attributes: TR's: they say the format.
    ///   - inLongMode: IA-32e mode (EFER.LMA), which has a format of its own.
    ///   - read: the little-endian value of so many bytes at an offset; nil where there is none.
    public init(
        _ attributes: SegmentAttributes, inLongMode: Bool, read: (_ offset: Int, _ width: Int) -> UInt64?
    ) {
        format = inLongMode ? .bits64 : attributes.type & 8 != 0 ? .bits32 : .bits16
        var fields: [Field] = []
        func add(_ name: String, _ offset: Int, _ width: Int) {
            fields.append(Field(name: name, offset: offset, width: width, value: read(offset, width)))
        }
        switch format {
        case .bits64:
            for ring in 0..<3 { add("rsp\(ring)", 4 + ring * 8, 8) }
            for stack in 1...7 { add("ist\(stack)", 0x24 + (stack - 1) * 8, 8) }
            add("iomap", 0x66, 2)
        case .bits32:
            add("link", 0, 2)
            for ring in 0..<3 {
                add("esp\(ring)", 4 + ring * 8, 4)
                add("ss\(ring)", 8 + ring * 8, 2)
            }
            let words = [
                "cr3", "eip", "eflags", "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi",
            ]
            for (index, name) in words.enumerated() { add(name, 0x1C + index * 4, 4) }
            for (index, name) in ["es", "cs", "ss", "ds", "fs", "gs", "ldt"].enumerated() {
                add(name, 0x48 + index * 4, 2)
            }
            add("trap", 0x64, 2)
            add("iomap", 0x66, 2)
        case .bits16:
            let names = [
                "link", "sp0", "ss0", "sp1", "ss1", "sp2", "ss2", "ip", "flags", "ax", "cx", "dx", "bx", "sp",
                "bp", "si", "di", "es", "cs", "ss", "ds", "ldt",
            ]
            for (index, name) in names.enumerated() { add(name, index * 2, 2) }
        }
        self.fields = fields
    }
}
