import DebugTarget
import Disassembler
import KVMCore
import Synchronization
import X86

/// Which mechanism a breakpoint gets, and what it takes of the guest's memory and registers.
extension Debugger {
    /// One way to do a breakpoint.
    private struct Way {
        /// Nil: by a debug register, or by stepping.
        var patch: PatchTable.Kind?
        var mechanism: Breakpoint.Mechanism
        /// Where the host does not honour it.
        var blind: [CodeContext]
    }

    /// Chooses how a breakpoint is done and does it: debug registers as long as there are some, because they change
    /// nothing and need no code to be there; then a patch; then stepping. Each only where it was seen to work on this
    /// host for the code that is there.
    ///
    /// - Throws: `.refused` where the host honours nothing there; `.limit`, `.badAddress` for one that needs a register.
    func place(_ entry: inout BreakpointTable.Entry, needsRegister: Bool) throws(DebuggerError) {
        let snapshot = try known(nil)
        let gpa = physicalPlace(entry.breakpoint, snapshot)
        let contexts = contexts(of: entry.breakpoint, snapshot)
        let kinds = needsRegister ? [] : patchKinds(gpa, snapshot)
        var ways: [Way] = []
        if let register = registerAddress(entry.breakpoint, snapshot) {
            let blind = blindContexts(.executionBreakpoint, contexts)
            // The last one is kept for `next` and `until`, where that costs nothing: not where the guest is about to copy
            // or add up the code, which would have the patch in it.
            var reserve = kinds.isEmpty ? 0 : 1
            if reserve > 0, !placement.table.hasRegister(for: register, reserve: 1),
                placement.table.hasRegister(for: register), isAboutToBeRead(gpa, snapshot)
            {
                reserve = 0
            }
            if !placement.table.hasRegister(for: register, reserve: reserve), needsRegister,
                blind.count < contexts.count
            {
                try freeRegister()
            }
            if placement.table.hasRegister(for: register, reserve: reserve) {
                ways.append(Way(patch: nil, mechanism: .debugRegister, blind: blind))
            }
        } else if needsRegister {
            throw DebuggerError(
                .badAddress, "\(entry.breakpoint.address) is no linear address while paging is on",
                remedy: "a debug register compares linear addresses: give one", advice: .breakWithoutRegister)
        }
        for kind in kinds {
            ways.append(
                Way(patch: kind, mechanism: kind.mechanism, blind: blindContexts(kind, contexts, snapshot)))
        }
        if !needsRegister {
            ways.append(
                Way(patch: nil, mechanism: .stepping, blind: blindContexts(.singleStep, contexts)))
        }
        ways.removeAll { $0.blind.count == contexts.count }
        // One that works wherever the code may run; else one that works where the guest is now, else any.
        let order = ways.filter(\.blind.isEmpty) + ways.filter { !$0.blind.contains(contexts[0]) } + ways
        for way in order {
            if let kind = way.patch {
                guard let gpa, plant(kind, gpa, &entry) else { continue }
            }
            entry.breakpoint.mechanism = way.mechanism
            entry.breakpoint.blind = way.blind
            entry.breakpoint.isAboutToBeRead = way.patch != nil && isAboutToBeRead(gpa, snapshot)
            entry.breakpoint.isPatchWithheld = way.mechanism == .stepping && isMemoryGuessed()
            return
        }
        let place = contexts.map(\.name).joined(separator: " and ")
        throw DebuggerError(
            .refused,
            needsRegister
                ? "debug registers do not stop \(place) on this host"
                : "nothing stops \(place) at \(entry.breakpoint.address) on this host",
            advice: needsRegister ? .breakWithoutRegister : .showHost)
    }

    /// Whether the guest is about to read what stands there as data.
    private func isAboutToBeRead(_ gpa: UInt64?, _ snapshot: VCPUSnapshot) -> Bool {
        gpa.map { placement.forecast.covers($0, at: stop.number, snapshot, view(of: snapshot)) } ?? false
    }

    /// Whether SEG:OFF is meant for protected mode, while the vCPU is still in real mode: where the segment will be is not
    /// known, so that CS and IP are compared after each instruction. In real mode the IVT and the BIOS's data are below
    /// 0050:0000, and no code; SEG is more likely a selector of a GDT to come.
    func isAhead(_ far: BreakpointState.FarPlace, _ snapshot: VCPUSnapshot) -> Bool {
        !snapshot.special.cr0.contains(.pe) && (8..<0x50).contains(far.selector)
            && far.selector != snapshot.special.cs.selector
    }

