import Commands
import DebugTarget
import Debugger
import X86

/// Stop replies.
extension RemoteSession {
    /// Tells the client that waits for it of a stop. One after which the registers have another layout is preceded by
    /// the news of that: GDB reads the target description again where a program begins another one.
    func tell(_ stop: Stop) {
        if needsWords(stop) { say(session.sentence(about: stop) + "\n") }
        let wanted = wantedArchitecture(of: stop.vcpu)
        if wanted != layout.architecture, knows.contains("exec-events") {
            chooseLayout()
            postponed = stop
            return reply(.bytes(layoutReply(stop)))
        }
        reply(.bytes(stopReply(stop)))
    }

    private func layoutReply(_ stop: Stop) -> [UInt8] {
        let name =
            switch layout.architecture {
            case .i8086: "16-bit code"
            case .i386: "32-bit code"
            case .long64: "64-bit code"
            }
        let digits = String(decoding: hexText(Array(name.utf8)), as: UTF8.self)
        return Array("T05exec:\(digits);thread:\(hexNumber(stop.vcpu + 1));".utf8)
    }

    /// GDB has no word for what happened: it is said as the guest's output.
    private func needsWords(_ stop: Stop) -> Bool {
        if stop.conditionFailure != nil { return true }
        switch stop.reason {
        case .step, .interrupted, .created, .reached: return false
        case .breakpoint(let numbers): return !numbers.contains(where: breakpoints.isSet)
        case .watchpoint(let hits): return !hits.contains { breakpoints.isSet($0.number) }
        default: return true
        }
    }

    /// `T05…`, or `W00` where there is no guest any more.
    /// - Parameter reason: false for a client that has not resumed: it asks where the guest stands.
    func stopReply(_ stop: Stop, reason: Bool = true) -> [UInt8] {
        if case .ended = stop.reason, reason { return Array("W00".utf8) }
        let signal = reason ? signal(of: stop) : 5
        var text = Array("T0\(hexNumber(signal))".utf8)
        if reason { text += Array(reasonField(stop).utf8) }
        text += stopFields(of: stop.vcpu, stop)
        if client == .lldb {
            text += Array("reason:\(reasonName(stop));".utf8)
            if knows.contains("threads-in-stop-reply") { text += Array("threads:\(threadList);".utf8) }
        }
        return text
    }

    /// The thread, and the registers that are looked at first.
    func stopFields(of id: Int, _ stop: Stop) -> [UInt8] {
        var text = Array("thread:\(hexNumber(id + 1));".utf8)
        guard let snapshot = stop[id] else { return text }
        for register in layout.expedited {
            let number = hexNumber(register.number)
            text += Array("\(number.count < 2 ? "0" : "")\(number):".utf8)
            text += bank.text(register, of: snapshot)
            text.append(UInt8(ascii: ";"))
        }
        return text
    }

    /// By GDB's numbers: 2 SIGINT, 4 SIGILL, 5 SIGTRAP, 6 SIGABRT, 11 SIGSEGV, 15 SIGTERM.
    private func signal(of stop: Stop) -> Int {
        switch stop.reason {
        case .interrupted: 2
        case .noProgress, .stepLost: 4
        case .internalError, .failEntry, .failed, .exit: 6
        case .tripleFault: 11
        case .poweredOff: 15
        default: 5
        }
    }

    private func reasonField(_ stop: Stop) -> String {
        switch stop.reason {
        case .breakpoint(let numbers):
            // A client may be told so only of what it has set itself, or it steps back over an INT3 of its own.
            switch numbers.lazy.compactMap(breakpoints.kind(of:)).first {
            case .software?: return knows.contains("swbreak") ? "swbreak:;" : ""
            case .hardware?: return knows.contains("hwbreak") ? "hwbreak:;" : ""
            default: return ""
            }
        case .watchpoint(let hits):
            guard let hit = hits.first(where: { breakpoints.isSet($0.number) }),
                let kind = breakpoints.kind(of: hit.number)
            else { return "" }
            let place: UInt64
            switch hit.address {
            case .linear(let value), .virtual(let value), .physical(let value): place = value
            case .segmented(_, let offset): place = offset
            }
            switch kind {
            case .write: return "watch:\(hexNumber(place));"
            case .read: return "rwatch:\(hexNumber(place));"
            case .access: return "awatch:\(hexNumber(place));"
            case .software, .hardware: return ""
            }
        default: return ""
        }
    }

    /// LLDB's word for it.
    func reasonName(_ stop: Stop) -> String {
        switch stop.reason {
        case .step, .reached: "trace"
        case .breakpoint: "breakpoint"
        case .watchpoint: "watchpoint"
        case .tripleFault, .internalError, .failEntry, .failed: "exception"
        default: "signal"
        }
    }
}
