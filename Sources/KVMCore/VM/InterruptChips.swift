import CKVM

/// Which of the two i8259 interrupt controllers.
public enum PIC: UInt32, Sendable, Hashable, CaseIterable {
    /// KVM_IRQCHIP_PIC_MASTER: inputs 0 to 7, ports 0x20 and 0x21.
    case master = 0
    /// KVM_IRQCHIP_PIC_SLAVE: inputs 8 to 15, ports 0xA0 and 0xA1.
    case slave = 1
}

/// An i8259 as KVM models it: `struct kvm_pic_state`. A bit of a byte is an input.
public struct PICState: Sendable, Hashable {
    /// Requests before the last change, for edges.
    public var lastIRR: UInt8 = 0
    /// IRR: requested.
    public var irr: UInt8 = 0
    /// IMR: masked.
    public var imr: UInt8 = 0
    /// ISR: in service.
    public var isr: UInt8 = 0
    /// The input of highest priority.
    public var priorityAdd: UInt8 = 0
    /// The vector of input 0.
    public var vectorBase: UInt8 = 0
    /// A read gives ISR (1) or IRR (0).
    public var readRegisterSelect: UInt8 = 0
    /// The next read is a poll.
    public var poll: UInt8 = 0
    /// OCW3's special mask mode.
    public var specialMask: UInt8 = 0
    /// 0 when initialised; otherwise which ICW comes next.
    public var initState: UInt8 = 0
    /// ICW4's automatic EOI.
    public var autoEOI: UInt8 = 0
    /// OCW2's rotation with it.
    public var rotateOnAutoEOI: UInt8 = 0
    /// ICW4's special fully nested mode.
    public var specialFullyNestedMode: UInt8 = 0
    /// ICW4 is expected.
    public var init4: UInt8 = 0
    /// Level-triggered inputs.
    public var elcr: UInt8 = 0
    /// The inputs whose trigger mode can be changed.
    public var elcrMask: UInt8 = 0

    /// All zero.
    public init() {}

    init(chip bytes: [UInt8]) {
        lastIRR = bytes.load(8)
        irr = bytes.load(9)
        imr = bytes.load(10)
        isr = bytes.load(11)
        priorityAdd = bytes.load(12)
        vectorBase = bytes.load(13)
        readRegisterSelect = bytes.load(14)
        poll = bytes.load(15)
        specialMask = bytes.load(16)
        initState = bytes.load(17)
        autoEOI = bytes.load(18)
        rotateOnAutoEOI = bytes.load(19)
        specialFullyNestedMode = bytes.load(20)
        init4 = bytes.load(21)
        elcr = bytes.load(22)
        elcrMask = bytes.load(23)
    }

    func encode(into bytes: inout [UInt8]) {
        let fields = [
            lastIRR, irr, imr, isr, priorityAdd, vectorBase, readRegisterSelect, poll, specialMask, initState,
            autoEOI, rotateOnAutoEOI, specialFullyNestedMode, init4, elcr, elcrMask,
        ]
        for (index, field) in fields.enumerated() { bytes.store(field, at: 8 + index) }
    }
}

/// The IOAPIC as KVM models it: `struct kvm_ioapic_state`. Source: 82093AA datasheet, 3.2.
public struct IOAPICState: Sendable, Hashable {
    /// Guest-physical; 0xFEC00000 after reset.
    public var baseAddress: UInt64 = 0
    /// IOREGSEL.
    public var registerSelect: UInt32 = 0
    /// The APIC id, in bits 0 to 3.
    public var id: UInt32 = 0
    /// The inputs requested, a bit each.
    public var irr: UInt32 = 0
    /// Always ``pinCount``.
    public var redirections = [Redirection](repeating: Redirection(rawValue: 0), count: pinCount)
    /// How many inputs there are.
    public static let pinCount = 24

    /// All zero.
    public init() {}

    /// One entry of the redirection table.
    public struct Redirection: RawRepresentable, Sendable, Hashable {
        /// The register's 64 bits.
        public var rawValue: UInt64
        /// - Parameter rawValue: the register's 64 bits.
        public init(rawValue: UInt64) { self.rawValue = rawValue }
        /// What the interrupt comes in at; from 16 on.
        public var vector: UInt8 { UInt8(truncatingIfNeeded: rawValue) }
        /// 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT.
        public var deliveryMode: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 8) & 7 }
        /// The destination is logical, not an APIC id.
        public var isLogical: Bool { rawValue >> 11 & 1 == 1 }
        /// It was sent and is not yet accepted.
        public var isPending: Bool { rawValue >> 12 & 1 == 1 }
        /// The input is asserted when low.
        public var isActiveLow: Bool { rawValue >> 13 & 1 == 1 }
        /// A level-triggered interrupt that was accepted and has not had its EOI.
        public var remoteIRR: Bool { rawValue >> 14 & 1 == 1 }
        /// The input is a level, not an edge.
        public var isLevelTriggered: Bool { rawValue >> 15 & 1 == 1 }
        /// The input does nothing.
        public var isMasked: Bool { rawValue >> 16 & 1 == 1 }
        /// An APIC id, or a set of logical ones.
        public var destination: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 56) }
    }

    init(chip bytes: [UInt8]) {
        baseAddress = bytes.load(8)
        registerSelect = bytes.load(16)
        id = bytes.load(20)
        irr = bytes.load(24)
        for pin in 0..<Self.pinCount {
            redirections[pin] = Redirection(rawValue: bytes.load(32 + pin * 8))
        }
    }

    func encode(into bytes: inout [UInt8]) {
        bytes.store(baseAddress, at: 8)
        bytes.store(registerSelect, at: 16)
        bytes.store(id, at: 20)
        bytes.store(irr, at: 24)
        for (pin, redirection) in redirections.prefix(Self.pinCount).enumerated() {
            bytes.store(redirection.rawValue, at: 32 + pin * 8)
        }
    }
}

