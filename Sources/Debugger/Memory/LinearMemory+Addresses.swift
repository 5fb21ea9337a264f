import DebugTarget
import X86

extension LinearMemory {
    /// The linear address that `address` stands for; see ``Debugger/linear(_:vcpu:)``.
    ///
    /// - Parameter registers: looked at only where a segment is given.
    func linear(
        _ address: Address, _ registers: @autoclosure () throws(DebuggerError) -> GeneralRegisters
    ) throws(DebuggerError) -> UInt64 {
        switch address {
        case .linear(let value), .virtual(let value): return cut(value)
        case .physical:
            throw DebuggerError(
                .badAddress, "\(address) is a physical address, and a linear one is needed here",
                remedy: "many linear addresses may lead there", advice: .giveLinearAddress)
        case .segmented(.register(let name), let offset):
            return special.linear(name, offset, mode: CPUMode(try registers(), special))
        case .segmented(.selector(let selector), let offset):
            let registers = try registers()
            let mode = CPUMode(registers, special)
            if let name = holder(of: selector) { return special.linear(name, offset, mode: mode) }
            switch mode {
            case .real, .virtual8086:
                return SegmentedAddress(selector: selector, offset: offset).realModeLinear & 0xFFFF_FFFF
            case .long64: return offset
            case .protected16, .protected32, .compatibility16, .compatibility32:
                return cut(try descriptorBase(selector, registers) &+ offset)
            }
        }
    }

    /// The segment register that holds `selector`: where code is asked for, that is CS most often.
    private func holder(of selector: UInt16) -> SegmentName? {
        let names: [SegmentName] = [.cs, .ds, .ss, .es, .fs, .gs]
        return names.first {
            special[$0].selector == selector && !special[$0].attributes.isUnusable
        }
    }

    private func descriptorBase(
        _ selector: UInt16, _ registers: GeneralRegisters
    ) throws(DebuggerError) -> UInt64 {
        let place: UInt64
        do {
            place = try RegisterFile(general: registers, special: special).descriptorAddress(of: selector)
        } catch {
            throw DebuggerError(.badAddress, error.description)
        }
        guard let descriptor = word(place, size: 8) else {
            throw DebuggerError(
                .unreadable,
                "the descriptor of selector \(hexadecimal(UInt64(selector), digits: 4)) at \(hex(place)) cannot be read"
            )
        }
        return Segment(
            loading: descriptor, selector: selector, inLongMode: special.efer.contains(.lma)
        ).base
    }
}
