/// A value on the screen that can be edited in place. Its place is relative to its pane.
public struct Field: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// A register by the name that `set` takes, with its digits and the bits it has now.
        case register(String, digits: Int, value: UInt64)
        /// A flag of RFLAGS by name.
        case flag(String, isSet: Bool)
        /// A byte of the memory pane: its offset from the pane's address. Nil if it could not be read.
        case byte(Int, value: UInt8?)
        /// A slot of the stack, which can be followed.
        case slot(Int, value: UInt64?, digits: Int)
    }

    public var kind: Kind
    public var x: Int
    public var y: Int
    public var width: Int

    /// Whether both stand for the same thing, whatever its value is now.
    func isSame(as other: Kind) -> Bool {
        switch (kind, other) {
        case (.register(let a, _, _), .register(let b, _, _)): a == b
        case (.flag(let a, _), .flag(let b, _)): a == b
        case (.byte(let a, _), .byte(let b, _)): a == b
        case (.slot(let a, _, _), .slot(let b, _, _)): a == b
        default: false
        }
    }

    /// The hexadecimal digits that an edit of it takes; nil where it is not typed.
    var digits: Int? {
        switch kind {
        case .register(_, let digits, _): digits
        case .byte: 2
        case .flag, .slot: nil
        }
    }
}
