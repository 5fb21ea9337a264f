import KVMCore
import X86

/// What one vCPU's driver keeps of events.
struct EventState {
    /// What happened since it was last asked, conditions not yet looked at.
    var noted: [(BreakpointState, CaughtEvent.What)] = []
    /// What stopped this run, or came with what did.
    var caught: [CaughtEvent] = []
    /// The vCPU before the step at hand.
    var special = SpecialRegisters()
    var prefix: UInt64 = 0
    var prefixCount = 0
    /// Linear addresses of handlers that get debug registers for the step at hand.
    var handlers: [UInt64] = []
    var isMagicHere = false
    /// What the guest asked for by port 0x8A00.
    var request: IODebugPort.Request?
    /// A WRMSR that the filter stopped and that is done again, with RIP before it.
    var trapped: (access: MSRAccess, rip: UInt64)?
    /// The filter is off for the step at hand.
    var isFilterOff = false
    /// The vCPU shut down in this run.
    var shutdown: Shutdown?

    struct Shutdown {
        /// What the kernel had on its way into the guest.
        var events: VCPUEvents?
        var wasStepping: Bool
    }

    var isQuiet: Bool { noted.isEmpty && !isMagicHere && request == nil }

    /// INS and OUTS with REP may exit for each access: they are one event, all accesses together.
    mutating func note(_ counter: BreakpointState, _ what: CaughtEvent.What) {
        if case .io(let io) = what,
            let place = noted.lastIndex(where: { $0.0.number == counter.number }),
            case .io(let before) = noted[place].1, let both = before.followed(by: io)
        {
            noted[place].1 = .io(both)
        } else {
            noted.append((counter, what))
        }
    }

    mutating func begin() {
        noted.removeAll()
        caught.removeAll()
        isMagicHere = false
        request = nil
        trapped = nil
        shutdown = nil
    }
}

/// What a vCPU's driver does about catchpoints.
extension VCPUDriver {
    // MARK: exits

    /// Told of each exit that the target has handled, before it is completed.
    func exited(_ exit: VCPUExit) -> Bool {
        var isWanted = isStepping
        if armedSet.events.watchesExits {
            let found = armedSet.events.matching(exit)
            if !found.isEmpty {
                for (counter, what) in found { events.note(counter, what) }
                isWanted = true
            }
        }
        if let ioDebug = patching.ioDebug, case .io(let io) = exit, IODebugPort.ports.contains(io.port) {
            isWanted = note(io, ioDebug) || isWanted
        }
        return isWanted
    }

    private func note(_ io: PortIO, _ ioDebug: IODebugPort) -> Bool {
        guard io.direction == .out, io.size == 2, io.count == 1,
            let request = ioDebug.write(io.port, UInt16(truncatingIfNeeded: io.data.value))
        else { return false }
        events.request = request
        return true
    }

    /// An exit that nothing here can go on from; a HLT is noted where it is known to be one.
    func note(fatal exit: VCPUExit, _ vcpu: any VCPUAccess) {
        if case .shutdown = exit {
            events.shutdown = EventState.Shutdown(events: try? vcpu.events(), wasStepping: isStepping)
        }
        guard armedSet.events.watchesExits else { return }
        events.noted += armedSet.events.matching(exit)
    }

    /// The vCPU halts, by its exit or by a step over it.
    func noteHalt() {
        for entry in armedSet.events.entries {
            switch entry.event {
            case .hlt: events.noted.append((entry.counter, .hlt))
            case .exit(.hlt): events.noted.append((entry.counter, .exit(.hlt)))
            default: break
            }
        }
    }

    // MARK: steps

    /// Before a step, or a free run.
    func note(before special: SpecialRegisters, prefix: UInt64, count: Int) {
        blackBox.record(before, special, prefix: prefix, count: count)
        guard armedSet.events.watchesSteps else { return }
        events.special = special
        events.prefix = prefix
        events.prefixCount = count
        events.handlers.removeAll(keepingCapacity: true)
        let vectors = armedSet.events.vectors
        guard !vectors.isEmpty else { return }
        let delivery = InterruptDelivery(
            registers: before, view: LinearMemory(memory: memory, special: special))
        for vector in vectors where events.handlers.count < ArmedBreakpoints.capacity {
            guard case .arrives(let arrival) = delivery.deliver(vector, errorCode: nil, isSoftware: false),
                !events.handlers.contains(arrival.linear), arrival.linear != beforePC
            else { continue }
            events.handlers.append(arrival.linear)
        }
    }

