package import DebugTarget
import KVMCore
import Locking
package import X86

/// The BIOS of a machine, on the host side: what a guest's call of a stub comes to.
///
/// A call is a function of registers and memory. It is trusted in nothing: what it passes is checked, and what cannot be
/// done gets the status that a BIOS gives.
package final class BIOS: Sendable {
    /// What it works with, besides the guest's registers and memory.
    package struct Hardware: Sendable {
        let drives: [Drive]
        /// The one of them that is a part of a CD.
        var emulated: Drive? { drives.first { $0.emulation != nil } }
        let devices: BoardDevices
        let serialPort: UART
        /// RAM in bytes, and where it is.
        let ramSize: UInt64
        let ranges: [Range<UInt64>]
        /// ACPI's and the MP table, where there are any.
        let tables: [GuestImage.Part]
        let screen: TextAdapter

        package init(
            drives: [Drive], chips: MachineChips, serialPort: UART, ramSize: UInt64, ranges: [Range<UInt64>],
            screen: TextAdapter
        ) {
            self.init(
                drives: drives, devices: chips.devices, serialPort: serialPort, ramSize: ramSize,
                ranges: ranges, tables: [], screen: screen)
        }

        init(
            drives: [Drive], devices: BoardDevices, serialPort: UART, ramSize: UInt64,
            ranges: [Range<UInt64>], tables: [GuestImage.Part], screen: TextAdapter
        ) {
            self.drives = drives
            self.devices = devices
            self.tables = tables
            self.serialPort = serialPort
            self.ramSize = ramSize
            self.ranges = ranges
            self.screen = screen
        }
    }

    /// What it remembers between calls.
    struct State: Sendable {
        var diskStatus: UInt8 = 0
        var floppyStatus: UInt8 = 0
        /// When a wait of INT 15h is over, in the guest's nanoseconds.
        var waitsUntil: UInt64?
        var keys = KeyTranslation()
        /// INT 15h AH=83h: when the wait is over, in the guest's nanoseconds, and the byte that is to tell it.
        var event: (deadline: UInt64, flag: UInt64)?
        /// What boots from a CD as a floppy or a disk is gone (INT 13h AX=4B00h).
        var emulationEnded = false
    }

    package let rom: BIOSROM
    let hardware: Hardware
    let log = FirmwareLog()
    private let state = Lock(State())

    package init(_ hardware: Hardware) {
        self.hardware = hardware
        rom = BIOSROM(drives: hardware.drives)
    }

    /// The entry that an OUT belongs to: of its ROM, in real or virtual-8086 mode, and no other.
    ///
    /// - Parameter general: with RIP after the OUT.
    package func entry(_ general: GeneralRegisters, _ special: SpecialRegisters) -> BIOSROM.Entry? {
        let isReal = !special.cr0.contains(.pe) || general.rflags.contains(.vm)
        guard isReal, special.cs.base == BIOSROM.base, let offset = UInt16(exactly: general.rip) else {
            return nil
        }
        return rom.entries[offset]
    }

    /// What a call came to.
    package struct Result {
        package var general: GeneralRegisters
        package var special: SpecialRegisters
        var changedSegments: Bool
        var ending: BIOSCall.Ending
        /// IRET will switch interrupts on.
        var callerTakesInterrupts: Bool
        /// Nil for what is the BIOS's own, as its handlers of interrupts.
        package var call: FirmwareCall?
    }

    /// Does what an entry asks for.
    package func perform(
        _ entry: BIOSROM.Entry, _ general: GeneralRegisters, _ special: SpecialRegisters,
        _ ram: any PhysicalMemory
    ) -> Result {
        let memory = BIOSMemory(ram, special, isA20On: hardware.devices.a20.isOn)
        var call = BIOSCall(general, special, memory)
        let before = call.firmwareRegisters
        state.withLock { state in
            switch entry {
            case .service(let vector): serve(vector, &call, &state)
            case .scanCode: state.keys.take(call.al, memory)
            case .clockFlags: endEventWait(call, &state)
            case .reset: call.ending = .resets
            }
        }
        call.returnFlags()
        let frame = call.frame
        var kept: FirmwareCall?
        if case .service(let vector) = entry {
            let outcome: FirmwareCall.Outcome =
                switch call.ending {
                case .returns: .returned(carry: call.carry, zero: call.zero)
                case .waits: .waits
                case .jumps, .resets: .left
                }
            var made = FirmwareCall(
                vector: vector, callerSegment: frame?.segment ?? 0, callerOffset: frame?.offset ?? 0,
                before: before, after: call.firmwareRegisters, outcome: outcome)
            made.transfer = call.transfer
            made.isKnown = call.isKnown
            log.append(made)
            kept = made
        }
        if case .waits(let isHalting) = call.ending, case .service(let vector) = entry {
            let start = BIOSROM.stub(vector) + (isHalting ? BIOSROM.Place.halting : BIOSROM.Place.spinning)
            call.general.rip = UInt64(start)
        }
        let flags = frame?.flags ?? 0
        return Result(
            general: call.general, special: call.special, changedSegments: call.special != special,
            ending: call.ending, callerTakesInterrupts: kept != nil && flags & 0x200 != 0, call: kept)
    }

    private func serve(_ vector: UInt8, _ call: inout BIOSCall, _ state: inout State) {
        switch vector {
        case 0x10: video(&call)
        case 0x11: call.ax = call.memory.word(BIOSData.equipment) ?? 0
        case 0x12: call.ax = call.memory.word(BIOSData.memorySize) ?? 0
        case 0x13: disk(&call, &state)
        case 0x14: serial(&call)
        case 0x15: system(&call, &state)
        case 0x16: keyboard(&call, &state)
        // There is no printer: "timed out".
        case 0x17: call.ah = 0x01
        case 0x18: noBoot(&call)
        case 0x19: boot(&call)
        case 0x1A: clock(&call)
        default: call.isKnown = false
        }
    }

    /// As it is when the power comes on. What the guest wrote to its drives stays.
    func restart() { state.withLock { $0 = State() } }

    func drive(_ number: UInt8) -> Drive? { hardware.drives.first { $0.number == number } }

    /// As INT 13h finds it. Without the drive that a CD stands for, those after it have their own numbers again.
    func drive(_ number: UInt8, _ state: State) -> Drive? {
        guard state.emulationEnded, let emulated = hardware.emulated else { return drive(number) }
        let isAfter = number >= emulated.number && number & 0x80 == emulated.number & 0x80 && number < 0xE0
        return drive(isAfter ? number + 1 : number)
    }
}
