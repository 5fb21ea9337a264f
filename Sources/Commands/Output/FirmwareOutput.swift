import DebugTarget
import Debugger

/// `info bios`.
struct FirmwareOutput: CommandOutput, Hashable {
    struct Function: Sendable, Hashable, Encodable {
        var vector: Hex
        /// AH.
        var function: Hex
        var name: String
        var count: UInt64
        /// The BIOS has it.
        var known: Bool
    }
    var calls: UInt64
    var functions: [Function]
    var recent: [FirmwareCallRow]

    init(_ log: FirmwareLog, recent limit: Int) {
        calls = log.counts.reduce(0) { $0 + $1.count }
        functions = log.counts.map {
            Function(
                vector: Hex($0.vector), function: Hex($0.function),
                name: FirmwareText.name($0.vector, $0.function) ?? "", count: $0.count, known: $0.isKnown)
        }
        recent = limit > 0 ? log.recent(limit).map { FirmwareCallRow($0) } : []
    }

    func lines(width: Int) -> [StyledLine] {
        guard calls > 0 else { return [StyledLine("The guest has not called the BIOS.")] }
        var lines: [StyledLine] = []
        var table = TextTable(["INT", "AH", "Calls", "Function"], rightAligned: [2])
        for function in functions where function.known {
            table.add([
                .init(Hex.digits(function.vector.value, width: 2) + "h", .plain),
                .init(Hex.digits(function.function.value, width: 2) + "h", .plain),
                .init(grouped(function.count), .plain), .init(function.name, .plain),
            ])
        }
        if functions.contains(where: \.known) { lines += table.lines }
        for function in functions where !function.known {
            lines.append(
                StyledLine(
                    "INT \(Hex.digits(function.vector.value, width: 2))h AH=\(Hex.digits(function.function.value, width: 2))h"
                        + (function.name.isEmpty ? "" : " (\(function.name))")
                        + ": not there, called \(counted(function.count, "time"))", .warning))
        }
        for row in recent { lines.append(row.line) }
        return lines
    }
}

/// One call of the BIOS.
struct FirmwareCallRow: Sendable, Hashable, Encodable {
    var number: UInt64
    var vector: Hex
    /// AH.
    var function: Hex
    /// What it was about, in words.
    var text: String
    /// What the INT returns to: SEG:OFF.
    var caller: String
    var before: [String: Hex]
    var after: [String: Hex]
    /// Absent where the call sets none.
    var carry: Bool?
    /// It came so many times in a row.
    var repeats: UInt64
    var known: Bool

    init(_ call: FirmwareCall) {
        number = call.number
        vector = Hex(call.vector)
        function = Hex(call.before.ah)
        text = FirmwareText.text(call)
        caller = Hex.digits(call.callerSegment, width: 4) + ":" + Hex.digits(call.callerOffset, width: 4)
        before = Self.registers(call.before)
        after = Self.registers(call.after)
        if case .returned(let carry, _) = call.outcome { self.carry = carry }
        repeats = call.repeats
        known = call.isKnown
    }

    private static func registers(_ registers: FirmwareRegisters) -> [String: Hex] {
        [
            "eax": Hex(registers.eax), "ebx": Hex(registers.ebx), "ecx": Hex(registers.ecx),
            "edx": Hex(registers.edx), "esi": Hex(registers.esi), "edi": Hex(registers.edi),
            "ebp": Hex(registers.ebp), "ds": Hex(registers.ds), "es": Hex(registers.es),
        ]
    }

    var line: StyledLine {
        var line = StyledLine("\(number)".padded(5), .dim)
        line.append(caller + "  ", .dim)
        line.append(text, known ? .plain : .warning)
        if repeats > 1 { line.append("  x\(grouped(repeats))", .dim) }
        return line
    }
}

