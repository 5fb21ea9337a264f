import DebugTarget
import Debugger

/// `info io`.
struct DevicesOutput: CommandOutput, Hashable {
    struct Mounted: Sendable, Hashable, Encodable {
        var first: Hex
        var last: Hex
        var device: String
    }
    struct Unclaimed: Sendable, Hashable, Encodable {
        var address: Hex
        var reads: UInt64
        var writes: UInt64
        /// The widest access in bytes.
        var size: Int
        /// Absent where nothing was written.
        var written: Hex?

        init(_ access: UnclaimedAccess) {
            address = Hex(access.address)
            reads = access.reads
            writes = access.writes
            size = access.size
            written = access.written.map { Hex($0) }
        }
    }
    struct Delivered: Sendable, Hashable, Encodable {
        var vector: Hex
        var count: UInt64
    }
    /// Memory that the guest cannot write.
    struct ReadOnly: Sendable, Hashable, Encodable {
        var first: Hex
        var last: Hex
        /// False where the host's KVM has no read-only memory: the guest writes it like RAM.
        var protected: Bool
        /// The guest's writes that were dropped; absent where there was none.
        var dropped: Unclaimed?

        init(_ state: ROMState) {
            first = Hex(state.first)
            last = Hex(state.last)
            protected = state.isProtected
            dropped = state.dropped.map { Unclaimed($0) }
        }

        var line: StyledLine {
            let range = "ROM \(Hex.digits(first.value, width: 8))-\(Hex.digits(last.value, width: 8)): "
            guard protected else {
                return StyledLine(
                    range + "writable by the guest, because this KVM has no read-only memory "
                        + "(KVM_CAP_READONLY_MEM)", .warning)
            }
            guard let dropped else { return StyledLine(range + "the guest has not written to it.") }
            return StyledLine(
                range
                    + "\(counted(dropped.writes, "write")) of the guest dropped, the last of "
                    + "\(Hex(dropped.written?.value ?? 0)) at \(Hex.digits(dropped.address.value, width: 8)).",
                .warning)
        }
    }
    var ports: [Mounted]
    var memory: [Mounted]
    var unclaimedPorts: [Unclaimed]
    var unclaimedMemory: [Unclaimed]
    /// The last codes at port 80h, the oldest first.
    var postCodes: [Hex]
    /// Absent where there is no gate.
    var a20: Bool?
    var portReads: UInt64
    var memoryReads: UInt64
    var interrupts: UInt64
    var guestNanoseconds: UInt64
    var delivered: [Delivered]
    /// Absent where the machine has none.
    var rom: ReadOnly?
    var remarks: [String]

    init(_ state: DeviceState) {
        func mounted(_ all: [MountedDevice]) -> [Mounted] {
            all.map { Mounted(first: Hex($0.first), last: Hex($0.last), device: $0.name) }
        }
        func unclaimed(_ all: [UnclaimedAccess]) -> [Unclaimed] {
            all.map { Unclaimed($0) }
        }
        ports = mounted(state.ports)
        memory = mounted(state.memory)
        unclaimedPorts = unclaimed(state.unclaimedPorts)
        unclaimedMemory = unclaimed(state.unclaimedMemory)
        postCodes = state.postCodes.map { Hex($0) }
        a20 = state.isA20On
        portReads = state.inputs.portReads
        memoryReads = state.inputs.memoryReads
        interrupts = state.inputs.interrupts
        guestNanoseconds = state.inputs.time
        delivered = state.interrupts.map { Delivered(vector: Hex($0.vector), count: $0.count) }
        rom = state.rom.map { ReadOnly($0) }
        remarks = state.remarks
    }

    func lines(width: Int) -> [StyledLine] {
        var lines: [StyledLine] = []
        append(ports, "Ports", digits: 4, to: &lines)
        append(memory, "Memory", digits: 8, to: &lines)
        append(unclaimedPorts, "Nobody answered at ports", digits: 4, to: &lines)
        append(unclaimedMemory, "Nobody answered at addresses", digits: 8, to: &lines)
        if unclaimedPorts.isEmpty, unclaimedMemory.isEmpty {
            lines.append(StyledLine("Every access was answered.", .dim))
        }
        if let rom { lines.append(rom.line) }
        if !postCodes.isEmpty {
            lines.append(
                StyledLine(
                    "POST codes (port 80h): "
                        + postCodes.map { Hex.digits($0.value, width: 2) }.joined(separator: " ")))
        }
        if let a20 { lines.append(StyledLine("A20 is \(a20 ? "on" : "off").")) }
        lines.append(
            StyledLine(
                "Came in: \(counted(portReads, "port read")), \(counted(memoryReads, "MMIO read")), "
                    + counted(interrupts, "interrupt") + "."))
        if !delivered.isEmpty {
            lines.append(
                StyledLine(
                    "Interrupts by vector: "
                        + delivered.map { "\(Hex.digits($0.vector.value, width: 2))h x \(grouped($0.count))" }
                        .joined(separator: ", ")))
        }
        return lines + remarks.map { StyledLine($0, .warning) }
    }