    /// One instruction was executed, or an interrupt came in its place.
    func noteStep(_ registers: GeneralRegisters, _ special: SpecialRegisters, _ pc: UInt64) {
        if let trapped = events.trapped {
            events.trapped = nil
            note(msr: trapped.access.index, trapped.access.data)
        }
        if opcode == .halt { noteHalt() }
        guard armedSet.events.watchesSteps else { return }
        noteModeSwitch(registers, special)
        if let what = delivered(registers, special, pc) {
            noteInterrupt(what)
            // The instruction itself has not been executed.
            if case .interrupt(_, false, _) = what { return }
        }
        noteControl(special)
        let isLong = events.special.efer.contains(.lma) && events.special.cs.attributes.isLong
        let width = isLong ? 64 : events.special.cs.attributes.isBig ? 32 : 16
        switch EventOpcode(
            bytes: events.prefix, count: events.prefixCount, width: width, before: before, after: registers)
        {
        case .io(let io):
            for entry in armedSet.events.entries where entry.mechanism == .stepping {
                if case .io(let ports, let direction) = entry.event,
                    CatchEvent.matches(io, ports, direction)
                {
                    events.noted.append((entry.counter, .io(io)))
                }
            }
        case .writesMSR(let index, let value): note(msr: index, value)
        case .magic: events.isMagicHere = armedSet.events.isMagic
        case .none, .writesControl, .halt: break
        }
    }

    private func note(msr index: UInt32, _ value: UInt64) {
        for entry in armedSet.events.entries {
            if case .msr(let wanted) = entry.event, wanted ?? index == index {
                events.noted.append((entry.counter, .msr(index: index, value: value)))
            }
        }
    }

    private func noteModeSwitch(_ registers: GeneralRegisters, _ special: SpecialRegisters) {
        let from = ProcessorMode(CPUMode(before, events.special))
        let to = ProcessorMode(CPUMode(registers, special))
        guard from != to else { return }
        for entry in armedSet.events.entries where entry.event == .modeSwitch {
            events.noted.append((entry.counter, .modeSwitch(from: from, to: to)))
        }
    }

    private func noteControl(_ special: SpecialRegisters) {
        var written: CatchEvent.ControlRegister?
        let opcode = EventOpcode(
            bytes: events.prefix, count: events.prefixCount,
            width: events.special.efer.contains(.lma) && events.special.cs.attributes.isLong
                ? 64 : events.special.cs.attributes.isBig ? 32 : 16, before: before, after: before)
        if case .writesControl(let register) = opcode { written = register }
        for entry in armedSet.events.entries {
            guard case .control(let wanted) = entry.event else { continue }
            for register in CatchEvent.ControlRegister.allCases where wanted ?? register == register {
                let (old, new) = (events.special[register], special[register])
                // A write that changes nothing is one; and a task switch loads CR3.
                guard register == written || old != new else { continue }
                events.noted.append((entry.counter, .control(register, old: old, new: new)))
            }
        }
    }

    private func noteInterrupt(_ what: CaughtEvent.What) {
        guard case .interrupt(let vectors, let isSoftware, _) = what else { return }
        for entry in armedSet.events.entries {
            switch entry.event {
            case .interrupt(let vector) where vectors.contains(vector): break
            case .exception(let vector):
                // INT3, INTO and INT1 are exceptions to the processor; INT n is not.
                if isSoftware, before.isINTn(events.prefix, events.prefixCount) { continue }
                guard vectors.contains(where: { $0 < 32 && (vector ?? $0) == $0 }) else { continue }
            default: continue
            }
            events.noted.append((entry.counter, what))
        }
    }

    // MARK: verdicts

    /// As ``caught(_:_:)``, but not in the middle of INS or OUTS with REP: that is one event, and over at its end.
    func caughtByNow(_ verdict: Verdict, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        guard case .resume = verdict, let left = try leftOfString(vcpu) else {
            return try caught(verdict, vcpu)
        }
        // Where RIP stands on it although all is done, no further exit would come: it is stepped over.
        if left == 0, !isStepping {
            let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
            prepare(registers, special, pc: VCPUSnapshot.pc(registers, special))
            isStepping = true
            try arm(vcpu)
        }
        return nil
    }

    /// How many accesses are left, where the port I/O that was noted last is a part of the INS or OUTS with REP that
    /// RIP stands on; nil where it is not.
    private func leftOfString(_ vcpu: any VCPUAccess) throws(KVMError) -> UInt64? {
        guard case .io(let io)? = events.noted.last?.1 else { return nil }
        let (registers, special) = (try vcpu.registers(), try vcpu.specialRegisters())
        let pc = VCPUSnapshot.pc(registers, special)
        let first = Self.prefix(memory, special, pc)
        let isLong = special.efer.contains(.lma) && special.cs.attributes.isLong
        let width = isLong ? 64 : special.cs.attributes.isBig ? 32 : 16
        let opcode = OpcodeClass(bytes: first.bytes, count: first.count, isLong: isLong)
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
        if isStepping { return registers.rip == before.rip ? left : nil }
        // An OUT right before it, to the same port, is an event of its own.
        let isElsewhere = prefixes.contains { [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65].contains($0) }
        let isPart = io.direction == .in || isElsewhere || hasWritten(io, registers, special, mask)
        return isPart ? left : nil
    }

