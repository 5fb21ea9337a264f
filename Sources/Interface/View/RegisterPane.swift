import Commands
import DebugTarget
import Debugger
import GuestView
import X86

/// A register of the pane: what it is called, read and edited by.
private struct Row {
    /// In 64-bit code, elsewhere, and its part below 64 bits.
    var name: String
    var narrow: String
    var path: any KeyPath<GeneralRegisters, UInt64> & Sendable
}

private let low: [Row] = [
    Row(name: "rax", narrow: "eax", path: \.rax), Row(name: "rbx", narrow: "ebx", path: \.rbx),
    Row(name: "rcx", narrow: "ecx", path: \.rcx), Row(name: "rdx", narrow: "edx", path: \.rdx),
    Row(name: "rsi", narrow: "esi", path: \.rsi), Row(name: "rdi", narrow: "edi", path: \.rdi),
    Row(name: "rbp", narrow: "ebp", path: \.rbp), Row(name: "rsp", narrow: "esp", path: \.rsp),
]
private let high: [Row] = [
    Row(name: "r8", narrow: "r8", path: \.r8), Row(name: "r9", narrow: "r9", path: \.r9),
    Row(name: "r10", narrow: "r10", path: \.r10), Row(name: "r11", narrow: "r11", path: \.r11),
    Row(name: "r12", narrow: "r12", path: \.r12), Row(name: "r13", narrow: "r13", path: \.r13),
    Row(name: "r14", narrow: "r14", path: \.r14), Row(name: "r15", narrow: "r15", path: \.r15),
]

/// The flags by name, the arithmetic ones first.
private let flags: [(name: String, flag: RFlags)] = [
    ("cf", .cf), ("pf", .pf), ("af", .af), ("zf", .zf), ("sf", .sf), ("tf", .tf), ("if", .if), ("df", .df),
    ("of", .of),
]
private let rareFlags: [(name: String, flag: RFlags)] = [
    ("nt", .nt), ("rf", .rf), ("vm", .vm), ("ac", .ac), ("vif", .vif), ("vip", .vip), ("id", .id),
]

extension Model {
    func drawRegisters(_ guest: GuestView, _ brush: inout Brush) {
        guard let now = guest.current else {
            brush.put("?? no vCPU \(guest.selected)", .unread)
            return
        }
        let form = RegisterForm(brush.area, isLong: now.mode == .long64)
        guard form.isTall else {
            drawRegisters(
                now, guest.before, &brush, x: 0, chains: form.hasChains ? guest.chains : [:])
            return
        }
        drawTall(now, guest.before, guest.chains, &brush)
    }

    /// A register of 64-bit code a row, each with where it leads.
    private func drawTall(
        _ now: VCPUSnapshot, _ before: VCPUSnapshot?, _ chains: [String: String], _ brush: inout Brush
    ) {
        var y = -scroll[.registers, default: 0]
        for row in low + high {
            brush.go(0, y)
            draw(row, now, before, true, &brush)
            drawChain(chains[row.name], end: brush.width, &brush)
            y += 1
        }
        brush.go(0, y)
        draw(Row(name: "rip", narrow: "eip", path: \.rip), now, before, true, &brush)
        brush.go(22, y)
        draw(Row(name: "rflags", narrow: "eflags", path: \.rflags.rawValue), now, before, false, &brush)
        drawFlags(now, before, &brush, x: 0, y: y + 1)
    }

    private func drawChain(_ chain: String?, end: Int, _ brush: inout Brush) {
        guard let chain, end - brush.x > 8 else { return }
        brush.put(" ")
        for scalar in chain.printable.unicodeScalars {
            guard brush.x < end - 1 else { break }
            brush.put(scalar: scalar.value, Look(.symbol))
        }
    }

    /// The other vCPUs, as many blocks of registers as there is room for.
    func drawPeers(_ guest: GuestView, _ brush: inout Brush) {
        for (place, other) in shownPeers(guest, width: brush.width).enumerated() {
            let x = place * (Layout.registerColumns + 1)
            drawRegisters(other, guest.previous?[other.id], &brush, x: x, id: other.id)
        }
        // These are looked at; the selected one's are edited.
        brush.fields.removeAll()
    }

    func shownPeers(_ guest: GuestView, width: Int) -> ArraySlice<VCPUSnapshot> {
        let others = guest.stop.vcpus.filter { $0.id != guest.selected }
        let first = others.count > 0 ? scroll[.peers, default: 0] % others.count : 0
        return others.dropFirst(first).prefix(max(1, width / (Layout.registerColumns + 1)))
    }

