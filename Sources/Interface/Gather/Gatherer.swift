public import Commands
import Debugger
import Disassembler
import KVMCore
import X86

/// Puts together what the panes show, no more than they ask for.
///
/// The one part of the screen that asks the debugger: it goes between ``Model/update(_:)``, which says what is
/// needed, and ``Model/view()``, which shows it. For the session's thread.
public final class Gatherer {
    private let session: Session
    private var debugger: Debugger { session.debugger }
    private let exits: ExitRates
    private var threads = ThreadShares()

    /// The stop that the kept values belong to.
    private var number = -1
    private var reason = ""
    /// The memory pane's bytes at this stop and at the one before, for change marks.
    private var memory: MemoryImage?
    private var memoryBefore: MemoryImage?
    private var stack: [UInt64: UInt64] = [:]
    private var stackBefore: [UInt64: UInt64] = [:]
    private var debugRegisters: DebugRegisters?
    private var debugRegistersBefore: DebugRegisters?

    public init(session: Session) {
        self.session = session
        exits = ExitRates(log: session.debugger.target.exits)
    }

    /// The next command may let the guest go: if it does, rates are counted from here.
    public func guestMayStart() { exits.guestMayStart() }
    /// The guest was let go.
    public func guestStarts() { exits.guestStarts() }

    /// What `needs` asks for, as it is now; a running guest is sampled.
    public func gather(_ needs: Needs) -> GuestView {
        let isRunning = session.isRunning
        if !isRunning { noticeStop() }
        let stop = isRunning ? sampled() : debugger.stop
        var view = GuestView(name: debugger.target.name, stop: stop, selected: debugger.selectedVCPU)
        view.isRunning = isRunning
        view.previous = isRunning ? debugger.stop : debugger.previousStop
        view.reason = reason
        let statistics = exits.take(isRunning: isRunning)
        view.vcpus = lines(stop, statistics, isRunning)
        view.exits = table(statistics, needs)
        if needs.debugRegisters { readDebugRegisters(&view) }
        if needs.codeLines > 0 { view.code = code(needs, stop) }
        if needs.stackSlots > 0 { view.stack = slots(needs) }
        if let place = needs.memory, needs.memoryBytes > 0 { view.memory = window(place, needs.memoryBytes) }
        if let console = needs.console { view.console = text(console) }
        return view
    }

    /// Values of the stop before are what the present ones are compared with.
    private func noticeStop() {
        guard debugger.stop.number != number else { return }
        number = debugger.stop.number
        memoryBefore = memory
        stackBefore = stack
        stack = [:]
        debugRegistersBefore = debugRegisters
        // Said in a title, not as a sentence.
        let text = (session.stopOutput(for: debugger.stop) as? StopOutput)?.reason.text ?? ""
        reason = text.prefix(1).lowercased() + text.dropFirst().prefix { $0 != "." }
    }

    /// The last stop with the vCPUs as they are while they run: each is taken out of KVM_RUN for a moment.
    private func sampled() -> Stop {
        var stop = debugger.stop
        for index in stop.vcpus.indices {
            if let live = try? debugger.liveSnapshot(vcpu: stop.vcpus[index].id) { stop.vcpus[index] = live }
        }
        return stop
    }

    // MARK: vCPUs and exits

    private func lines(_ stop: Stop, _ statistics: ExitStatistics, _ isRunning: Bool) -> [VCPULine] {
        let identities = debugger.target.vcpus
        threads.look(at: identities, isRunning: isRunning)
        return identities.map { identity in
            let snapshot = stop[identity.id]
            var line = VCPULine(
                id: identity.id, isBoot: identity.isBoot, state: snapshot?.activity.rawValue ?? "new",
                mode: snapshot?.mode, location: snapshot.map(location) ?? "??")
            let total = statistics.vcpu(identity.id)?.total.count ?? 0
            line.exits = total
            line.exitsPerSecond = exits.rate(of: nil, vcpu: identity.id)
            line.lastExit =
                debugger.target.exits.recent(vcpu: identity.id, limit: 1).last.map { $0.key.name } ?? ""
            line.share = threads.share(of: identity)
            return line
        }
    }

    private func table(_ statistics: ExitStatistics, _ needs: Needs) -> ExitTable {
        var table = ExitTable(total: statistics.overall.count, rate: exits.rate(of: nil, vcpu: nil))
        table.rows = statistics.rows.map { row in
            ExitTable.Row(
                name: row.key.name, count: row.count.count, rate: exits.rate(of: row.key, vcpu: nil),
                total: row.count.handling, maximum: row.count.maximumHandling)
        }
        guard needs.recentExits > 0 else { return table }
        let recent = debugger.target.exits.recent(limit: needs.recentExits)
        let newest = recent.last?.end ?? 0
        table.recent = recent.reversed().map { record in
            ExitTable.Recent(
                number: record.number, vcpu: record.vcpu, age: newest &- record.end, text: record.exit.text)
        }
        return table
    }

    private func readDebugRegisters(_ view: inout GuestView) {
        // Not while the guest runs: the ones it has then are the debugger's as well.
        if !session.isRunning { debugRegisters = try? debugger.debugRegisters() }
        view.debug = debugRegisters
        view.previousDebug = debugRegistersBefore
    }

    // MARK: Code

