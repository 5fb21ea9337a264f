import Commands
import Debugger
import FoundationEssentials
import Symbols
import X86

/// Memory as the selected vCPU sees it, and its code.
extension DebugAdapter {
    /// Bytes that one request reads.
    private static let longestRead = 4 << 20

    func readMemory(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let debugger = try guest().debugger
        let place = try address(arguments["memoryReference"], offset: arguments["offset"])
        guard let count = arguments["count"]?.integer, (0...Self.longestRead).contains(count) else {
            throw AdapterFailure("0 to \(Self.longestRead) bytes can be read at once")
        }
        let image = try attempt { () throws(DebuggerError) in try debugger.readMemory(place, count: count) }
        let known = image.gaps.first?.range.lowerBound ?? count
        var body: [String: JSONValue] = ["address": .string(hex(image.start))]
        if known < count { body["unreadableBytes"] = .count(count - known) }
        if known > 0 { body["data"] = .string(Data(image.bytes[..<known]).base64EncodedString()) }
        return .object(body)
    }

    func writeMemory(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let debugger = try guest().debugger
        let place = try address(arguments["memoryReference"], offset: arguments["offset"])
        guard let text = arguments["data"]?.text, let data = Data(base64Encoded: text) else {
            throw AdapterFailure("the data is not in base 64")
        }
        try attempt { () throws(DebuggerError) in try debugger.writeMemory(place, Array(data)) }
        return ["bytesWritten": .count(data.count)]
    }

    func disassemble(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let debugger = try stoppedGuest().debugger
        let place = try address(arguments["memoryReference"], offset: arguments["offset"])
        guard let count = arguments["instructionCount"]?.integer, (0...4096).contains(count) else {
            throw AdapterFailure("0 to 4,096 instructions can be shown at once")
        }
        let first = arguments["instructionOffset"]?.integer ?? 0
        guard (-4096...4096).contains(first) else {
            throw AdapterFailure("an offset is from -4,096 to 4,096 instructions")
        }
        let lines = try attempt { () throws(DebuggerError) -> [CodeLine] in
            var lines: [CodeLine] = []
            if first < 0 { lines = try debugger.disassemble(before: place, count: -first) }
            let missing = max(0, -first - lines.count)
            // As many as were asked for stand there, or the client counts wrongly.
            let none = CodeLine(address: 0, selector: 0, ip: 0, instruction: nil)
            lines = Array(repeating: none, count: missing) + lines
            lines += try debugger.disassemble(at: place, count: max(0, first + count))
            return Array(lines.dropFirst(max(0, first)).prefix(count))
        }
        var rows = lines.map(row)
        while rows.count < count { rows.append(Self.invalid) }
        return ["instructions": .array(rows)]
    }

    private static let invalid: JSONValue = [
        "address": "0x0", "instruction": "??", "presentationHint": "invalid",
    ]

    private func row(_ line: CodeLine) -> JSONValue {
        guard line.instruction != nil else {
            return [
                "address": .string(hex(line.address)), "instruction": "??", "presentationHint": "invalid",
            ]
        }
        var row: [String: JSONValue] = [
            "address": .string(hex(line.address)), "instruction": .string(line.text),
            "instructionBytes": .string(
                line.bytes.map { hexDigits(UInt64($0), digits: 2) }.joined(separator: " ")),
        ]
        if let place = line.place, place.offset == 0 { row["symbol"] = .string(place.symbol.name) }
        return .object(row)
    }
}
