import DebugTarget
import Debugger
import Expressions
import X86

extension Session {
    /// The count that a command such as `step N` was given: an expression from 1 on, or 1.
    func count(_ call: Invocation, or standard: UInt64 = 1) throws(CommandError) -> Int {
        guard !call.rest.text.isEmpty else { return Int(standard) }
        let value = try number(call.rest, call)
        guard value > 0, value <= UInt64(Int32.max) else {
            throw call.error(
                "a count is from 1 to \(grouped(Int32.max)), not \(signed(value))", at: call.rest)
        }
        return Int(value)
    }

    /// A number that was refused, for the error: below 0 it is shown as it was meant.
    func signed(_ value: UInt64) -> String { String(Int64(bitPattern: value)) }

    /// The value of an expression.
    func number(_ argument: Argument, _ call: Invocation) throws(CommandError) -> UInt64 {
        try call.perform(at: argument) { () throws(DebuggerError) in
            try debugger.evaluate(argument.text).bits
        }
    }

    /// The address that an expression gives.
    func address(_ argument: Argument, _ call: Invocation) throws(CommandError) -> Address {
        try call.perform(at: argument) { () throws(DebuggerError) in try debugger.address(argument.text) }
    }

    /// The id of a vCPU; one that does not exist is refused.
    func vcpuID(_ argument: Argument, _ call: Invocation) throws(CommandError) -> Int {
        let ids = debugger.target.vcpus.map(\.id)
        let value = try number(argument, call)
        guard let id = Int(exactly: value), ids.contains(id) else {
            throw call.error(
                "there is no vCPU \(signed(value))", at: argument,
                remedy: "vCPUs: " + ids.map(String.init).joined(separator: ", "))
        }
        return id
    }
}
