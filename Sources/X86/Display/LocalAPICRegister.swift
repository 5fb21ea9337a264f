/// A register of the local APIC by its offset in the register page.
public struct LocalAPICRegister: Sendable, Hashable {
    /// The manual's name.
    public var name: String
    /// In bytes, a multiple of 16.
    public var offset: Int
    /// What it is, in a few words.
    public var meaning: String

    /// All of SDM volume 3A, table 11-1, in the order of offsets. ISR, TMR and IRR stand with their first of
    /// eight words; see ``LocalAPICState/vectors(_:)``.
    public static let all: [LocalAPICRegister] = [
        .init("ID", 0x20, "local APIC id"), .init("VERSION", 0x30, "version"),
        .init("TPR", 0x80, "task priority"), .init("APR", 0x90, "arbitration priority"),
        .init("PPR", 0xA0, "processor priority"), .init("EOI", 0xB0, "end of interrupt"),
        .init("RRD", 0xC0, "remote read"), .init("LDR", 0xD0, "logical destination"),
        .init("DFR", 0xE0, "destination format"), .init("SVR", 0xF0, "spurious interrupt vector"),
        .init("ISR", 0x100, "in service"), .init("TMR", 0x180, "trigger mode: level"),
        .init("IRR", 0x200, "requested"), .init("ESR", 0x280, "error status"),
        .init("LVT CMCI", 0x2F0, "corrected machine check"), .init("ICR low", 0x300, "interrupt command"),
        .init("ICR high", 0x310, "interrupt command, destination"), .init("LVT timer", 0x320, "timer"),
        .init("LVT thermal", 0x330, "thermal sensor"), .init("LVT perf", 0x340, "performance counters"),
        .init("LVT LINT0", 0x350, "local interrupt pin 0"),
        .init("LVT LINT1", 0x360, "local interrupt pin 1"),
        .init("LVT error", 0x370, "error"), .init("TICR", 0x380, "timer, initial count"),
        .init("TCCR", 0x390, "timer, current count"), .init("TDCR", 0x3E0, "timer, divide configuration"),
    ]

    /// True for the entries of the local vector table: ``LocalVector`` decodes them.
    public var isLocalVector: Bool { offset == 0x2F0 || (0x320...0x370).contains(offset) }

    private init(_ name: String, _ offset: Int, _ meaning: String) {
        self.name = name
        self.offset = offset
        self.meaning = meaning
    }
}

extension LocalAPICState {
    /// The three sets of vectors.
    public enum VectorSet: Int, Sendable, Hashable, CaseIterable {
        /// In service.
        case isr = 0x100
        /// Level triggered.
        case tmr = 0x180
        /// Requested, not yet in service.
        case irr = 0x200
    }

    /// The vectors whose bit is set, ascending.
    public func vectors(_ set: VectorSet) -> [UInt8] {
        (0...UInt8.max).filter { self[set.rawValue + Int($0 >> 5) * 16] >> UInt32($0 & 31) & 1 == 1 }
    }

    /// Bits 31-24 of the id register: the id in xAPIC mode.
    public var id: UInt8 { UInt8(truncatingIfNeeded: self[0x20] >> 24) }

    /// SVR bit 8: the APIC is enabled by software.
    public var isEnabled: Bool { self[0xF0] >> 8 & 1 == 1 }

    /// What the timer divides the bus clock by: 1 to 128. Source: SDM volume 3A, figure 11-10.
    public var timerDivisor: Int {
        let value = self[0x3E0]
        let exponent = value & 3 | value >> 1 & 4
        return exponent == 7 ? 1 : 2 << Int(exponent)
    }
}

/// How the APIC delivers an interrupt. Source: SDM volume 3A, 11.5.1 and 11.6.1.
public enum DeliveryMode: UInt8, Sendable, Hashable, CaseIterable {
    /// By number, 0 to 7; 3 is reserved.
    case fixed, lowestPriority, smi, reserved, nmi, initialize, startUp, external

    /// The manual's name.
    public var name: String {
        switch self {
        case .fixed: "fixed"
        case .lowestPriority: "lowest priority"
        case .smi: "SMI"
        case .reserved: "reserved"
        case .nmi: "NMI"
        case .initialize: "INIT"
        case .startUp: "start-up"
        case .external: "ExtINT"
        }
    }
}

