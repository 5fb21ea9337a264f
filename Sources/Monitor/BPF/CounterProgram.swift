import CLinux

/// The programs that count in the kernel, one a tracepoint: what ``ExitAccountant`` does, in BPF.
///
/// A key belongs to one thread, which alone writes it: nothing is locked. Registers: r6 is the record, r7 the thread, r8
/// the time, r9 the thread's state.
struct CounterProgram {
    private let layout: EventLayout
    let maps: Descriptors
    private let namespace: PIDNamespace?
    var code = ProgramAssembler()
    let end: ProgramAssembler.Label
    /// The thread's state has been looked for: it is known whether the thread has a slot.
    var hasState = false

    /// The maps, by their descriptors.
    struct Descriptors {
        var slots: Int32
        var slotCount: UInt32
        var near: Int32
        var claims: Int32
        var threads: Int32
        var timed: Int32
        var counted: Int32
        var totals: Int32
        var zero: Int32

        init(_ maps: CounterMaps) {
            slots = maps.slots.descriptor
            slotCount = maps.slotCount
            near = maps.near.descriptor
            claims = maps.claims.descriptor
            threads = maps.threads.descriptor
            timed = maps.timed.descriptor
            counted = maps.counted.descriptor
            totals = maps.totals.descriptor
            zero = maps.zero.descriptor
        }
    }

    /// The namespace whose thread ids are meant, where that is not the host's own.
    struct PIDNamespace: Sendable, Hashable {
        var device: UInt64
        var inode: UInt64

        /// This process's; nil for the host's own: PROC_PID_INIT_INO of <linux/proc_ns.h>.
        static var own: PIDNamespace? {
            var namespace = PIDNamespace(device: 0, inode: 0)
            guard clinux_pid_namespace(&namespace.device, &namespace.inode) == 0,
                namespace.inode != 0xEFFF_FFFC
            else { return nil }
            return namespace
        }
    }

    /// Helpers, by their numbers in <linux/bpf.h>.
    private enum Helper {
        static let lookup: Int32 = 1
        static let update: Int32 = 2
        static let time: Int32 = 5
        static let currentThread: Int32 = 14
        static let currentThreadInNamespace: Int32 = 120
    }

    static let frame: UInt8 = 10
    /// Of the stack, from the frame pointer.
    enum Stack {
        static let key = -16
        static let keyTag = -12
        static let keyCode = -8
        static let thread = -24
        static let zero = -32
        static let process = -40
        static let slot = -48
        /// Not 0 where another thread has the slot.
        static let isHashed = -56
        static let state = -56 - CounterMaps.State.size
    }

    private init(_ layout: EventLayout, _ maps: Descriptors, _ namespace: PIDNamespace?) {
        self.layout = layout
        self.maps = maps
        self.namespace = namespace
        end = code.label()
    }

    /// The program for an event.
    static func program(
        for layout: EventLayout, _ maps: Descriptors, _ namespace: PIDNamespace?
    ) -> [ProgramAssembler.Instruction] {
        var program = CounterProgram(layout, maps, namespace)
        switch layout.rule.role {
        case .exit, .entry, .userspaceExit: program.begin(needsTime: true)
        case .count: program.begin(needsTime: layout.rule.emulation != nil)
        case .timed: program.begin(needsTime: false)
        }
        switch layout.rule.role {
        case .exit: program.exit()
        case .entry: program.entry()
        case .userspaceExit: program.userspaceExit()
        case .count(let kind): program.count(kind)
        case .timed(let kind, let field): program.timed(kind, field)
        }
        return program.finished()
    }

    /// The program that counts the RIPs after each hardware exit; nil where the event does not have them.
    static func instructionPointers(
        of layout: EventLayout, _ maps: Descriptors, _ namespace: PIDNamespace?
    ) -> [ProgramAssembler.Instruction]? {
        guard let name = layout.rule.instructionPointer, let field = layout.named[name] else { return nil }
        var program = CounterProgram(layout, maps, namespace)
        program.begin(needsTime: false)
        program.buildCode()
        program.code.copy(1, 3)
        program.code.shiftLeft(1, 8)
        program.code.add(1, value: Int32(CounterKind.instructionPointer.rawValue))
        program.code.store(Self.frame, Stack.keyTag, 1, bytes: 4)
        program.code.load(3, 6, field.offset, bytes: field.size)
        program.addOne(tag: nil)
        return program.finished()
    }

    private mutating func finished() -> [ProgramAssembler.Instruction] {
        code.place(end)
        code.exit()
        return code.assembled()
    }

    // MARK: Parts

