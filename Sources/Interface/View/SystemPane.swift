import DebugTarget
import Debugger
import GuestView
import X86

extension Model {
    /// Segments with their hidden part, descriptor tables, control and debug registers.
    func drawSystem(_ guest: GuestView, _ brush: inout Brush) {
        guard let now = guest.current else { return }
        let before = guest.before?.special
        let special = now.special
        var y = -scroll[.system, default: 0]
        brush.go(1, y)
        let isWide = SegmentName.allCases.contains { special[$0].base > UInt64(UInt32.max) }
        let digits = isWide ? 16 : 8
        brush.put("seg sel  base", .dim)
        brush.go(11 + digits, y)
        brush.put("limit    attributes", .dim)
        y += 1
        for name in SegmentName.allCases {
            brush.go(0, y)
            drawSegment(
                name, special[name], before?[name], digits, isLong: special.efer.contains(.lma), &brush)
            y += 1
        }
        for (name, table, old) in [
            ("gdt", special.gdt, before?.gdt), ("idt", special.idt, before?.idt),
        ] {
            brush.go(0, y)
            let isChanged = old.map { $0 != table } ?? false
            brush.put(scalar: isChanged ? 0x2A : 0x20, .changed)
            brush.put(name, .name)
            brush.go(10, y)
            var from = brush.x
            brush.put(
                hex: table.base, digits: table.base > UInt64(UInt32.max) ? 16 : digits,
                isChanged ? .changed : .plain)
            brush.field(.register("\(name).base", digits: brush.x - from, value: table.base), from: from)
            brush.go(11 + digits, y)
            brush.put("    ")
            from = brush.x
            brush.put(hex: UInt64(table.limit), digits: 4, isChanged ? .changed : .plain)
            brush.field(.register("\(name).limit", digits: 4, value: UInt64(table.limit)), from: from)
            y += 1
        }
        drawControl(special, before, y: y, &brush)
        drawDebug(guest, y: y + 5, &brush)
    }

    private func drawSegment(
        _ name: SegmentName, _ segment: Segment, _ before: Segment?, _ digits: Int, isLong: Bool,
        _ brush: inout Brush
    ) {
        func look(_ isChanged: Bool) -> Look { isChanged ? .changed : .plain }
        let row = brush.y
        let isChanged = before.map { $0 != segment } ?? false
        brush.put(scalar: isChanged ? 0x2A : 0x20, .changed)
        brush.put(name.rawValue, .name)
        brush.go(5, row)
        var from = brush.x
        brush.put(
            hex: UInt64(segment.selector), digits: 4,
            look(before.map { $0.selector != segment.selector } ?? false))
        brush.field(.register(name.rawValue, digits: 4, value: UInt64(segment.selector)), from: from)
        brush.go(10, row)
        from = brush.x
        brush.put(hex: segment.base, digits: digits, look(before.map { $0.base != segment.base } ?? false))
        brush.field(.register("\(name.rawValue).base", digits: digits, value: segment.base), from: from)
        brush.skip(1)
        from = brush.x
        brush.put(
            hex: UInt64(segment.limit), digits: 8, look(before.map { $0.limit != segment.limit } ?? false))
        brush.field(.register("\(name.rawValue).limit", digits: 8, value: UInt64(segment.limit)), from: from)
        brush.skip(1)
        let attributes = before.map { $0.attributes != segment.attributes } ?? false
        brush.put(describe(segment.attributes, isLong: isLong), attributes ? .changed : .dim)
    }

    /// `exec/read 16 dpl0`, short enough for a row.
    private func describe(_ attributes: SegmentAttributes, isLong: Bool) -> String {
        if attributes.isUnusable { return "unusable" }
        if !attributes.isPresent { return "absent" }
        var text: String
        if attributes.isCodeOrData {
            let isCode = attributes.type & 8 != 0
            let second = attributes.type & 2 != 0
            text = isCode ? (second ? "xr" : "x-") : (second ? "rw" : "r-")
            if attributes.type & 4 != 0 { text += isCode ? "c" : "e" }
            text += attributes.isLong ? " 64" : attributes.isBig ? " 32" : " 16"
        } else {
            switch attributes.type {
            case 2: text = "ldt"
            case 1, 3: text = attributes.type == 3 ? "tss16 busy" : "tss16"
            case 9, 11: text = (isLong ? "tss64" : "tss32") + (attributes.type == 11 ? " busy" : "")
            default: text = "type \(attributes.type)"
            }
        }
        return text + " dpl\(attributes.privilege)"
    }

    private func drawControl(
        _ special: SpecialRegisters, _ before: SpecialRegisters?, y: Int, _ brush: inout Brush
    ) {
        func changed(_ path: (SpecialRegisters) -> UInt64) -> Bool {
            before.map { path($0) != path(special) } ?? false
        }
        let named: [(String, UInt64, Bool, [String])] = [
            ("cr0", special.cr0.rawValue, changed(\.cr0.rawValue), special.cr0.setNames),
            ("cr4", special.cr4.rawValue, changed(\.cr4.rawValue), special.cr4.setNames),
            ("efer", special.efer.rawValue, changed(\.efer.rawValue), special.efer.setNames),
        ]
        for (row, (name, value, isChanged, names)) in named.enumerated() {
            brush.go(0, y + row)
            drawValue(name, value, digits: 8, isChanged, &brush, nameWidth: 4)
            brush.skip(1)
            let text = names.map { $0.uppercased() }.joined(separator: " ")
            brush.put(text.isEmpty ? "-" : text, isChanged ? .changed : .dim)
        }
        brush.go(0, y + 3)
        drawValue("cr2", special.cr2, digits: 16, changed(\.cr2), &brush, nameWidth: 4)
        brush.go(23, y + 3)
        drawValue("cr3", special.cr3, digits: 16, changed(\.cr3), &brush)
        brush.go(0, y + 4)
        drawValue(
            "apic", special.apicBase, digits: 16, changed(\.apicBase), &brush, nameWidth: 4,
            register: "apic_base")
        brush.go(23, y + 4)
        drawValue("cr8", special.cr8, digits: 1, changed(\.cr8), &brush)
    }

    private func drawDebug(_ guest: GuestView, y: Int, _ brush: inout Brush) {
        guard let debug = guest.debug else {
            brush.go(1, y)
            brush.put("dr0-dr7 ", .name)
            brush.put("??", .unread)
            return
        }
        let old = guest.previousDebug
        let rows: [(String, UInt64, UInt64?)] = [
            ("dr0", debug.dr0, old?.dr0), ("dr1", debug.dr1, old?.dr1), ("dr2", debug.dr2, old?.dr2),
            ("dr3", debug.dr3, old?.dr3), ("dr6", debug.dr6, old?.dr6), ("dr7", debug.dr7, old?.dr7),
        ]
        for (index, (name, value, before)) in rows.enumerated() {
            brush.go(index % 2 * 23, y + index / 2)
            drawValue(
                name, value, digits: 16, before.map { $0 != value } ?? false, &brush,
                nameWidth: index % 2 == 0 ? 4 : 3)
        }
    }
}
