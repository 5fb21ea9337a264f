import Interface
import Testing

@testable import Terminal

/// The screen's colours: seen on the backgrounds that they are for.
@Suite struct ThemeTests {
    /// xterm's 256 colours: the 16 of the terminal, a cube of six steps, and greys.
    private static func luminance(of colour: Int) -> Double {
        func part(_ value: Int) -> Double { Double(value) / 255 }
        let basic: [(Int, Int, Int)] = [
            (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205),
            (229, 229, 229), (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255),
            (255, 0, 255), (0, 255, 255), (255, 255, 255),
        ]
        let (red, green, blue): (Int, Int, Int)
        switch colour {
        case 0..<16: (red, green, blue) = basic[colour]
        case 16..<232:
            let steps = [0, 95, 135, 175, 215, 255]
            let index = colour - 16
            (red, green, blue) = (steps[index / 36], steps[index / 6 % 6], steps[index % 6])
        default:
            (red, green, blue) = (8 + (colour - 232) * 10, 8 + (colour - 232) * 10, 8 + (colour - 232) * 10)
        }
        return Contrast.luminance(part(red), part(green), part(blue))
    }

    private static func grey(_ value: Int) -> Double {
        Contrast.luminance(Double(value) / 255, Double(value) / 255, Double(value) / 255)
    }

    /// Black and a dark grey that themes of terminals have; white and a paper's.
    @Test(arguments: [16, 256], [false, true])
    func everyRoleIsSeen(_ colours: Int, _ isLight: Bool) {
        let backgrounds =
            isLight ? [Self.grey(255), Contrast.luminance(0.992, 0.965, 0.89)] : [0, Self.grey(0x28)]
        for role in Look.Role.allCases {
            let colour = Palette.colour(of: role, colours: colours, isLight: isLight)
            guard colour >= 0 else { continue }
            for background in backgrounds.prefix(colours == 16 ? 1 : 2) {
                let ratio = Contrast.ratio(Self.luminance(of: colour), background)
                #expect(ratio >= 4.5, "\(role) is \(colour): \(ratio) on \(background)")
            }
        }
    }

    @Test(arguments: [8, 16, 256], [false, true])
    func coloursAreOnesThatTheTerminalHas(_ colours: Int, _ isLight: Bool) {
        for role in Look.Role.allCases {
            #expect((-1..<colours).contains(Palette.colour(of: role, colours: colours, isLight: isLight)))
        }
    }

    /// What the calculation stands on: WCAG's own examples.
    @Test func contrastIsCalculatedAsWCAGHasIt() {
        #expect(abs(Contrast.ratio(1, 0) - 21) < 0.001)
        #expect(abs(Contrast.ratio(Self.grey(0x76), 1) - 4.54) < 0.02)
    }

    @Test(
        arguments: [
            ("\u{1B}]11;rgb:ffff/ffff/ffff\u{1B}\\\u{1B}[?62;c", true, ""),
            ("\u{1B}]11;rgb:0000/0000/0000\u{7}\u{1B}[?1;2c", false, ""),
            ("\u{1B}]11;rgb:1e/1e/2e\u{1B}\\\u{1B}[?6c", false, ""),
            ("\u{1B}]11;rgba:fdfd/f6f6/e3e3/ffff\u{1B}\\\u{1B}[?6c", true, ""),
            // A terminal that has no colour to tell, and one that says nothing at all.
            ("\u{1B}[?6c", nil, ""), ("", nil, ""),
            // Keys that came in between stay keys.
            ("s\u{1B}]11;rgb:ffff/ffff/ffff\u{7}tep\u{1B}[?6c\r", true, "step\r"), ("quit\r", nil, "quit\r"),
            // What is none of the answers.
            ("\u{1B}]11;rgb:zzzz/0/0\u{7}\u{1B}[?6c", nil, ""),
            ("\u{1B}]11;rgb:ffff\u{7}\u{1B}[?6c", nil, ""),
            ("\u{1B}]11;", nil, "\u{1B}]11;"), ("\u{1B}[?", nil, "\u{1B}[?"),
            ("\u{1B}]11;rgb:123456/1/1\u{7}", nil, ""),
        ] as [(String, Bool?, String)])
    func theTerminalsAnswerIsRead(_ bytes: String, _ isLight: Bool?, _ typed: String) {
        let answer = Background.answer(Array(bytes.utf8))
        #expect(answer.isLight == isLight)
        #expect(String(decoding: answer.typed, as: UTF8.self) == typed)
    }

    /// Whatever comes is taken apart.
    @Test func anyBytesAreTaken() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("\u{1B}]11;rgb:/\\[?c0f".utf8) + [7, 0, 255]
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator) ?? 0
            }
            #expect(Background.answer(bytes).typed.count <= bytes.count)
        }
    }
}