    /// Where a virtual breakpoint is by the segments of now; what it was where they do not say.
    private func linear(ofFar entry: BreakpointTable.Entry, _ snapshot: VCPUSnapshot) -> UInt64? {
        guard entry.breakpoint.kind == .virtual, let far = entry.state.far else {
            return entry.breakpoint.linear
        }
        if isAhead(far, snapshot) { return nil }
        let place = Address.segmented(.selector(far.selector), offset: far.offset)
        return (try? linear(place)) ?? entry.breakpoint.linear
    }

    /// Where the code of a breakpoint may run, the likeliest first. A page that CPL 3 may use can hold code of CPL 0,
    /// too, unless CR4.SMEP forbids it; one that it may not cannot hold code of CPL 3.
    private func contexts(of breakpoint: Breakpoint, _ snapshot: VCPUSnapshot) -> [CodeContext] {
        let now = CodeContext(snapshot.registers, snapshot.special)
        guard snapshot.special.cr0.contains(.pg) else { return [now] }
        guard let linear = breakpoint.linear, let mapping = view(of: snapshot).walk(linear).mapping else {
            return now.isUser ? [now, now.kernel] : [now, now.user]
        }
        guard mapping.isUser else { return [now.kernel] }
        return now.isUser || snapshot.special.cr4.contains(.smep) ? [now.user] : [now, now.user]
    }

    private func blindContexts(_ facility: DebugFacility, _ contexts: [CodeContext]) -> [CodeContext] {
        contexts.filter { !patching.facilities.works(facility, in: $0) }
    }

    /// An OUT is allowed to code at CPL 3, and in virtual-8086 mode, only where the guest says so.
    private func blindContexts(
        _ kind: PatchTable.Kind, _ contexts: [CodeContext], _ snapshot: VCPUSnapshot
    ) -> [CodeContext] {
        contexts.filter { context in
            if !patching.facilities.works(kind.facility, in: context) { return true }
            return kind == .portOut && context.isUser && !mayOutput(snapshot, context)
        }
    }

    private func plant(_ kind: PatchTable.Kind, _ gpa: UInt64, _ entry: inout BreakpointTable.Entry) -> Bool {
        guard patching.table.insert(kind, at: gpa) else { return false }
        entry.breakpoint.mechanism = kind.mechanism
        entry.patches.append(gpa)
        entry.breakpoint.isUnprotected = !protect(gpa & ~0xFFF)
        entry.breakpoint.isWatched = target is any PatchKeeping
        return true
    }

    /// Takes back what a breakpoint took.
    func displace(_ entry: BreakpointTable.Entry) {
        for gpa in entry.patches {
            patching.table.remove(gpa)
            _ = protect(gpa & ~0xFFF)
        }
        if let watch = entry.watch, watch.mechanism == .pageProtection {
            for page in watch.pages { _ = protect(page) }
        }
    }

    /// Makes room among the debug registers: one that `break` took becomes a patch.
    private func freeRegister() throws(DebuggerError) {
        let snapshot = try known(nil)
        for entry in placement.table.entries
        where entry.breakpoint.isEnabled && entry.watch == nil
            && entry.breakpoint.mechanism == .debugRegister
        {
            guard !entry.breakpoint.isHardware else { continue }
            let contexts = contexts(of: entry.breakpoint, snapshot)
            let gpa = physicalPlace(entry.breakpoint, snapshot)
            let kind = patchKinds(gpa, snapshot).first { blindContexts($0, contexts, snapshot).isEmpty }
            guard let gpa, let kind else { continue }
            var moved = entry
            guard plant(kind, gpa, &moved) else { continue }
            moved.breakpoint.blind = []
            try placement.table.replace(entry.breakpoint.number) { $0 = moved }
            if placement.table.registersInUse < ArmedBreakpoints.capacity { return }
        }
        let used = placement.table.entries.filter {
            $0.breakpoint.isEnabled && $0.breakpoint.mechanism == .debugRegister
        }
        .map { "\($0.breakpoint.number) at \($0.breakpoint.address)" }.joined(separator: ", ")
        throw DebuggerError(
            .limit, "all four debug registers are in use by breakpoints \(used)",
            remedy: "delete or disable one of them first")
    }

    private func registerAddress(_ breakpoint: Breakpoint, _ snapshot: VCPUSnapshot) -> UInt64? {
        if let linear = breakpoint.linear { return linear }
        guard case .physical(let gpa) = breakpoint.address, !snapshot.special.cr0.contains(.pg) else {
            return nil
        }
        return gpa
    }

