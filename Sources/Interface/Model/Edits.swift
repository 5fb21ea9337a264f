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
        case .register, .byte: edit = Edit(pane: pane, kind: field.kind)
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
        case .enter: return enter(edit)
        case .backspace: if !edit.text.isEmpty { edit.text.removeLast() }
        case .control("u"): edit.text = ""
        case .character(let scalar): edit.text.unicodeScalars.append(scalar)
        default: return []
        }
        edit.answer = nil
        self.edit = edit
        if case .byte(let offset, _) = edit.kind, edit.text.count == 2, case .value = edit.meaning {
            // A full byte is written, and the next one edited: a row is typed at a stretch.
            let effects = enter(edit)
            editByte(offset + 1)
            return effects
        }
        return edit.isExpression ? [.evaluate(edit.text)] : []
    }

    /// What an expression that is being typed is at the moment.
    mutating func take(_ answer: Edit.Answer, for text: String) {
        guard edit?.text == text else { return }
        edit?.answer = answer
    }

    private mutating func enter(_ edit: Edit) -> [Effect] {
        switch edit.meaning {
        case .error(let message):
            notice = "\(edit.text): \(message)"
            return []
        case .unchanged:
            self.edit = nil
            return []
        case .value, .unknown:
            self.edit = nil
            return commit(edit)
        }
    }

    private mutating func editByte(_ offset: Int) {
        guard let bytes = guest?.memory.bytes, bytes.indices.contains(offset) else { return }
        let kind = Field.Kind.byte(offset, value: bytes[offset])
        cursors[.memory] = kind
        edit = Edit(pane: .memory, kind: kind)
    }

    /// An edit becomes a command, so that one path serves both.
    private func commit(_ edit: Edit) -> [Effect] {
        // An expression is shown as it was typed, where the command takes one.
        let number =
            if case .value(let value) = edit.meaning { "0x" + Edit.text(value, edit.digits) } else {
                edit.text
            }
        let value = edit.isExpression ? edit.text : number
        switch edit.kind {
        case .register(let name, _, _):
            if name.contains(".") { return [.execute("sregs set \(name) = \(number)", echo: true)] }
            return [.execute("set $\(name) = \(value)", echo: true)]
        case .byte(let offset, _):
            guard let place = memory?.moved(by: offset) else { return [] }
            if let linear = place.linear {
                return [.execute("set *(u8*)0x\(String(linear, radix: 16)) = \(value)", echo: true)]
            }
            return [.execute("setpmem 0x\(String(place.offset, radix: 16)) 1 \(number)", echo: true)]
        case .flag, .slot:
            return []
        }
    }
}
