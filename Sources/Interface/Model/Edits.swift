import GuestView

extension Model {
    /// Enter in a pane: edits what the cursor stands on, or follows it.
    mutating func activate(_ pane: Pane) -> [Effect] {
        switch pane {
        case .code:
            return update(.key(.function(6)))
        case .vcpus, .exits, .console, .output, .peers:
            focus = nil
            return []
        case .registers, .system, .memory, .stack:
            break
        }
        guard let field = currentField(of: pane) else { return [] }
        cursors[pane] = field.kind
        if case .slot = field.kind {} else if refusesEdits() { return [] }
        switch field.kind {
        case .flag: return toggle(pane)
        case .slot(_, let value, let digits):
            guard let value else { return [] }
            memory = MemoryPlace(space: .linear, offset: value, digits: max(8, digits))
            show(.memory)
            return [.refresh]
        case .register(_, let digits, let value):
            edit = Edit(pane: pane, kind: field.kind, text: Self.digits(value, digits), place: 0)
        case .byte(_, let value):
            edit = Edit(
                pane: pane, kind: field.kind, text: value.map { Self.digits(UInt64($0), 2) } ?? [0x3F, 0x3F],
                place: 0)
        }
        return []
    }

    /// Space in a pane: turns a flag over.
    mutating func toggle(_ pane: Pane) -> [Effect] {
        guard let field = currentField(of: pane) else { return [] }
        cursors[pane] = field.kind
        guard case .flag(let name, let isSet) = field.kind, !refusesEdits() else { return [] }
        return [.execute("set $\(name) = \(isSet ? 0 : 1)", echo: true)]
    }

    mutating func pressInEdit(_ key: Key) -> [Effect] {
        guard var edit else { return [] }
        switch key {
        case .escape:
            self.edit = nil
            return []
        case .enter:
            self.edit = nil
            return commit(edit)
        case .left, .backspace: edit.place = max(0, edit.place - 1)
        case .right: edit.place = min(edit.text.count - 1, edit.place + 1)
        case .home: edit.place = 0
        case .end: edit.place = edit.text.count - 1
        case .character(let scalar):
            guard let digit = Character(scalar).hexDigitValue, scalar.isASCII else { break }
            edit.text[edit.place] = UInt8(digit < 10 ? 0x30 + digit : 0x57 + digit)
            if edit.place + 1 < edit.text.count {
                edit.place += 1
            } else if case .byte(let offset, _) = edit.kind {
                // A full byte is written, and the next one edited: a row is typed at a stretch.
                self.edit = nil
                let effects = commit(edit)
                editByte(offset + 1)
                return effects
            }
        default: break
        }
        self.edit = edit
        return []
    }

    private mutating func editByte(_ offset: Int) {
        guard let bytes = guest?.memory.bytes, bytes.indices.contains(offset) else { return }
        let kind = Field.Kind.byte(offset, value: bytes[offset])
        cursors[.memory] = kind
        edit = Edit(
            pane: .memory, kind: kind,
            text: bytes[offset].map { Self.digits(UInt64($0), 2) } ?? [0x3F, 0x3F], place: 0)
    }

    /// An edit becomes a command, so that one path serves both.
    private func commit(_ edit: Edit) -> [Effect] {
        guard !edit.text.contains(0x3F) else { return [] }
        let digits = String(decoding: edit.text, as: UTF8.self)
        switch edit.kind {
        case .register(let name, _, _):
            let isHidden = name.contains(".")
            return [.execute("\(isHidden ? "sregs set " : "set $")\(name) = 0x\(digits)", echo: true)]
        case .byte(let offset, _):
            guard let place = memory?.moved(by: offset) else { return [] }
            if let linear = place.linear {
                return [
                    .execute("set *(u8*)0x\(String(linear, radix: 16)) = 0x\(digits)", echo: true)
                ]
            }
            return [.execute("setpmem 0x\(String(place.offset, radix: 16)) 1 0x\(digits)", echo: true)]
        case .flag, .slot:
            return []
        }
    }

    static func digits(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { place in
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(place * 4)) & 0xF
            return nibble < 10 ? 0x30 + nibble : 0x57 + nibble
        }
    }
}
