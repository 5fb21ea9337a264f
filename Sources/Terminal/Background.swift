import Glibc

/// Whether a terminal's background is light, found by asking it.
///
/// OSC 11 asks for the colour; a device attributes request after it, which nearly every terminal answers, says when
/// nothing more is to be waited for. Source: xterm's control sequences, "Operating System Commands" and DA1.
enum Background {
    /// A terminal that answers neither is waited for so long.
    private static let patience = 500

    struct Answer: Equatable {
        /// Nil where the terminal did not say.
        var isLight: Bool?
        /// What was typed meanwhile.
        var typed: [UInt8] = []
    }

    /// Asks the terminal on standard input and output. To be called before the screen is opened.
    static func ask() -> Answer {
        var modes = termios()
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1, tcgetattr(STDIN_FILENO, &modes) == 0
        else {
            return Answer()
        }
        var quiet = modes
        quiet.c_lflag &= ~tcflag_t(ICANON | ECHO)
        guard tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0 else { return Answer() }
        defer { tcsetattr(STDIN_FILENO, TCSANOW, &modes) }
        let question = Array("\u{1B}]11;?\u{1B}\\\u{1B}[c".utf8)
        // SAFETY: the array lives through the call, which is told how many bytes it has.
        guard unsafe write(STDOUT_FILENO, question, question.count) == question.count else { return Answer() }
        var bytes: [UInt8] = []
        let end = ContinuousClock.now + .milliseconds(patience)
        while !isComplete(bytes), bytes.count < 4096 {
            let left = end - .now
            guard left > .zero else { break }
            var ready = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            let milliseconds = Int32(left.components.attoseconds / 1_000_000_000_000_000) + 1
            guard poll(&ready, 1, milliseconds) > 0 else { continue }
            var buffer = [UInt8](repeating: 0, count: 256)
            // SAFETY: the buffer has as many bytes as the call is told.
            let count = unsafe read(STDIN_FILENO, &buffer, buffer.count)
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        return answer(bytes)
    }

    /// Whether the answer to the device attributes request is there, which comes last.
    private static func isComplete(_ bytes: [UInt8]) -> Bool { attributes(in: bytes) != nil }

    /// `ESC [ ? ... c`.
    private static func attributes(in bytes: [UInt8]) -> Range<Int>? {
        range(in: bytes, from: Array("\u{1B}[?".utf8)) { $0 == UInt8(ascii: "c") }
    }

    /// From `start` to the first byte that ends it; what stands between is digits, letters and signs.
    private static func range(
        in bytes: [UInt8], from start: [UInt8], to isEnd: (UInt8) -> Bool
    ) -> Range<Int>? {
        guard bytes.count >= start.count else { return nil }
        for place in 0...(bytes.count - start.count) where bytes[place...].starts(with: start) {
            for end in (place + start.count)..<max(place + start.count, bytes.count) {
                if isEnd(bytes[end]) { return place..<(end + 1) }
            }
        }
        return nil
    }

    /// Takes the answers out of what came; the rest was typed.
    static func answer(_ bytes: [UInt8]) -> Answer {
        var rest = bytes
        var answer = Answer()
        let start = Array("\u{1B}]11;".utf8)
        if let colour = range(in: rest, from: start, to: { $0 == 7 || $0 == UInt8(ascii: "\\") }) {
            let text = rest[(colour.lowerBound + start.count)..<colour.upperBound].filter {
                $0 > 0x20 && $0 != 0x5C
            }
            answer.isLight = isLight(String(decoding: text, as: UTF8.self))
            rest.removeSubrange(colour)
        }
        if let attributes = attributes(in: rest) { rest.removeSubrange(attributes) }
        answer.typed = rest
        return answer
    }

    /// `rgb:RRRR/GGGG/BBBB` with one to four digits each, or `rgba:` with a fourth. Nil for anything else.
    private static func isLight(_ colour: String) -> Bool? {
        guard let colon = colour.firstIndex(of: ":"), colour.hasPrefix("rgb") else { return nil }
        let parts = colour[colour.index(after: colon)...].split(separator: "/")
        guard parts.count == 3 || parts.count == 4 else { return nil }
        let values = parts.prefix(3).compactMap { part -> Double? in
            guard (1...4).contains(part.count), let value = UInt32(part, radix: 16) else { return nil }
            return Double(value) / Double((1 << (4 * part.count)) - 1)
        }
        guard values.count == 3 else { return nil }
        return Contrast.luminance(values[0], values[1], values[2]) > 0.18
    }
}

/// How well one colour is seen on another. Source: WCAG 2.1, "contrast ratio" and "relative luminance".
enum Contrast {
    /// Of a colour with parts from 0 to 1.
    static func luminance(_ red: Double, _ green: Double, _ blue: Double) -> Double {
        func linear(_ part: Double) -> Double {
            part <= 0.04045 ? part / 12.92 : exp(log((part + 0.055) / 1.055) * 2.4)
        }
        return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }

    /// From 1 to 21.
    static func ratio(_ one: Double, _ other: Double) -> Double {
        (max(one, other) + 0.05) / (min(one, other) + 0.05)
    }
}
