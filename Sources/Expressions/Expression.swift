package import X86

/// An expression that has been read: GDB's language, with C's operators, precedence and types.
///
/// - numbers: `31`, `0x1f`, `1fh`, `0b11111`, `037`, `'a'`;
/// - registers, with or without `$`: `$rax`, `al`, `cs.base`, `cr0.pe`, flags by name, `$mxcsr`, `$fctrl`, `$fstat`,
///   `$ftag`;
/// - symbols: the address that the name stands for; `'name'` for one with other characters, `&name` for one that
///   is also a register;
/// - memory: `*(u8*)ADDR`, `{u16}ADDR`, `((u32*)ADDR)[3]`, and `b:` `w:` `d:` `q:` before an address for 1, 2, 4
///   and 8 bytes. `*ADDR` reads 32 bits. A pointer moves by the size of what it points to;
/// - `(s16)VALUE` cuts and extends; all of C's integer types are known, and the kernel's;
/// - `SEG:OFF` with registers or numbers, which are hexadecimal there: `cs:ip`, `f000:fff0`, `ss:[bp-4]`. It is an
///   address of its own form, and keeps it when a number is added. In `A?B:C` the colon is the `?`'s; where there are
///   more colons than those of `?`, the first ones that touch a word on both sides make addresses;
/// - `p:ADDR` physical, `v:ADDR` virtual;
/// - `$name` for a variable of the user's, `$` for the value printed last, `$$` for the one before, `$3` for the
///   third, `$$3` for the third before the last;
/// - `$_streq(A, B)`, `$_regex(A, "PATTERN")`, `$_strlen(A)`, `$_memeq(A, B, COUNT)`, where A is an address or text in
///   double quotes, and `$_isvoid($name)`;
/// - `=`, `+=` and their like, `++`, `--`, `?:`, `,`, `sizeof(TYPE)`.
///
/// Names are looked up once, when it is read; evaluating it looks at registers and memory alone, does not recurse and,
/// but for the functions of strings, allocates nothing. It may be evaluated on any thread.
public struct Expression: Sendable, Hashable, CustomStringConvertible {
    /// Parentheses and operators inside each other; deeper is refused, so that no input overflows the stack.
    public static let maximumDepth = 100

    /// As it was given.
    public let text: String
    package let program: [Operation]
    /// Where in the text each operation comes from, in UTF-8 bytes.
    package let places: [Int32]
    /// The height of the stack that it needs.
    package let height: Int
    package let variables: Variables
    /// What it names, where it is more than a value.
    package let object: Object?

    /// It sets a register or memory: only the debugger, with the guest stopped, can do that.
    public let changesGuest: Bool
    /// It sets a register, memory or a variable.
    package let setsSomething: Bool
    /// It reads the debug registers, which do not come with an exit.
    public let needsDebugRegisters: Bool
    /// It reads the FPU, which no condition can: an exit does not bring it.
    package let needsFPU: Bool

    package init(_ text: String, in scope: ExpressionScope) throws(ExpressionError) {
        do throws(SyntaxError) {
            var parser = try ExpressionParser(text, scope)
            object = Object(try parser.parse())
            self.text = text
            program = parser.program
            places = parser.places
            height = parser.maximumHeight
            variables = scope.variables
        } catch {
            throw ExpressionError(
                error.code, error.message, column: Self.column(of: error.place, in: text),
                remedy: error.remedy)
        }
        changesGuest = program.contains(where: \.changesGuest)
        setsSomething = changesGuest || program.contains(where: \.changesVariable)
        needsDebugRegisters = program.contains {
            if case .register(let name) = $0 { name.group == .debug } else { false }
        }
        needsFPU = program.contains { if case .floating = $0 { true } else { false } }
    }

    public var description: String { text }

    public static func == (a: Expression, b: Expression) -> Bool {
        a.text == b.text && a.program == b.program && a.variables === b.variables
    }
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }

    package func evaluate(in context: some EvaluationContext) throws(ExpressionError) -> Value {
        try failing { () throws(EvaluationError) in try Evaluation(context: context).run(self) }
    }

    /// The memory that an expression with ``Object/memory(_:)`` names: its address, and its size in bytes.
    package func memory(
        in context: some EvaluationContext
    ) throws(ExpressionError) -> (address: Address, size: Int)? {
        guard case .memory(let type)? = object, case .load? = program.last else { return nil }
        let place = try failing { () throws(EvaluationError) in
            try Evaluation(context: context).run(self, isWhole: false)
        }
        let kind = type ?? place.pointee ?? .unadorned
        return (place.place, kind.size(pointerWidth: context.pointerWidth) / 8)
    }

    private func failing(_ body: () throws(EvaluationError) -> Value) throws(ExpressionError) -> Value {
        do throws(EvaluationError) {
            return try body()
        } catch {
            var failure = error.error
            let place = places.indices.contains(error.operation) ? Int(places[error.operation]) : 0
            failure.column = Self.column(of: place, in: text)
            throw failure
        }
    }

    /// In Characters, of a place in UTF-8 bytes.
    private static func column(of place: Int, in text: String) -> Int {
        let utf8 = text.utf8
        guard let index = utf8.index(text.startIndex, offsetBy: place, limitedBy: text.endIndex) else {
            return text.count
        }
        return text[..<index].count
    }
}

/// What an expression names besides having a value: C's lvalue, and the address that a name stands for.
package enum Object: Sendable, Hashable {
    /// Nil: as the type of the pointer says.
    case memory(ValueType?)
    case register(RegisterName)
    case symbol

    init?(_ operand: ExpressionParser.Operand) {
        switch operand {
        case .memory(let type): self = .memory(type)
        case .register(let name): self = .register(name)
        case .symbol: self = .symbol
        case .value, .variable, .unset: return nil
        }
    }
}

/// What the names in an expression stand for while it is read.
package struct ExpressionScope {
    package var variables: Variables
    /// The address of a symbol.
    package var symbol: (String) -> UInt64?
    /// Symbols whose names are near to one that is not known.
    package var symbolsNear: (String) -> [String]

    package init(
        variables: Variables, symbol: @escaping (String) -> UInt64? = { _ in nil },
        symbolsNear: @escaping (String) -> [String] = { _ in [] }
    ) {
        self.variables = variables
        self.symbol = symbol
        self.symbolsNear = symbolsNear
    }
}
