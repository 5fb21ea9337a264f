import DebugTarget
import Debugger
import Disassembler
import Symbols
import X86

/// The stack and the memory pane.
extension Gatherer {
    package func slots(_ needs: Needs) -> [StackLine] {
        let slots = (try? debugger.stack(count: needs.stackSlots)) ?? []
        guard let first = slots.first, let vcpu = debugger.stop[debugger.selectedVCPU] else { return [] }
        // A stack that wraps at its segment's end is compared as far as it goes on.
        let earlier = debugger.earlierMemory(.linear(first.linear), count: slots.count * first.width)
        return slots.enumerated().map { index, slot in
            var line = StackLine(
                offset: slot.offset, linear: slot.linear, width: slot.width, value: slot.value)
            let place = index * first.width
            if let value = slot.value, slot.linear == first.linear &+ UInt64(place), let earlier {
                for byte in 0..<slot.width {
                    guard let old = earlier[place + byte] else { continue }
                    if old != UInt8(truncatingIfNeeded: value >> UInt64(byte * 8)) {
                        line.changed |= 1 << UInt8(byte)
                    }
                }
            }
            // No more is followed than is seen.
            if index >= needs.stackFirst, let value = slot.value { line.note = note(value, vcpu) }
            return line
        }
    }

    /// The call that a value on the stack is the return address of, or where else it leads.
    private func note(_ value: UInt64, _ vcpu: VCPUSnapshot) -> String {
        if let call = debugger.call(returningTo: value) {
            let place = vcpu.special.linear(.cs, value, mode: vcpu.mode)
            let name = debugger.symbols.place(at: place).map { "<\($0)> " } ?? ""
            return name + "after \(call.text)"
        }
        let chain = chainText(value, in: .ds, vcpu)
        // Any 16-bit value is an offset of something: only text is no accident.
        return vcpu.mode.codeWidth(cs: vcpu.special.cs.attributes) > 16 || chain.contains("\"") ? chain : ""
    }

    package func window(_ place: MemoryPlace, _ count: Int) -> MemoryWindow {
        var window = MemoryWindow(
            title: place.prefix + hex(place.offset, place.shownDigits), prefix: place.prefix,
            start: place.offset, digits: place.shownDigits)
        let address = place.address
        guard let image = try? debugger.readMemory(address, count: count) else {
            window.bytes = Array(repeating: nil, count: count)
            return window
        }
        window.bytes = (0..<count).map { image[$0] }
        if let earlier = debugger.earlierMemory(address, count: count) {
            for offset in 0..<min(count, earlier.bytes.count) {
                // What was not looked at then is no change.
                if let old = earlier[offset], old != image[offset] { window.changed.insert(offset) }
            }
        }
        if let gap = image.gaps.first {
            window.title += debugger.isRevisiting ? ", not kept of this stop" : ", " + gap.reason
        }
        return window
    }
}
