import Commands
import DebugTarget
import Debugger

/// Which packet is what. Source: GDB's manual, "Packets" and "General Query Packets".
extension RemoteSession {
    func respond(to reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        switch reader.take() {
        case UInt8(ascii: "?"): return firstStop()
        case UInt8(ascii: "g"): return try readRegisters(&reader)
        case UInt8(ascii: "G"): return try writeRegisters(&reader)
        case UInt8(ascii: "p"): return try readRegister(&reader)
        case UInt8(ascii: "P"): return try writeRegister(&reader)
        case UInt8(ascii: "m"): return try readMemory(&reader)
        case UInt8(ascii: "x"): return try readBinary(&reader)
        case UInt8(ascii: "M"): return try writeMemory(&reader)
        case UInt8(ascii: "X"): return try writeBinary(&reader)
        case UInt8(ascii: "H"): return try chooseThread(&reader)
        case UInt8(ascii: "T"): return try isAlive(&reader)
        case UInt8(ascii: "Z"): return try insertBreakpoint(&reader)
        case UInt8(ascii: "z"): return try removeBreakpoint(&reader)
        case UInt8(ascii: "c"): return try resumeOld(&reader, steps: false, hasSignal: false)
        case UInt8(ascii: "C"): return try resumeOld(&reader, steps: false, hasSignal: true)
        case UInt8(ascii: "s"): return try resumeOld(&reader, steps: true, hasSignal: false)
        case UInt8(ascii: "S"): return try resumeOld(&reader, steps: true, hasSignal: true)
        case UInt8(ascii: "D"): return detach()
        case UInt8(ascii: "k"):
            kill()
            return .later
        case UInt8(ascii: "!"):
            isExtended = true
            return .ok
        case UInt8(ascii: "R"):
            // It has no reply: a client that cannot be told asks for the guest's state next.
            _ = try? runAgain()
            return .later
        case UInt8(ascii: "v"): return try respondToLongRequest(&reader)
        case UInt8(ascii: "q"): return try respondToQuery(&reader)
        case UInt8(ascii: "Q"): return try respondToSetting(&reader)
        case UInt8(ascii: "j"): return try respondToJSONQuery(&reader)
        // Backwards (`bs`, `bc`), and whatever else there may be.
        default: return .unsupported
        }
    }

    private func respondToLongRequest(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        if reader.skip("Cont?") { return .text("vCont;c;C;s;S;t;r") }
        if reader.skip("Cont;") { return try resume(&reader) }
        if reader.skip("Kill") {
            reply(.ok)
            kill()
            return .later
        }
        if reader.skip("Run") { return .bytes(stopReply(try runAgain(), reason: false)) }
        if reader.skip("Attach") {
            throw RemoteFailure(.permission, "one guest is served here; start kvmscope again for another")
        }
        return .unsupported
    }

    private func respondToQuery(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        if reader.skip("Supported") { return supported(&reader) }
        if reader.skip("Xfer:") { return try transfer(&reader) }
        if reader.skip("Rcmd,") { return try command(&reader) }
        if reader.skip("fThreadInfo") { return .text("m" + threadList) }
        if reader.skip("sThreadInfo") { return .text("l") }
        if reader.skip("ThreadExtraInfo,") { return try threadText(&reader) }
        if reader.skip("ThreadStopInfo") { return try threadStop(&reader) }
        if reader.skip("Attached") {
            // A client ends what it has started, and detaches from all else.
            return .text(options.endsWithClient && options.ownsGuest ? "0" : "1")
        }
        if reader.skip("Search:memory:") { return try search(&reader) }
        if reader.skip("CRC:") { return try checksum(&reader) }
        if reader.skip("Symbol:") { return .ok }
        if reader.skip("HostInfo") { return .text(hostInformation) }
        if reader.skip("ProcessInfo") { return .text("pid:1;" + hostInformation + "ostype:unknown;") }
        if reader.skip("MemoryRegionInfo:") { return try region(&reader) }
        if reader.skip("WatchpointSupportInfo") { return .text("num:\(RemoteBreakpoints.most);") }
        if reader.skip("GDBServerVersion") { return .text("name:kvmscope;version:0.1.0;") }
        if reader.skip("qemu.sstepbits") { return .text(stepBits) }
        if reader.skip("qemu.sstep") { return .text("0x" + hexNumber(stepMode)) }
        if reader.skip("qemu.PhyMemMode") { return .text(isPhysical ? "1" : "0") }
        if reader.skip("C"), reader.isAtEnd { return .text("QC" + hexNumber(vcpu + 1)) }
        return .unsupported
    }

