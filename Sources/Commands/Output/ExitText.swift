public import KVMCore

extension VCPUExit {
    /// The exit with its payload on one line: `IO out 0xe9 1 byte 0x48`.
    public var text: String {
        let detail = payload
        return detail.isEmpty ? reason.description : "\(reason) \(detail)"
    }

    /// The payload alone; empty for exits that have none.
    var payload: String {
        switch self {
        case .unknown(let hardwareReason): "hardware reason \(Hex(hardwareReason))"
        case .exception(let vector, let errorCode): "vector \(vector) error code \(Hex(errorCode))"
        case .io(let access): access.text
        case .hypercall(let call):
            "number \(Hex(call.number)) arguments "
                + call.arguments.map { Hex($0).description }.joined(separator: " ")
        case .debug(let exit):
            "exception \(exit.exception) at \(Hex(exit.pc)) dr6 \(Hex(exit.dr6)) dr7 \(Hex(exit.dr7))"
        case .mmio(let access):
            "\(access.isWrite ? "write" : "read") \(Hex(access.gpa)) \(counted(access.data.count, "byte"))"
                + (access.isWrite ? " \(Hex(access.data.value))" : "")
        case .failEntry(let hardwareReason, let cpu):
            "hardware reason \(Hex(hardwareReason)) on host CPU \(cpu)"
        case .tprAccess(let rip, let isWrite): "\(isWrite ? "write" : "read") at \(Hex(rip))"
        case .internalError(let error):
            "suberror \(error.suberror)" + error.data.map { " \(Hex($0))" }.joined()
                + (error.instruction.isEmpty ? "" : " bytes \(Hex.bytes(error.instruction))")
        case .systemEvent(let type, let data):
            "type \(type)" + data.map { " \(Hex($0))" }.joined()
        case .ioapicEOI(let vector): "vector \(Hex(vector))"
        case .hyperV(let type, let payload), .xen(let type, let payload):
            if let known = hypervisor {
                known.name + known.fields.map { " \($0.name) \(Hex($0.value))" }.joined()
            } else {
                "type \(type) payload \(Hex.bytes(payload))"
            }
        case .readMSR(let access): "\(Hex(access.index))"
        case .writeMSR(let access): "\(Hex(access.index)) value \(Hex(access.data))"
        case .notify(let flags): "flags \(Hex(flags))"
        case .memoryFault(let flags, let gpa, let size):
            "\(Hex(gpa)) size \(Hex(size)) flags \(Hex(flags))"
        case .tdx(let call): call.text
        case .snpCertificates(let gpa, let pages): "\(counted(pages, "page")) at \(Hex(gpa))"
        case .other(let reason, let payload): "reason \(reason) payload \(Hex.bytes(payload))"
        case .hlt, .irqWindowOpen, .shutdown, .interrupted, .setTPR, .nmi, .watchdog, .dirtyRingFull,
            .apResetHold, .busLock:
            ""
        }
    }
}

extension PortIO {
    fileprivate var text: String {
        var text = direction == .out ? "out" : "in"
        text += " \(Hex(port)) \(counted(size, "byte"))"
        if count > 1 { text += " x\(count)" }
        if direction == .out {
            text += string.isEmpty ? " \(Hex(data.value))" : " " + Hex.bytes(string)
        }
        return text
    }
}

extension TDXCall {
    /// `GET_QUOTE gpa 0x1000 size 0x2000`; all words of a call that has no name here.
    fileprivate var text: String {
        guard let name else {
            return "number \(Hex(number)) words " + data.map { "\(Hex($0))" }.joined(separator: " ")
        }
        return name + named.map { " \($0.name) \(Hex($0.value))" }.joined()
    }
}
