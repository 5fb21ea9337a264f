import Expressions
import KVMCore
import Synchronization
import X86

/// What drivers need of one breakpoint: fixed but for its counters, and used by all vCPUs' threads.
final class BreakpointState: Sendable {
    let number: Int
    /// A virtual breakpoint's: CS and IP must be these.
    let far: FarPlace?
    let condition: Expression?
    /// A front end's own condition, beside the user's.
    let program: (any StopCondition)?
    private let hitCount: Atomic<Int>
    private let ignoreCount: Atomic<Int>
    /// How often the guest was seen to have overwritten its patch.
    private let overwritingCount: Atomic<Int>

    struct FarPlace: Sendable, Hashable {
        var selector: UInt16
        var offset: UInt64
    }

    init(
        number: Int, far: FarPlace?, condition: Expression?, program: (any StopCondition)? = nil,
        hits: Int = 0, ignore: Int = 0, overwritings: Int = 0
    ) {
        self.number = number
        self.far = far
        self.condition = condition
        self.program = program
        hitCount = Atomic(hits)
        ignoreCount = Atomic(ignore)
        overwritingCount = Atomic(overwritings)
    }

    /// The same with another condition.
    func with(_ condition: Expression?) -> BreakpointState {
        BreakpointState(
            number: number, far: far, condition: condition, program: program, hits: hits,
            ignore: ignore, overwritings: overwritings)
    }

    var hits: Int { hitCount.load(ordering: .relaxed) }
    var overwritings: Int { overwritingCount.load(ordering: .relaxed) }
    func countOverwriting() { overwritingCount.wrappingAdd(1, ordering: .relaxed) }
    /// How many hits more are passed over.
    var ignore: Int { ignoreCount.load(ordering: .relaxed) }
    func setIgnore(_ count: Int) { ignoreCount.store(count, ordering: .relaxed) }

    /// A hit, its condition true. Whether it stops the guest.
    func count() -> Bool {
        hitCount.wrappingAdd(1, ordering: .relaxed)
        var left = ignoreCount.load(ordering: .relaxed)
        while left > 0 {
            let (done, now) = ignoreCount.compareExchange(
                expected: left, desired: left - 1, ordering: .relaxed)
            if done { return false }
            left = now
        }
        return true
    }
}

/// The enabled breakpoints and watchpoints as the drivers have them. Made new when they change, and never changed.
final class ArmedSet: Sendable {
    let registers: ArmedBreakpoints
    /// ``registers`` for steps after each of which the others are looked for.
    let dataRegisters: ArmedBreakpoints
    let hasExecutionRegisters: Bool
    let linear: PlaceTable
    let physical: PlaceTable
    /// Breakpoints of which only CS and IP are known.
    let ahead: [BreakpointState]
    /// Some place is looked for after each step.
    let hasPlaces: Bool
    /// Some breakpoint or watchpoint has no other way: all code is single-stepped.
    let needsStepping: Bool
    let hasPatches: Bool
    /// Some patch is an INT3, or may be at any moment.
    let hasINT3: Bool
    let watches: [WatchState]
    let events: ArmedEvents

    /// The same where INT3 leaves the guest.
    var trappingINT3: ArmedSet {
        ArmedSet(
            registers: registers, linear: linear, physical: physical, ahead: ahead,
            needsStepping: needsStepping, hasPatches: hasPatches, hasINT3: true, watches: watches,
            events: events)
    }

    static let none = ArmedSet(
        registers: ArmedBreakpoints(), linear: PlaceTable(), physical: PlaceTable(), needsStepping: false,
        hasPatches: false, hasINT3: false,
        watches: [])

    init(
        registers: ArmedBreakpoints, linear: PlaceTable, physical: PlaceTable,
        ahead: [BreakpointState] = [], needsStepping: Bool,
        hasPatches: Bool, hasINT3: Bool, watches: [WatchState],
        events: ArmedEvents = .none
    ) {
        self.events = events
        self.registers = registers
        dataRegisters = registers.dataOnly
        hasExecutionRegisters = registers.hasExecution
        self.linear = linear
        self.physical = physical
        self.ahead = ahead
        hasPlaces = !linear.isEmpty || !physical.isEmpty || !ahead.isEmpty
        self.needsStepping = needsStepping
        self.hasPatches = hasPatches
        self.hasINT3 = hasINT3
        self.watches = watches
    }
}
