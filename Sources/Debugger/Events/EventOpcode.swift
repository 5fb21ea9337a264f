import DebugTarget
import KVMCore
import X86

/// What an instruction does that catchpoints look for by stepping. Found from its first bytes and the registers before
/// it, because it is asked after every step.
enum EventOpcode: Hashable {
    case none
    case io(PortIO)
    case writesMSR(index: UInt32, value: UInt64)
    case writesControl(CatchEvent.ControlRegister)
    case halt
    /// `xchg bx, bx` with 16-bit operands, which does nothing.
    case magic

    /// - Parameters:
    ///   - bytes: the instruction's first bytes, the first in bits 0-7.
    ///   - count: how many of them are known, 8 at most.
    ///   - width: of the code: 16, 32 or 64.
    ///   - after: the registers after it.
    init(bytes: UInt64, count: Int, width: Int, before: GeneralRegisters, after: GeneralRegisters) {
        var place = 0
        var rex: UInt8 = 0
        var isOther = false
        func byte(_ i: Int) -> UInt8? {
            i < count && i < 8 ? UInt8(truncatingIfNeeded: bytes >> UInt64(i * 8)) : nil
        }
        while let next = byte(place) {
            if width == 64, next & 0xF0 == 0x40 {
                rex = next
            } else if [0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3].contains(next) {
                isOther = isOther || next == 0x66
                rex = 0
            } else {
                break
            }
            place += 1
        }
        let operand = (width == 16) != isOther ? 2 : 4
        func io(_ isOut: Bool, _ size: Int, _ port: UInt64, isString: Bool = false) -> EventOpcode {
            let value = isString ? 0 : isOut ? before.rax : after.rax
            return .io(
                PortIO(
                    direction: isOut ? .out : .in, port: UInt16(truncatingIfNeeded: port), size: size,
                    data: AccessData(value: value, count: isString ? 0 : size)))
        }
        switch byte(place) {
        case 0xF4: self = .halt
        case 0x87 where byte(place + 1) == 0xDB && operand == 2 && rex & 0xD == 0: self = .magic
        case let code? where code & 0xFC == 0xE4:
            self = io(code & 2 != 0, code & 1 == 0 ? 1 : operand, UInt64(byte(place + 1) ?? 0))
        case let code? where code & 0xFC == 0xEC:
            self = io(code & 2 != 0, code & 1 == 0 ? 1 : operand, before.rdx)
        case let code? where code & 0xFC == 0x6C:
            self = io(code & 2 != 0, code & 1 == 0 ? 1 : operand, before.rdx, isString: true)
        case 0x0F: self = Self.system(byte(place + 1), byte(place + 2) ?? 0, rex, before)
        default: self = .none
        }
    }

    /// The opcodes after 0F.
    private static func system(
        _ code: UInt8?, _ modrm: UInt8, _ rex: UInt8, _ before: GeneralRegisters
    ) -> EventOpcode {
        switch code {
        case 0x30:
            return .writesMSR(
                index: UInt32(truncatingIfNeeded: before.rcx),
                value: before.rdx << 32 | before.rax & 0xFFFF_FFFF)
        case 0x22:
            switch modrm >> 3 & 7 | (rex & 4) << 1 {
            case 0: return .writesControl(.cr0)
            case 3: return .writesControl(.cr3)
            case 4: return .writesControl(.cr4)
            case 8: return .writesControl(.cr8)
            default: return .none
            }
        // LMSW, CLTS.
        case 0x01 where modrm >> 3 & 7 == 6, 0x06: return .writesControl(.cr0)
        default: return .none
        }
    }
}

extension SpecialRegisters {
    subscript(control: CatchEvent.ControlRegister) -> UInt64 {
        switch control {
        case .cr0: cr0.rawValue
        case .cr3: cr3
        case .cr4: cr4.rawValue
        case .cr8: cr8
        }
    }
}
