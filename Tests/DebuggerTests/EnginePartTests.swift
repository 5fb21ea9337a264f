import DebugTarget
import Disassembler
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Debugger

/// The parts of a vCPU's engine, each alone.
@Suite struct EnginePartTests {
    private let ram = FakeMemory(size: 1 << 16)

    private func put(_ gpa: UInt64, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try ram.write(gpa, $0) }
    }

    private var real: SpecialRegisters {
        var special = SpecialRegisters()
        for name in SegmentName.allCases { special[name] = .real(0, code: name == .cs) }
        special.idt = DescriptorTable(base: 0, limit: 0x3FF)
        return special
    }

    private func place(_ code: [UInt8], _ registers: GeneralRegisters) throws -> InstructionAtHand {
        try put(registers.rip, code)
        let first = LinearMemory.prefix(ram, real, registers.rip)
        var place = InstructionAtHand(registers: registers)
        place.move(
            registers, real, pc: registers.rip, prefix: first.bytes, count: first.count, memory: ram)
        return place
    }

    private func at(_ ip: UInt64, sp: UInt64 = 0x7000, flags: RFlags = .reserved1) -> GeneralRegisters {
        var registers = GeneralRegisters()
        registers.rip = ip
        registers.rsp = sp
        registers.rflags = flags
        return registers
    }

    // MARK: the instruction at hand

    @Test func whereAnInstructionLeads() throws {
        try put(0x80, [0x00, 0x7D, 0, 0])
        let interrupt = try place([0xCD, 0x20], at(0x7C00))
        #expect(interrupt.opcode == .softwareInterrupt(vector: 0x20) && interrupt.handler == 0x7D00)
        let end = try place([0xE6, 0x80], at(0xFFFE))
        #expect(end.handler == nil)
        for (ip, leads) in [(UInt64(0xFFFE), true), (0x10000, true), (0, true), (0xD, true), (0xE, false)] {
            #expect(end.leadsOn(to: ip) == leads, "\(ip)")
        }
        #expect(end.isPrivileged && !end.isPaging)
    }

    // MARK: TF

    @Test func theGuestsTrapFlagIsShownWhereKVMHidesIt() {
        var tracker = TrapFlagTracker()
        tracker.begin(at(0, flags: [.reserved1, .tf]))
        #expect(tracker.isSet && tracker.shown(at(0)) == at(0))
        tracker.isHidden = true
        #expect(tracker.shown(at(0)).rflags.contains(.tf))
        #expect(tracker.settled(at(0)).rflags.contains(.tf))
        tracker.begin(at(0))
        #expect(!tracker.shown(at(0)).rflags.contains(.tf))
        #expect(!tracker.settled(at(0, flags: [.reserved1, .tf])).rflags.contains(.tf))
    }

    @Test(
        arguments: [
            // popf; iret, which has IP and CS in front; both with TF on the stack. STI loads no flags: as it was.
            ([0x9D], [0x02, 0x01] as [UInt8], true), ([0xCF], [0, 0, 0, 0, 0x02, 0x01], true),
            ([0x9D], [0x02, 0x00], false), ([0xCF], [1, 1, 1, 1, 0x02, 0x00], false),
        ] as [([UInt8], [UInt8], Bool)])
    func whatLoadsFlagsIsReadFromTheStack(_ code: [UInt8], _ stack: [UInt8], _ expected: Bool) throws {
        try put(0x7C00, code)
        try put(0x7000, stack)
        let registers = at(0x7C00)
        let view = LinearMemory(memory: ram, special: real)
        let instruction = Debugger.decodeNext(
            VCPUSnapshot(id: 0, registers: registers, special: real, activity: .stopped), view)
        for isSet in [false, true] {
            var tracker = TrapFlagTracker()
            tracker.isSet = isSet
            #expect(tracker.value(after: instruction, registers, view) { nil } == expected)
            #expect(tracker.value(after: nil, registers, view) { nil } == isSet)
        }
    }

    @Test func whatAnExceptionPushedIsFoundAndMended() throws {
        // div cx at 7C00; FLAGS with TF, CS and IP below 7000.
        let before = try place([0xF7, 0xF1], at(0x7C00))
        try put(0x6FFA, [0x00, 0x7C, 0, 0, 0x02, 0x01])
        let stack = StackImage(LinearMemory(memory: ram, special: real))
        #expect(stack.address(at(0, sp: 0xFFFF), 3) == 2, "SP is of 16 bits")
        let flags = try #require(stack.flagsOfException(at: before, at(0x7D00, sp: 0x6FFA)))
        #expect(flags == 0x6FFE)
        stack.mend(flagsAt: flags, to: false)
        #expect(ram.word(0x6FFE, size: 2) == 2)
        stack.mend(flagsAt: flags, to: true)
        #expect(ram.word(0x6FFE, size: 2) == 0x102)
        // The handler's first instruction has pushed something.
        #expect(stack.flagsOfException(at: before, at(0x7D01, sp: 0x6FF8)) == 0x6FFE)
        // Another return address; and a CALL, under which an old frame lies.
        try put(0x6FFA, [0x02, 0x7C])
        #expect(stack.flagsOfException(at: before, at(0x7D00, sp: 0x6FFA)) == nil)
        try put(0x6FFA, [0x00, 0x7C])
        let call = try place([0xE8, 0xFD, 0x00], at(0x7C00))
        #expect(stack.flagsOfException(at: call, at(0x7D00, sp: 0x6FFE)) == nil)
    }

    // MARK: guest debug, HLT, long steps

    @Test func guestDebugIsWhatTheMomentNeeds() {
        #expect(GuestDebugNeeds().guestDebug == .off)
        var needs = GuestDebugNeeds(isStepping: true)
        #expect(needs.guestDebug.control == [.enable, .singleStep])
        needs.holdsOffInterrupts = true
        needs.places.insert(0x7C00)
        needs.places.insert(0x7D00)
        needs.steppedPlace = 0x7C00
        needs.trapsINT3 = true
        let wanted = needs.guestDebug
        #expect(
            wanted.control
                == [.enable, .singleStep, .blockInterrupts, .hardwareBreakpoints, .softwareBreakpoints])
        #expect(wanted.dr7 == 0x400 | 8, "not the one that is stepped")
        needs.isStepping = false
        #expect(needs.guestDebug.dr7 == 0x400 | 2 | 8)
        #expect(!needs.guestDebug.control.contains(.blockInterrupts), "a free run takes interrupts")
    }

    @Test func theExitOfAHaltThatWasSteppedIsDueOnce() {
        var halt = HaltTracker()
        var due = halt.takeDue()
        #expect(!due)
        halt.stepped(isHalt: true)
        #expect(halt.wasPassed && halt.isDue)
        halt.begin()
        #expect(!halt.wasPassed && halt.isDue, "it is KVM's, not the order's")
        halt.stepped(isHalt: false)
        due = halt.takeDue()
        #expect(due && !halt.isDue)
        halt.stepped(isHalt: true, isDelivered: true)
        #expect(halt.wasPassed && !halt.isDue)
        halt.stepped(isHalt: true, sleepsInKernel: true)
        #expect(!halt.isDue)
    }

    @Test func aStepIsLostWhereRegistersMoveAndNoExitComes() {
        var pace = StepPace()
        var moved = at(0x7C00)
        moved.rax = 1
        func look(_ steps: Int, _ now: GeneralRegisters, _ counter: UInt64? = nil) -> StepPace.LongStep {
            pace.look(steps: steps, now, before: at(0x7C00), counter: counter)
        }
        var looks = [look(0, moved)]
        #expect(looks == [.lost] && pace.isLost)
        pace.begin()
        #expect(!pace.isLost)
        // It has not begun, for two looks; then it got on.
        looks = [look(0, at(0x7C00)), look(0, at(0x7C00)), look(3, at(0x7C00))]
        #expect(looks == [.goesOn(nil), .goesOn(nil), .goesOn(nil)])
        // REP: RCX goes down, and then no more.
        var left = at(0x7C00)
        left.rcx = 5
        looks = [look(3, left), look(3, left, 5)]
        #expect(looks == [.goesOn(5), .lost])
    }

    // MARK: breakpoints and watched memory

    private func armed(_ states: [(UInt64, BreakpointState)], physical: [(UInt64, BreakpointState)] = [])
        -> ArmedSet
    {
        var (linear, other) = (PlaceTable(), PlaceTable())
        for (place, state) in states { linear.append(state, at: place) }
        for (place, state) in physical { other.append(state, at: place) }
        return ArmedSet(
            registers: ArmedBreakpoints(), linear: linear, physical: other, needsStepping: false,
            hasPatches: false, hasINT3: false, watches: [])
    }

    @Test func breakpointsAreMatchedByAddressSegmentConditionAndCount() throws {
        let (debugger, _) = try debugger()
        let never = try debugger.condition("$ax == 1")
        let debug = try debugger.condition("$dr6 == 5")
        let bad = try debugger.condition("*(int*)0x7fffffff")
        let far = BreakpointState.FarPlace(selector: 0x10, offset: 0x7C00)
        let ignored = BreakpointState(number: 6, far: nil, condition: nil, ignore: 1)
        var matcher = BreakpointMatcher()
        matcher.set = armed(
            [
                (0x7C00, BreakpointState(number: 1, far: nil, condition: nil)),
                (0x7C00, BreakpointState(number: 2, far: nil, condition: never)),
                (0x7C00, BreakpointState(number: 3, far: far, condition: nil)),
                (0x7C00, BreakpointState(number: 4, far: nil, condition: debug)),
                (0x7C00, ignored), (0x7D00, BreakpointState(number: 7, far: nil, condition: bad)),
            ], physical: [(0x7C00, BreakpointState(number: 5, far: nil, condition: nil))])
        var asked = 0
        func scene(_ ip: UInt64, ax: UInt64 = 0, debug: UInt64 = 0) -> BreakpointMatcher.Scene {
            var registers = at(ip)
            registers.rax = ax
            return BreakpointMatcher.Scene(registers: registers, special: real, memory: ram) {
                asked += 1
                var debugRegisters = DebugRegisters()
                debugRegisters.dr6 = debug
                return debugRegisters
            }
        }
        #expect(matcher.isBreakpoint(0x7C00, real, ram) && !matcher.isBreakpoint(0x7C01, real, ram))
        var hits = matcher.hits(scene(0x7C00))
        #expect(hits == [1, 5])
        #expect(asked == 1, "the debug registers are read for the one condition that needs them")
        hits = matcher.hits(scene(0x7C00, ax: 1, debug: 5))
        #expect(hits == [1, 2, 4, 6, 5] && ignored.hits == 2)
        hits = matcher.hits(scene(0x7C01))
        #expect(hits == [] && matcher.conditionFailure == nil)
        hits = matcher.hits(scene(0x7D00))
        #expect(hits == [7] && matcher.conditionFailure?.code == .unreadable)
        matcher.begin()
        #expect(matcher.conditionFailure == nil)
    }

    @Test func accessesAreComparedWithWhatIsWatched() throws {
        let counter = BreakpointState(number: 3, far: nil, condition: nil)
        let watch = WatchState(
            counter: counter, address: .linear(0x5002), linear: 0x5002, access: .write,
            pieces: [WatchState.Piece(gpa: 0x5002, offset: 0, count: 2)], length: 2,
            mechanism: .pageProtection)
        try put(0x5000, [1, 2, 3, 4])
        var watcher = AccessWatcher()
        let write = MMIO(gpa: 0x5000, isWrite: true, data: AccessData(value: 0x0D0C_0B0A, count: 4))
        var answer = watcher.access(write, [watch], ram)
        #expect(answer.isSeen)
        #expect(ram.word(0x5000, size: 4) == 0x0D0C_0B0A, "the write is done")
        #expect(watcher.noted.map(\.number) == [3])
        #expect(watcher.noted.first?.old == 0x0403 && watcher.noted.first?.new == 0x0D0C)
        // Several accesses of one instruction count once.
        _ = watcher.access(write, [watch], ram)
        var hits = watcher.judge([watch]) { $0.count() }
        #expect(hits.count == 2 && counter.hits == 1 && watcher.isQuiet)
        let read = MMIO(gpa: 0x5002, isWrite: false, data: AccessData(value: 0, count: 2))
        answer = watcher.access(read, [watch], ram)
        #expect(answer.value == 0x0D0C && !answer.isSeen)
        _ = watcher.access(write, [watch], ram)
        hits = watcher.judge([watch]) { _ in false }
        #expect(hits.isEmpty && watcher.isQuiet)
    }

    // MARK: events

    @Test func partsOfOneStringAreOneEvent() {
        let counter = BreakpointState(number: 1, far: nil, condition: nil)
        var watcher = EventWatcher()
        let byte = PortIO(direction: .out, port: 0xE9, size: 1, data: AccessData(value: 0x41, count: 1))
        watcher.note(counter, .io(byte))
        watcher.note(counter, .io(byte))
        watcher.note(counter, .hlt)
        let (events, isMagic) = watcher.takeNoted()
        #expect(events.count == 2 && !isMagic && watcher.isQuiet)
        guard case .io(let io)? = events.first?.what else {
            Issue.record("\(events)")
            return
        }
        #expect(io.string == [0x41, 0x41])
    }

    /// An interrupt comes in place of an OUT, which has not been done then; what the handler begins with may have been.
    @Test func anInterruptInPlaceOfAnInstructionIsNotThatInstruction() throws {
        let state = BreakpointState(number: 1, far: nil, condition: nil)
        let event = CatchEvent.io(ports: 0x20...0x21, direction: .out)
        let armed = ArmedEvents(
            [ArmedEvents.Entry(event: event, counter: state, mechanism: .stepping)], isMagic: false)
        var watcher = EventWatcher()
        // out 0x21, al
        let here = try place([0xE6, 0x21], at(0x7C00))
        func ports(_ entry: HandlerEntry?, first: UInt64) -> [UInt16] {
            watcher.prepare(here, real, prefix: 0x21E6, count: 8, armed, ram)
            watcher.stepped(
                from: here, to: at(entry == nil ? 0x7C02 : 0x7D00), real, armed, entry, first: (first, 8))
            return watcher.takeNoted().events.compactMap {
                if case .io(let io) = $0.what { io.port } else { nil }
            }
        }
        let arrival = InterruptDelivery.Arrival(linear: 0x7D00, frame: 0x6FFA, width: 2)
        var entry = HandlerEntry(vectors: [0x20], isSoftware: false, isInside: false, arrival: arrival)
        #expect(ports(nil, first: 0x20E6) == [0x21])
        #expect(ports(entry, first: 0x20E6) == [])
        entry.isInside = true
        #expect(ports(entry, first: 0x20E6) == [0x20], "the handler's first instruction is done")
        #expect(ports(entry, first: 0x9090) == [])
    }

    @Test func aHandlerThatNobodyLooksForAnyMoreIsLeftOut() throws {
        try put(13 * 4, [0x00, 0x7D, 0, 0])
        let state = BreakpointState(number: 1, far: nil, condition: nil)
        let caught = ArmedEvents(
            [ArmedEvents.Entry(event: .exception(13), counter: state, mechanism: .stepping)], isMagic: false)
        var watcher = EventWatcher()
        let here = try place([0x90], at(0x7C00))
        watcher.prepare(here, real, prefix: 0x90, count: 1, caught, ram)
        #expect(watcher.handlers == [0x7D00])
        watcher.prepare(here, real, prefix: 0x90, count: 1, .none, ram)
        #expect(watcher.handlers.isEmpty)
    }
}