    private mutating func begin(needsTime: Bool) {
        code.copy(6, 1)
        if let namespace {
            code.set64(1, namespace.device)
            code.set64(2, namespace.inode)
            code.copy(3, Self.frame)
            code.add(3, value: Int32(Stack.process))
            code.set(4, 8)
            code.call(Helper.currentThreadInNamespace)
            // A thread outside of it has no number there: none of ours to name.
            code.jump(if: 0, .notEqual, 0, to: end)
            // struct bpf_pidns_info: pid, tgid.
            code.load(7, Self.frame, Stack.process, bytes: 4)
            code.load(1, Self.frame, Stack.process + 4, bytes: 4)
        } else {
            code.call(Helper.currentThread)
            code.copy(7, 0)
            code.shiftLeft(7, 32)
            code.shiftRight(7, 32)
            code.copy(1, 0)
            code.shiftRight(1, 32)
        }
        code.store(Self.frame, Stack.process, 1)
        code.store(Self.frame, Stack.thread, 7, bytes: 4)
        code.store(Self.frame, Stack.zero, value: 0)
        code.store(Self.frame, Stack.key, 7, bytes: 4)
        guard needsTime else { return }
        code.call(Helper.time)
        code.copy(8, 0)
    }

    /// r0 = the entry of a map, or 0.
    mutating func lookUp(_ map: Int32, key: Int) {
        code.map(1, map)
        code.copy(2, Self.frame)
        code.add(2, value: Int32(key))
        code.call(Helper.lookup)
    }

    /// Makes an entry, which is counted once it is there.
    mutating func enter(_ map: Int32, key: Int, value: Int) {
        code.copy(3, Self.frame)
        code.add(3, value: Int32(value))
        enterValue(map, key: key)
    }

    /// Likewise, where there is none: else on to `taken`.
    mutating func enter(_ map: Int32, key: Int, value: Int, orElse taken: ProgramAssembler.Label) {
        code.copy(3, Self.frame)
        code.add(3, value: Int32(value))
        // BPF_NOEXIST.
        update(map, key: key, flags: 1)
        code.jump(if: 0, .notEqual, 0, to: taken)
        add(to: CounterMaps.Totals.entered)
    }

    /// Makes an entry of the value at r3.
    mutating func enterValue(_ map: Int32, key: Int) {
        let isRefused = code.label()
        update(map, key: key, flags: 0)
        code.jump(if: 0, .notEqual, 0, to: isRefused)
        add(to: CounterMaps.Totals.entered)
        code.place(isRefused)
    }

    /// The value is at r3; r0 = 0 where it was taken.
    private mutating func update(_ map: Int32, key: Int, flags: Int32) {
        code.map(1, map)
        code.copy(2, Self.frame)
        code.add(2, value: Int32(key))
        code.set(4, flags)
        code.call(Helper.update)
    }

    /// One more of a word of the totals.
    mutating func add(to word: Int) {
        let none = code.label()
        lookUp(maps.totals, key: Stack.zero)
        code.jump(if: 0, .equal, 0, to: none)
        code.set(1, 1)
        code.addAtomically(0, word, 1)
        code.place(none)
    }

    /// r3 = the code of the event.
    private mutating func buildCode() {
        code.set(3, 0)
        for part in layout.code {
            code.load(1, 6, part.field.offset, bytes: part.field.size)
            let join = code.label()
            switch part.rule.test {
            case .isSet:
                code.jump(if: 1, .equal, 0, to: join)
                code.set(1, 1)
            case .equals(let value):
                let differs = code.label()
                code.jump(if: 1, .notEqual, Int32(value), to: differs)
                code.set(1, 1)
                code.jump(to: join)
                code.place(differs)
                code.set(1, 0)
            case nil: break
            }
            code.place(join)
            code.shiftRight(1, part.rule.shiftRight)
            code.shiftLeft(1, part.rule.shiftLeft)
            code.or(3, 1)
        }
    }

    // MARK: Programs

    /// An exit is counted at the entry after it, with its time; until then it is open, and who reads the states adds it.
    private mutating func exit() {
        findState()
        let isPaired = code.label()
        code.load(1, 9, CounterMaps.State.exitTime)
        code.jump(if: 1, .equal, 0, to: isPaired)
        add(to: CounterMaps.Totals.unpaired)
        code.place(isPaired)
        countOpen(.hardwareExit, CounterMaps.State.exitTime, CounterMaps.State.exitCode)
        buildCode()
        // Who reads the state meanwhile finds no time without its code.
        code.store(9, CounterMaps.State.exitCode, 3)
        code.store(9, CounterMaps.State.exitTime, 8)
        code.store(9, CounterMaps.State.hasHardwareExits, value: 1)
    }

