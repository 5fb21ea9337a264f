import Interface

/// The colours of roles, by theme. -1 is the terminal's own.
///
/// Each has a contrast of 4.5:1 or more to the backgrounds that its theme is for, where the terminal has 256 colours or 16:
/// a test calculates it.
enum Palette {
    static func colour(of role: Look.Role, colours: Int, isLight: Bool) -> Int {
        if colours >= 256 { return isLight ? light256(role) : dark256(role) }
        if colours >= 16 { return isLight ? light16(role) : dark16(role) }
        return isLight ? light8(role) : dark8(role)
    }

    private static func dark256(_ role: Look.Role) -> Int {
        switch role {
        case .plain, .console: -1
        case .dim: 248
        case .border: 247
        case .title, .prompt, .key: 81
        case .name: 110
        case .changed: 215
        case .address: 75
        case .mnemonic: 150
        case .symbol: 180
        case .pc, .good: 120
        case .breakpoint, .error: 210
        case .warning: 221
        }
    }

    private static func light256(_ role: Look.Role) -> Int {
        switch role {
        case .plain, .console: -1
        case .dim, .border: 240
        case .title, .prompt, .key: 24
        case .name: 24
        case .changed: 94
        case .address: 25
        case .mnemonic: 22
        case .symbol: 90
        case .pc, .good: 22
        case .breakpoint, .error: 124
        case .warning: 94
        }
    }

    private static func dark16(_ role: Look.Role) -> Int {
        switch role {
        case .plain, .console, .dim, .border: -1
        case .title, .name, .prompt, .key: 14
        case .changed, .warning: 11
        case .address: 6
        case .mnemonic, .pc, .good: 10
        case .symbol: 13
        case .breakpoint, .error: 9
        }
    }

    private static func light16(_ role: Look.Role) -> Int {
        switch role {
        case .plain, .console, .dim, .border: -1
        case .title, .name, .prompt, .key, .address, .mnemonic: 4
        case .symbol: 5
        case .changed, .warning, .pc, .good: -1
        case .breakpoint, .error: 1
        }
    }

    private static func dark8(_ role: Look.Role) -> Int {
        switch role {
        case .plain, .console, .dim, .border: -1
        case .title, .name, .prompt, .key, .address: 6
        case .changed, .warning, .symbol: 3
        case .mnemonic, .pc, .good: 2
        case .breakpoint, .error: 1
        }
    }

    private static func light8(_ role: Look.Role) -> Int { light16(role) }
}
