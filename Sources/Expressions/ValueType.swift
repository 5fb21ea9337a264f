/// The types that casts and pointers name: integers of 8 to 64 bits, and pointers to them.
package struct ValueType: Hashable, Sendable {
    /// In bits, of the integer after all pointers.
    var width: Int
    var isSigned: Bool
    /// How many `*` follow the integer's name.
    var pointers = 0

    init(width: Int, isSigned: Bool, pointers: Int = 0) {
        self.width = width
        self.isSigned = isSigned
        self.pointers = pointers
    }

    /// What `*ADDRESS` reads without a cast: 32 bits, as GDB's int has, but unsigned.
    static let unadorned = ValueType(width: 32, isSigned: false)

    /// The type that is left when one `*` is taken off; nil for an integer.
    var pointee: ValueType? {
        pointers > 0 ? ValueType(width: width, isSigned: isSigned, pointers: pointers - 1) : nil
    }

    /// In bits, where a pointer has `pointerWidth`.
    func size(pointerWidth: Int) -> Int { pointers > 0 ? pointerWidth : width }

    /// `u8` to `u64`, `s8` to `s64`, `i8`..., `uint8_t`..., Intel's `byte` to `qword`, and C's names of one word.
    init?(_ name: String) {
        var bare = name[...]
        if bare.hasPrefix("__") { bare = bare.dropFirst(2) }
        if bare.hasSuffix("_t") { bare = bare.dropLast(2) }
        switch bare {
        case "u8", "uint8", "byte", "uchar", "bool", "_Bool": self.init(width: 8, isSigned: false)
        case "u16", "uint16", "word", "ushort": self.init(width: 16, isSigned: false)
        case "u32", "uint32", "dword", "uint", "unsigned": self.init(width: 32, isSigned: false)
        case "u64", "uint64", "qword", "ulong", "size", "uintptr": self.init(width: 64, isSigned: false)
        case "s8", "i8", "int8", "char": self.init(width: 8, isSigned: true)
        case "s16", "i16", "int16", "short": self.init(width: 16, isSigned: true)
        case "s32", "i32", "int32", "int", "signed": self.init(width: 32, isSigned: true)
        case "s64", "i64", "int64", "long", "ssize", "intptr", "ptrdiff": self.init(width: 64, isSigned: true)
        case "void": self.init(width: 32, isSigned: false)
        default: return nil
        }
    }

    /// C's names of several words: `unsigned char`, `long long unsigned int`.
    init?(words: [String]) {
        guard let first = words.first else { return nil }
        guard words.count > 1 else {
            self.init(first)
            return
        }
        var isSigned: Bool?
        var width: Int?
        var hasInt = false
        for word in words {
            switch word {
            case "unsigned" where isSigned == nil: isSigned = false
            case "signed" where isSigned == nil: isSigned = true
            case "char" where width == nil && !hasInt: width = 8
            case "short" where width == nil: width = 16
            case "long" where width == nil || width == 64: width = 64
            case "int" where width != 8 && !hasInt: hasInt = true
            case "const", "volatile": break
            default:
                // `unsigned u8`: a name with a sign of its own; and whatever is no type.
                guard words.count == 2, words[0] == "const" || words[0] == "volatile",
                    let type = ValueType(words[1])
                else { return nil }
                self = type
                return
            }
        }
        self.init(width: width ?? 32, isSigned: isSigned ?? true)
    }

    /// Words that may begin or continue a name of several words.
    static let parts: Set<String> = [
        "unsigned", "signed", "char", "short", "int", "long", "const", "volatile",
    ]
}
