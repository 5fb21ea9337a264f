package import DebugTarget

/// What BIOS calls mean, in words.
package enum FirmwareText {
    /// The name of a function; nil for one that has none here.
    static func name(_ vector: UInt8, _ function: UInt8) -> String? {
        switch vector {
        case 0x11: "equipment"
        case 0x12: "conventional memory"
        case 0x17: "printer"
        case 0x18: "nothing to boot"
        case 0x19: "boot"
        default: names[UInt16(vector) << 8 | UInt16(function)]
        }
    }

    private static let names: [UInt16: String] = [
        0x1000: "set video mode", 0x1001: "cursor shape", 0x1002: "set cursor", 0x1003: "get cursor",
        0x1005: "select page", 0x1006: "scroll up", 0x1007: "scroll down", 0x1008: "read character",
        0x1009: "write character and attribute", 0x100A: "write character", 0x100B: "set palette",
        0x100C: "write pixel", 0x100D: "read pixel", 0x100E: "teletype", 0x100F: "get video mode",
        0x1010: "palette", 0x1011: "font", 0x1012: "video options", 0x1013: "write string",
        0x101A: "display combination", 0x101B: "video state", 0x104F: "VBE",
        0x1300: "reset", 0x1301: "last status", 0x1302: "read", 0x1303: "write", 0x1304: "verify",
        0x1305: "format", 0x1308: "parameters", 0x1315: "drive type", 0x1316: "medium changed",
        0x1341: "extensions present", 0x1342: "extended read", 0x1343: "extended write",
        0x1344: "extended verify", 0x1347: "extended seek", 0x1348: "extended parameters",
        0x134B: "El Torito status",
        0x1400: "set up", 0x1401: "send", 0x1402: "receive", 0x1403: "status",
        0x1524: "A20", 0x154F: "key intercept", 0x1553: "APM", 0x1583: "event wait", 0x1586: "wait",
        0x1587: "move block", 0x1588: "extended memory", 0x1590: "device busy", 0x1591: "device done",
        0x15C0: "configuration", 0x15C1: "EBDA", 0x15E8: "memory map", 0x15E9: "SpeedStep",
        0x15EC: "target mode",
        0x1600: "get key", 0x1601: "key waiting", 0x1602: "shift flags", 0x1603: "key rate",
        0x1605: "put key", 0x1609: "keyboard functions", 0x160A: "keyboard ID", 0x1610: "get key, enhanced",
        0x1611: "key waiting, enhanced", 0x1612: "shift flags, enhanced", 0x1620: "get key, 122 keys",
        0x1621: "key waiting, 122 keys",
        0x1A00: "get ticks", 0x1A01: "set ticks", 0x1A02: "get time", 0x1A03: "set time",
        0x1A04: "get date", 0x1A05: "set date", 0x1AB1: "PCI BIOS",
    ]

    /// `INT 13h AH=42h: drive 80h, LBA 1, 4 sectors -> 0800:0000, ok`.
    package static func text(_ call: FirmwareCall) -> String {
        let function = call.before.ah
        let head = "INT \(byte(call.vector)) AH=\(byte(function))"
        var parts = [name(call.vector, function) ?? "unknown"]
        parts += arguments(call)
        if let result = result(call) { parts.append(result) }
        return head + ": " + parts.joined(separator: ", ")
    }

    private static func byte(_ value: UInt8) -> String { Hex.digits(value, width: 2).uppercased() + "h" }
    private static func word(_ value: some BinaryInteger) -> String {
        Hex.digits(UInt16(truncatingIfNeeded: value), width: 4)
    }

    private static func character(_ value: UInt8) -> String {
        (0x20..<0x7F).contains(value) ? "'\(Character(Unicode.Scalar(value)))'" : byte(value)
    }

    private static func arguments(_ call: FirmwareCall) -> [String] {
        let before = call.before
        let dl = UInt8(truncatingIfNeeded: before.edx)
        switch (call.vector, before.ah) {
        case (0x10, 0x00): return ["mode \(byte(before.al))"]
        case (0x10, 0x02):
            return ["row \(UInt8(truncatingIfNeeded: before.edx >> 8)), column \(dl)"]
        case (0x10, 0x09), (0x10, 0x0A):
            return ["\(character(before.al)) x\(UInt16(truncatingIfNeeded: before.ecx))"]
        case (0x10, 0x0C), (0x10, 0x0D):
            return ["dot \(UInt16(truncatingIfNeeded: before.ecx)),\(UInt16(truncatingIfNeeded: before.edx))"]
        case (0x10, 0x0E): return [character(before.al)]
        case (0x13, _):
            var parts = ["drive \(byte(dl))"]
            if let transfer = call.transfer {
                let arrow = transfer.direction == .write ? "<-" : "->"
                parts.append("LBA \(grouped(transfer.sector))")
                parts.append(
                    counted(transfer.count, "sector")
                        + (transfer.direction == .verify
                            ? "" : " \(arrow) \(word(transfer.segment)):\(word(transfer.offset))"))
            }
            return parts
        case (0x14, 0x01): return [character(before.al)]
        case (0x15, 0x83) where before.al == 1: return ["cancelled"]
        case (0x15, 0xE8):
            return before.al == 0x20
                ? ["E820, entry \(before.ebx)"] : [byte(before.ah).dropLast() + byte(before.al)]
        case (0x15, 0x24), (0x15, 0x53): return ["AL=\(byte(before.al))"]
        case (0x15, 0x86), (0x15, 0x83):
            return ["\(grouped((before.ecx & 0xFFFF) << 16 | before.edx & 0xFFFF)) us"]
        case (0x15, 0x87): return ["\(grouped((before.ecx & 0xFFFF) * 2)) bytes"]
        default: return []
        }
    }

    private static func result(_ call: FirmwareCall) -> String? {
        guard call.isKnown else { return "not there" }
        switch call.outcome {
        case .waits: return "waits"
        case .left: return nil
        case .returned(let carry, let zero):
            switch (call.vector, call.before.ah) {
            case (0x16, 0x00), (0x16, 0x10), (0x16, 0x20): return "key \(word(call.after.eax))"
            case (0x16, 0x01), (0x16, 0x11), (0x16, 0x21):
                return zero == true ? "none" : "key \(word(call.after.eax))"
            case (0x13, _):
                return carry == true ? "error \(status(call.after.ah))" : "ok"
            default: return carry.map { $0 ? "CF=1, AH=\(byte(call.after.ah))" : "ok" }
            }
        }
    }

    /// What AH of INT 13h says. Source: Ralf Brown's Interrupt List, table 00234.
    private static func status(_ code: UInt8) -> String {
        let name: String? =
            switch code {
            case 0x01: "invalid function or drive"
            case 0x03: "write protected"
            case 0x04: "sector not found"
            case 0x09: "the buffer is not in RAM"
            case 0x10: "the image cannot be read"
            case 0x31: "no medium"
            default: nil
            }
        return byte(code) + (name.map { " (\($0))" } ?? "")
    }
}

extension ExitRecord {
    /// The exit with its payload; a call of the BIOS by its meaning.
    package var text: String { firmware.map(FirmwareText.text) ?? exit.text }
}
