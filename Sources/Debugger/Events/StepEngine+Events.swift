import DebugTarget
import KVMCore
import X86

/// Catchpoints: what happens is noted, and judged when the instruction is over.
extension StepEngine {
    // MARK: exits

    /// Told of each exit that the target has handled, before it is completed.
    mutating func exited(_ exit: VCPUExit) -> Bool {
        var isWanted = isStepping
        if events.note(exit, armedSet.events) { isWanted = true }
        if let ioDebug = patching.ioDebug, case .io(let io) = exit, IODebugPort.ports.contains(io.port) {
            isWanted = note(io, ioDebug) || isWanted
        }
        return isWanted
    }

    /// Told of each call of the BIOS that is done.
    mutating func called(_ call: FirmwareCall?) -> Bool {
        // Registers were written.
        armed = nil
        guard let call else { return isStepping }
        return events.note(call, armedSet.events) || isStepping
    }

    private mutating func note(_ io: PortIO, _ ioDebug: IODebugPort) -> Bool {
        guard io.direction == .out, io.size == 2, io.count == 1,
            let request = ioDebug.write(io.port, UInt16(truncatingIfNeeded: io.data.value))
        else { return false }
        events.request = request
        return true
    }

    /// An exit that nothing here can go on from; a HLT is noted where it is known to be one.
    mutating func note(fatal exit: VCPUExit, _ vcpu: any VCPUAccess) {
        if case .shutdown = exit {
            outcome.shutdown = RunOutcome.Shutdown(events: try? vcpu.events(), wasStepping: isStepping)
        }
        _ = events.note(exit, armedSet.events)
    }

    mutating func noteHalt() { events.noteHalt(armedSet.events) }

    // MARK: steps

    /// Before a step, or a free run.
    mutating func note(before special: SpecialRegisters, prefix: UInt64, count: Int) {
        blackBox.record(here.registers, special, prefix: prefix, count: count)
        events.prepare(here, special, prefix: prefix, count: count, armedSet.events, memory)
    }

    /// One instruction was executed, or an interrupt came in its place.
    mutating func noteStep(_ registers: GeneralRegisters, _ special: SpecialRegisters, _ pc: UInt64) {
        if let trapped = events.trapped {
            events.trapped = nil
            events.note(msr: trapped.access.index, trapped.access.data, armedSet.events)
        }
        if here.opcode.isHalt { noteHalt() }
        var entry: HandlerEntry?
        // An interrupt moves the stack pointer; most instructions do not.
        if registers.rsp != here.registers.rsp, let old = blackBox.last?.special {
            let arrival = InterruptArrival(place: here, old: old, memory: memory)
            entry = arrival.entry(registers, special)
            if let entry, !entry.isSoftware { arrival.book(entry, special, in: &blackBox) }
        }
        let first = entry.map { LinearMemory.prefix(memory, special, $0.arrival.linear) } ?? (0, 0)
        events.stepped(from: here, to: registers, special, armedSet.events, entry, first: first)
    }

    // MARK: verdicts

    /// As ``caught(_:_:)``, but not in the middle of INS or OUTS with REP: that is one event, and over at its end.
    mutating func caughtByNow(_ verdict: Verdict, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        guard case .resume = verdict, let left = try leftOfString(vcpu) else {
            return try caught(verdict, vcpu)
        }
        // Where RIP stands on it although all is done, no further exit would come: it is stepped over.
        if left == 0, !isStepping {
            try stepNext(try vcpu.registers(), try vcpu.specialRegisters(), vcpu)
        }
        return nil
    }