    /// Where the instruction is in memory; nil where no page is mapped there now.
    private func physicalPlace(_ breakpoint: Breakpoint, _ snapshot: VCPUSnapshot) -> UInt64? {
        if case .physical(let gpa) = breakpoint.address { return gpa }
        // Without IA-32e mode there are no such addresses: a breakpoint there waits for 64-bit code.
        if let linear = breakpoint.linear, linear > 0xFFFF_FFFF, !snapshot.special.efer.contains(.lma) {
            return nil
        }
        return breakpoint.linear.flatMap { view(of: snapshot).physical($0) }
    }

    // MARK: patches

    /// The kinds of patches that can be planted there.
    private func patchKinds(_ gpa: UInt64?, _ snapshot: VCPUSnapshot) -> [PatchTable.Kind] {
        guard let gpa,
            target.memory.regions.contains(where: { region in
                !region.isReadOnly && gpa >= region.gpa && gpa - region.gpa < region.size
            }), !isMemoryGuessed()
        else { return [] }
        return patching.kinds.filter { kind in
            patching.table.fits(kind, at: gpa) && (kind == .int3 || isTailHarmless(gpa, snapshot))
        }
    }

    /// Where the guest's memory is in another program is only assumed.
    func isMemoryGuessed() -> Bool { (target as? any PatchKeeping)?.knowsMemory() == false }

    /// Whether the guest lets code at CPL 3 execute the patch's OUT: by IOPL, or by the I/O bitmap of its task. Source:
    /// SDM volume 1, 19.5.
    private func mayOutput(_ snapshot: VCPUSnapshot, _ context: CodeContext) -> Bool {
        let ioPrivilege = snapshot.registers.rflags.rawValue >> 12 & 3
        if context != .virtual8086, ioPrivilege == 3 { return true }
        let task = snapshot.special.tr
        let view = view(of: snapshot)
        let port = UInt64(PatchTable.Kind.portOut.byte)
        // A 16-bit task has no bitmap.
        guard task.attributes.type & 8 != 0, task.limit >= 0x67,
            let map = view.word(view.cut(task.base &+ 0x66), size: 2),
            // The processor reads two bytes.
            map + port / 8 + 1 <= UInt64(task.limit),
            let bits = view.word(view.cut(task.base &+ map &+ port / 8), size: 2)
        else { return false }
        return bits >> (port % 8) & 1 == 0
    }

    /// A branch into the patch's second byte executes an OUT whose port is the byte after the patch. With the
    /// interrupt controllers in the kernel some ports never leave it, so that this would go unnoticed.
    private func isTailHarmless(_ gpa: UInt64, _ snapshot: VCPUSnapshot) -> Bool {
        guard (target as? any InterruptControllerProviding)?.areInterruptControllersInKernel ?? true else {
            return true
        }
        let image = view(of: snapshot).readPhysical(gpa, count: 15, .physical(gpa))
        let mode = DecodeMode(snapshot.registers, snapshot.special)
        let length = disassembler.decode(image.leading, at: gpa, mode).length
        guard length <= 1, let port = image[2] else { return length > 1 }
        // PIC, PIT, the speaker's gate, and the PIC's edge and level registers.
        return ![0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0x61, 0xA0, 0xA1].contains(port)
    }

    // MARK: protected pages

    /// Gives a page the protection that its patches and watchpoints want. False where patches on it stay without.
    func protect(_ page: UInt64) -> Bool {
        guard let protector = patching.protector else { return false }
        let hasPatches = patching.table.hasPatches(page: page)
        let mayProtect = hasPatches && !isStack(page)
        var wanted = watchedAccess(page)
        if mayProtect { wanted = max(wanted ?? .readOnly, .readOnly) }
        defer { patching.table.guardPage(page, placement.protections[page] != nil) }
        if placement.protections[page] != wanted {
            do {
                try protector.protect(page: page, wanted)
                placement.protections[page] = wanted
                patching.hasProtection.store(!placement.protections.isEmpty, ordering: .releasing)
            } catch {
                return false
            }
        }
        return wanted != nil
    }

    private func watchedAccess(_ page: UInt64) -> PageAccess? {
        var wanted: PageAccess?
        for watch in placement.table.watches(protecting: page) {
            let access: PageAccess = watch.access == .write ? .readOnly : .none
            wanted = max(wanted ?? access, access)
        }
        return wanted
    }

    /// Whether a stack is on the page. An instruction that pushes several words to a page that is protected, as INT
    /// does in real mode, loses all but the last in KVM's emulator, so such a page is left alone. A boot sector's
    /// stack grows down from 0x7C00, whether it is set up yet or not.
    func isStack(_ page: UInt64) -> Bool {
        var isFound = false
        forEachStackPage { isFound = isFound || $0 == page }
        return isFound
    }

