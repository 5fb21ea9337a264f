import Commands
import DebugTarget
import Debugger
import Symbols
import X86

/// A client's breakpoints: each request gives all of its kind anew, and those that are as before stay as they are.
final class AdapterBreakpoints {
    enum Kind: Hashable {
        case source(String)
        case function, instruction, data

        /// The protocol's word for a stop at one.
        var reason: String {
            switch self {
            case .source: "breakpoint"
            case .function: "function breakpoint"
            case .instruction: "instruction breakpoint"
            case .data: "data breakpoint"
            }
        }
    }

    /// What is asked for.
    struct Wish: Hashable {
        var place: Address
        var condition: String?
        /// A data breakpoint's.
        var length = 0
        var access: Breakpoint.Access?
    }

    private var numbers: [Kind: [Wish: Int]] = [:]
    private var kinds: [Int: Kind] = [:]

    func kind(of numbers: [Int]) -> Kind? { numbers.lazy.compactMap { self.kinds[$0] }.first }

    /// The client's breakpoints that a stop is about.
    func ids(of stop: Stop) -> [Int] {
        let hit: [Int] =
            switch stop.reason {
            case .breakpoint(let numbers): numbers
            case .watchpoint(let hits): hits.map(\.number)
            default: []
            }
        return hit.filter { kinds[$0] != nil }
    }

    /// Deletes those of a kind that are not wished for any more.
    func keep(_ wishes: Set<Wish>, of kind: Kind, _ debugger: Debugger) {
        for (wish, number) in numbers[kind] ?? [:] where !wishes.contains(wish) {
            // One that the session's user has deleted is gone already.
            try? debugger.deleteBreakpoint(number)
            numbers[kind]?[wish] = nil
            kinds[number] = nil
        }
    }

    /// Sets one, or finds it set.
    func set(_ wish: Wish, of kind: Kind, _ debugger: Debugger) throws(DebuggerError) -> Int {
        if let number = numbers[kind]?[wish], (try? debugger.breakpoint(number)) != nil { return number }
        let number: Int
        if let access = wish.access {
            number =
                try debugger.setWatchpoint(
                    at: wish.place, length: wish.length, access: access, condition: wish.condition,
                    origin: "dap"
                ).number
        } else {
            number =
                try debugger.setBreakpoint(at: wish.place, condition: wish.condition, origin: "dap").number
        }
        numbers[kind, default: [:]][wish] = number
        kinds[number] = kind
        return number
    }

    func removeAll(_ debugger: Debugger) {
        for kind in Array(numbers.keys) { keep([], of: kind, debugger) }
    }
}

extension DebugAdapter {
    /// Sets what a request lists; what one of them cannot be is said beside it, and the others are set.
    private func set(
        _ list: [JSONValue], of kind: AdapterBreakpoints.Kind,
        _ read: (JSONValue) throws(AdapterFailure) -> AdapterBreakpoints.Wish
    ) throws(AdapterFailure) -> JSONValue {
        let debugger = try guest().debugger
        guard list.count <= 10_000 else { throw AdapterFailure("10,000 breakpoints of a kind are the most") }
        var wishes: [Result<AdapterBreakpoints.Wish, AdapterFailure>] = []
        for entry in list {
            do throws(AdapterFailure) {
                wishes.append(.success(try read(entry)))
            } catch {
                wishes.append(.failure(error))
            }
        }
        breakpoints.keep(Set(wishes.compactMap { try? $0.get() }), of: kind, debugger)
        var rows: [JSONValue] = []
        for wish in wishes {
            do {
                let wish = try wish.get()
                let number = try breakpoints.set(wish, of: kind, debugger)
                var row: [String: JSONValue] = ["id": .count(number), "verified": true]
                if wish.access == nil, let linear = try debugger.breakpoint(number).linear {
                    row["instructionReference"] = .string(hex(linear))
                    if let line = debugger.symbols.line(at: linear) { row["line"] = .count(shown(line.line)) }
                }
                rows.append(.object(row))
            } catch {
                let words = (error as? AdapterFailure)?.message ?? explainedFailure(error)
                rows.append(["verified": false, "message": .string(words)])
            }
        }
        return ["breakpoints": .array(rows)]
    }

    private func explainedFailure(_ error: any Error) -> String {
        (error as? DebuggerError).map { AdapterFailure($0).message } ?? "\(error)"
    }

