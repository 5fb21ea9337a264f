import DebugTarget
import KVMCore
import X86

/// The events of one vCPU that catchpoints look for: noted when they happen, judged when the instruction is over.
struct EventWatcher: Sendable {
    /// Something that a catchpoint looks for.
    struct Noted: Sendable {
        var counter: BreakpointState
        var what: CaughtEvent.What
    }

    /// What happened since it was last judged, conditions not yet looked at.
    private(set) var noted: [Noted] = []
    /// The vCPU before the step at hand, and the instruction's first bytes, where steps are looked at.
    private(set) var special = SpecialRegisters()
    private(set) var prefix: UInt64 = 0
    private(set) var prefixCount = 0
    /// Linear addresses of handlers that get debug registers for the step at hand.
    private(set) var handlers: [UInt64] = []
    private(set) var isMagicHere = false
    /// What the guest asked for by port 0x8A00.
    var request: IODebugPort.Request?
    /// A WRMSR that the filter stopped and that is done again, with RIP before it.
    var trapped: TrappedWrite?

    struct TrappedWrite: Sendable {
        var access: MSRAccess
        var rip: UInt64
    }

    var isQuiet: Bool { noted.isEmpty && !isMagicHere && request == nil }

    mutating func begin() {
        noted.removeAll()
        isMagicHere = false
        request = nil
        trapped = nil
    }

    /// What was noted so far, which is judged now.
    mutating func takeNoted() -> (events: [Noted], isMagic: Bool) {
        defer {
            noted.removeAll(keepingCapacity: true)
            isMagicHere = false
        }
        return (noted, isMagicHere)
    }

    // MARK: what happens

    /// INS and OUTS with REP may exit for each access: they are one event, all accesses together.
    mutating func note(_ counter: BreakpointState, _ what: CaughtEvent.What) {
        if case .io(let io) = what,
            let place = noted.lastIndex(where: { $0.counter.number == counter.number }),
            case .io(let before) = noted[place].what, let both = before.followed(by: io)
        {
            noted[place].what = .io(both)
        } else {
            noted.append(Noted(counter: counter, what: what))
        }
    }

    /// An exit, handled or not. Whether something looks for it.
    mutating func note(_ exit: VCPUExit, _ armed: ArmedEvents) -> Bool {
        guard armed.watchesExits else { return false }
        let found = armed.matching(exit)
        for (counter, what) in found { note(counter, what) }
        return !found.isEmpty
    }

    /// A call of the BIOS. Whether something looks for it.
    mutating func note(_ call: FirmwareCall, _ armed: ArmedEvents) -> Bool {
        guard armed.watchesExits else { return false }
        var isFound = false
        for entry in armed.entries {
            guard case .firmware(let vector, let function) = entry.event,
                vector ?? call.vector == call.vector,
                function ?? call.before.ah == call.before.ah
            else { continue }
            note(entry.counter, .firmware(call))
            isFound = true
        }
        return isFound
    }

    /// The vCPU halts, by its exit or by a step over it.
    mutating func noteHalt(_ armed: ArmedEvents) {
        for entry in armed.entries {
            switch entry.event {
            case .hlt: note(entry.counter, .hlt)
            case .exit(.hlt): note(entry.counter, .exit(.hlt))
            default: break
            }
        }
    }

    mutating func note(msr index: UInt32, _ value: UInt64, _ armed: ArmedEvents) {
        for entry in armed.entries {
            if case .msr(let wanted) = entry.event, wanted ?? index == index {
                note(entry.counter, .msr(index: index, value: value))
            }
        }
    }

    // MARK: steps that are looked at

    /// Before a step.
    mutating func prepare(
        _ place: InstructionAtHand, _ special: SpecialRegisters, prefix: UInt64, count: Int,
        _ armed: ArmedEvents, _ memory: any PhysicalMemory
    ) {
        if !handlers.isEmpty { handlers.removeAll(keepingCapacity: true) }
        guard armed.watchesSteps else { return }
        self.special = special
        self.prefix = prefix
        prefixCount = count
        guard !armed.vectors.isEmpty else { return }
        let delivery = InterruptDelivery(
            registers: place.registers, view: LinearMemory(memory: memory, special: special))
        for vector in armed.vectors where handlers.count < ArmedBreakpoints.capacity {
            guard case .arrives(let arrival) = delivery.deliver(vector, errorCode: nil, isSoftware: false),
                !handlers.contains(arrival.linear), arrival.linear != place.pc
            else { continue }
            handlers.append(arrival.linear)
        }
    }

