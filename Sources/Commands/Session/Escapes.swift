extension Invocation {
    /// Bytes of UTF-8, with C's escapes and `\ ` for a space.
    ///
    /// - Parameter offset: of the text in `argument`, in characters.
    func unescaped(_ text: String, at argument: Argument, offset: Int) throws(CommandError) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text[...]
        while let character = rest.popFirst() {
            guard character == "\\" else {
                bytes += Array(String(character).utf8)
                continue
            }
            let place = offset + text.count - rest.count - 1
            switch rest.popFirst() {
            case "n": bytes.append(10)
            case "r": bytes.append(13)
            case "t": bytes.append(9)
            case "0": bytes.append(0)
            case "\\": bytes.append(0x5C)
            case "\"": bytes.append(0x22)
            case " ": bytes.append(0x20)
            case "x":
                let digits = rest.prefix(2)
                guard digits.count == 2, digits.allSatisfy(\.isHexDigit), let byte = UInt8(digits, radix: 16)
                else {
                    throw error("\\x needs two hexadecimal digits", at: argument, offset: place)
                }
                bytes.append(byte)
                rest = rest.dropFirst(2)
            case let other:
                throw error(
                    "there is no escape \\\(other.map(String.init) ?? "")", at: argument, offset: place,
                    remedy: "\\n \\r \\t \\0 \\\\ \\\" \\xNN")
            }
        }
        return bytes
    }
}
