import DebugTarget
import KVMCore

/// The interrupt controllers and the timer of a machine that has them outside the kernel, with the devices beside them. The
/// boot processor's thread advances them.
package final class MachineChips: Sendable {
    let controllers: InterruptControllerPair
    let timer: IntervalTimer
    let devices: BoardDevices

    /// - Parameter origin: what the real-time clock shows at first, in seconds since 1970, UTC.
    package init(origin: Int64, a20: AddressLine20 = AddressLine20()) {
        let controllers = InterruptControllerPair()
        let clock = GuestClock()
        self.controllers = controllers
        timer = IntervalTimer(clock: clock, controllers: controllers)
        devices = BoardDevices(
            origin: origin, a20: a20, clock: clock,
            keyboardLine: ControllerLine(pair: controllers, number: 1),
            clockLine: ControllerLine(pair: controllers, number: 8))
    }

    var clock: GuestClock { devices.clock }
    var keyboard: KeyboardController { devices.keyboard }
    var realTimeClock: RealTimeClock { devices.realTimeClock }
    var a20: AddressLine20 { devices.a20 }

    /// What is on the ports, by first port and how many there are.
    var ports: [(base: UInt64, size: UInt64, device: any Device)] {
        [
            (0x20, 2, InterruptControllerPorts(pair: controllers, chip: 0)),
            (0x40, 4, timer),
            (0x61, 1, SystemControlPort(timer: timer)),
            (0xA0, 2, InterruptControllerPorts(pair: controllers, chip: 1)),
            (0x4D0, 2, TriggerModePorts(pair: controllers)),
        ] + devices.ports
    }

    /// As a BIOS leaves them.
    func initialiseAsBIOS() {
        controllers.initialiseAsBIOS()
        timer.initialiseAsBIOS()
    }

    /// Does what is due.
    func advance() {
        timer.advance(to: clock.now)
        devices.advance()
    }

    /// When an interrupt will come by itself, in nanoseconds of the guest's time; nil where none will.
    var nextInterrupt: UInt64? {
        let mine = timer.nextInterrupt(after: clock.now)
        guard let other = devices.nextInterrupt else { return mine }
        return min(mine ?? other, other)
    }
}
