/// What a step has to know of the instruction that it goes over. Found from its first bytes without a
/// decoder, because it is asked before every step.
package enum OpcodeClass: Sendable, Hashable {
    case ordinary
    case halt
    /// POPF, IRET, SYSCALL, SYSRET, SYSENTER: the processor loads RFLAGS, and TF, which does the single-stepping, goes.
    case loadsFlags
    /// INS, OUTS, MOVS, CMPS, STOS, LODS or SCAS with REP: it may trap after each iteration.
    case repeatsString
    /// PUSHF: TF is among what it pushes.
    case pushesFlags
    /// MOV SS and POP SS: no trap comes right after them where TF does the stepping (SDM volume 3A, 6.8.3).
    case loadsStackSegment
    /// STI: no trap comes right after it on some processors where TF does the stepping (AMD64 volume 2, 15.21.5).
    case allowsInterrupts
    /// INT n, INT3, INTO, INT1: the processor clears TF on the way to the handler, so that the step would end
    /// only after the handler's IRET (SDM volume 3B, 17.3.1.4).
    case softwareInterrupt(vector: UInt8)

    /// - Parameters:
    ///   - bytes: the instruction's first bytes, the first in bits 0-7.
    ///   - count: how many of them are known, 8 at most.
    package init(bytes: UInt64, count: Int, isLong: Bool) {
        var place = 0
        func byte(_ i: Int) -> UInt8? {
            i < count && i < 8 ? UInt8(truncatingIfNeeded: bytes >> UInt64(i * 8)) : nil
        }
        var isRepeated = false
        while let next = byte(place), Self.isPrefix(next) || isLong && next & 0xF0 == 0x40 {
            isRepeated = isRepeated || next & 0xFE == 0xF2
            place += 1
        }
        if isRepeated, let next = byte(place) {
            switch next {
            case 0x6C...0x6F, 0xA4...0xA7, 0xAA...0xAF:
                self = .repeatsString
                return
            default: break
            }
        }
        switch byte(place) {
        case 0xF4: self = .halt
        case 0x9D, 0xCF: self = .loadsFlags
        case 0x9C: self = .pushesFlags
        case 0xFB: self = .allowsInterrupts
        case 0x17 where !isLong: self = .loadsStackSegment
        // ModRM.reg 2 is SS.
        case 0x8E: self = byte(place + 1).map { $0 >> 3 & 7 == 2 } ?? false ? .loadsStackSegment : .ordinary
        case 0xCC: self = .softwareInterrupt(vector: 3)
        case 0xCD:
            self = byte(place + 1).map { .softwareInterrupt(vector: $0) } ?? .ordinary
        case 0xCE where !isLong: self = .softwareInterrupt(vector: 4)
        case 0xF1: self = .softwareInterrupt(vector: 1)
        case 0x0F:
            switch byte(place + 1) {
            case 0x05, 0x07, 0x34, 0x35: self = .loadsFlags
            default: self = .ordinary
            }
        default: self = .ordinary
        }
    }

    /// Of a software interrupt.
    package var vector: UInt8 {
        if case .softwareInterrupt(let vector) = self { vector } else { 0 }
    }

    /// Source: SDM volume 2A, 2.1.1.
    private static func isPrefix(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3: true
        default: false
        }
    }
}
