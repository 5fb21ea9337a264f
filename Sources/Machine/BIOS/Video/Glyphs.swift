/// The characters of code page 437 on a grid of five by eight dots, drawn for this BIOS.
///
/// A glyph is eight rows, the topmost in the highest byte; in a row bit 4 is the leftmost dot. The eighth row is for what
/// hangs below the line.
enum Glyphs {
    /// 20h to 7Eh.
    static let ascii: [UInt64] = [
        0x0000_0000_0000_0000,  // space
        0x0404_0404_0400_0400,  // !
        0x0A0A_0A00_0000_0000,  // "
        0x0A0A_1F0A_1F0A_0A00,  // #
        0x040F_140E_051E_0400,  // $
        0x1919_0204_0813_1300,  // %
        0x0812_140C_1512_0D00,  // &
        0x0404_0800_0000_0000,  // '
        0x0204_0808_0804_0200,  // (
        0x0804_0202_0204_0800,  // )
        0x0015_0E1F_0E15_0000,  // *
        0x0004_041F_0404_0000,  // +
        0x0000_0000_000C_0408,  // ,
        0x0000_001F_0000_0000,  // -
        0x0000_0000_000C_0C00,  // .
        0x0102_0204_0808_1000,  // /
        0x0E13_1315_1919_0E00,  // 0
        0x040C_1404_0404_1F00,  // 1
        0x0E11_0106_0810_1F00,  // 2
        0x1E01_010E_0101_1E00,  // 3
        0x0306_0A12_1F02_0200,  // 4
        0x1F10_101E_0101_1E00,  // 5
        0x0708_101E_1111_0E00,  // 6
        0x1F01_0204_0408_0800,  // 7
        0x0E11_110E_1111_0E00,  // 8
        0x0E11_110F_0102_1C00,  // 9
        0x000C_0C00_0C0C_0000,  // :
        0x000C_0C00_0C0C_0408,  // ;
        0x0102_0408_0402_0100,  // <
        0x0000_1F00_1F00_0000,  // =
        0x1008_0402_0408_1000,  // >
        0x0E11_0106_0400_0400,  // ?
        0x0E11_1715_1710_0F00,  // @
        0x040A_1111_1F11_1100,  // A
        0x1E11_111E_1111_1E00,  // B
        0x0F10_1010_1010_0F00,  // C
        0x1C12_1111_1112_1C00,  // D
        0x1F10_101E_1010_1F00,  // E
        0x1F10_101E_1010_1000,  // F
        0x0F10_1013_1111_0F00,  // G
        0x1111_111F_1111_1100,  // H
        0x1F04_0404_0404_1F00,  // I
        0x0701_0101_0111_0E00,  // J
        0x1112_1418_1412_1100,  // K
        0x1010_1010_1010_1F00,  // L
        0x111B_1515_1111_1100,  // M
        0x1119_1915_1313_1100,  // N
        0x0E11_1111_1111_0E00,  // O
        0x1E11_111E_1010_1000,  // P
        0x0E11_1111_1516_0D00,  // Q
        0x1E11_111E_1412_1100,  // R
        0x0F10_100E_0101_1E00,  // S
        0x1F04_0404_0404_0400,  // T
        0x1111_1111_1111_0E00,  // U
        0x1111_1111_0A0A_0400,  // V
        0x1111_1115_151B_1100,  // W
        0x1111_0A04_0A11_1100,  // X
        0x1111_0A04_0404_0400,  // Y
        0x1F01_0204_0810_1F00,  // Z
        0x0E08_0808_0808_0E00,  // [
        0x1008_0804_0202_0100,  // backslash
        0x0E02_0202_0202_0E00,  // ]
        0x040A_1100_0000_0000,  // ^
        0x0000_0000_0000_001F,  // _
        0x0402_0000_0000_0000,  // `
        0x0000_0E01_0F11_0F00,  // a
        0x1010_1E11_1111_1E00,  // b
        0x0000_0F10_1010_0F00,  // c
        0x0101_0F11_1111_0F00,  // d
        0x0000_0E11_1F10_0F00,  // e
        0x0304_0F04_0404_0400,  // f
        0x0000_0F11_110F_011E,  // g
        0x1010_1E11_1111_1100,  // h
        0x0400_0C04_0404_0E00,  // i
        0x0200_0602_0202_120C,  // j
        0x1010_1214_1814_1200,  // k
        0x0C04_0404_0404_0E00,  // l
        0x0000_1A15_1515_1500,  // m
        0x0000_1E11_1111_1100,  // n
        0x0000_0E11_1111_0E00,  // o
        0x0000_1E11_111E_1010,  // p
        0x0000_0F11_110F_0101,  // q
        0x0000_1719_1010_1000,  // r
        0x0000_0F10_0E01_1E00,  // s
        0x0404_0F04_0404_0300,  // t
        0x0000_1111_1111_0F00,  // u
        0x0000_1111_110A_0400,  // v
        0x0000_1115_1515_0A00,  // w
        0x0000_110A_040A_1100,  // x
        0x0000_1111_110F_011E,  // y
        0x0000_1F02_0408_1F00,  // z
        0x0304_0418_0404_0300,  // {
        0x0404_0404_0404_0404,  // |
        0x1804_0403_0404_1800,  // }
        0x0009_1600_0000_0000,  // ~
    ]

