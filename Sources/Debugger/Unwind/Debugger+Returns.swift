import DebugTarget
public import Disassembler
import X86

extension Debugger {
    /// The CALL whose return address `value` is: the instruction that ends there, if it is one. A guess, as any on
    /// a stack is.
    public func call(returningTo value: UInt64, vcpu id: Int? = nil) -> Instruction? {
        guard let snapshot = try? known(id) else { return nil }
        let mode = DecodeMode(snapshot.registers, snapshot.special)
        let longest = 7
        guard value >= UInt64(longest), value >> UInt64(mode.width - 1) <= 1 else { return nil }
        let linear = snapshot.special.linear(.cs, value &- UInt64(longest), mode: snapshot.mode)
        let image = view(of: snapshot).read(linear, count: longest, .linear(linear))
        guard image.isComplete else { return nil }
        // Near ones by displacement, which nearly all are, before those through a register or memory.
        for length in [mode.width == 16 ? 3 : 5, 2, 3, 4, 5, 6, 7] {
            let bytes = image.bytes.suffix(length)
            // E8, FF and 9A begin all calls, after a prefix or two.
            guard bytes.prefix(3).contains(where: { [0xE8, 0xFF, 0x9A].contains($0) }) else { continue }
            let instruction = Disassembler().decode(bytes, at: value &- UInt64(length), mode)
            if instruction.validity == .valid, instruction.length == length,
                instruction.traits.contains(.call)
            {
                return instruction
            }
        }
        return nil
    }
}
