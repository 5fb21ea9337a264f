import DebugTarget
import KVMCore
import Locking

/// The interrupt controllers, timers and keyboard of a machine that has them outside the kernel, and the guest's time that
/// they live in. The boot processor's thread advances them.
package final class MachineChips: Sendable {
    let clock = GuestClock()
    let controllers: InterruptControllerPair
    let timer: IntervalTimer
    let realTimeClock: RealTimeClock
    let a20: AddressLine20
    let keyboard: KeyboardController
    let postCodes = PostCodePort()
    private let timed: [any TimedDevice]
    /// Who gets the boot processor out of KVM_RUN when a time has come.
    private let alarm = Lock<AlarmClock?>(nil)

    /// - Parameter origin: what the real-time clock shows at first, in seconds since 1970, UTC.
    package init(origin: Int64, a20: AddressLine20 = AddressLine20()) {
        controllers = InterruptControllerPair()
        timer = IntervalTimer(clock: clock, controllers: controllers)
        realTimeClock = RealTimeClock(origin: origin, clock: clock, controllers: controllers)
        self.a20 = a20
        keyboard = KeyboardController(a20: a20, line: ControllerLine(pair: controllers, number: 1))
        timed = [timer, realTimeClock]
    }

    /// What is on the ports, by first port and how many there are.
    var ports: [(base: UInt64, size: UInt64, device: any Device)] {
        [
            (0x20, 2, InterruptControllerPorts(pair: controllers, chip: 0)),
            (0x40, 4, timer),
            (0x60, 1, KeyboardPort(controller: keyboard, isCommand: false)),
            (0x61, 1, SystemControlPort(timer: timer)),
            (0x64, 1, KeyboardPort(controller: keyboard, isCommand: true)),
            (0x70, 2, realTimeClock),
            (0x80, 1, postCodes),
            (0x92, 1, FastA20Port(a20: a20)),
            (0xA0, 2, InterruptControllerPorts(pair: controllers, chip: 1)),
            (0x3F0, 6, AbsentDevice("floppy controller")),
            (0x3F7, 1, AbsentDevice("floppy controller")),
            (0x4D0, 2, TriggerModePorts(pair: controllers)),
            (0xCF8, 1, AbsentDevice("PCI configuration")),
            (0xCFC, 4, AbsentDevice("PCI configuration")),
        ]
    }

    /// Does what is due.
    func advance() {
        let now = clock.now
        for device in timed { device.advance(to: now) }
    }

    /// When an interrupt will come by itself, in nanoseconds of the guest's time; nil where none will.
    var nextInterrupt: UInt64? {
        let now = clock.now
        return timed.compactMap { $0.nextInterrupt(after: now) }.min()
    }

    // MARK: the alarm

    /// Starts the thread that gets the vCPU out of KVM_RUN.
    func startAlarm(_ ring: @escaping @Sendable () -> Void) throws(MachineError) {
        let made = AlarmClock(ring: ring)
        try made.start()
        alarm.withLock { $0 = made }
    }

    /// - Parameter time: by the host's clock; nil for none.
    func setAlarm(_ time: UInt64?) { alarm.withLock { $0 }?.set(time) }

    func endAlarm() {
        let ended = alarm.withLock { alarm in
            defer { alarm = nil }
            return alarm
        }
        ended?.end()
    }
}