    func setSourceBreakpoints(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        guard let path = arguments["source"]?["path"]?.text ?? arguments["source"]?["name"]?.text else {
            throw AdapterFailure("the source has no path")
        }
        let session = try guest()
        return try set(arguments["breakpoints"]?.list ?? [], of: .source(path)) {
            entry throws(AdapterFailure) in
            guard let line = entry["line"]?.integer else { throw AdapterFailure("a breakpoint has no line") }
            let number = linesStartAt1 ? line : line + 1
            let found = try attempt { () throws(DebuggerError) in
                try session.debugger.code(ofSource: "\(path):\(number)")
            }
            guard let place = found?.first else {
                throw AdapterFailure("no symbols are loaded that have this file: `symbols FILE` loads some")
            }
            return AdapterBreakpoints.Wish(place: .linear(place.start), condition: entry["condition"]?.text)
        }
    }

    func setFunctionBreakpoints(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        return try set(arguments["breakpoints"]?.list ?? [], of: .function) {
            entry throws(AdapterFailure) in
            guard let name = entry["name"]?.text else { throw AdapterFailure("a breakpoint has no name") }
            let place = try attempt { () throws(DebuggerError) in try session.debugger.location(name) }
            return AdapterBreakpoints.Wish(place: place, condition: entry["condition"]?.text)
        }
    }

    func setInstructionBreakpoints(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        try set(arguments["breakpoints"]?.list ?? [], of: .instruction) { entry throws(AdapterFailure) in
            let place = try address(entry["instructionReference"], offset: entry["offset"])
            return AdapterBreakpoints.Wish(place: place, condition: entry["condition"]?.text)
        }
    }

    // MARK: data

    /// Memory can be watched: the address and the length are the breakpoint's id.
    func dataBreakpointInfo(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        let session = try guest()
        guard let name = arguments["name"]?.text else {
            throw AdapterFailure("what is to be watched has no name")
        }
        if arguments["variablesReference"] != nil {
            return ["dataId": .null, "description": "a register cannot be watched: give an address"]
        }
        let place = try attempt { () throws(DebuggerError) in
            try session.debugger.linear(try session.debugger.address(name))
        }
        let length = arguments["bytes"]?.integer ?? 4
        guard length > 0 else { throw AdapterFailure("\(length) bytes cannot be watched") }
        return [
            "dataId": .string("\(hex(place))/\(length)"),
            "description": .string("\(length) bytes at \(hex(place))"),
            "accessTypes": ["read", "write", "readWrite"], "canPersist": true,
        ]
    }

    func setDataBreakpoints(_ arguments: JSONValue) throws(AdapterFailure) -> JSONValue {
        try set(arguments["breakpoints"]?.list ?? [], of: .data) { entry throws(AdapterFailure) in
            let parts = (entry["dataId"]?.text ?? "").split(separator: "/")
            guard parts.count == 2, let place = number(String(parts[0])), let length = Int(parts[1]) else {
                throw AdapterFailure("`dataId` is none that dataBreakpointInfo has given")
            }
            let access: Breakpoint.Access
            switch entry["accessType"]?.text {
            case "read": access = .read
            case "readWrite": access = .both
            case "write", nil: access = .write
            default: throw AdapterFailure("`accessType` is read, write or readWrite")
            }
            return AdapterBreakpoints.Wish(
                place: .linear(place), condition: entry["condition"]?.text, length: length, access: access)
        }
    }

    // MARK: numbers

    /// `0x7c00`, as references to memory and instructions are given.
    func number(_ text: String) -> UInt64? {
        text.hasPrefix("0x") || text.hasPrefix("0X")
            ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }

    /// A reference with its offset in bytes.
    func address(_ reference: JSONValue?, offset: JSONValue?) throws(AdapterFailure) -> Address {
        guard let text = reference?.text, let start = number(text) else {
            throw AdapterFailure("a reference to memory is a number, as 0x7c00")
        }
        if let offset, offset.integer == nil { throw AdapterFailure("an offset is a whole number") }
        return .linear(start &+ UInt64(bitPattern: Int64(offset?.integer ?? 0)))
    }

    /// A line as the client counts.
    func shown(_ line: Int) -> Int { linesStartAt1 ? line : line - 1 }
}
