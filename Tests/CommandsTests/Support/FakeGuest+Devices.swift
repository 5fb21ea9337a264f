import DebugTarget
import Locking

/// Devices as a machine of our own has them.
extension FakeGuest: DeviceListing, GuestTimekeeping, RealTimeClockProviding {
    var deviceState: DeviceState {
        var state = DeviceState()
        state.ports = [
            MountedDevice(first: 0x20, last: 0x21, name: "i8259 PIC, first"),
            MountedDevice(first: 0xE9, last: 0xE9, name: "debug console"),
        ]
        var access = UnclaimedAccess(address: 0x3D4)
        access.note(size: 2, written: 0x0E0F)
        access.note(size: 1, written: nil)
        state.unclaimedPorts = [access]
        state.postCodes = [0x01, 0xAA]
        state.isA20On = true
        state.inputs.portReads = 3
        state.interrupts = [DeliveredInterrupt(vector: 8, count: 18)]
        state.remarks = ["Something was noticed."]
        return state
    }

    var hasGuestTime: Bool { true }
    var guestTime: Duration { .milliseconds(55) }
    var stepTime: Duration {
        get { .nanoseconds(times.withLock { $0 }) }
        set { times.withLock { $0 = Int64(newValue.components.attoseconds / 1_000_000_000) } }
    }

    var realTimeClock: RealTimeClockState? {
        RealTimeClockState(
            seconds: 1_700_000_000, statusA: 0x26, statusB: 0x12, statusC: 0, alarm: [0xFF, 0x30, 0x00],
            index: 0x0D, memory: [UInt8](repeating: 0, count: 128))
    }
}
