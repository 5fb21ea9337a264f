extension String {
    /// The text as any output may show it: what would drive a terminal, or make text look like another, is shown by
    /// number (`\x1b`, `\u202e`). Guests, other programs and their users choose names and words freely; this is the one
    /// place that says which of their characters are shown as they are.
    ///
    /// ``StyledLine`` and the screen's lines pass all of their text through it, ``JSONRecord`` has the same scalars as
    /// `\uXXXX`. Doing it twice changes nothing.
    public var printable: String { escaped { $0.escape } }

    /// A JSON text with those characters as JSON's own escapes: what a reader of it gets is the same.
    var jsonEscaped: String {
        escaped { scalar in String(scalar).utf16.map { "\\u" + Hex.digits($0, width: 4) }.joined() }
    }

    private func escaped(_ escape: (Unicode.Scalar) -> String) -> String {
        guard unicodeScalars.contains(where: { !$0.isShownAsItIs }) else { return self }
        var result = ""
        for scalar in unicodeScalars {
            if scalar.isShownAsItIs {
                result.unicodeScalars.append(scalar)
            } else {
                result += escape(scalar)
            }
        }
        return result
    }
}

extension Unicode.Scalar {
    /// False for controls (C0, DEL, C1), for what has no look of its own but changes that of others (bidirectional
    /// controls, joiners, byte order marks, tags) and for separators of lines. Source: the general categories Cc, Cf, Zl
    /// and Zp of the Unicode standard, and the letters of it that are blank (the Hangul fillers).
    fileprivate var isShownAsItIs: Bool {
        if value < 0x7F { return value >= 0x20 }
        switch value {
        case 0x115F, 0x1160, 0x3164, 0xFFA0: return false
        default: break
        }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return false
        default: return true
        }
    }

    fileprivate var escape: String {
        if value < 0x100 { return "\\x" + Hex.digits(value, width: 2) }
        return value < 0x10000
            ? "\\u" + Hex.digits(value, width: 4) : "\\U" + Hex.digits(value, width: 8)
    }
}