    /// Counts an exit that is open though the next one has come.
    private mutating func countOpen(_ kind: CounterKind, _ time: Int, _ name: Int) {
        let none = code.label()
        code.load(1, 9, time)
        code.jump(if: 1, .equal, 0, to: none)
        code.load(3, 9, name)
        findTimed(kind, orElse: none)
        countOne()
        code.place(none)
    }

    private mutating func entry() {
        findState()
        for (kind, time, name) in [
            (CounterKind.hardwareExit, CounterMaps.State.exitTime, CounterMaps.State.exitCode),
            (.userspaceExit, CounterMaps.State.userspaceTime, CounterMaps.State.userspaceCode),
        ] {
            let (isLost, none) = (code.label(), code.label())
            code.load(1, 9, time)
            code.jump(if: 1, .equal, 0, to: none)
            code.load(3, 9, name)
            findTimed(kind, orElse: isLost)
            countOne()
            code.load(1, 9, time)
            code.copy(3, 8)
            code.subtract(3, 1)
            record()
            code.place(isLost)
            code.store(9, time, value: 0)
            code.place(none)
        }
    }

    private mutating func userspaceExit() {
        guard let reason = layout.named["reason"], let errno = layout.named["errno"] else { return }
        let (hasReason, isCoded, isCommitted) = (code.label(), code.label(), code.label())
        findState()
        countOpen(.userspaceExit, CounterMaps.State.userspaceTime, CounterMaps.State.userspaceCode)
        code.load(1, 6, errno.offset, bytes: 4)
        code.copy(2, 1)
        code.shiftRight(2, 31)
        code.jump(if: 2, .equal, 0, to: hasReason)
        code.negate(1)
        code.shiftLeft(1, 32)
        code.shiftRight(1, 32)
        code.set(3, 1)
        code.shiftLeft(3, 32)
        code.or(3, 1)
        code.jump(to: isCoded)
        code.place(hasReason)
        code.load(3, 6, reason.offset, bytes: 4)
        code.place(isCoded)
        code.store(9, CounterMaps.State.userspaceCode, 3)
        code.store(9, CounterMaps.State.userspaceTime, 8)
        code.store(9, CounterMaps.State.hasReturned, value: 1)

        code.load(1, 9, CounterMaps.State.emulated)
        code.jump(if: 1, .equal, 0, to: isCommitted)
        code.load(3, 9, CounterMaps.State.emulatedCode)
        findTimed(.emulation, orElse: isCommitted)
        countOne()
        code.load(3, 9, CounterMaps.State.emulated)
        code.add(3, value: -1)
        record()
        code.place(isCommitted)
        code.store(9, CounterMaps.State.emulated, value: 0)

        let isAccess = code.label()
        code.load(2, 9, CounterMaps.State.emulationStart)
        code.store(9, CounterMaps.State.emulationStart, value: 0)
        code.jump(if: 2, .equal, 0, to: end)
        code.load(1, 9, CounterMaps.State.hasHardwareExits)
        code.jump(if: 1, .notEqual, 0, to: end)
        code.load(1, 9, CounterMaps.State.userspaceCode)
        // KVM_EXIT_IO and KVM_EXIT_MMIO.
        code.jump(if: 1, .equal, 2, to: isAccess)
        code.jump(if: 1, .notEqual, 6, to: end)
        code.place(isAccess)
        code.store(9, CounterMaps.State.emulatedCode, 1)
        code.copy(3, 8)
        code.subtract(3, 2)
        code.add(3, value: 1)
        code.store(9, CounterMaps.State.emulated, 3)
    }

    private mutating func count(_ kind: CounterKind) {
        if let emulation = layout.rule.emulation, let field = layout.named[emulation.field] {
            let (isCompleted, isDone) = (code.label(), code.label())
            findState()
            code.load(1, 6, field.offset, bytes: field.size)
            code.jump(if: 1, .equal, Int32(emulation.completed), to: isCompleted)
            code.store(9, CounterMaps.State.emulationStart, 8)
            code.jump(to: isDone)
            code.place(isCompleted)
            // Only of an IN does nothing come before the exit.
            if kind == .port { code.store(9, CounterMaps.State.emulated, value: 0) }
            code.place(isDone)
        }
        if let ignored = layout.ignored {
            code.load(1, 6, ignored.field.offset, bytes: ignored.field.size)
            code.jump(if: 1, .equal, Int32(ignored.value), to: end)
        }
        buildCode()
        addOne(tag: kind)
    }

    private mutating func timed(_ kind: CounterKind, _ field: String) {
        guard let field = layout.named[field] else { return }
        buildCode()
        findTimed(kind, orElse: end)
        countOne()
        code.load(3, 6, field.offset, bytes: field.size)
        record()
    }
}