/// An entry of the local vector table. Source: SDM volume 3A, figure 11-8.
public struct LocalVector: Sendable, Hashable, CustomStringConvertible {
    /// How the APIC's timer counts.
    public enum TimerMode: UInt8, Sendable, Hashable, CaseIterable {
        /// By number, 0 to 3.
        case oneShot, periodic, tscDeadline, reserved
    }

    /// The entry's 32 bits.
    public var rawValue: UInt32
    /// - Parameter rawValue: the entry's 32 bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// What the interrupt comes in at; from 16 on.
    public var vector: UInt8 { UInt8(truncatingIfNeeded: rawValue) }
    /// How it is delivered.
    public var deliveryMode: DeliveryMode {
        DeliveryMode(rawValue: UInt8(truncatingIfNeeded: rawValue >> 8 & 7)) ?? .reserved
    }
    /// The interrupt was sent and not yet accepted.
    public var isPending: Bool { bit(12) }
    /// LINT0 and LINT1: the pin's active level is low.
    public var isActiveLow: Bool { bit(13) }
    /// LINT0 and LINT1, level triggered: accepted, and not ended.
    public var remoteIRR: Bool { bit(14) }
    /// The pin is a level, not an edge.
    public var isLevelTriggered: Bool { bit(15) }
    /// Nothing is delivered.
    public var isMasked: Bool { bit(16) }
    /// The timer's entry only.
    public var timerMode: TimerMode {
        TimerMode(rawValue: UInt8(truncatingIfNeeded: rawValue >> 17 & 3)) ?? .reserved
    }

    private func bit(_ number: UInt32) -> Bool { rawValue >> number & 1 == 1 }

    /// `vector 0x30 fixed edge masked`.
    public var description: String {
        var parts = ["vector \(hexadecimal(UInt64(vector), digits: 2))", deliveryMode.name]
        parts.append(isLevelTriggered ? "level" : "edge")
        if isActiveLow { parts.append("active low") }
        if isPending { parts.append("pending") }
        if remoteIRR { parts.append("remote IRR") }
        if isMasked { parts.append("masked") }
        return parts.joined(separator: " ")
    }
}

/// The interrupt command register. Source: SDM volume 3A, figure 11-12.
public struct InterruptCommand: Sendable, Hashable, CustomStringConvertible {
    /// Who gets it, where no destination says.
    public enum Shorthand: UInt8, Sendable, Hashable, CaseIterable {
        /// By number, 0 to 3; ``none``: the destination says.
        case none, itself, allWithItself, allButItself
    }

    /// High and low word together.
    public var rawValue: UInt64
    /// - Parameter rawValue: the register's 64 bits.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// That of a local APIC.
    public init(_ state: LocalAPICState) {
        rawValue = UInt64(state[0x310]) << 32 | UInt64(state[0x300])
    }

    /// What the interrupt comes in at; for a SIPI, the page of the code.
    public var vector: UInt8 { UInt8(truncatingIfNeeded: rawValue) }
    /// How it is delivered.
    public var deliveryMode: DeliveryMode {
        DeliveryMode(rawValue: UInt8(truncatingIfNeeded: rawValue >> 8 & 7)) ?? .reserved
    }
    /// The destination is logical, not an APIC id.
    public var isLogical: Bool { rawValue >> 11 & 1 == 1 }
    /// It was sent and is not yet accepted.
    public var isPending: Bool { rawValue >> 12 & 1 == 1 }
    /// The level is asserted.
    public var isAssert: Bool { rawValue >> 14 & 1 == 1 }
    /// A level, not an edge.
    public var isLevelTriggered: Bool { rawValue >> 15 & 1 == 1 }
    /// Who gets it, where no destination says.
    public var shorthand: Shorthand {
        Shorthand(rawValue: UInt8(truncatingIfNeeded: rawValue >> 18 & 3)) ?? .none
    }
    /// The eight-bit destination of xAPIC mode.
    public var destination: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 56) }

    /// One line: vector, mode, destination.
    public var description: String {
        let to =
            switch shorthand {
            case .none:
                "\(isLogical ? "logical " : "")destination \(hexadecimal(UInt64(destination), digits: 2))"
            case .itself: "to itself"
            case .allWithItself: "to all"
            case .allButItself: "to all but itself"
            }
        return "vector \(hexadecimal(UInt64(vector), digits: 2)) \(deliveryMode.name) \(to)"
            + (isPending ? " pending" : "")
    }
}
