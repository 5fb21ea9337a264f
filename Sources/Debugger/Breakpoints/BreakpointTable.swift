import DebugTarget
import Symbols
import X86

/// The breakpoints and watchpoints by number, and what of them the drivers compare with.
struct BreakpointTable: Sendable {
    /// One of them with what is behind it.
    struct Entry: Sendable {
        var breakpoint: Breakpoint
        var state: BreakpointState
        /// Where its patches stand.
        var patches: [UInt64] = []
        var watch: WatchState?
        /// Linear addresses, lengths and kinds of the debug registers that a watchpoint takes.
        var data: [DataRegister] = []

        /// As it is at the moment.
        var current: Breakpoint {
            var breakpoint = breakpoint
            breakpoint.hits = state.hits
            breakpoint.ignore = state.ignore
            breakpoint.overwritings = state.overwritings
            return breakpoint
        }
    }

    struct DataRegister: Sendable, Hashable {
        var linear: UInt64
        var length: Int
        var writesOnly: Bool
    }

    /// By number. Taking one out leaves a hole, so that the many behind it do not move each time.
    private var slots: [Entry?] = []
    private var numbers: [Int] = []
    private var holes = 0
    private var lastNumber = 0
    /// The enabled ones by what they compare.
    private(set) var linear = PlaceTable()
    private var physical = PlaceTable()
    /// Those of which only CS and IP are known, by number.
    private var ahead: [Int: BreakpointState] = [:]
    /// Addresses in the execution registers, and how many breakpoints share each.
    private var registers: [UInt64: Int] = [:]
    /// The enabled watchpoints and catchpoints, by number: taking one of many out costs no more than of few.
    private var watchesByNumber: [Int: WatchState] = [:]
    private var catchesByNumber: [Int: ArmedEvents.Entry] = [:]
    /// The watchpoints that protect a page.
    private var watchesOfPage: [UInt64: [Int: WatchState]] = [:]
    /// The MSRs that catchpoints have trapped, and how many share each; nil stands for all of them.
    private var caughtMSRs: [UInt32?: Int] = [:]
    private var dataRegisters: [DataRegister] = []
    private var steppingCount = 0
    private var patchCount = 0
    private var int3Count = 0
    /// `xchg bx, bx` stops the guest; this stands beside the breakpoints and has no number.
    var isMagic = false
    /// All is stepped, for the black box.
    var isTraced = false

    /// The enabled watchpoints, by number.
    var watches: [WatchState] {
        watchesByNumber.isEmpty ? [] : watchesByNumber.sorted { $0.key < $1.key }.map(\.value)
    }

    /// The enabled watchpoints that protect a page.
    func watches(protecting page: UInt64) -> some Collection<WatchState> {
        (watchesOfPage[page] ?? [:]).values
    }

    /// The number of the last one.
    var last: Int? { slots.last { $0 != nil }??.breakpoint.number }

    var entries: [Entry] { slots.compactMap { $0 } }
    var count: Int { slots.count - holes }
    /// As they are now, by number.
    var list: [Breakpoint] { slots.compactMap { $0?.current } }
    var isEmpty: Bool { count == 0 }

    mutating func takeNumber() -> Int {
        lastNumber += 1
        return lastNumber
    }

    /// - Precondition: the entry's number is the last that was taken.
    mutating func append(_ entry: Entry) {
        slots.append(entry)
        numbers.append(entry.breakpoint.number)
        if entry.breakpoint.isEnabled { activate(entry) }
    }

    func place(of number: Int) throws(DebuggerError) -> Int {
        let place = numbers.partition { $0 >= number }
        if place < numbers.count, numbers[place] == number, slots[place] != nil { return place }
        var remedy = "none is set"
        if !isEmpty {
            let known = slots.lazy.compactMap { $0?.breakpoint.number }.prefix(20)
            remedy = "there are " + known.map(String.init).joined(separator: ", ")
            if count > 20 { remedy += " and \(count - 20) more" }
        }
        throw DebuggerError(.noBreakpoint, "there is no breakpoint \(number)", remedy: remedy)
    }

    func entry(_ number: Int) throws(DebuggerError) -> Entry {
        let place = try place(of: number)
        guard let entry = slots[place] else {
            throw DebuggerError(.noBreakpoint, "there is no breakpoint \(number)")
        }
        return entry
    }

    /// Takes out those of these numbers, and gives them back.
    mutating func remove(_ numbers: Set<Int>) -> [Entry] {
        var removed: [Entry] = []
        for number in numbers.sorted() {
            guard let place = try? place(of: number), let entry = slots[place] else { continue }
            if entry.breakpoint.isEnabled { deactivate(entry) }
            slots[place] = nil
            holes += 1
            removed.append(entry)
        }
        // Closing the holes costs what is left: it is done when as many are gone.
        if holes > max(64, count) {
            slots.removeAll { $0 == nil }
            self.numbers = slots.compactMap { $0?.breakpoint.number }
            holes = 0
        }
        return removed
    }

    mutating func removeAll() -> [Entry] {
        let all = entries
        let (last, magic, traced) = (lastNumber, isMagic, isTraced)
        self = BreakpointTable()
        (lastNumber, isMagic, isTraced) = (last, magic, traced)
        return all
    }

    /// Changes one of them.
    mutating func replace(_ number: Int, _ change: (inout Entry) -> Void) throws(DebuggerError) {
        let place = try place(of: number)
        guard var entry = slots[place] else { return }
        if entry.breakpoint.isEnabled { deactivate(entry) }
        change(&entry)
        slots[place] = entry
        if entry.breakpoint.isEnabled { activate(entry) }
    }

    // MARK: what is armed