    /// May name one more than once.
    private func forEachStackPage(_ body: (UInt64) -> Void) {
        for place in stop.vcpus.indices {
            let mode = CPUMode(stop.vcpus[place].registers, stop.vcpus[place].special)
            if mode == .real { body(0x7000) }
            var last: UInt64?
            for below in [UInt64(0), 8] {
                let linear = stop.vcpus[place].special.linear(
                    .ss, stop.vcpus[place].registers.rsp &- below, mode: mode)
                guard linear & ~0xFFF != last else { continue }
                last = linear & ~0xFFF
                if !stop.vcpus[place].special.cr0.contains(.pg) {
                    body(linear & 0xFFFF_F000)
                } else if let gpa = view(stop.vcpus[place].id, stop.vcpus[place].special).physical(linear) {
                    body(gpa & ~0xFFF)
                }
            }
        }
    }

    // MARK: at each stop

    /// Puts things right that the guest has changed: patches that it wrote over where nothing protects them, stacks
    /// that came to a protected page, and places that other page tables show.
    func replaceBreakpoints() {
        let now = PlacedBy(stop.vcpus[stop.place(of: selectedVCPU) ?? 0])
        if placement.placedBy != now {
            placement.placedBy = now
            placeAgain()
        }
        guard !patching.table.isEmpty.load(ordering: .acquiring) else { return }
        if !placement.protections.isEmpty {
            forEachStackPage { if placement.protections[$0] == .readOnly { _ = protect($0) } }
        }
        checkPatches()
    }

    /// Plants again what the guest has overwritten, and counts that. No vCPU is in the guest.
    func checkPatches() {
        let overwritten = patching.table.check()
        guard !overwritten.isEmpty else { return }
        let lost = Set(overwritten)
        for entry in placement.table.entries {
            let isLost = entry.patches.contains { gpa in
                (0..<UInt64(entry.breakpoint.mechanism == .int3 ? 1 : 2)).contains { lost.contains(gpa + $0) }
            }
            if isLost { entry.state.countOverwriting() }
        }
    }

    /// Other page tables, another mode, or another privilege: linear addresses may lead elsewhere, and the host may honour
    /// other mechanisms. Where they led before stays patched, too, because the guest may come back to those tables.
    private func placeAgain() {
        let snapshot = selected
        for entry in placement.table.entries
        where entry.breakpoint.isEnabled && entry.watch == nil && entry.breakpoint.event == nil {
            guard let moved = placedAgain(entry, snapshot) else { continue }
            try? changing { () throws(DebuggerError) in
                try placement.table.replace(entry.breakpoint.number) { $0 = moved }
            }
        }
    }

    /// The breakpoint as it is to be done now; nil where nothing changes.
    private func placedAgain(
        _ entry: BreakpointTable.Entry, _ snapshot: VCPUSnapshot
    ) -> BreakpointTable.Entry? {
        let breakpoint = entry.breakpoint
        var moved = entry
        let linear = linear(ofFar: entry, snapshot)
        if linear != breakpoint.linear {
            displace(entry)
            moved.patches = []
            moved.breakpoint.linear = linear
            do throws(DebuggerError) {
                try place(&moved, needsRegister: breakpoint.isHardware)
            } catch {
                moved.breakpoint.mechanism = .stepping
            }
            return moved
        }
        let contexts = contexts(of: breakpoint, snapshot)
        let gpa = physicalPlace(breakpoint, snapshot)
        switch breakpoint.mechanism {
        case .debugRegister:
            let blind = blindContexts(.executionBreakpoint, contexts)
            let isLinear = breakpoint.kind != .physical || !snapshot.special.cr0.contains(.pg)
            if breakpoint.isHardware || isLinear && blind.isEmpty {
                moved.breakpoint.blind = blind
                return blind == breakpoint.blind ? nil : moved
            }
        case .int3, .portOut:
            let kind: PatchTable.Kind = breakpoint.mechanism == .int3 ? .int3 : .portOut
            guard let gpa, !entry.patches.contains(gpa), entry.patches.count < Self.mostPatches,
                patchKinds(gpa, snapshot).contains(kind),
                blindContexts(kind, contexts, snapshot).count < contexts.count,
                plant(kind, gpa, &moved)
            else { return nil }
            return moved
        case .stepping:
            guard !patchKinds(gpa, snapshot).isEmpty else { return nil }
        case .pageProtection, .exit, .msrFilter: return nil
        }
        do throws(DebuggerError) {
            try place(&moved, needsRegister: false)
            return moved.breakpoint == breakpoint ? nil : moved
        } catch {
            return nil
        }
    }

    /// In how many address spaces one breakpoint is patched.
    private static let mostPatches = 16
}