    /// 01h to 1Fh, and 7Fh at the end.
    static let symbols: [UInt64] = [
        0x0E11_1B11_1F15_0E00,  // a face
        0x0E1F_151F_111B_0E00,  // its negative
        0x0A1F_1F1F_0E04_0000,  // heart
        0x040E_1F1F_0E04_0000,  // diamond
        0x0E0E_151F_1504_0E00,  // club
        0x040E_1F1F_1504_0E00,  // spade
        0x0000_040E_0E04_0000,  // bullet
        0x1F1F_1B11_111B_1F1F,  // its negative
        0x0000_0E0A_0A0E_0000,  // ring
        0x1F1F_1115_1511_1F1F,  // its negative
        0x0703_050E_1111_0E00,  // Mars
        0x0E11_110E_041F_0400,  // Venus
        0x0705_0404_0C1C_0800,  // a note
        0x0F09_0909_0B1B_1800,  // two
        0x150E_1B1B_0E15_0000,  // sun
        0x1018_1C1E_1C18_1000,  // a triangle to the right
        0x0103_070F_0703_0100,  // and to the left
        0x040E_1504_150E_0400,  // an arrow up and down
        0x0A0A_0A0A_0A00_0A00,  // !!
        0x0F15_150D_0505_0500,  // paragraph
        0x0E10_0E11_0E01_0E00,  // section
        0x0000_0000_1F1F_1F00,  // a bar
        0x040E_1504_150E_041F,  // an arrow up and down on a line
        0x040E_1504_0404_0400,  // arrow up
        0x0404_0404_150E_0400,  // down
        0x0004_021F_0204_0000,  // right
        0x0004_081F_0804_0000,  // left
        0x0010_1010_101F_0000,  // a corner
        0x000A_111F_110A_0000,  // an arrow left and right
        0x0404_0E0E_1F1F_0000,  // a triangle up
        0x1F1F_0E0E_0404_0000,  // and down
        0x040A_1111_111F_0000,  // 7Fh: a house
    ]

    /// A letter with a mark above it, by its code: 80h to A5h are made like this but for those of ``others``.
    static let accented: [UInt8: (base: Character, mark: UInt16)] = [
        0x81: ("u", Mark.dots), 0x82: ("e", Mark.acute), 0x83: ("a", Mark.roof), 0x84: ("a", Mark.dots),
        0x85: ("a", Mark.grave), 0x86: ("a", Mark.ring), 0x88: ("e", Mark.roof), 0x89: ("e", Mark.dots),
        0x8A: ("e", Mark.grave), 0x8B: ("i", Mark.dots), 0x8C: ("i", Mark.roof), 0x8D: ("i", Mark.grave),
        0x8E: ("A", Mark.dots), 0x8F: ("A", Mark.ring), 0x90: ("E", Mark.acute), 0x93: ("o", Mark.roof),
        0x94: ("o", Mark.dots), 0x95: ("o", Mark.grave), 0x96: ("u", Mark.roof), 0x97: ("u", Mark.grave),
        0x98: ("y", Mark.dots), 0x99: ("O", Mark.dots), 0x9A: ("U", Mark.dots), 0xA0: ("a", Mark.acute),
        0xA1: ("i", Mark.acute), 0xA2: ("o", Mark.acute), 0xA3: ("u", Mark.acute), 0xA4: ("n", Mark.wave),
        0xA5: ("N", Mark.wave),
    ]

