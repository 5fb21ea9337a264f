import CKVM

extension VCPUExit {
    /// Decodes the exit that a copy of a `kvm_run` area holds, as a tracer of another process takes it. What
    /// is missing at the end counts as zero; nothing in it is trusted.
    public init(runArea: [UInt8]) {
        var bytes = runArea
        if bytes.count < RunLayout.size {
            bytes += [UInt8](repeating: 0, count: RunLayout.size - bytes.count)
        }
        // SAFETY: the copy is at least `struct kvm_run` long and outlives the decoding.
        self = bytes.withUnsafeMutableBytes { VCPUExit(page: $0) }
    }

    /// Decodes the exit that a `kvm_run` area holds.
    ///
    /// `page` is the whole mapping, at least `struct kvm_run` long; nothing in it is trusted. A payload that
    /// contradicts itself, or points outside the mapping, is given raw as ``other(reason:payload:)``.
    @inline(__always)
    init(page: UnsafeMutableRawBufferPointer) {
        // The reasons of a guest that is stepped or that does I/O come first and without a call.
        switch page.field(RunLayout.exitReason, as: UInt32.self) {
        case UInt32(KVM_EXIT_DEBUG):
            self = .debug(DebugExit(page: page))
        case UInt32(KVM_EXIT_IO):
            self = Self.portIO(page)
        case UInt32(KVM_EXIT_MMIO):
            self = Self.memoryMappedIO(page)
        case UInt32(KVM_EXIT_HLT):
            self = .hlt
        case let reason:
            self = Self.rare(reason, page)
        }
    }

    private static func rare(_ reason: UInt32, _ page: UnsafeMutableRawBufferPointer) -> VCPUExit {
        let payload = RunLayout.payload
        switch reason {
        case UInt32(KVM_EXIT_UNKNOWN):
            return .unknown(hardwareReason: page.field(payload))
        case UInt32(KVM_EXIT_EXCEPTION):
            return .exception(vector: page.field(payload), errorCode: page.field(payload + 4))
        case UInt32(KVM_EXIT_HYPERCALL):
            return .hypercall(
                Hypercall(
                    number: page.field(payload), arguments: words(page, at: payload + 8, count: 6),
                    flags: page.field(payload + 64)))
        case UInt32(KVM_EXIT_IRQ_WINDOW_OPEN): return .irqWindowOpen
        case UInt32(KVM_EXIT_SHUTDOWN): return .shutdown
        case UInt32(KVM_EXIT_FAIL_ENTRY):
            return .failEntry(hardwareReason: page.field(payload), cpu: page.field(payload + 8))
        case UInt32(KVM_EXIT_INTR): return .interrupted
        case UInt32(KVM_EXIT_SET_TPR): return .setTPR
        case UInt32(KVM_EXIT_TPR_ACCESS):
            return .tprAccess(
                rip: page.field(payload), isWrite: page.field(payload + 8, as: UInt32.self) != 0)
        case UInt32(KVM_EXIT_NMI): return .nmi
        case UInt32(KVM_EXIT_INTERNAL_ERROR): return .internalError(internalError(page))
        case UInt32(KVM_EXIT_WATCHDOG): return .watchdog
        case UInt32(KVM_EXIT_SYSTEM_EVENT):
            return .systemEvent(
                type: page.field(payload),
                data: words(page, at: payload + 8, count: page.field(payload + 4, as: UInt32.self)))
        case UInt32(KVM_EXIT_IOAPIC_EOI): return .ioapicEOI(vector: page.field(payload))
        case UInt32(KVM_EXIT_HYPERV):
            return .hyperV(
                type: page.field(payload),
                payload: bytes(page, at: payload + 8, count: MemoryLayout<kvm_hyperv_exit>.size - 8))
        case UInt32(KVM_EXIT_X86_RDMSR): return .readMSR(msr(page, isWrite: false))
        case UInt32(KVM_EXIT_X86_WRMSR): return .writeMSR(msr(page, isWrite: true))
        case UInt32(KVM_EXIT_DIRTY_RING_FULL): return .dirtyRingFull
        case UInt32(KVM_EXIT_AP_RESET_HOLD): return .apResetHold
        case UInt32(KVM_EXIT_X86_BUS_LOCK): return .busLock
        case UInt32(KVM_EXIT_XEN):
            return .xen(
                type: page.field(payload),
                payload: bytes(page, at: payload + 8, count: MemoryLayout<kvm_xen_exit>.size - 8))
        case UInt32(KVM_EXIT_NOTIFY): return .notify(flags: page.field(payload))
        case UInt32(KVM_EXIT_MEMORY_FAULT):
            return .memoryFault(
                flags: page.field(payload), gpa: page.field(payload + 8), size: page.field(payload + 16))
        case UInt32(KVM_EXIT_TDX):
            return .tdx(
                TDXCall(
                    flags: page.field(payload), number: page.field(payload + 8),
                    result: page.field(payload + 16), data: words(page, at: payload + 24, count: 5)))
        case UInt32(KVM_EXIT_SNP_REQ_CERTS):
            return .snpCertificates(gpa: page.field(payload), pages: page.field(payload + 8))
        default: return raw(reason, page)
        }
    }

