import DebugTarget
import Expressions
public import X86

extension Debugger {
    /// By number, watchpoints too.
    public var breakpoints: [Breakpoint] { placement.table.list }

    /// How many there are.
    public var breakpointCount: Int { placement.table.count }

    /// The number of the one that was set last, of those that are still there.
    public var lastBreakpoint: Int? { placement.table.last }

    /// One that stops before the instruction at a linear address.
    public func breakpoint(atLinear address: UInt64) -> Breakpoint? {
        placement.table.first(atLinear: address)
    }

    public func breakpoint(_ number: Int) throws(DebuggerError) -> Breakpoint {
        try placement.table.entry(number).current
    }

    /// Sets a breakpoint, also while the guest runs. How it is done is chosen here, and what cannot be done fails
    /// here.
    ///
    /// A linear breakpoint's address is found now, by the selected vCPU's segments, and stays so; CS and IP of a virtual
    /// one are compared with what they are then, whatever mode that is in. Where its code
    /// is in memory is looked up again whenever the guest is stopped with other page tables.
    ///
    /// - Parameters:
    ///   - kind: nil for a physical one where `address` is physical, otherwise a linear one.
    ///   - condition: an expression; the guest stops only where it is not 0.
    ///   - program: a condition of a front end's own, beside the other.
    ///   - origin: who sets it, where that is not the session's user.
    ///   - needsRegister: by a debug register or not at all.
    /// - Throws: `.limit` where a debug register is needed and all four are in use, `.badAddress`, `.syntax`.
    @discardableResult
    public func setBreakpoint(
        at address: Address, kind: Breakpoint.Kind? = nil, isTemporary: Bool = false,
        condition: String? = nil, program: (any StopCondition)? = nil, origin: String? = nil,
        needsRegister: Bool = false
    ) throws(DebuggerError) -> Breakpoint {
        let expression = try condition.map { text throws(DebuggerError) in try self.condition(text) }
        var kind = kind ?? .linear
        if case .physical = address { kind = .physical }
        var linear: UInt64?
        var far: BreakpointState.FarPlace?
        switch kind {
        case .physical:
            guard case .physical = address else {
                return try setBreakpoint(
                    at: .physical(try physical(address)), isTemporary: isTemporary, condition: condition,
                    program: program, origin: origin, needsRegister: needsRegister)
            }
        case .virtual:
            guard case .segmented(let segment, let offset) = address else {
                throw DebuggerError(
                    .badAddress, "\(address) has no segment", remedy: "give SEG:OFF, as f000:fff0")
            }
            switch segment {
            case .selector(let selector): far = BreakpointState.FarPlace(selector: selector, offset: offset)
            case .register(let name):
                let selector = try known(nil).special[name].selector
                far = BreakpointState.FarPlace(selector: selector, offset: offset)
            }
            let snapshot = try known(nil)
            let isToCome = far.map { isAhead($0, snapshot) } ?? false
            guard !isToCome || !needsRegister else {
                throw DebuggerError(
                    .refused, "where \(address) will be in protected mode is not known yet",
                    remedy: "`vb` compares CS and IP by stepping until then")
            }
            if !isToCome { linear = try self.linear(address) }
        case .linear, .watch, .event: linear = try linearPlace(address)
        }
        return try changing { () throws(DebuggerError) in
            var entry = BreakpointTable.Entry(
                breakpoint: Breakpoint(
                    number: 0, kind: kind, address: address, linear: linear, isTemporary: isTemporary,
                    condition: condition, mechanism: .stepping),
                state: BreakpointState(number: 0, far: far, condition: expression))
            entry.breakpoint.isHardware = needsRegister
            entry.breakpoint.origin = origin
            try place(&entry, needsRegister: needsRegister)
            let number = placement.table.takeNumber()
            entry.breakpoint.number = number
            entry.state = BreakpointState(
                number: number, far: far, condition: expression, program: program)
            placement.table.append(entry)
            return entry.current
        }
    }

    /// The linear address of a breakpoint. One above 4 GiB is meant for 64-bit code, whatever the guest executes now: it
    /// is not cut as an access of the guest's would be.
    private func linearPlace(_ address: Address) throws(DebuggerError) -> UInt64 {
        if case .linear(let value) = address, value > 0xFFFF_FFFF { return value }
        return try linear(address)
    }

    /// Whether `text` can be a condition.
    ///
    /// - Throws: what is wrong with it, and where.
    public func checkCondition(_ text: String) throws(DebuggerError) { _ = try condition(text) }

    /// Reads a condition: what it names must be there, and it must not change the guest.
    func condition(_ text: String) throws(DebuggerError) -> Expression {
        let expression = try expression(text)
        guard !expression.changesGuest else {
            throw DebuggerError(
                .refused, "a condition cannot change the guest", column: 0,
                advice: .changeByCommands)
        }
        guard !expression.needsFPU else {
            throw DebuggerError(
                .refused, "a condition cannot look at the FPU, which no exit brings", column: 0,
                advice: .showFPUByCommands)
        }
        return expression
    }

    public func deleteBreakpoint(_ number: Int) throws(DebuggerError) {
        try deleteBreakpoints([number])
    }

    /// All of them or, where one does not exist, none.
    public func deleteBreakpoints(_ numbers: [Int]) throws(DebuggerError) {
        for number in numbers { _ = try placement.table.place(of: number) }
        try changing { () throws(DebuggerError) in
            for entry in placement.table.remove(Set(numbers)) where entry.breakpoint.isEnabled {
                displace(entry)
            }
        }
    }