/// The i8254 timer as KVM models it: `struct kvm_pit_state2`.
public struct PITState: Sendable, Hashable {
    /// Always three.
    public var channels = [Channel](repeating: Channel(), count: 3)
    /// What else there is to it.
    public var flags: Flags = []

    /// `kvm_pit_state2.flags`.
    public struct Flags: OptionSet, Sendable, Hashable {
        /// The kernel's bits.
        public var rawValue: UInt32
        /// - Parameter rawValue: the kernel's bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// KVM_PIT_FLAGS_HPET_LEGACY: the HPET has taken over, and channel 0 interrupts no more.
        public static let hpetLegacy = Flags(rawValue: 1 << 0)
        /// KVM_PIT_FLAGS_SPEAKER_DATA_ON: bit 1 of port 0x61, which lets the speaker sound. Since Linux 6.0.
        public static let speakerData = Flags(rawValue: 1 << 1)
    }

    /// Channels that count nothing.
    public init() {}

    /// One of its three counters: `struct kvm_pit_channel_state`.
    public struct Channel: Sendable, Hashable {
        /// The reload value, 1 to 65536.
        public var count: UInt32 = 0
        /// What a read gives while it is latched.
        public var latchedCount: UInt16 = 0
        /// How much of the latched count is still to be read: as ``accessMode``, 0 for none.
        public var countLatched: UInt8 = 0
        /// 1: the next read gives ``status``.
        public var statusLatched: UInt8 = 0
        /// The status byte of a read-back command.
        public var status: UInt8 = 0
        /// Which byte the next read gives: 1 low, 2 high, 3 low of both, 4 high of both.
        public var readState: UInt8 = 0
        /// Which byte the next write sets, likewise.
        public var writeState: UInt8 = 0
        /// The low byte, until the high one is written.
        public var writeLatch: UInt8 = 0
        /// 1 low byte, 2 high byte, 3 both.
        public var accessMode: UInt8 = 0
        /// 0 to 5.
        public var mode: UInt8 = 0
        /// It counts in decimal digits.
        public var isBCD: Bool = false
        /// 1: the gate is open. Channel 2's is bit 0 of port 0x61.
        public var gate: UInt8 = 0
        /// When the count was loaded, in the host's CLOCK_MONOTONIC nanoseconds.
        public var loadTime: Int64 = 0

        /// All zero.
        public init() {}

        init(_ channel: kvm_pit_channel_state) {
            count = channel.count
            latchedCount = channel.latched_count
            countLatched = channel.count_latched
            statusLatched = channel.status_latched
            status = channel.status
            readState = channel.read_state
            writeState = channel.write_state
            writeLatch = channel.write_latch
            accessMode = channel.rw_mode
            mode = channel.mode
            isBCD = channel.bcd != 0
            gate = channel.gate
            loadTime = channel.count_load_time
        }

        var encoded: kvm_pit_channel_state {
            kvm_pit_channel_state(
                count: count, latched_count: latchedCount, count_latched: countLatched,
                status_latched: statusLatched, status: status, read_state: readState,
                write_state: writeState, write_latch: writeLatch, rw_mode: accessMode, mode: mode,
                bcd: isBCD ? 1 : 0, gate: gate, count_load_time: loadTime)
        }
    }

    init(_ state: kvm_pit_state2) {
        channels = [Channel(state.channels.0), Channel(state.channels.1), Channel(state.channels.2)]
        flags = Flags(rawValue: state.flags)
    }

    var encoded: kvm_pit_state2 {
        func channel(_ index: Int) -> kvm_pit_channel_state {
            index < channels.count ? channels[index].encoded : kvm_pit_channel_state()
        }
        var state = kvm_pit_state2()
        state.channels = (channel(0), channel(1), channel(2))
        state.flags = flags.rawValue
        return state
    }
}

/// kvmclock: `struct kvm_clock_data`. Source: api.rst, 4.29.
public struct ClockState: Sendable, Hashable {
    /// The guest's time, as kvmclock gives it.
    public var nanoseconds: UInt64
    /// KVM_CLOCK_*: 2 the TSC is stable, 4 ``realTime`` counts, 8 ``hostTSC`` counts.
    public var flags: UInt32
    /// Nanoseconds of CLOCK_REALTIME when the clock was read.
    public var realTime: UInt64
    /// The host's TSC when the clock was read.
    public var hostTSC: UInt64
    /// - Parameters:
    ///   - nanoseconds: the guest's time.
    ///   - flags: KVM_CLOCK_*.
    ///   - realTime: nanoseconds of CLOCK_REALTIME that `nanoseconds` belong to.
    ///   - hostTSC: the host's TSC then.
    public init(nanoseconds: UInt64, flags: UInt32 = 0, realTime: UInt64 = 0, hostTSC: UInt64 = 0) {
        self.nanoseconds = nanoseconds
        self.flags = flags
        self.realTime = realTime
        self.hostTSC = hostTSC
    }
    /// KVM_CLOCK_REALTIME: ``realTime`` counts. Since Linux 5.16.
    public var hasRealTime: Bool { flags & 4 != 0 }
}
