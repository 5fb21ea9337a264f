import DebugTarget
import Debugger
import X86

/// A client's breakpoints, which are the debugger's own and stand among the user's.
///
/// GDB takes its breakpoints out at each stop and puts them in again before it resumes. So what is taken out stays until
/// the guest is resumed without it: one that is put in again is the same one, with its number and its hits.
final class RemoteBreakpoints {
    /// The number of `Z`.
    enum Kind: UInt8 {
        case software, hardware, write, read, access

        var access: Breakpoint.Access? {
            switch self {
            case .software, .hardware: nil
            case .write: .write
            case .read: .read
            case .access: .both
            }
        }
    }

    private struct Key: Hashable {
        var kind: Kind
        var address: UInt64
        /// Of a watchpoint, in bytes.
        var length: UInt64
    }

    private struct Entry {
        var number: Int
        /// What follows the address: other conditions make another breakpoint.
        var conditions: [UInt8]
        var isOut = false
    }

    /// Of one client.
    static let most = 1 << 20

    private let debugger: Debugger
    private var entries: [Key: Entry] = [:]
    private var keys: [Int: Key] = [:]
    /// Those that are out, for the next resume.
    private var out: Set<Key> = []

    init(_ debugger: Debugger) { self.debugger = debugger }

    /// Whether the breakpoint of this number is the client's, and in.
    func isSet(_ number: Int) -> Bool { kind(of: number) != nil }

    func kind(of number: Int) -> Kind? {
        guard let key = keys[number], entries[key]?.isOut == false else { return nil }
        return key.kind
    }

    /// Sets one; one that is set already is left as it is.
    func insert(
        _ kind: Kind, at address: UInt64, length: UInt64, conditions: [UInt8], client: String,
        _ condition: () throws(RemoteFailure) -> AgentCondition?
    ) throws(RemoteInsertion) {
        let key = Key(kind: kind, address: address, length: kind.access == nil ? 0 : length)
        if let entry = entries[key], (try? debugger.breakpoint(entry.number)) != nil {
            if entry.conditions == conditions {
                entries[key]?.isOut = false
                out.remove(key)
                return
            }
            remove([key])
        }
        guard entries.count < Self.most else {
            throw .refused(RemoteFailure(.noSpace, "there are \(Self.most) breakpoints already"))
        }
        let program: AgentCondition?
        do throws(RemoteFailure) {
            program = try condition()
        } catch {
            throw .refused(error)
        }
        do throws(DebuggerError) {
            let number = try set(key, program, client)
            entries[key] = Entry(number: number, conditions: conditions)
            keys[number] = key
        } catch {
            throw .failed(error)
        }
    }

    private func set(_ key: Key, _ program: AgentCondition?, _ client: String) throws(DebuggerError) -> Int {
        if let access = key.kind.access {
            guard let length = Int(exactly: key.length) else {
                throw DebuggerError(.outOfRange, "\(key.length) bytes cannot be watched")
            }
            return try debugger.setWatchpoint(
                at: .linear(key.address), length: length, access: access, origin: client
            ).number
        }
        guard key.kind == .hardware else {
            return try debugger.setBreakpoint(at: .linear(key.address), program: program, origin: client)
                .number
        }
        do throws(DebuggerError) {
            return try debugger.setBreakpoint(
                at: .linear(key.address), program: program, origin: client, needsRegister: true
            ).number
        } catch {
            // All registers are in use, or do not fire here: what stops the guest in another way stops it as well.
            guard error.code == .limit || error.code == .refused else { throw error }
            return try debugger.setBreakpoint(at: .linear(key.address), program: program, origin: client)
                .number
        }
    }

    /// Takes one out; false where there is none.
    func takeOut(_ kind: Kind, at address: UInt64, length: UInt64) -> Bool {
        let key = Key(kind: kind, address: address, length: kind.access == nil ? 0 : length)
        guard entries[key]?.isOut == false else { return false }
        entries[key]?.isOut = true
        out.insert(key)
        return true
    }

    /// Deletes those that were taken out and not put in again.
    func settle() throws(DebuggerError) {
        guard !out.isEmpty else { return }
        let numbers = out.compactMap { key in
            entries[key].map(\.number).flatMap { (try? debugger.breakpoint($0)) == nil ? nil : $0 }
        }
        try debugger.deleteBreakpoints(numbers)
        forget(out)
    }

    func removeAll() { remove(entries.keys.map { $0 }) }

    private func remove(_ keys: [Key]) {
        let numbers = keys.compactMap { entries[$0]?.number }.filter {
            (try? debugger.breakpoint($0)) != nil
        }
        // They exist. A guest that has ended holds none.
        try? debugger.deleteBreakpoints(numbers)
        forget(Set(keys))
    }

    private func forget(_ gone: Set<Key>) {
        for key in gone {
            if let number = entries[key]?.number { keys[number] = nil }
            entries[key] = nil
        }
        out.subtract(gone)
    }
}

/// Why a breakpoint was not set.
enum RemoteInsertion: Error {
    case refused(RemoteFailure)
    case failed(DebuggerError)
}

extension RemoteSession {
    private func place(
        _ reader: inout PacketReader
    ) throws(RemoteFailure) -> (RemoteBreakpoints.Kind, address: UInt64, length: UInt64)? {
        guard let digit = reader.take(), let value = hexValue(digit) else { throw .malformed("breakpoint") }
        guard let kind = RemoteBreakpoints.Kind(rawValue: value) else { return nil }
        guard reader.skip(","), let address = reader.number(), reader.skip(","), let length = reader.number()
        else { throw .malformed("breakpoint") }
        return (kind, address, length)
    }

    func insertBreakpoint(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard let (kind, address, length) = try place(&reader) else { return .unsupported }
        let conditions = Array(reader.rest)
        let layout = layout
        do throws(RemoteInsertion) {
            try breakpoints.insert(
                kind, at: address, length: length, conditions: conditions, client: client.rawValue
            ) { () throws(RemoteFailure) in
                var reader = PacketReader(conditions)
                return try Self.condition(&reader, layout)
            }
        } catch {
            switch error {
            case .refused(let refusal): throw refusal
            case .failed(let error): throw failure(error)
            }
        }
        return .ok
    }

    func removeBreakpoint(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard let (kind, address, length) = try place(&reader) else { return .unsupported }
        guard breakpoints.takeOut(kind, at: address, length: length) else {
            throw RemoteFailure(.malformed, "no breakpoint is set at \(hex(address))")
        }
        return .ok
    }

    /// `;X LEN,CODE…`: the guest stops where any of them holds.
    private static func condition(
        _ reader: inout PacketReader, _ layout: RegisterLayout
    ) throws(RemoteFailure) -> AgentCondition? {
        var expressions: [AgentExpression] = []
        _ = reader.skip(";")
        while reader.skip("X") {
            guard let count = reader.number(), reader.skip(","), count <= UInt64(AgentExpression.longest),
                let code = hexBytes(reader.rest.prefix(Int(count) * 2)), code.count == Int(count)
            else { throw .malformed("condition") }
            reader.advance(by: code.count * 2)
            expressions.append(try AgentExpression(code, layout))
            _ = reader.skip(";")
        }
        guard reader.isAtEnd, expressions.count <= 64 else {
            throw RemoteFailure(.malformed, "a breakpoint has conditions here, up to 64, and no commands")
        }
        return expressions.isEmpty ? nil : AgentCondition(expressions: expressions)
    }
}
