import DebugTarget
import Debugger

/// Threads are vCPUs: thread N is vCPU N - 1.
extension RemoteSession {
    var threadList: String { debugger.target.vcpus.map { hexNumber($0.id + 1) }.joined(separator: ",") }

    /// `vCPU 1 [halted]`.
    private func text(of id: Int) -> String {
        let activity: String
        if debugger.isRunning {
            activity = "running"
        } else {
            activity = debugger.stop[id]?.activity.rawValue ?? "unknown"
        }
        return "vCPU \(id) [\(activity)]"
    }

    var threadsAsXML: String {
        let lines = debugger.target.vcpus.map { vcpu in
            "<thread id=\"\(hexNumber(vcpu.id + 1))\">\(text(of: vcpu.id))</thread>\n"
        }
        return "<?xml version=\"1.0\"?>\n<threads>\n\(lines.joined())</threads>\n"
    }

    /// LLDB's: each thread with its reason, and the registers that it looks at first.
    var threadsAsJSON: String {
        let threads = debugger.target.vcpus.map { vcpu -> String in
            let stop = debugger.stop
            let reason = vcpu.id == stop.vcpu ? reasonName(stop) : "none"
            var registers = ""
            if let snapshot = try? bank.snapshot(vcpu.id) {
                registers = layout.expedited.map { register in
                    let text = String(decoding: bank.text(register, of: snapshot), as: UTF8.self)
                    return "\"\(register.number)\":\"\(text)\""
                }.joined(separator: ",")
            }
            return "{\"tid\":\(vcpu.id + 1),\"name\":\"\(text(of: vcpu.id))\",\"reason\":\"\(reason)\","
                + "\"registers\":{\(registers)}}"
        }
        return "[" + threads.joined(separator: ",") + "]"
    }

    func threadText(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard case .one(let thread)? = reader.thread() else { throw .malformed("thread") }
        return .bytes(hexText(Array(text(of: try vcpu(of: thread)).utf8)))
    }

    func threadStop(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard let number = reader.number(), let thread = Int(exactly: number) else {
            throw .malformed("thread")
        }
        let id = try vcpu(of: thread)
        let stop = debugger.stop
        guard id != stop.vcpu else { return .bytes(stopReply(stop)) }
        return .bytes(Array("T00".utf8) + stopFields(of: id, stop))
    }

    func isAlive(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        guard case .one(let thread)? = reader.thread() else { throw .malformed("thread") }
        _ = try vcpu(of: thread)
        return .ok
    }

    func chooseThread(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let operation = reader.take()
        guard let choice = reader.thread(), reader.isAtEnd else { throw .malformed("thread") }
        switch operation {
        case UInt8(ascii: "g"):
            if case .one(let thread) = choice { vcpu = try vcpu(of: thread) }
        case UInt8(ascii: "c"):
            if case .one(let thread) = choice { _ = try vcpu(of: thread) }
            resumed = choice
        default: throw .malformed("choice of a thread")
        }
        return .ok
    }

    /// The vCPU that a request is about, by LLDB's `;thread:N;` after it.
    func suffixVCPU(_ reader: inout PacketReader) throws(RemoteFailure) -> Int {
        guard hasThreadSuffix, reader.skip(";thread:") else { return vcpu }
        guard case .one(let thread)? = reader.thread() else { throw .malformed("thread") }
        _ = reader.skip(";")
        return try vcpu(of: thread)
    }
}
