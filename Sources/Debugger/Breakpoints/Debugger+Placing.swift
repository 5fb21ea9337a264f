import Disassembler
import KVMCore
import Synchronization
import X86

/// Which mechanism a breakpoint gets, and what it takes of the guest's memory and registers.
extension Debugger {
    /// Chooses how a breakpoint is done and does it: debug registers as long as there are some, because they change
    /// nothing and need no code to be there; then a patch; then stepping.
    func place(_ entry: inout BreakpointTable.Entry, needsRegister: Bool) throws(DebuggerError) {
        let snapshot = try known(nil)
        let gpa = physicalPlace(entry.breakpoint, snapshot)
        let patch = gpa.flatMap { isPatchable($0, snapshot) ? $0 : nil }
        let register = registerAddress(entry.breakpoint, snapshot)
        if let register {
            // The last one is kept for `next` and `until`, where that costs nothing.
            let reserve = patch == nil || needsRegister ? 0 : 1
            if !placement.table.hasRegister(for: register, reserve: reserve), needsRegister {
                try freeRegister()
            }
            if placement.table.hasRegister(for: register, reserve: reserve) {
                entry.breakpoint.mechanism = .debugRegister
                return
            }
        } else if needsRegister {
            throw DebuggerError(
                .badAddress, "\(entry.breakpoint.address) is no linear address while paging is on",
                remedy: "a debug register compares linear addresses: give one, or use `break`")
        }
        if let patch, plant(patch, &entry) { return }
        entry.breakpoint.mechanism = .stepping
    }

    private func plant(_ gpa: UInt64, _ entry: inout BreakpointTable.Entry) -> Bool {
        guard patching.table.insert(gpa) else { return false }
        entry.breakpoint.mechanism = patching.mechanism
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
            guard let gpa = physicalPlace(entry.breakpoint, snapshot), isPatchable(gpa, snapshot) else {
                continue
            }
            var moved = entry
            guard plant(gpa, &moved) else { continue }
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
        return breakpoint.linear.flatMap { view(of: snapshot).physical($0) }
    }

    // MARK: patches

    private func isPatchable(_ gpa: UInt64, _ snapshot: VCPUSnapshot) -> Bool {
        guard patching.canPatch, patching.table.fits(at: gpa),
            target.memory.regions.contains(where: { region in
                !region.isReadOnly && gpa >= region.gpa && gpa - region.gpa < region.size
            })
        else { return false }
        guard patching.table.kind == .portOut else { return true }
        return mayOutput(snapshot) && isTailHarmless(gpa, snapshot)
    }

    /// OUT is allowed to code of this kind: it is at CPL 3, or in virtual-8086 mode, only where the guest says so.
    private func mayOutput(_ snapshot: VCPUSnapshot) -> Bool {
        switch snapshot.mode {
        case .real: true
        case .virtual8086: false
        case .protected16, .protected32, .compatibility16, .compatibility32, .long64:
            snapshot.special.ss.attributes.privilege != 3
        }
    }

    /// A branch into the patch's second byte executes an OUT whose port is the byte behind the patch. With the
    /// interrupt controllers in the kernel some ports never leave it, so that this would go unnoticed.
    private func isTailHarmless(_ gpa: UInt64, _ snapshot: VCPUSnapshot) -> Bool {
        guard (target as? any InterruptControllerProviding)?.hasInterruptControllers ?? true else {
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
        let now = PlacedBy(stop.vcpus[stop.place(of: selectedVCPU) ?? 0].special)
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
                (0..<UInt64(patching.table.kind.length)).contains { lost.contains(gpa + $0) }
            }
            if isLost { entry.state.countOverwriting() }
        }
    }

    /// Other page tables, or paging was turned on or off: linear addresses may lead elsewhere. Where they led before
    /// stays patched, too, because the guest may come back to those tables.
    private func placeAgain() {
        let snapshot = selected
        for entry in placement.table.entries
        where entry.breakpoint.isEnabled && entry.watch == nil && entry.breakpoint.event == nil {
            switch entry.breakpoint.mechanism {
            case .debugRegister:
                guard entry.breakpoint.kind == .physical, snapshot.special.cr0.contains(.pg) else { continue }
            case .int3, .portOut:
                guard let gpa = physicalPlace(entry.breakpoint, snapshot), !entry.patches.contains(gpa),
                    entry.patches.count < Self.mostPatches, isPatchable(gpa, snapshot)
                else { continue }
            case .stepping:
                guard let gpa = physicalPlace(entry.breakpoint, snapshot), isPatchable(gpa, snapshot) else {
                    continue
                }
            case .pageProtection, .exit, .msrFilter: continue
            }
            var moved = entry
            if moved.patches.isEmpty {
                guard (try? place(&moved, needsRegister: false)) != nil else { continue }
            } else if let gpa = physicalPlace(moved.breakpoint, snapshot) {
                guard plant(gpa, &moved) else { continue }
            }
            try? changing { () throws(DebuggerError) in
                try placement.table.replace(entry.breakpoint.number) { $0 = moved }
            }
        }
    }

    /// In how many address spaces one breakpoint is patched.
    private static let mostPatches = 16
}
