import DebugTarget
import KVMCore

/// What a PC has beside its interrupt controllers and timer, wherever those are: clock, keyboard, A20, and the guest's
/// time that they live in. The boot processor's thread advances them.
final class BoardDevices: Sendable {
    let clock: GuestClock
    let realTimeClock: RealTimeClock
    let a20: AddressLine20
    let keyboard: KeyboardController
    let postCodes = PostCodePort()

    /// - Parameters:
    ///   - origin: what the real-time clock shows at first, in seconds since 1970, UTC.
    ///   - keyboardLine: line 1.
    ///   - clockLine: line 8.
    init(
        origin: Int64, a20: AddressLine20 = AddressLine20(), clock: GuestClock = GuestClock(),
        keyboardLine: any InterruptLine, clockLine: any InterruptLine
    ) {
        self.clock = clock
        self.a20 = a20
        realTimeClock = RealTimeClock(origin: origin, clock: clock, line: clockLine)
        keyboard = KeyboardController(a20: a20, line: keyboardLine)
    }

    /// What is on the ports, by first port and how many there are.
    var ports: [(base: UInt64, size: UInt64, device: any Device)] {
        [
            (0x60, 1, KeyboardPort(controller: keyboard, isCommand: false)),
            (0x64, 1, KeyboardPort(controller: keyboard, isCommand: true)),
            (0x70, 2, realTimeClock),
            (0x80, 1, postCodes),
            (0x92, 1, FastA20Port(a20: a20)),
            (0x3F0, 6, AbsentDevice("floppy controller")),
            (0x3F7, 1, AbsentDevice("floppy controller")),
            (0xCF8, 1, AbsentDevice("PCI configuration")),
            (0xCFC, 4, AbsentDevice("PCI configuration")),
        ]
    }

    /// Does what is due.
    func advance() { realTimeClock.advance(to: clock.now) }

    /// When an interrupt will come by itself, in nanoseconds of the guest's time; nil where none will.
    var nextInterrupt: UInt64? { realTimeClock.nextInterrupt(after: clock.now) }
}