    private func respondToSetting(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        if reader.skip("StartNoAckMode") {
            startReliableMode()
            return .ok
        }
        if reader.skip("ThreadSuffixSupported") {
            client = .lldb
            hasThreadSuffix = true
            chooseLayout()
            return .ok
        }
        if reader.skip("ListThreadsInStopReply") {
            knows.insert("threads-in-stop-reply")
            return .ok
        }
        if reader.skip("EnableErrorStrings") {
            hasErrorStrings = true
            return .ok
        }
        if reader.skip("NonStop:") {
            guard reader.number() == 0 else {
                throw RemoteFailure(.permission, "all vCPUs stop together: set non-stop off")
            }
            return .ok
        }
        if reader.skip("qemu.sstep=") { return try setStepMode(&reader) }
        if reader.skip("qemu.PhyMemMode:") {
            guard let number = reader.number(), number <= 1 else { throw .malformed("mode: 0 or 1") }
            isPhysical = number == 1
            return .ok
        }
        return .unsupported
    }

    private func respondToJSONQuery(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        reader.skip("ThreadsInfo") ? .binary(Array(threadsAsJSON.utf8)) : .unsupported
    }

    // MARK: the conversation

    /// What both sides can do.
    private func supported(_ reader: inout PacketReader) -> RemoteReply {
        if reader.skip(":") {
            for feature in reader.restText.split(separator: ";") where feature.hasSuffix("+") {
                knows.insert(String(feature.dropLast()))
            }
        }
        var features = [
            "PacketSize=\(hexNumber(Self.packetSize))", "QStartNoAckMode+", "qXfer:features:read+",
            "qXfer:threads:read+", "qXfer:memory-map:read+", "vContSupported+", "ConditionalBreakpoints+",
            "QThreadSuffixSupported+", "qemu.PhyMemMode+",
        ]
        for feature in ["swbreak", "hwbreak", "exec-events", "binary-upload", "error-message"]
        where knows.contains(feature) { features.append(feature + "+") }
        return .text(features.joined(separator: ";"))
    }

    private func transfer(_ reader: inout PacketReader) throws(RemoteFailure) -> RemoteReply {
        let object = reader.word(until: ":")
        guard reader.skip(":"), reader.skip("read:") else { return .unsupported }
        let annex = reader.word(until: ":")
        guard reader.skip(":"), let offset = reader.number(), reader.skip(","), let count = reader.number()
        else { throw .malformed("transfer") }
        let text: String
        switch (object, annex) {
        case ("features", "target.xml"): text = layout.targetDescription
        case ("threads", ""): text = threadsAsXML
        case ("memory-map", ""): text = Self.memoryMap
        case ("features", _), ("threads", _), ("memory-map", _):
            throw RemoteFailure(.malformed, "there is no \(object) named \(annex)")
        default: return .unsupported
        }
        let bytes = Array(text.utf8)
        guard offset <= UInt64(bytes.count) else { throw RemoteFailure(.malformed, "beyond the end") }
        // Each byte may be escaped, and a letter stands before them.
        let part = bytes[Int(offset)...].prefix(Int(min(count, UInt64(Self.packetSize / 2 - 1))))
        let isLast = Int(offset) + part.count == bytes.count
        return .binary([UInt8(ascii: isLast ? "l" : "m")] + part)
    }

    /// All addresses may be memory: which are is the page tables' to say, and those change. Two parts, as the length of
    /// all is no 64-bit number.
    private static let memoryMap = """
        <?xml version="1.0"?>
        <!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN" "http://sourceware.org/gdb/gdb-memory-map.dtd">
        <memory-map>
        <memory type="ram" start="0x0" length="0x8000000000000000"/>
        <memory type="ram" start="0x8000000000000000" length="0x8000000000000000"/>
        </memory-map>

        """

    private func detach() -> RemoteReply {
        reply(.ok)
        leave(hasDetached: true)
        return .later
    }

    /// The guest at its start again, stopped. What it is was said when kvmscope was started, so that a program's name and
    /// arguments are of no use.
    private func runAgain() throws(RemoteFailure) -> Stop {
        postponed = nil
        repeated = nil
        let stop = try attempt { () throws(DebuggerError) in try debugger.restart() }
        vcpu = stop.vcpu
        chooseLayout()
        return stop
    }

    /// A guest that was attached to is not ended: the client goes. One that can be started again is, and the client stays,
    /// where it has said that it may do so.
    private func kill() {
        guard options.ownsGuest else { return leave(hasDetached: true) }
        if isExtended, debugger.isRestartable, (try? debugger.kill()) != nil { return }
        session.end()
        leave()
    }
}
