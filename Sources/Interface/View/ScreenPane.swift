import Commands
import DebugTarget
import GuestView

/// The guest's text screen in the console pane.
extension Model {
    /// The screen that the console pane shows; nil where it shows a console's text.
    var guestScreen: ScreenContents? { guest?.console.screen }

    /// Keys go to the guest from the console pane.
    var typesToGuest: Bool { guestScreen != nil && guest?.isPast == false }

    /// As many rows as there is room for, those around the cursor unless the user scrolls. A background is told by
    /// reversing, and a bright colour by bold: nothing depends on the terminal's colours.
    func drawScreen(_ screen: ScreenContents, _ brush: inout Brush) {
        if let graphics = screen.graphics {
            brush.go(0, 0)
            for scalar in graphics.text.unicodeScalars.prefix(brush.width) {
                brush.put(scalar: scalar.value, Look(.console, []))
            }
            return
        }
        let height = min(brush.height, screen.rows)
        let cursor = screen.cursor.map { (row: $0 / screen.columns, column: $0 % screen.columns) }
        let last = screen.rows - height
        let wanted = max(0, (cursor?.row ?? 0) - height + 1) - scroll[.console, default: 0]
        let first = max(0, min(wanted, last))
        for row in 0..<height {
            brush.go(0, row)
            for cell in screen.row(first + row).prefix(brush.width) {
                let scalar = CodePage437.character(cell.character).unicodeScalars.first?.value ?? 0x20
                brush.put(scalar: scalar, Self.look(cell.attribute))
            }
        }
        guard let cursor, (first..<first + height).contains(cursor.row), cursor.column < brush.width else {
            return
        }
        brush.add(
            [.underline, .bold], from: cursor.column, to: cursor.column + 1, row: cursor.row - first)
    }

    private static func look(_ attribute: UInt8) -> Look {
        var attributes: Look.Attributes = []
        if attribute & 0x70 != 0 { attributes.insert(.reverse) }
        if attribute & 0x08 != 0 { attributes.insert(.bold) }
        return Look(.console, attributes)
    }

    /// What a key is to the guest, while its screen has the focus; nil for those that are the debugger's.
    static func typed(_ key: Key) -> TypedKey? {
        switch key {
        case .character(let scalar): scalar.isASCII ? .byte(UInt8(scalar.value)) : nil
        case .control(let letter):
            letter.asciiValue.flatMap { (0x61...0x7A).contains($0) ? .byte($0 & 0x1F) : nil }
        case .enter: .named("enter")
        case .escape: .named("esc")
        case .backspace: .named("backspace")
        case .tab: .named("tab")
        case .up: .named("up")
        case .down: .named("down")
        case .left: .named("left")
        case .right: .named("right")
        case .home: .named("home")
        case .end: .named("end")
        case .pageUp: .named("pgup")
        case .pageDown: .named("pgdn")
        case .insert: .named("insert")
        case .delete: .named("delete")
        default: nil
        }
    }
}