    /// What was written last stands behind (R)SI, as OUTS leaves it.
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
    func caught(_ verdict: Verdict, _ vcpu: any VCPUAccess) throws(KVMError) -> Verdict? {
        let noted = events.noted
        events.noted.removeAll(keepingCapacity: true)
        let isMagicHere = events.isMagicHere
        events.isMagicHere = false
        let request = events.request
        if !noted.isEmpty {
            let registers = try vcpu.registers()
            let special = try vcpu.specialRegisters()
            var seen: Set<Int> = []
            for (counter, what) in noted where seen.insert(counter.number).inserted {
                guard isTrue(counter.condition, registers, special, vcpu), counter.count() else { continue }
                events.caught.append(CaughtEvent(number: counter.number, what: what))
            }
        }
        if case .stop(let reason) = verdict {
            switch reason {
            case .step, .hlt, .breakpoint([]): break
            default: return nil
            }
            // Both are said.
            if case .breakpoint = reason, !hitNumbers.isEmpty { return nil }
        }
        if !events.caught.isEmpty { return .stop(.caught([])) }
        if isMagicHere { return .stop(.magicBreakpoint) }
        if let request { return .stop(.ioDebug(request)) }
        return nil
    }

    /// What was noted of an exit that the machine ended the guest at, so that nobody asked for a verdict.
    func countLeft(_ vcpu: any VCPUAccess) throws(KVMError) {
        guard !events.noted.isEmpty else { return }
        _ = try caught(.stop(.poweredOff), vcpu)
    }

    /// What this run came to.
    func takeEvents() -> [CaughtEvent] {
        defer { events.caught.removeAll() }
        return events.caught
    }

    // MARK: WRMSR

    /// A WRMSR that the filter stopped is done again by a step with the filter off, so that it does what it would
    /// have done, exceptions included.
    func claims(msr access: MSRAccess, _ vcpu: any VCPUAccess) throws(KVMError) -> Bool {
        // KVM_MSR_EXIT_REASON_FILTER.
        guard patching.msrTrap != nil, access.why & 4 != 0 else { return false }
        events.trapped = (access, try vcpu.registers().rip)
        return true
    }

    func decide(claimedMSR vcpu: any VCPUAccess) throws(KVMError) -> Verdict {
        guard let trapped = events.trapped else { return .resume }
        var registers = try vcpu.registers()
        registers.rip = trapped.rip
        try vcpu.setRegisters(registers)
        armed = nil
        let special = try vcpu.specialRegisters()
        prepare(registers, special, pc: VCPUSnapshot.pc(registers, special))
        isStepping = true
        events.isFilterOff = true
        try arm(vcpu)
        return .resume
    }

    /// The step at hand is a WRMSR that the filter must let pass; no other vCPU runs meanwhile.
    func beginUnfiltered() throws(KVMError) {
        guard events.isFilterOff else { return }
        hold()
        try patching.msrTrap?.trapMSRWrites(.none)
    }

    func endUnfiltered() throws(KVMError) {
        guard events.isFilterOff else { return }
        events.isFilterOff = false
        try patching.msrTrap?.trapMSRWrites(armedSet.events.trappedMSRs)
    }
}

extension GeneralRegisters {
    /// The bytes are INT n, behind prefixes or not.
    fileprivate func isINTn(_ prefix: UInt64, _ count: Int) -> Bool {
        for i in 0..<count {
            let byte = UInt8(truncatingIfNeeded: prefix >> UInt64(i * 8))
            if byte == 0xCD { return true }
            if byte == 0xCC || byte == 0xCE || byte == 0xF1 { return false }
        }
        return false
    }
}

extension PortIO {
    /// As much of a string is kept.
    private static let longestString = 4096

    /// Both as one, if they may be parts of the same instruction.
    fileprivate func followed(by next: PortIO) -> PortIO? {
        guard next.port == port, next.direction == direction, next.size == size else { return nil }
        var both = self
        both.count += next.count
        guard direction == .out else { return both }
        both.string = Array((bytes + next.bytes).prefix(Self.longestString))
        return both
    }

    private var bytes: [UInt8] {
        guard string.isEmpty else { return string }
        return (0..<data.count).map { UInt8(truncatingIfNeeded: data.value >> UInt64($0 * 8)) }
    }
}
