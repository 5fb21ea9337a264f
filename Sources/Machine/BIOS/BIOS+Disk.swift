import DebugTarget
import KVMCore

/// INT 13h. Source: Phoenix Enhanced Disk Drive Specification 3.0; El Torito Bootable CD-ROM Format 1.0.
extension BIOS {
    /// What AH gives.
    private enum Status {
        static let ok: UInt8 = 0
        static let badCommand: UInt8 = 0x01
        static let writeProtected: UInt8 = 0x03
        static let notFound: UInt8 = 0x04
        static let boundary: UInt8 = 0x09
        static let readError: UInt8 = 0x10
        static let noMedia: UInt8 = 0x31
    }

    /// The most sectors that an extended call moves at once.
    private static var mostSectors: UInt32 { 127 }

    func disk(_ call: inout BIOSCall, _ state: inout State) {
        let function = call.ah
        let isFloppy = call.dl < 0x80
        guard function != 0x01 else {
            let status = isFloppy ? state.floppyStatus : state.diskStatus
            call.ah = status
            call.carry = status != 0
            return
        }
        let status = disk(function, &call, &state)
        if isFloppy {
            state.floppyStatus = status
            call.memory.setByte(BIOSData.floppyStatus, status)
        } else {
            state.diskStatus = status
            call.memory.setByte(BIOSData.diskStatus, status)
        }
        // These say more than a status in AH.
        if status == Status.ok, [0x08, 0x15, 0x41].contains(function) {
            if function == 0x08 { call.ah = 0 }
        } else {
            call.ah = status
        }
        call.carry = status != Status.ok
    }

    /// The status of a function.
    private func disk(_ function: UInt8, _ call: inout BIOSCall, _ state: inout State) -> UInt8 {
        let found = drive(call.dl, state)
        // Asked of drives that are not there, too.
        if function == 0x15 { return driveType(found, &call) }
        // Of any drive, where its CD stands for one.
        if function == 0x4B { return emulation(found, &call, &state) }
        guard let drive = found else {
            if function == 0x08, call.dl < 0x80 {
                call.bx = 0
                call.cx = 0
                call.dx = UInt16(count(.floppy, state))
            }
            return Status.badCommand
        }
        switch function {
        case 0x00, 0x0C, 0x0D, 0x10, 0x11, 0x14: return Status.ok
        case 0x02: return oldTransfer(.read, drive, &call)
        case 0x03: return oldTransfer(.write, drive, &call)
        case 0x04: return oldTransfer(.verify, drive, &call)
        case 0x08: return parameters(drive, count(drive.kind, state), &call)
        // The medium has not changed.
        case 0x16: return drive.kind == .floppy ? Status.ok : Status.badCommand
        case 0x41: return checkExtensions(drive, &call)
        case 0x42: return newTransfer(.read, drive, &call)
        case 0x43: return newTransfer(.write, drive, &call)
        case 0x44: return newTransfer(.verify, drive, &call)
        case 0x47: return drive.kind == .floppy ? Status.badCommand : Status.ok
        case 0x48: return newParameters(drive, &call)
        default:
            call.isKnown = false
            return Status.badCommand
        }
    }

    // MARK: the old functions

    /// How many of a kind there are.
    private func count(_ kind: DriveState.Kind, _ state: State) -> Int {
        hardware.drives.filter { $0.kind == kind && !(state.emulationEnded && $0.emulation != nil) }.count
    }

    private func driveType(_ found: Drive?, _ call: inout BIOSCall) -> UInt8 {
        guard let drive = found, drive.kind != .cdrom else {
            call.ah = 0
            return found == nil ? Status.ok : Status.badCommand
        }
        if drive.kind == .floppy {
            // One that tells whether its medium changed.
            call.ah = 2
        } else {
            call.ah = 3
            // Without the last cylinder, as the parameters have it.
            let geometry = drive.geometry
            let sectors = UInt32(
                clamping: max(1, geometry.cylinders - 1) * geometry.heads * geometry.sectorsPerTrack)
            call.cx = UInt16(truncatingIfNeeded: sectors >> 16)
            call.dx = UInt16(truncatingIfNeeded: sectors)
        }
        return Status.ok
    }

    private func parameters(_ drive: Drive, _ count: Int, _ call: inout BIOSCall) -> UInt8 {
        guard drive.kind != .cdrom else { return Status.badCommand }
        let geometry = drive.geometry
        // A hard disk's last cylinder is left for diagnostics.
        let last = max(0, geometry.cylinders - (drive.kind == .disk ? 2 : 1))
        call.ch = UInt8(truncatingIfNeeded: last)
        call.cl = UInt8(truncatingIfNeeded: geometry.sectorsPerTrack & 0x3F | last >> 2 & 0xC0)
        call.dh = UInt8(truncatingIfNeeded: geometry.heads - 1)
        call.dl = UInt8(clamping: count)
        if drive.kind == .floppy {
            call.al = 0
            call.bx = floppyType(geometry)
            call.loadES(BIOSROM.segment)
            call.di = BIOSROM.Place.floppyTable
        }
        return Status.ok
    }

    private func floppyType(_ geometry: DriveGeometry) -> UInt16 {
        switch (geometry.cylinders, geometry.sectorsPerTrack) {
        case (40, _): 1
        case (_, 15): 2
        case (_, 9): 3
        case (_, 36): 6
        default: 4
        }
    }