    /// How many accesses are left, where the port I/O that was noted last is a part of the INS or OUTS with REP that
    /// RIP stands on; nil where it is not.
    private func leftOfString(_ vcpu: any VCPUAccess) throws(KVMError) -> UInt64? {
        guard case .io(let io)? = events.noted.last?.what else { return nil }
        let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
        let pc = VCPUSnapshot.pc(registers, special)
        let first = LinearMemory.prefix(memory, special, pc)
        let width = special.codeWidth
        let opcode = OpcodeClass(bytes: first.bytes, count: first.count, isLong: width == 64)
        guard opcode == .repeatsString,
            case .io(let next) = EventOpcode(
                bytes: first.bytes, count: first.count, width: width, before: registers, after: registers),
            next.port == io.port, next.direction == io.direction, next.size == io.size
        else { return nil }
        // The counter is as wide as addresses are.
        let prefixes = (0..<first.count).map { UInt8(truncatingIfNeeded: first.bytes >> UInt64($0 * 8)) }
            .prefix { !(0x6C...0x6F).contains($0) }
        let isOther = prefixes.contains(0x67)
        let bits = width == 64 ? (isOther ? 32 : 64) : (width == 16) != isOther ? 16 : 32
        let mask: UInt64 = bits == 64 ? .max : 1 << UInt64(bits) - 1
        let left = registers.rcx & mask
        if isStepping { return registers.rip == here.registers.rip ? left : nil }
        // An OUT right before it, to the same port, is an event of its own.
        let isElsewhere = prefixes.contains { [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65].contains($0) }
        let isPart = io.direction == .in || isElsewhere || hasWritten(io, registers, special, mask)
        return isPart ? left : nil
    }

    /// What was written last lies right before (R)SI, as OUTS leaves it.
    private func hasWritten(
        _ io: PortIO, _ registers: GeneralRegisters, _ special: SpecialRegisters, _ mask: UInt64
    ) -> Bool {
        let isBackwards = registers.rflags.contains(.df)
        let size = UInt64(io.size)
        let source = isBackwards ? registers.rsi &+ size : registers.rsi &- size
        let linear = special.linear(.ds, source & mask, mode: CPUMode(registers, special))
        let view = LinearMemory(memory: memory, special: special)
        guard let word = view.word(view.cut(linear), size: io.size) else { return true }
        let last = io.string.suffix(io.size).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return word == (io.string.isEmpty ? io.data.value : last)
    }

    /// The verdict about what was noted; nil where it stops nothing, or something graver stops the guest anyway.
    mutating func caught(_ verdict: Verdict, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        let (noted, isMagicHere) = events.takeNoted()
        var caught: [CaughtEvent] = []
        if !noted.isEmpty {
            let now = scene(try vcpu.registers(), try vcpu.specialRegisters(), vcpu)
            var seen: Set<Int> = []
            for event in noted where seen.insert(event.counter.number).inserted {
                var scene = now
                // A condition asks for what the call was made with.
                if case .firmware(let call) = event.what { scene.registers.load(call.before) }
                guard breakpoints.stops(event.counter, scene) else { continue }
                caught.append(CaughtEvent(number: event.counter.number, what: event.what))
            }
        }
        outcome.caught += caught
        if case .stop(let reason) = verdict {
            switch reason {
            case .step, .hlt, .reached(.place): break
            default: return nil
            }
        }
        if !caught.isEmpty { return .stop(.caught(caught)) }
        if isMagicHere { return .stop(.magicBreakpoint) }
        if let request = events.request { return .stop(.ioDebug(request)) }
        return nil
    }

    /// What was noted of an exit that the machine ended the guest at, so that nobody asked for a verdict.
    mutating func countLeft(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard !events.noted.isEmpty else { return }
        _ = try caught(.stop(.poweredOff), vcpu)
    }

    // MARK: WRMSR

    /// A WRMSR that the filter stopped is done again by a step with the filter off, so that it does what it would
    /// have done, exceptions included.
    mutating func claims(msr access: MSRAccess, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        // KVM_MSR_EXIT_REASON_FILTER.
        guard patching.msrTrap != nil, access.why & 4 != 0 else { return false }
        events.trapped = EventWatcher.TrappedWrite(access: access, rip: try vcpu.registers().rip)
        return true
    }

    mutating func decide(claimedMSR vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        guard let trapped = events.trapped else { return .resume }
        var registers = try vcpu.registers()
        registers.rip = trapped.rip
        try vcpu.setRegisters(registers)
        armed = nil
        exclusive.wantsNoFilter = true
        try stepNext(registers, try vcpu.specialRegisters(), vcpu)
        return .resume
    }
}