    /// After a step: an interrupt that came in place of the instruction, or by it, is all that happened, but where the
    /// handler's first instruction was executed with it; otherwise the instruction was executed.
    ///
    /// - Parameter first: of the handler.
    mutating func stepped(
        from place: InstructionAtHand, to registers: GeneralRegisters, _ now: SpecialRegisters,
        _ armed: ArmedEvents, _ entry: HandlerEntry?, first: (bytes: UInt64, count: Int) = (0, 0)
    ) {
        guard armed.watchesSteps else { return }
        noteModeSwitch(from: place.registers, to: registers, now, armed)
        if let entry {
            if let what = entry.event(wanted: armed.vectors) { noteInterrupt(what, place, armed) }
            guard entry.isInside else { return }
            (prefix, prefixCount) = first
        }
        let width = entry == nil ? special.codeWidth : now.codeWidth
        noteControl(place.registers, now, armed, width)
        switch EventOpcode(
            bytes: prefix, count: prefixCount, width: width, before: place.registers, after: registers)
        {
        case .io(let io):
            for entry in armed.entries where entry.mechanism == .stepping {
                if case .io(let ports, let direction) = entry.event,
                    CatchEvent.matches(io, ports, direction)
                {
                    noted.append(Noted(counter: entry.counter, what: .io(io)))
                }
            }
        case .writesMSR(let index, let value): note(msr: index, value, armed)
        case .magic: isMagicHere = armed.isMagic
        case .none, .writesControl, .halt: break
        }
    }

    private mutating func noteModeSwitch(
        from before: GeneralRegisters, to registers: GeneralRegisters, _ now: SpecialRegisters,
        _ armed: ArmedEvents
    ) {
        let from = ProcessorMode(CPUMode(before, special))
        let to = ProcessorMode(CPUMode(registers, now))
        guard from != to else { return }
        for entry in armed.entries where entry.event == .modeSwitch {
            note(entry.counter, .modeSwitch(from: from, to: to))
        }
    }

    private mutating func noteControl(
        _ before: GeneralRegisters, _ now: SpecialRegisters, _ armed: ArmedEvents, _ width: Int
    ) {
        var written: CatchEvent.ControlRegister?
        let opcode = EventOpcode(
            bytes: prefix, count: prefixCount, width: width, before: before, after: before)
        if case .writesControl(let register) = opcode { written = register }
        for entry in armed.entries {
            guard case .control(let wanted) = entry.event else { continue }
            for register in CatchEvent.ControlRegister.allCases where wanted ?? register == register {
                let (old, new) = (special[register], now[register])
                // A write that changes nothing is one; and a task switch loads CR3.
                guard register == written || old != new else { continue }
                note(entry.counter, .control(register, old: old, new: new))
            }
        }
    }

    private mutating func noteInterrupt(
        _ what: CaughtEvent.What, _ place: InstructionAtHand, _ armed: ArmedEvents
    ) {
        guard case .interrupt(let vectors, let isSoftware, _) = what else { return }
        for entry in armed.entries {
            switch entry.event {
            case .interrupt(let vector) where vectors.contains(vector): break
            case .exception(let vector):
                // INT3, INTO and INT1 are exceptions to the processor; INT n is not.
                if isSoftware, isINTn { continue }
                let isReal = !special.cr0.contains(.pe)
                guard
                    vectors.contains(where: {
                        InterruptVector.isException($0, inRealMode: isReal) && (vector ?? $0) == $0
                    })
                else { continue }
            default: continue
            }
            note(entry.counter, what)
        }
    }

    /// The instruction is INT n, with prefixes or without.
    private var isINTn: Bool {
        for i in 0..<prefixCount {
            let byte = UInt8(truncatingIfNeeded: prefix >> UInt64(i * 8))
            if byte == 0xCD { return true }
            if byte == 0xCC || byte == 0xCE || byte == 0xF1 { return false }
        }
        return false
    }
}

extension SpecialRegisters {
    /// The width of code: 16, 32 or 64.
    var codeWidth: Int {
        if efer.contains(.lma), cs.attributes.isLong { return 64 }
        return cs.attributes.isBig ? 32 : 16
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

extension GeneralRegisters {
    /// Takes the registers that a call of the BIOS was made with.
    mutating func load(_ call: FirmwareRegisters) {
        func joined(_ register: UInt64, _ value: UInt32) -> UInt64 { register & ~0xFFFF_FFFF | UInt64(value) }
        rax = joined(rax, call.eax)
        rbx = joined(rbx, call.ebx)
        rcx = joined(rcx, call.ecx)
        rdx = joined(rdx, call.edx)
        rsi = joined(rsi, call.esi)
        rdi = joined(rdi, call.edi)
        rbp = joined(rbp, call.ebp)
    }
}
