import DebugTarget
import KVMCore
public import X86

extension Debugger {
    /// Watches memory: the guest stops after an instruction that accesses it.
    ///
    /// Writes are seen by debug registers where those fire; otherwise by the page's protection, which sees reads,
    /// too, and every access with its exact bytes. Where neither can be, as on the page of a stack, every
    /// instruction is stepped and what it changed is found by comparison.
    ///
    /// - Parameter length: in bytes, 1 or more.
    /// - Throws: `.unreadable` where a byte has no memory, `.refused` where reads cannot be seen, `.outOfRange`.
    @discardableResult
    public func setWatchpoint(
        at address: Address, length: Int, access: Breakpoint.Access, condition: String? = nil,
        origin: String? = nil
    ) throws(DebuggerError) -> Breakpoint {
        try checkWatchLength(length)
        let expression = try condition.map { text throws(DebuggerError) in try self.condition(text) }
        var linear: UInt64?
        if case .physical = address {} else { linear = try self.linear(address) }
        return try changing { () throws(DebuggerError) in
            var entry = BreakpointTable.Entry(
                breakpoint: Breakpoint(
                    number: 0, kind: .watch, address: address, linear: linear, length: length, access: access,
                    condition: condition, mechanism: .stepping),
                state: BreakpointState(number: 0, far: nil, condition: expression))
            // Placing it needs its number.
            let number = placement.table.takeNumber()
            entry.breakpoint.number = number
            entry.breakpoint.origin = origin
            entry.state = BreakpointState(number: number, far: nil, condition: expression)
            try placeWatch(&entry)
            return entry.current
        }
    }

    private func checkWatchLength(_ length: Int) throws(DebuggerError) {
        guard (1...Self.maximumTransfer).contains(length) else {
            throw DebuggerError(
                .outOfRange, "\(length) bytes cannot be watched",
                remedy: "give 1 to \(Self.maximumTransfer) (\(Self.maximumTransfer >> 20) MiB)")
        }
    }

    /// Chooses how a watchpoint is done, does it, and puts it into the placement.table.
    func placeWatch(_ entry: inout BreakpointTable.Entry) throws(DebuggerError) {
        let breakpoint = entry.breakpoint
        guard let access = breakpoint.access else { return }
        let pieces = try watchPieces(breakpoint)
        func state(_ mechanism: Breakpoint.Mechanism) -> WatchState {
            WatchState(
                counter: entry.state, address: breakpoint.address, linear: breakpoint.linear, access: access,
                pieces: pieces, length: breakpoint.length, mechanism: mechanism)
        }
        let isNew = (try? placement.table.place(of: breakpoint.number)) == nil
        func enter(_ mechanism: Breakpoint.Mechanism, _ data: [BreakpointTable.DataRegister] = [])
            throws(DebuggerError)
        {
            entry.breakpoint.mechanism = mechanism
            entry.breakpoint.isEnabled = true
            entry.watch = state(mechanism)
            entry.data = data
            let entered = entry
            if isNew {
                placement.table.append(entered)
            } else {
                try placement.table.replace(breakpoint.number) { $0 = entered }
            }
        }
        if access != .read, patching.facilities.worksEverywhere(.dataBreakpoint),
            let linear = breakpoint.linear,
            let data = dataRegisters(linear, breakpoint.length, access)
        {
            return try enter(.debugRegister, data)
        }
        if patching.protector != nil, try mayProtect(state(.pageProtection)) {
            try enter(.pageProtection)
            for page in state(.pageProtection).pages where !protect(page) {
                try withdraw(entry, isNew)
                throw DebuggerError(
                    .refused, "the page at \(hex(page)) cannot be protected",
                    remedy: "KVM may have no memory slots left: delete other watchpoints")
            }
            return
        }
        guard access == .write || patching.protector != nil else {
            throw DebuggerError(
                .refused,
                "reads of \(breakpoint.address) cannot be watched: this host's debug registers do not see them, and the "
                    + "pages of this guest are not ours to protect",
                advice: .watchWrites)
        }
        guard access == .write else {
            throw DebuggerError(
                .refused,
                "reads of \(breakpoint.address) cannot be watched: code, a stack or tables that the processor uses are "
                    + "on the same page",
                advice: .watchWrites)
        }
        guard breakpoint.length <= WatchState.largestShadow else {
            throw DebuggerError(
                .refused, "\(breakpoint.length) bytes are too many to be compared after each step",
                remedy: "watch \(WatchState.largestShadow) at most here, where pages cannot be protected")
        }
        let now = CodeContext(selected.registers, selected.special)
        guard patching.facilities.works(.singleStep, in: now) else {
            throw DebuggerError(
                .refused,
                "\(breakpoint.address) cannot be watched: neither debug registers nor single-step see what "
                    + "\(now.name) does on this host",
                advice: .showHost)
        }
        try enter(.stepping)
    }