    private mutating func activate(_ entry: Entry) {
        let breakpoint = entry.breakpoint
        if let event = breakpoint.event {
            catchesByNumber[breakpoint.number] = ArmedEvents.Entry(
                event: event, counter: entry.state, mechanism: breakpoint.mechanism)
            if let index = Self.trappedMSR(breakpoint) { caughtMSRs[index, default: 0] += 1 }
        } else if let watch = entry.watch {
            watchesByNumber[breakpoint.number] = watch
            for page in Self.protectedPages(watch) {
                watchesOfPage[page, default: [:]][breakpoint.number] = watch
            }
            dataRegisters += entry.data
        } else if let address = breakpoint.linear {
            linear.append(entry.state, at: address)
        } else if case .physical(let gpa) = breakpoint.address {
            physical.append(entry.state, at: gpa)
        } else {
            ahead[breakpoint.number] = entry.state
        }
        switch breakpoint.mechanism {
        case .debugRegister:
            if entry.watch == nil, let place = registerAddress(breakpoint) {
                registers[place, default: 0] += 1
            }
        case .stepping: steppingCount += 1
        case .int3:
            patchCount += 1
            int3Count += 1
        case .portOut: patchCount += 1
        case .pageProtection, .exit, .msrFilter: break
        }
    }

    private mutating func deactivate(_ entry: Entry) {
        let breakpoint = entry.breakpoint
        if breakpoint.event != nil {
            catchesByNumber[breakpoint.number] = nil
            if let index = Self.trappedMSR(breakpoint), let count = caughtMSRs[index] {
                caughtMSRs[index] = count > 1 ? count - 1 : nil
            }
        } else if let watch = entry.watch {
            watchesByNumber[breakpoint.number] = nil
            for page in Self.protectedPages(watch) {
                watchesOfPage[page]?[breakpoint.number] = nil
                if watchesOfPage[page]?.isEmpty == true { watchesOfPage[page] = nil }
            }
            for register in entry.data {
                if let place = dataRegisters.firstIndex(of: register) { dataRegisters.remove(at: place) }
            }
        } else if let address = breakpoint.linear {
            linear.remove(breakpoint.number, at: address)
        } else if case .physical(let gpa) = breakpoint.address {
            physical.remove(breakpoint.number, at: gpa)
        } else {
            ahead[breakpoint.number] = nil
        }
        switch breakpoint.mechanism {
        case .debugRegister:
            if entry.watch == nil, let place = registerAddress(breakpoint), let count = registers[place] {
                registers[place] = count > 1 ? count - 1 : nil
            }
        case .stepping: steppingCount -= 1
        case .int3:
            patchCount -= 1
            int3Count -= 1
        case .portOut: patchCount -= 1
        case .pageProtection, .exit, .msrFilter: break
        }
    }

    private static func protectedPages(_ watch: WatchState) -> Set<UInt64> {
        watch.mechanism == .pageProtection ? Set(watch.pages) : []
    }

    /// The MSR whose writes leave the guest for a catchpoint, nil in it for all; nil where it traps none.
    private static func trappedMSR(_ breakpoint: Breakpoint) -> UInt32?? {
        guard breakpoint.mechanism == .msrFilter, case .msr(let index) = breakpoint.event else { return nil }
        return .some(index)
    }

    /// The MSRs whose writes leave the guest.
    var trappedMSRs: TrappedMSRs {
        if caughtMSRs.isEmpty { return .none }
        guard caughtMSRs[nil] == nil, caughtMSRs.count <= TrappedMSRs.most else { return .all }
        return .these(Set(caughtMSRs.keys.compactMap { $0 }))
    }

    /// The linear address that a debug register compares. Without paging a physical address is one.
    private func registerAddress(_ breakpoint: Breakpoint) -> UInt64? {
        if let linear = breakpoint.linear { return linear }
        if case .physical(let gpa) = breakpoint.address { return gpa }
        return nil
    }

    /// The registers in use.
    var registersInUse: Int { registers.count + dataRegisters.count }

    /// Whether an execution breakpoint at `linear` finds a register, with `reserve` of them left.
    func hasRegister(for linear: UInt64, reserve: Int = 0) -> Bool {
        registers[linear] != nil || registersInUse + reserve < ArmedBreakpoints.capacity
    }

    /// What the debug registers hold. Data breakpoints come first, in the watchpoints' order.
    var armed: ArmedBreakpoints {
        var armed = ArmedBreakpoints()
        for register in dataRegisters {
            _ = armed.insert(
                data: register.linear, length: register.length, writesOnly: register.writesOnly)
        }
        for address in registers.keys.sorted() { armed.insert(address) }
        return armed
    }

    /// What the drivers get.
    var set: ArmedSet {
        ArmedSet(
            registers: armed, linear: linear, physical: physical, ahead: ahead.map(\.value),
            needsStepping: steppingCount > 0 || isMagic || isTraced, hasPatches: patchCount > 0,
            hasINT3: int3Count > 0,
            watches: watches,
            events: events)
    }

    /// The enabled catchpoints.
    var events: ArmedEvents {
        guard !catchesByNumber.isEmpty || isMagic else { return .none }
        return ArmedEvents(catchesByNumber.sorted { $0.key < $1.key }.map(\.value), isMagic: isMagic)
    }

    /// The breakpoints at a linear address, disabled ones too.
    func first(atLinear address: UInt64) -> Breakpoint? {
        if let state = linear[address]?.first, let entry = try? entry(state.number) { return entry.current }
        guard count < 1000 else { return nil }
        return entries.first { $0.watch == nil && $0.breakpoint.linear == address }?.current
    }
}