    /// Two rows.
    enum Mark {
        static let dots: UInt16 = 0x0A00
        static let acute: UInt16 = 0x0204
        static let grave: UInt16 = 0x0804
        static let roof: UInt16 = 0x040A
        static let ring: UInt16 = 0x0404
        static let wave: UInt16 = 0x0D16
    }

    /// What is left of 80h to AFh, and E0h to FDh.
    static let others: [UInt8: UInt64] = [
        0x80: 0x0F10_1010_100F_040C,  // C with a cedilla
        0x87: 0x0000_0F10_100F_040C,  // c with one
        0x91: 0x0000_1A05_0F14_0F00,  // ae
        0x92: 0x0F14_141F_1414_1700,  // AE
        0x9B: 0x0404_0F10_100F_0404,  // cent
        0x9C: 0x0609_081E_0808_1F00,  // pound
        0x9D: 0x110A_041F_041F_0400,  // yen
        0x9E: 0x1C12_121D_1212_1300,  // peseta
        0x9F: 0x0304_040E_0404_1800,  // florin
        0xA6: 0x0E12_120D_001F_0000,  // feminine ordinal
        0xA7: 0x0E11_110E_001F_0000,  // masculine ordinal
        0xA8: 0x0400_040C_1011_0E00,  // inverted question mark
        0xA9: 0x0000_001F_1010_0000,  // a corner
        0xAA: 0x0000_001F_0101_0000,  // not
        0xAB: 0x1012_1408_1602_0700,  // a half
        0xAC: 0x1012_1409_1307_0100,  // a quarter
        0xAD: 0x0400_0404_0404_0400,  // inverted exclamation mark
        0xAE: 0x0005_0A14_0A05_0000,  // opening quotation
        0xAF: 0x0014_0A05_0A14_0000,  // closing quotation
        0xE0: 0x0000_0D12_120D_0000,  // alpha
        0xE1: 0x0E11_1611_1116_1010,  // sharp s
        0xE2: 0x1F11_1010_1010_1000,  // Gamma
        0xE3: 0x0000_1F0A_0A0A_0B00,  // pi
        0xE4: 0x1F11_0804_0811_1F00,  // Sigma
        0xE5: 0x0000_0F12_1212_0C00,  // sigma
        0xE6: 0x0000_1111_1117_1810,  // mu
        0xE7: 0x000D_1604_0404_0600,  // tau
        0xE8: 0x1F04_0E11_0E04_1F00,  // Phi
        0xE9: 0x0E11_111F_1111_0E00,  // Theta
        0xEA: 0x0E11_1111_0A0A_1B00,  // Omega
        0xEB: 0x0608_060F_1111_0E00,  // delta
        0xEC: 0x0000_0A15_150A_0000,  // infinity
        0xED: 0x010E_1315_190E_1000,  // phi
        0xEE: 0x0007_080F_0807_0000,  // epsilon
        0xEF: 0x000E_1111_1111_1100,  // intersection
        0xF0: 0x001F_001F_001F_0000,  // identical
        0xF1: 0x0404_1F04_0400_1F00,  // plus or minus
        0xF2: 0x0804_0204_0800_1F00,  // at least
        0xF3: 0x0204_0804_0200_1F00,  // at most
        0xF4: 0x0205_0404_0404_0404,  // the integral's upper half
        0xF5: 0x0404_0404_0404_1408,  // and its lower half
        0xF6: 0x0004_001F_0004_0000,  // division
        0xF7: 0x0009_1600_0916_0000,  // about
        0xF8: 0x0609_0906_0000_0000,  // degree
        0xF9: 0x0000_000C_0C00_0000,  // a dot
        0xFA: 0x0000_0004_0000_0000,  // a small one
        0xFB: 0x0302_0202_120A_0400,  // root
        0xFC: 0x1C12_1212_0000_0000,  // n
        0xFD: 0x0C02_0408_0E00_0000,  // 2
    ]
}
