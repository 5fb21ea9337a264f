import DebugTarget
import Locking

/// Devices as a machine of our own has them.
extension FakeGuest: DeviceListing, GuestTimekeeping, RealTimeClockProviding, FirmwareProviding,
    DiskProviding,
    ScreenProviding, KeyTyping
{
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
        var dropped = UnclaimedAccess(address: 0xF1234)
        dropped.note(size: 1, written: 0x5A)
        state.rom = ROMState(first: 0xF0000, last: 0xFFFFF, isProtected: true, dropped: dropped)
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

    var firmware: FirmwareLog? {
        let log = FirmwareLog()
        var read = FirmwareCall(
            vector: 0x13, callerSegment: 0, callerOffset: 0x7C2E,
            before: FirmwareRegisters(eax: 0x4200, edx: 0x80), after: FirmwareRegisters(edx: 0x80),
            outcome: .returned(carry: false, zero: nil))
        read.transfer = FirmwareCall.Transfer(.read, sector: 1, count: 4, segment: 0x800, offset: 0)
        log.append(read)
        var unknown = read
        unknown.before.eax = 0x7700
        unknown.isKnown = false
        unknown.transfer = nil
        log.append(unknown)
        return log
    }

    var drives: [DriveState] {
        [
            DriveState(
                number: 0x80, kind: .disk, path: "boot.img", sectors: 2048, sectorSize: 512, cylinders: 3,
                heads: 16,
                sectorsPerTrack: 63, reads: 7, writes: 1, changed: 4096)
        ]
    }

    /// Nothing is written: the test's examples run in a folder that is not theirs.
    func saveDrive(_ number: UInt8, to path: String) throws {
        saved.withLock { $0.append((number, path)) }
    }

    var textScreen: ScreenContents? {
        let cells = "Hi\u{1}".utf8.map { ScreenContents.Cell(character: $0, attribute: 0x07) }
        return ScreenContents(columns: 3, rows: 1, cells: cells, cursor: 2)
    }

    var hasKeyboard: Bool { keyboard.withLock { $0 != nil } }
    var keyNames: [String] { ["enter", "up"] }

    func type(_ keys: [TypedKey]) -> KeyTypingFailure? {
        keyboard.withLock { typed in
            guard typed != nil else { return .noKeyboard }
            typed? += keys
            return nil
        }
    }
}