    private func oldTransfer(
        _ direction: FirmwareCall.Transfer.Direction, _ drive: Drive, _ call: inout BIOSCall
    ) -> UInt8 {
        let count = call.al
        guard drive.kind != .cdrom, count > 0 else { return Status.badCommand }
        let cylinder = Int(call.ch) | Int(call.cl & 0xC0) << 2
        let first = drive.geometry.sector(
            cylinder: cylinder, head: Int(call.dh), sector: Int(call.cl & 0x3F))
        let transfer = FirmwareCall.Transfer(
            direction, sector: first ?? 0, count: UInt32(count), segment: call.special.es.selector,
            offset: call.bx)
        guard let first else {
            call.al = 0
            return Status.notFound
        }
        call.transfer = transfer
        let status = move(transfer, drive, to: call.special.es.base &+ UInt64(call.bx), first, &call)
        if status != Status.ok { call.al = 0 }
        return status
    }

    /// Moves sectors between a drive and memory.
    private func move(
        _ transfer: FirmwareCall.Transfer, _ drive: Drive, to linear: UInt64, _ first: UInt64,
        _ call: inout BIOSCall
    ) -> UInt8 {
        let (end, overflow) = first.addingReportingOverflow(UInt64(transfer.count))
        guard !overflow, end <= drive.sectors else { return Status.notFound }
        let offset = first * UInt64(drive.sectorSize)
        let count = Int(transfer.count) * drive.sectorSize
        switch transfer.direction {
        case .verify: return Status.ok
        case .read:
            var done: UInt64 = 0
            var isInside = true
            let memory = call.memory
            let isRead = drive.image.read(offset, count: count) { part in
                isInside = memory.write(linear &+ done, part)
                done += UInt64(part.count)
                return isInside
            }
            return !isInside ? Status.boundary : isRead ? Status.ok : Status.readError
        case .write:
            guard drive.kind != .cdrom else { return Status.badCommand }
            guard drive.emulation == nil else { return Status.writeProtected }
            guard let bytes = call.memory.bytes(linear, count: count) else { return Status.boundary }
            return bytes.withUnsafeBytes { drive.image.write(offset, $0) } ? Status.ok : Status.readError
        }
    }

    // MARK: the extensions

    private func checkExtensions(_ drive: Drive, _ call: inout BIOSCall) -> UInt8 {
        guard call.bx == 0x55AA, drive.kind != .floppy else {
            return Status.badCommand
        }
        call.bx = 0xAA55
        // Version 3.0; packets and drive parameters.
        call.ah = 0x30
        call.cx = 0x0005
        return Status.ok
    }

    private func newTransfer(
        _ direction: FirmwareCall.Transfer.Direction, _ drive: Drive, _ call: inout BIOSCall
    ) -> UInt8 {
        let packet = call.special.ds.base &+ UInt64(call.si)
        guard drive.kind != .floppy, let head = call.memory.number(packet, size: 8),
            let sector = call.memory.number(packet &+ 8, size: 8), head & 0xFF >= 16
        else { return Status.badCommand }
        func word(_ place: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: head >> (place * 8)) }
        let count = UInt32(word(2))
        let (offset, segment) = (word(4), word(6))
        let transfer = FirmwareCall.Transfer(
            direction, sector: sector, count: count, segment: segment, offset: offset)
        call.transfer = transfer
        var linear = UInt64(segment) << 4 &+ UInt64(offset)
        if segment == 0xFFFF, offset == 0xFFFF {
            // A flat address follows in packets of 24 bytes.
            guard head & 0xFF >= 24, let flat = call.memory.number(packet &+ 16, size: 8) else {
                return Status.badCommand
            }
            linear = flat
        }
        guard count <= Self.mostSectors else { return Status.badCommand }
        let status = move(transfer, drive, to: linear, sector, &call)
        // How many were moved.
        if status != Status.ok { call.memory.setWord(packet + 2, 0) }
        return status
    }

    private func newParameters(_ drive: Drive, _ call: inout BIOSCall) -> UInt8 {
        let place = call.special.ds.base &+ UInt64(call.si)
        guard drive.kind != .floppy, let size = call.memory.word(place), size >= 26 else {
            return Status.badCommand
        }
        func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        }
        let geometry = drive.geometry
        let hasGeometry = drive.kind == .disk
        var table = bytes(size >= 30 ? 30 : 26, 2)
        // Bit 1 the geometry is valid; 2 removable, 4 it can be ejected, 5 and 6 for a CD.
        table += bytes(hasGeometry ? 0x02 : 0x74, 2)
        table += bytes(hasGeometry ? UInt64(geometry.cylinders) : 0xFFFF_FFFF, 4)
        table += bytes(hasGeometry ? UInt64(geometry.heads) : 0xFFFF_FFFF, 4)
        table += bytes(hasGeometry ? UInt64(geometry.sectorsPerTrack) : 0xFFFF_FFFF, 4)
        table += bytes(hasGeometry ? drive.sectors : .max, 8)
        table += bytes(UInt64(drive.sectorSize), 2)
        // No device parameter table extension.
        if size >= 30 { table += bytes(0xFFFF_FFFF, 4) }
        return call.memory.write(place, table) ? Status.ok : Status.boundary
    }

    /// El Torito's status, AL=01h, and the end of an emulation, AL=00h. Source: El Torito 1.0, section 4.
    private func emulation(_ drive: Drive?, _ call: inout BIOSCall, _ state: inout State) -> UInt8 {
        // DL=7Fh means all.
        let emulated = state.emulationEnded ? nil : hardware.emulated
        let asked = call.dl == 0x7F ? emulated ?? hardware.drives.first { $0.kind == .cdrom } : drive
        guard call.al <= 1, let asked, let start = asked.emulation ?? BootCatalog(asked) else {
            return Status.badCommand
        }
        let packet = start.packet(drive: asked.number, asked.geometry)
        guard call.memory.write(call.special.ds.base &+ UInt64(call.si), packet) else {
            return Status.boundary
        }
        if call.al == 0, asked.emulation != nil { state.emulationEnded = true }
        return Status.ok
    }
}