    public func deleteAllBreakpoints() throws(DebuggerError) {
        try changing { () throws(DebuggerError) in
            for entry in placement.table.removeAll() where entry.breakpoint.isEnabled { displace(entry) }
        }
    }

    /// Enables or disables a breakpoint. A disabled one takes no debug register and leaves no patch; enabled
    /// again it may be done another way.
    public func setBreakpoint(_ number: Int, enabled: Bool) throws(DebuggerError) {
        try setBreakpoints([number], enabled: enabled)
    }

    /// Enables or disables several; a running guest is held once for all of them. Where one cannot be enabled, those
    /// in front of it are.
    public func setBreakpoints(_ numbers: [Int], enabled: Bool) throws(DebuggerError) {
        var wanted: [Int] = []
        for number in numbers where try placement.table.entry(number).breakpoint.isEnabled != enabled {
            wanted.append(number)
        }
        guard !wanted.isEmpty else { return }
        var failure: DebuggerError?
        try changing { () throws(DebuggerError) in
            do throws(DebuggerError) {
                for number in wanted { try change(number, enabled) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    private func change(_ number: Int, _ enabled: Bool) throws(DebuggerError) {
        var entry = try placement.table.entry(number)
        guard entry.breakpoint.isEnabled != enabled else { return }
        if enabled {
            if entry.watch != nil {
                try placeWatch(&entry)
            } else if let event = entry.breakpoint.event {
                entry.breakpoint.mechanism = try mechanism(of: event)
            } else {
                try place(&entry, needsRegister: entry.breakpoint.isHardware)
            }
        } else {
            displace(entry)
            entry.patches = []
            entry.data = []
        }
        entry.breakpoint.isEnabled = enabled
        try placement.table.replace(number) { $0 = entry }
    }

    /// Gives a breakpoint another condition; nil for none.
    public func setBreakpoint(_ number: Int, condition text: String?) throws(DebuggerError) {
        let expression = try text.map { text throws(DebuggerError) in try condition(text) }
        _ = try placement.table.place(of: number)
        try changing { () throws(DebuggerError) in
            try placement.table.replace(number) { entry in
                entry.breakpoint.condition = text
                entry.state = entry.state.with(expression)
                entry.watch = entry.watch?.with(entry.state)
            }
        }
    }

    /// Passes over the next `count` hits.
    public func setBreakpoint(_ number: Int, ignore count: Int) throws(DebuggerError) {
        guard count >= 0 else {
            throw DebuggerError(.outOfRange, "\(count) hits cannot be ignored", remedy: "give 0 or more")
        }
        try placement.table.entry(number).state.setIgnore(count)
    }

    /// What the session does after a stop at a breakpoint.
    public func setBreakpoint(_ number: Int, commands: [String]) throws(DebuggerError) {
        try changing { () throws(DebuggerError) in
            try placement.table.replace(number) { $0.breakpoint.commands = commands }
        }
    }

    // MARK: giving it to the drivers

    /// Makes a change of the table while no vCPU is in the guest, and gives it to the drivers: at once where they
    /// run, otherwise with their next order.
    func changing<R>(_ change: () throws(DebuggerError) -> R) throws(DebuggerError) -> R {
        // Where things are is asked of the guest as it is now.
        returnToPresent()
        // Nobody shares the table while it is changed, or each change would copy it.
        placement.armed = nil
        guard isRunning else {
            for vcpu in vcpus { vcpu.driver.give(ArmedSet.none) }
            let result = try change()
            try trapMSRs()
            return result
        }
        // Before a patch is planted that is an INT3: a vCPU that came to it any earlier would give it to the guest.
        if patching.kinds.contains(.int3), !placement.table.set.hasINT3 {
            try rearm(placement.table.set.trappingINT3)
        }
        let result = try whileHeld(change)
        try trapMSRs()
        let set = placement.table.set
        placement.armed = set
        for watch in set.watches { watch.remember(memory) }
        try rearm(set)
        return result
    }

    /// Gives the set to each vCPU that runs.
    private func rearm(_ set: ArmedSet) throws(DebuggerError) {
        do {
            for driver in vcpus.map(\.driver) {
                try target.withVCPU(driver.id) { vcpu in try driver.rearm(set, vcpu) }
            }
        } catch {
            throw DebuggerError("setting guest debug", error)
        }
    }

    /// Does something while no vCPU is in the guest.
    func whileHeld<R>(_ body: () throws(DebuggerError) -> R) throws(DebuggerError) -> R {
        patching.holder?.holdVCPUs(except: nil)
        defer { patching.holder?.releaseVCPUs(except: nil) }
        return try body()
    }

    /// Before the guest is resumed.
    func prepareBreakpoints() {
        if let set = placement.armed {
            for watch in set.watches { watch.remember(memory) }
            return
        }
        let set = placement.table.set
        placement.armed = set
        for vcpu in vcpus { vcpu.driver.give(set) }
        for watch in set.watches { watch.remember(memory) }
    }

    /// After a stop: temporary breakpoints that were hit go, and all others are where they belong.
    func settleBreakpoints(_ hits: [Int]) {
        guard !placement.table.isEmpty else { return }
        for number in hits.sorted() {
            stop.commands += (try? placement.table.entry(number).breakpoint.commands) ?? []
        }
        let gone = hits.filter { (try? placement.table.entry($0).breakpoint.isTemporary) ?? false }
        if !gone.isEmpty {
            // They exist, and nothing runs: nothing of this can fail.
            try? deleteBreakpoints(gone)
        }
        replaceBreakpoints()
    }
}