/// `info disks`.
struct DrivesOutput: CommandOutput, Hashable {
    struct Row: Sendable, Hashable, Encodable {
        var number: Hex
        /// "floppy", "disk" or "cdrom".
        var kind: String
        var path: String
        var sectors: UInt64
        var sectorSize: Int
        var cylinders: Int
        var heads: Int
        var sectorsPerTrack: Int
        /// Calls that read and wrote.
        var reads: UInt64
        var writes: UInt64
        /// In bytes of blocks that the guest has written.
        var changed: UInt64
    }
    var drives: [Row]

    init(_ drives: [DriveState]) {
        self.drives = drives.map {
            Row(
                number: Hex($0.number), kind: $0.kind.rawValue, path: $0.path, sectors: $0.sectors,
                sectorSize: $0.sectorSize, cylinders: $0.cylinders, heads: $0.heads,
                sectorsPerTrack: $0.sectorsPerTrack, reads: $0.reads, writes: $0.writes, changed: $0.changed)
        }
    }

    func lines(width: Int) -> [StyledLine] {
        var table = TextTable(
            ["Drive", "Kind", "Sectors", "C/H/S", "Reads", "Writes", "Changed", "Image"],
            rightAligned: [2, 4, 5, 6])
        for drive in drives {
            let geometry =
                drive.heads == 0 ? "-" : "\(drive.cylinders)/\(drive.heads)/\(drive.sectorsPerTrack)"
            table.add([
                .init(Hex.digits(drive.number.value, width: 2) + "h", .plain), .init(drive.kind, .plain),
                .init(grouped(drive.sectors), .plain), .init(geometry, .plain),
                .init(grouped(drive.reads), .plain), .init(grouped(drive.writes), .plain),
                .init(drive.changed == 0 ? "-" : grouped(drive.changed), .plain), .init(drive.path, .plain),
            ])
        }
        return table.lines
    }
}

extension ScreenContents.Graphics {
    /// What is shown instead of text.
    package var text: String {
        guard let mode else { return "graphics, set by the adapter's registers" }
        let name = "graphics mode \(Hex.digits(mode, width: 2).uppercased())h \(width)x\(height)x\(colors)"
        return isDrawn ? name : name + ", in planes, which INT 10h does not draw here"
    }
}

/// `info screen`.
struct ScreenOutput: CommandOutput, Hashable {
    var columns: Int
    var rows: Int
    /// The rows as text, from code page 437; spaces at the ends are cut off.
    var text: [String]
    /// The rows' attributes, a byte for each column.
    var attributes: [[Hex]]
    /// Row and column, from 0; absent where it is hidden.
    var cursor: [Int]?
    /// Absent for text.
    var graphics: Graphics?

    /// Dots are shown, and there are no rows of text.
    struct Graphics: Sendable, Hashable, Encodable {
        /// INT 10h's number; absent where the guest set it by registers.
        var mode: Hex?
        /// In dots; 0 where that is not known.
        var width: Int
        var height: Int
        var colors: Int
        var text: String
    }

    init(_ screen: ScreenContents) {
        graphics = screen.graphics.map {
            Graphics(
                mode: $0.mode.map { Hex($0) }, width: $0.width, height: $0.height, colors: $0.colors,
                text: $0.text)
        }
        columns = screen.columns
        rows = screen.rows
        text = (0..<screen.rows).map { row in
            var line = String(screen.row(row).map { CodePage437.character($0.character) })
            while line.last == " " { line.removeLast() }
            return line
        }
        attributes = (0..<screen.rows).map { screen.row($0).map { Hex($0.attribute) } }
        cursor = screen.cursor.map { [$0 / screen.columns, $0 % screen.columns] }
    }

    func lines(width: Int) -> [StyledLine] {
        if let graphics { return [StyledLine(graphics.text)] }
        // Empty rows at the end say nothing.
        let last = text.lastIndex { !$0.isEmpty } ?? -1
        var lines = text.prefix(last + 1).map { StyledLine($0) }
        let place = cursor.map { ", the cursor at row \($0[0]), column \($0[1])" } ?? ", no cursor"
        lines.append(StyledLine("[\(columns)x\(rows)\(place)]", .dim))
        return lines
    }
}
