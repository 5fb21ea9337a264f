/// One `__print_symbolic(EXPRESSION, { VALUE, "NAME" }, ...)` of a print format: the kernel's own names of codes.
///
/// Print formats are C expressions in all their variety, and each kernel has new ones. Only these lists are looked for;
/// an entry of one that is written in a way unknown here is left out, and the rest stays.
package struct SymbolicList: Sendable, Hashable {
    /// What is looked up: `REC->exit_reason & 0xffff`.
    package var expression: String
    package var names: [UInt64: String]
    /// The print format before the list, up to the list before it: `... (REC->isa == 1) ?`.
    package var before: String

    private static let marker = Array("__print_symbolic(".utf8)

    /// All lists of a print format, in its order.
    package static func lists(in format: String) -> [SymbolicList] {
        let text = Array(format.utf8)
        var lists: [SymbolicList] = []
        var at = 0
        var previousEnd = 0
        while at + marker.count <= text.count {
            guard text[at] == marker[0], text[at..<at + marker.count].elementsEqual(marker) else {
                at += 1
                continue
            }
            let before = String(decoding: text[previousEnd..<at], as: UTF8.self)
            var scanner = Scanner(text: text, at: at + marker.count)
            let expression = scanner.expression()
            let names = scanner.entries()
            lists.append(SymbolicList(expression: expression, names: names, before: before))
            at = scanner.at
            previousEnd = at
        }
        return lists
    }

    /// Reads C as far as these lists need it. It moves on at every call and never past the end.
    private struct Scanner {
        let text: [UInt8]
        var at: Int

        private var current: UInt8? { at < text.count ? text[at] : nil }

        private mutating func skipBlanks() { while current == 0x20 || current == 0x09 { at += 1 } }

        /// Up to the comma that ends the first argument.
        mutating func expression() -> String {
            let start = at
            var depth = 0
            while let byte = current {
                if byte == UInt8(ascii: "(") { depth += 1 }
                if byte == UInt8(ascii: ")") {
                    if depth == 0 { break }
                    depth -= 1
                }
                if byte == UInt8(ascii: ","), depth == 0 { break }
                at += 1
            }
            return String(decoding: text[start..<at], as: UTF8.self)
        }

        /// `, { 0, "A" }, { 0x40 + 1, "B" "C" })`.
        mutating func entries() -> [UInt64: String] {
            var names: [UInt64: String] = [:]
            while let byte = current {
                if byte == UInt8(ascii: ")") {
                    at += 1
                    break
                }
                guard byte == UInt8(ascii: "{") else {
                    at += 1
                    continue
                }
                at += 1
                if let (value, name) = entry() { names[value] = names[value] ?? name }
            }
            return names
        }

        /// From after the brace to after the one that closes it.
        private mutating func entry() -> (UInt64, String)? {
            let value = sum()
            skipBlanks()
            var name: String?
            if current == UInt8(ascii: ",") {
                at += 1
                name = literals()
            }
            skipBlanks()
            let isWhole = current == UInt8(ascii: "}")
            while let byte = current {
                at += 1
                if byte == UInt8(ascii: "\"") { skipLiteral() }
                if byte == UInt8(ascii: "}") { break }
            }
            guard isWhole, let value, let name else { return nil }
            return (value, name)
        }

        /// Numbers with + between them, as the kernel's headers expand to.
        private mutating func sum() -> UInt64? {
            var total: UInt64 = 0
            while true {
                skipBlanks()
                let isNegative = current == UInt8(ascii: "-")
                if isNegative { at += 1 }
                guard let number = number() else { return nil }
                total = isNegative ? total &- number : total &+ number
                skipBlanks()
                guard current == UInt8(ascii: "+") else { return total }
                at += 1
            }
        }

        private mutating func number() -> UInt64? {
            let start = at
            while let byte = current, byte.isWordByte { at += 1 }
            let word = String(decoding: text[start..<at], as: UTF8.self).lowercased()
            // 1UL, 0x10ULL.
            let digits = word.prefix { $0 != "u" && $0 != "l" }
            return digits.hasPrefix("0x") ? UInt64(digits.dropFirst(2), radix: 16) : UInt64(digits)
        }

        /// Literals that stand side by side are one.
        private mutating func literals() -> String? {
            var bytes: [UInt8] = []
            var hasAny = false
            while true {
                skipBlanks()
                guard current == UInt8(ascii: "\"") else { break }
                at += 1
                hasAny = true
                while let byte = current, byte != UInt8(ascii: "\"") {
                    at += 1
                    if byte == UInt8(ascii: "\\"), let next = current {
                        bytes.append(next)
                        at += 1
                    } else {
                        bytes.append(byte)
                    }
                }
                if current != nil { at += 1 }
            }
            return hasAny ? String(decoding: bytes, as: UTF8.self) : nil
        }

        private mutating func skipLiteral() {
            while let byte = current {
                at += 1
                if byte == UInt8(ascii: "\""), text[at - 2] != UInt8(ascii: "\\") { return }
            }
        }
    }
}

extension UInt8 {
    fileprivate var isWordByte: Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
            || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20)
    }
}
