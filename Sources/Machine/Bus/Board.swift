import KVMCore
import Synchronization

/// What the machine did about an exit, and what is left for the vCPU's thread to do.
enum Handling: Sendable, Hashable {
    /// Done; nothing to answer.
    case done
    /// The value that an IN or an MMIO read gives.
    case answer(UInt64)
    /// INS with REP: all its bytes.
    case answerString([UInt8])
    /// The MSR does not exist: #GP.
    case refuseMSR
    case powerOff(PowerOff)
    /// Nothing here can go on from it.
    case fatal
}

/// The machine's buses, and what an exit means to them: a function of both, with no KVM in it.
struct Board: Sendable {
    let ports: Bus
    let memory: Bus

    /// All devices, as when the power comes on.
    func reset() {
        ports.reset()
        memory.reset()
    }

    func handle(_ exit: VCPUExit) -> Handling {
        switch exit {
        case .io(let io):
            return io.direction == .out ? write(io) : read(io)
        case .mmio(let mmio):
            guard mmio.isWrite else { return .answer(memory.read(mmio.gpa, size: mmio.data.count)) }
            return handling(memory.write(mmio.gpa, size: mmio.data.count, mmio.data.value))
        case .readMSR, .writeMSR:
            return .refuseMSR
        case .systemEvent(let type, _):
            // KVM_SYSTEM_EVENT_SHUTDOWN and KVM_SYSTEM_EVENT_RESET.
            return type == 1 || type == 2 ? .powerOff(PowerOff(.systemEvent, value: UInt64(type))) : .fatal
        case .interrupted, .irqWindowOpen, .setTPR, .tprAccess, .ioapicEOI, .busLock:
            // They tell user mode something; the guest goes on by itself.
            return .done
        case .notify(let flags):
            // KVM_NOTIFY_CONTEXT_INVALID: the vCPU's state is lost.
            return flags & 1 == 0 ? .done : .fatal
        case .unknown, .exception, .hypercall, .debug, .hlt, .shutdown, .failEntry, .nmi, .internalError,
            .watchdog, .hyperV, .dirtyRingFull, .apResetHold, .xen, .memoryFault, .tdx, .snpCertificates,
            .other:
            return .fatal
        }
    }

    private func handling(_ effect: DeviceEffect) -> Handling {
        switch effect {
        case .none: .done
        case .powerOff(let how): .powerOff(how)
        }
    }

    private func write(_ io: PortIO) -> Handling {
        guard io.count > 1 else {
            return handling(ports.write(UInt64(io.port), size: io.size, io.data.value))
        }
        var result = Handling.done
        for start in stride(from: 0, to: io.string.count - io.size + 1, by: io.size) {
            let value = (0..<io.size).reduce(UInt64(0)) {
                $0 | UInt64(io.string[start + $1]) << UInt64($1 * 8)
            }
            let one = handling(ports.write(UInt64(io.port), size: io.size, value))
            if result == .done { result = one }
        }
        return result
    }

    private func read(_ io: PortIO) -> Handling {
        guard io.count > 1 else { return .answer(ports.read(UInt64(io.port), size: io.size)) }
        var bytes = [UInt8]()
        bytes.reserveCapacity(io.count * io.size)
        for _ in 0..<io.count {
            let value = ports.read(UInt64(io.port), size: io.size)
            for i in 0..<io.size { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(i * 8))) }
        }
        return .answerString(bytes)
    }
}