    private static func portIO(_ page: UnsafeMutableRawBufferPointer) -> VCPUExit {
        guard let io = PortIOFields(page) else { return raw(UInt32(KVM_EXIT_IO), page) }
        var data: UInt64 = 0
        var string: [UInt8] = []
        if io.direction == .out {
            for index in 0..<io.size {
                data |= UInt64(page[io.offset + index]) << UInt64(index * 8)
            }
            if io.count > 1 { string = bytes(page, at: io.offset, count: io.length) }
        }
        return .io(
            PortIO(
                direction: io.direction, port: io.port, size: io.size, count: io.count,
                data: AccessData(value: data, count: io.size), string: string))
    }

    private static func memoryMappedIO(_ page: UnsafeMutableRawBufferPointer) -> VCPUExit {
        let payload = RunLayout.payload
        let length: UInt32 = page.field(payload + 16)
        guard (1...8).contains(length) else { return raw(UInt32(KVM_EXIT_MMIO), page) }
        let isWrite = page.field(payload + 20, as: UInt8.self) != 0
        return .mmio(
            MMIO(
                gpa: page.field(payload), isWrite: isWrite,
                data: AccessData(value: isWrite ? page.field(payload + 8) : 0, count: Int(length))))
    }

    private static func internalError(_ page: UnsafeMutableRawBufferPointer) -> InternalError {
        let payload = RunLayout.payload
        let suberror: UInt32 = page.field(payload)
        let data = words(page, at: payload + 8, count: page.field(payload + 4, as: UInt32.self))
        var instruction: [UInt8] = []
        // The flags and 16 bytes of instruction are counted in ndata; kernels before 5.14 give neither.
        let hasBytes = UInt64(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
        if suberror == UInt32(KVM_INTERNAL_ERROR_EMULATION), data.count >= 3, data[0] & hasBytes != 0 {
            let size: UInt8 = page.field(payload + 16)
            instruction = bytes(page, at: payload + 17, count: min(Int(size), 15))
        }
        return InternalError(suberror: suberror, data: data, instruction: instruction)
    }

    private static func msr(_ page: UnsafeMutableRawBufferPointer, isWrite: Bool) -> MSRAccess {
        let payload = RunLayout.payload
        return MSRAccess(
            index: page.field(payload + 12), data: isWrite ? page.field(payload + 16) : 0,
            why: page.field(payload + 8))
    }

    private static func raw(_ reason: UInt32, _ page: UnsafeMutableRawBufferPointer) -> VCPUExit {
        .other(reason: reason, payload: bytes(page, at: RunLayout.payload, count: RunLayout.payloadSize))
    }

    /// `count` words, 16 at most: no array in the payload has more.
    private static func words(_ page: UnsafeMutableRawBufferPointer, at offset: Int, count: UInt32)
        -> [UInt64]
    {
        (0..<Int(min(count, 16))).map { page.field(offset + $0 * 8) }
    }

    // SAFETY: the buffer checks the range, which the callers have checked against the page; the bytes are copied.
    private static func bytes(_ page: UnsafeMutableRawBufferPointer, at offset: Int, count: Int) -> [UInt8] {
        Array(UnsafeMutableRawBufferPointer(rebasing: page[offset..<offset + count]))
    }
}

extension DebugExit {
    /// The payload of a debug exit that a `kvm_run` area holds; `page` is at least `struct kvm_run` long.
    @inline(__always)
    package init(page: UnsafeMutableRawBufferPointer) {
        let payload = RunLayout.payload
        self.init(
            exception: page.field(payload), pc: page.field(payload + 8), dr6: page.field(payload + 16),
            dr7: page.field(payload + 24))
    }
}

/// The fields of KVM_EXIT_IO, once they have been found to make sense.
package struct PortIOFields {
    package let direction: PortIO.Direction
    package let port: UInt16
    /// 1, 2 or 4.
    package let size: Int
    /// 1 or more.
    package let count: Int
    /// Where the data is in the page: `length` bytes from here lie inside it.
    let offset: Int
    var length: Int { size * count }

    /// Nil for fields that contradict each other or lead outside of `page`, a vCPU's whole mapping.
    @inline(__always)
    package init?(_ page: UnsafeMutableRawBufferPointer) {
        let direction: UInt8 = page.field(RunLayout.ioDirection)
        let size: UInt8 = page.field(RunLayout.ioSize)
        let count: UInt32 = page.field(RunLayout.ioCount)
        let offset: UInt64 = page.field(RunLayout.ioDataOffset)
        guard let direction = PortIO.Direction(rawValue: direction), size == 1 || size == 2 || size == 4,
            count >= 1
        else { return nil }
        // No overflow: size is 4 at most and count has 32 bits.
        let length = UInt64(size) * UInt64(count)
        guard offset <= UInt64(page.count), length <= UInt64(page.count) - offset else { return nil }
        self.direction = direction
        self.port = page.field(RunLayout.ioPort)
        self.size = Int(size)
        self.count = Int(count)
        self.offset = Int(offset)
    }
}