    private func code(_ needs: Needs, _ stop: Stop) -> CodeWindow {
        guard let vcpu = stop[debugger.selectedVCPU] else { return CodeWindow() }
        let width = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes)
        var window = CodeWindow(mode: "\(width)-bit")
        let lines = codeLines(needs, vcpu)
        let breakpoints = debugger.breakpoints
        window.lines = lines.map { code in
            var line = CodeWindow.Line(
                address: code.address,
                location: location(code, mode: vcpu.mode, width: width), bytes: code.bytes,
                text: code.instruction == nil ? "not readable" : code.text)
            line.isPC = code.address == vcpu.pc
            if let breakpoint = breakpoints.first(where: { $0.linear == code.address }) {
                line.breakpoint = breakpoint.number
                line.isBreakpointEnabled = breakpoint.isEnabled
            }
            if line.isPC, let instruction = code.instruction { describe(instruction, vcpu, &line) }
            return line
        }
        return window
    }

    private func codeLines(_ needs: Needs, _ vcpu: VCPUSnapshot) -> [CodeLine] {
        func lines(at address: UInt64, _ count: Int) -> [CodeLine] {
            (try? debugger.disassemble(at: .linear(address), count: count)) ?? []
        }
        guard let start = needs.codeStart else { return lines(at: vcpu.pc, needs.codeLines) }
        let scroll = max(-4_096, min(needs.codeScroll, 4_096))
        if scroll > 0 {
            let all = lines(at: start, needs.codeLines + scroll)
            // Not beyond the last line that can be read.
            return Array(all.dropFirst(min(scroll, max(0, all.count - 1))).prefix(needs.codeLines))
        }
        if scroll < 0 {
            let before = (try? debugger.disassemble(before: .linear(start), count: -scroll)) ?? []
            return Array((before + lines(at: start, needs.codeLines)).prefix(needs.codeLines))
        }
        let found = lines(at: start, needs.codeLines)
        if needs.codePinnedAt == debugger.stop.number { return found }
        // A line of what follows is kept in sight.
        if found.dropLast().contains(where: { $0.address == vcpu.pc }) { return found }
        return lines(at: vcpu.pc, needs.codeLines)
    }

    private func location(_ code: CodeLine, mode: CPUMode, width: Int) -> String {
        if mode == .long64 { return hexDigits(code.address, digits: 16) }
        return
            "\(hexDigits(UInt64(code.selector), digits: 4)):\(hexDigits(code.ip, digits: width == 16 ? 4 : 8))"
    }

    private func location(_ vcpu: VCPUSnapshot) -> String {
        if vcpu.mode == .long64 { return hexDigits(vcpu.registers.rip, digits: 16) }
        let width = vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes)
        return
            "\(hexDigits(UInt64(vcpu.special.cs.selector), digits: 4)):\(hexDigits(vcpu.registers.rip, digits: width == 16 ? 4 : 8))"
    }

    /// The branch that is about to be taken or not, and where the memory operands point.
    private func describe(_ instruction: Instruction, _ vcpu: VCPUSnapshot, _ line: inout CodeWindow.Line) {
        let file = RegisterFile(general: vcpu.registers, special: vcpu.special)
        if instruction.traits.contains(.conditional) || instruction.traits.contains(.loop) {
            line.willBranch = instruction.willBranch(file)
        }
        let operands = (try? debugger.operands(of: instruction)) ?? []
        line.note = operands.map { operand in
            let address = "[\(String(operand.linear, radix: 16))]"
            let size = operand.operand.size
            guard !operand.operand.isAddressOnly, size > 0, size <= 8 else { return address }
            return "\(address) = " + (operand.value.map { hexDigits($0, digits: size * 2) } ?? "??")
        }.joined(separator: "  ")
    }

    // MARK: Memory

    private func slots(_ needs: Needs) -> [StackLine] {
        let slots = (try? debugger.stack(count: needs.stackSlots)) ?? []
        return slots.map { slot in
            let before = stackBefore[slot.linear]
            if !session.isRunning { stack[slot.linear] = slot.value }
            return StackLine(
                offset: slot.offset, linear: slot.linear, width: slot.width, value: slot.value,
                isChanged: before != nil && before != slot.value)
        }
    }

    private func window(_ place: MemoryPlace, _ count: Int) -> MemoryWindow {
        var window = MemoryWindow(
            title: place.prefix + hexDigits(place.offset, digits: place.shownDigits), prefix: place.prefix,
            start: place.offset, digits: place.shownDigits)
        let address: Address =
            switch place.space {
            case .linear: .linear(place.offset)
            case .physical: .physical(place.offset)
            case .segmented(let base): .linear(base &+ place.offset)
            }
        guard let image = try? debugger.readMemory(address, count: count) else {
            window.bytes = Array(repeating: nil, count: count)
            return window
        }
        window.bytes = (0..<count).map { image[$0] }
        let reference = session.isRunning ? memory : memoryBefore
        if let reference, reference.address.isPhysical == image.address.isPhysical {
            window.changed = image.changed(since: reference)
        }
        if !session.isRunning { memory = image }
        if let gap = image.gaps.first { window.title += ", " + gap.reason }
        return window
    }

    private func text(_ index: Int) -> ConsoleText {
        guard let target = debugger.target as? any ConsoleProviding else {
            return ConsoleText(name: "none")
        }
        // Those that were written to; the first one while none was.
        let all = target.consoles
        let used = all.filter { target.consoleOutput($0)?.total ?? 0 > 0 }
        let shown = used.isEmpty ? Array(all.prefix(1)) : used
        guard !shown.isEmpty else { return ConsoleText(name: "none") }
        let name = shown[index % shown.count]
        let position = shown.count > 1 ? " \(index % shown.count + 1)/\(shown.count)" : ""
        return ConsoleText(
            bytes: target.consoleOutput(name)?.bytes ?? [], name: name.rawValue + position,
            consoles: shown.count)
    }
}

extension Address {
    fileprivate var isPhysical: Bool {
        if case .physical = self { true } else { false }
    }
}