    private func drawRegisters(
        _ now: VCPUSnapshot, _ before: VCPUSnapshot?, _ brush: inout Brush, x: Int, id: Int? = nil,
        chains: [String: String] = [:]
    ) {
        let isLong = now.mode == .long64
        var y = 0
        if let id {
            brush.go(x, 0)
            brush.put(" vCPU \(id) ", Look(.title, .bold))
            brush.put(location(now), .address)
            y = 1
        }
        let up = id == nil ? scroll[.registers, default: 0] : 0
        y -= up
        for (row, register) in low.enumerated() {
            brush.go(x, y + row)
            draw(register, now, before, isLong, &brush)
            if isLong {
                brush.go(x + 22, y + row)
                draw(high[row], now, before, true, &brush)
            } else {
                // Chains stand between, where the pane is wide enough for them.
                let column = chains.isEmpty ? x + 22 : max(x + 22, brush.width - 20)
                drawChain(chains[register.name], end: column, &brush)
                brush.go(column, y + row)
                drawSegment(row, now, before, &brush)
            }
        }
        y += 8
        brush.go(x, y)
        draw(Row(name: "rip", narrow: "eip", path: \.rip), now, before, isLong, &brush)
        brush.go(x + 22, y)
        draw(
            Row(name: "rflags", narrow: "eflags", path: \.rflags.rawValue), now, before, false, &brush)
        drawFlags(now, before, &brush, x: x, y: y + 1)
    }

    private func draw(
        _ row: Row, _ now: VCPUSnapshot, _ before: VCPUSnapshot?, _ isLong: Bool, _ brush: inout Brush
    ) {
        let value = now.registers[keyPath: row.path]
        let isChanged = before.map { $0.registers[keyPath: row.path] != value } ?? false
        // A narrow name stands for a part: all of a register that has more in it is shown.
        let isWide = isLong || value > UInt64(UInt32.max)
        drawValue(
            isWide ? row.name : row.narrow, value, digits: isWide ? 16 : 8, isChanged, &brush)
    }

    /// ` name value`, the value a field.
    func drawValue(
        _ name: String, _ value: UInt64, digits: Int, _ isChanged: Bool, _ brush: inout Brush,
        nameWidth: Int = 3, register: String? = nil
    ) {
        let x = brush.x
        brush.put(scalar: isChanged ? 0x2A : 0x20, .changed)
        brush.put(name, .name)
        brush.pad(to: x + 2 + nameWidth)
        let start = max(brush.x, x + 2 + nameWidth)
        brush.go(start == brush.x && name.utf8.count > nameWidth ? start + 1 : start, brush.y)
        let from = brush.x
        brush.put(hex: value, digits: digits, isChanged ? .changed : .plain)
        brush.field(.register(register ?? name, digits: digits, value: value), from: from)
    }

    private func drawSegment(
        _ row: Int, _ now: VCPUSnapshot, _ before: VCPUSnapshot?, _ brush: inout Brush
    ) {
        let names: [SegmentName] = [.cs, .ss, .ds, .es, .fs, .gs]
        guard names.indices.contains(row) else { return }
        let name = names[row]
        let segment = now.special[name]
        let isChanged = before.map { $0.special[name] != segment } ?? false
        drawValue(name.rawValue, UInt64(segment.selector), digits: 4, isChanged, &brush)
        brush.put(" @", .dim)
        brush.put(
            hex: segment.base, digits: segment.base > UInt64(UInt32.max) ? 16 : 8, isChanged ? .changed : .dim
        )
    }

    private func drawFlags(
        _ now: VCPUSnapshot, _ before: VCPUSnapshot?, _ brush: inout Brush, x: Int, y: Int
    ) {
        let set = now.registers.rflags
        let changed = before?.registers.rflags.symmetricDifference(set) ?? []
        brush.go(x + 1, y)
        for (name, flag) in flags { drawFlag(name, set.contains(flag), changed.contains(flag), &brush) }
        let isChanged = before.map { $0.registers.rflags.iopl != set.iopl } ?? false
        brush.put("iopl", .name)
        brush.put(String(set.iopl), isChanged ? Look(.changed, [.bold, .underline]) : .plain)
        brush.go(x + 1, y + 1)
        for (name, flag) in rareFlags { drawFlag(name, set.contains(flag), changed.contains(flag), &brush) }
    }

    /// Set: upper case and bold; changed: underlined.
    private func drawFlag(_ name: String, _ isSet: Bool, _ isChanged: Bool, _ brush: inout Brush) {
        var look = isSet ? Look(.plain, .bold) : Look.dim
        if isChanged {
            look.role = .changed
            look.attributes.insert(.underline)
        }
        let from = brush.x
        brush.put(isSet ? name.uppercased() : name, look)
        brush.field(.flag(name, isSet: isSet), from: from)
        brush.skip(1)
    }

    /// `0000:7c00`, or 16 digits in 64-bit code.
    func location(_ vcpu: VCPUSnapshot) -> String {
        if vcpu.mode == .long64 { return hex(vcpu.registers.rip, 16) }
        let digits = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes) == 16 ? 4 : 8
        return "\(hex(UInt64(vcpu.special.cs.selector), 4)):\(hex(vcpu.registers.rip, digits))"
    }
}

/// How the general registers are laid out in a pane.
struct RegisterForm {
    /// One a row.
    var isTall: Bool
    /// With where each leads beside it.
    var hasChains: Bool

    /// Rows of the tall form in 64-bit code.
    static let tallRows = 19

    init(_ area: Rect, isLong: Bool) {
        isTall = isLong && area.width >= 40 && area.height >= Self.tallRows
        hasChains = isTall || !isLong && area.width >= 52
    }
}