    private func withdraw(_ entry: BreakpointTable.Entry, _ isNew: Bool) throws(DebuggerError) {
        if isNew {
            _ = placement.table.remove([entry.breakpoint.number])
        } else {
            try placement.table.replace(entry.breakpoint.number) { $0.breakpoint.isEnabled = false }
        }
        displace(entry)
    }

    /// Where the watched bytes are in physical memory; all of them must be there.
    private func watchPieces(_ breakpoint: Breakpoint) throws(DebuggerError) -> [WatchState.Piece] {
        let view = view(of: try known(nil))
        let all: [LinearMemory.Piece]
        if case .physical(let gpa) = breakpoint.address {
            all = [LinearMemory.Piece(gpa: gpa, range: 0..<breakpoint.length)]
        } else {
            all = try view.pieces(breakpoint.linear ?? 0, count: breakpoint.length, breakpoint.address)
        }
        let regions = target.memory.regions
        for piece in all {
            let end = piece.gpa &+ UInt64(piece.range.count)
            guard regions.contains(where: { $0.gpa <= piece.gpa && end <= $0.gpa &+ $0.size }),
                end > piece.gpa
            else {
                throw DebuggerError(
                    .unreadable, "\(breakpoint.address) cannot be watched: no memory is at \(hex(piece.gpa))",
                    advice: .catchDeviceAccesses)
            }
        }
        return all.map { WatchState.Piece(gpa: $0.gpa, offset: $0.range.lowerBound, count: $0.range.count) }
    }

    /// The debug registers that cover the range, if so many are left.
    private func dataRegisters(
        _ linear: UInt64, _ length: Int, _ access: Breakpoint.Access
    ) -> [BreakpointTable.DataRegister]? {
        var result: [BreakpointTable.DataRegister] = []
        var place = linear
        let end = linear &+ UInt64(length)
        while place != end {
            guard placement.table.registersInUse + result.count < ArmedBreakpoints.capacity else {
                return nil
            }
            let isLong = selected.special.efer.contains(.lma)
            let size = [8, 4, 2, 1].first {
                ($0 < 8 || isLong) && place % UInt64($0) == 0 && end &- place >= UInt64($0)
            }
            guard let size else { return nil }
            result.append(
                BreakpointTable.DataRegister(linear: place, length: size, writesOnly: access == .write))
            place &+= UInt64(size)
        }
        return result
    }

    /// Whether the guest can go on with these pages protected: no stack may be there and, where reads are watched, no
    /// code that runs and no table that the processor reads by itself.
    private func mayProtect(_ watch: WatchState) throws(DebuggerError) -> Bool {
        let pages = watch.pages
        if pages.contains(where: isStack) { return false }
        guard watch.access != .write else { return true }
        for snapshot in stop.vcpus {
            let view = view(of: snapshot)
            var used: [UInt64] = []
            let special = snapshot.special
            for table in [special.gdt, special.idt] where table.limit > 0 {
                used += [table.base, table.base &+ UInt64(table.limit)]
            }
            used += [snapshot.pc, snapshot.pc &+ 14, special.tr.base]
            var physical = used.compactMap { view.physical(view.cut($0)) }
            if special.cr0.contains(.pg) { physical += view.walk(snapshot.pc).steps.map(\.address) }
            if physical.contains(where: { pages.contains($0 & ~0xFFF) }) { return false }
        }
        return true
    }
}