    private func append(_ all: [Mounted], _ title: String, digits: Int, to lines: inout [StyledLine]) {
        guard !all.isEmpty else { return }
        lines.append(StyledLine(title, .heading))
        for one in all {
            let first = Hex.digits(one.first.value, width: digits)
            let range =
                one.first == one.last ? first : first + "-" + Hex.digits(one.last.value, width: digits)
            lines.append(StyledLine(" " + range.padded(digits * 2 + 1) + "  " + one.device))
        }
    }

    private func append(_ all: [Unclaimed], _ title: String, digits: Int, to lines: inout [StyledLine]) {
        guard !all.isEmpty else { return }
        lines.append(StyledLine(title, .heading))
        for one in all {
            var text = " " + Hex.digits(one.address.value, width: digits)
            if one.reads > 0 { text += "  \(counted(one.reads, "read"))" }
            if one.writes > 0 { text += "  \(counted(one.writes, "write"))" }
            if let written = one.written { text += ", the last of \(Hex(written.value))" }
            lines.append(StyledLine(text))
        }
    }
}

/// `info rtc`.
struct RealTimeClockOutput: CommandOutput, Hashable {
    /// In UTC, as 2025-01-31 12:00:00.
    var time: String
    var registerA: Hex
    var registerB: Hex
    var registerC: Hex
    /// The register that port 71h is.
    var index: Hex
    /// Hour, minute and second; absent for "any".
    var alarm: [Hex?]
    /// 128 bytes.
    var memory: [Hex]

    init(_ state: RealTimeClockState) {
        time = Self.text(state.seconds)
        registerA = Hex(state.statusA)
        registerB = Hex(state.statusB)
        registerC = Hex(state.statusC)
        index = Hex(state.index)
        alarm = state.alarm.map { $0 >= 0xC0 ? nil : Hex($0) }
        memory = state.memory.map { Hex($0) }
    }

    private static func text(_ seconds: Int64) -> String {
        let date = CalendarTime(seconds: seconds)
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(date.year)-\(two(date.month))-\(two(date.day)) "
            + [date.hour, date.minute, date.second].map(two).joined(separator: ":")
    }

    func lines(width: Int) -> [StyledLine] {
        func digits(_ value: Hex) -> String { Hex.digits(value.value, width: 2) }
        let alarm = alarm.map { $0.map(digits) ?? "any" }.joined(separator: ":")
        let enabled = [(6, "periodic"), (5, "alarm"), (4, "each second")]
            .filter { registerB.value >> UInt64($0.0) & 1 == 1 }.map(\.1)
        var lines = [
            StyledLine("Real-time clock: \(time) UTC", .heading),
            StyledLine(
                " A \(digits(registerA))  B \(digits(registerB))  C \(digits(registerC))  index \(digits(index))"
            ),
            StyledLine(
                " alarm \(alarm), interrupts: " + (enabled.isEmpty ? "none" : enabled.joined(separator: ", "))
            ),
        ]
        for start in stride(from: 0, to: memory.count, by: 16) {
            let row = memory[start..<min(start + 16, memory.count)].map(digits).joined(separator: " ")
            lines.append(StyledLine(" " + Hex.digits(UInt64(start), width: 2) + "  " + row, .dim))
        }
        return lines
    }
}

/// `show step-time`.
struct GuestTimeOutput: CommandOutput, Hashable {
    var stepNanoseconds: UInt64
    var guestNanoseconds: UInt64

    init(_ target: any GuestTimekeeping) {
        stepNanoseconds = target.stepTime.nanoseconds
        guestNanoseconds = target.guestTime.nanoseconds
    }

    func lines(width: Int) -> [StyledLine] {
        [
            StyledLine(
                "A stepped instruction takes \(grouped(stepNanoseconds)) ns; \(grouped(guestNanoseconds)) ns of the "
                    + "guest's time have passed.")
        ]
    }
}
