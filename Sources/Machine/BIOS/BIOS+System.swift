import DebugTarget
import KVMCore

/// INT 15h. Source: Ralf Brown's Interrupt List and ACPI 6, "System address map interfaces", for what programs rely on.
extension BIOS {
    private static var unsupported: UInt8 { 0x86 }

    func system(_ call: inout BIOSCall, _ state: inout State) {
        call.carry = false
        switch call.ah {
        case 0x24: addressLine(&call)
        // The scan code goes on to INT 09h.
        case 0x4F: call.carry = true
        // APM is absent, and says so by this status.
        case 0x53:
            call.carry = true
            call.ah = Self.unsupported
        case 0x83: eventWait(&call, &state)
        case 0x86: wait(&call, &state)
        case 0x87: moveBlock(&call)
        case 0x88: call.ax = UInt16(clamping: min(extendedKiB, 0xFFFF))
        case 0x90, 0x91: call.ah = 0
        case 0xC0:
            call.loadES(BIOSROM.segment)
            call.bx = BIOSROM.Place.configuration
            call.ah = 0
        case 0xC1: call.loadES(call.memory.word(BIOSData.extendedArea) ?? BIOSData.extendedSegment)
        case 0xE8: extended(&call)
        // What Linux asks of processors and power, and no one here has.
        case 0xE9, 0xEC:
            call.carry = true
            call.ah = Self.unsupported
        default: call.refuse(Self.unsupported)
        }
    }

    // MARK: A20

    private func addressLine(_ call: inout BIOSCall) {
        switch call.al {
        case 0x00: hardware.devices.a20.set(false)
        case 0x01: hardware.devices.a20.set(true)
        case 0x02: call.al = hardware.devices.a20.isOn ? 1 : 0
        // By the keyboard controller and by port 92h.
        case 0x03: call.bx = 3
        default: return call.refuse(Self.unsupported)
        }
        call.ah = 0
    }

    // MARK: time

    private func microseconds(_ call: BIOSCall) -> UInt64 { UInt64(call.cx) << 16 | UInt64(call.dx) }

    /// Waits for so many microseconds of the guest's time.
    private func wait(_ call: inout BIOSCall, _ state: inout State) {
        let now = hardware.devices.clock.now
        let end = state.waitsUntil ?? now &+ microseconds(call) * 1000
        guard now < end else {
            state.waitsUntil = nil
            return
        }
        state.waitsUntil = end
        call.carry = nil
        call.ending = .waits(halting: false)
    }

    /// Sets bit 7 of a byte when a time is over, and returns at once. The clock's periodic interrupt finds out, as on an AT:
    /// 1,024 times a second of the guest's, where the guest leaves INT 70h and interrupts as they are.
    private func eventWait(_ call: inout BIOSCall, _ state: inout State) {
        let memory = call.memory
        switch call.al {
        case 0x00:
            guard state.event == nil else {
                // One at a time.
                call.carry = true
                call.ah = Self.unsupported
                return
            }
            let flag = call.special.es.base &+ UInt64(call.bx)
            state.event = (hardware.devices.clock.now &+ microseconds(call) * 1000, flag)
            memory.setWord(BIOSData.eventFlag, call.bx)
            memory.setWord(BIOSData.eventFlag + 2, call.special.es.selector)
            memory.setDouble(BIOSData.eventTime, UInt32(truncatingIfNeeded: microseconds(call)))
            memory.setByte(BIOSData.eventActive, 1)
            hardware.devices.realTimeClock.setPeriodicInterrupt(true)
        case 0x01:
            state.event = nil
            memory.setByte(BIOSData.eventActive, 0)
            hardware.devices.realTimeClock.setPeriodicInterrupt(false)
        default: return call.refuse(Self.unsupported)
        }
        call.ah = 0
    }

    /// INT 70h, with the clock's flags in AL.
    func endEventWait(_ call: BIOSCall, _ state: inout State) {
        guard call.al & 0x40 != 0, let event = state.event, hardware.devices.clock.now >= event.deadline
        else { return }
        state.event = nil
        let memory = call.memory
        memory.setByte(event.flag, (memory.byte(event.flag) ?? 0) | 0x80)
        memory.setByte(BIOSData.eventActive, 0)
        hardware.devices.realTimeClock.setPeriodicInterrupt(false)
    }

    // MARK: memory

    private var extendedKiB: UInt64 {
        let end = hardware.ranges.first?.upperBound ?? 0
        return end > 1 << 20 ? (end - 1 << 20) >> 10 : 0
    }

    /// Copies words between places that two descriptors say.
    private func moveBlock(_ call: inout BIOSCall) {
        let table = call.special.es.base &+ UInt64(call.si)
        guard call.cx <= 0x8000, let bytes = call.memory.bytes(table, count: 0x30) else {
            call.ah = 0x02
            call.carry = true
            return
        }
        func base(_ place: Int) -> UInt64 {
            [2, 3, 4, 7].enumerated().reduce(UInt64(0)) {
                $0 | UInt64(bytes[place + $1.element]) << UInt64($1.offset * 8)
            }
        }
        let count = Int(call.cx) * 2
        // Not through the caller's wrap at 1 MiB: the copy is made with A20 on.
        let memory = BIOSMemory(call.memory.ram, call.special, isA20On: true)
        guard let data = memory.bytes(base(0x10), count: count), memory.write(base(0x18), data) else {
            call.ah = 0x02
            call.carry = true
            return
        }
        call.ah = 0
    }

    private func extended(_ call: inout BIOSCall) {
        switch call.al {
        case 0x01:
            let (low, high) = split
            call.ax = low
            call.bx = high
            call.cx = low
            call.dx = high
        case 0x20: memoryMap(&call)
        case 0x81:
            let (low, high) = split
            BIOSCall.set(&call.general.rax, wide: UInt32(low))
            BIOSCall.set(&call.general.rbx, wide: UInt32(high))
            BIOSCall.set(&call.general.rcx, wide: UInt32(low))
            BIOSCall.set(&call.general.rdx, wide: UInt32(high))
        default: call.refuse(Self.unsupported)
        }
    }

    /// KiB from 1 to 16 MiB, and 64 KiB pieces above.
    private var split: (UInt16, UInt16) {
        let kib = extendedKiB
        guard kib > 0x3C00 else { return (UInt16(kib), 0) }
        return (0x3C00, UInt16(clamping: (kib - 0x3C00) / 64))
    }

    /// The memory map's entries: base, length and type (1 usable, 2 reserved).
    var memoryMap: [(base: UInt64, length: UInt64, type: UInt32)] {
        let low = UInt64(BIOSData.extendedSegment) << 4
        var map: [(base: UInt64, length: UInt64, type: UInt32)] = [
            (0, low, 1), (low, 0xA0000 - low, 2), (0xF0000, 0x10000, 2),
        ]
        for range in hardware.ranges {
            let start = max(range.lowerBound, 1 << 20)
            if start < range.upperBound { map.append((start, range.upperBound - start, 1)) }
        }
        return map
    }

    private func memoryMap(_ call: inout BIOSCall) {
        let place = Int(truncatingIfNeeded: call.general.rbx & 0xFFFF_FFFF)
        let map = memoryMap
        // 'SMAP'
        guard UInt32(truncatingIfNeeded: call.general.rdx) == 0x534D_4150,
            UInt32(truncatingIfNeeded: call.general.rcx) >= 20, map.indices.contains(place)
        else {
            call.carry = true
            call.ah = Self.unsupported
            return
        }
        let entry = map[place]
        func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        }
        let data = bytes(entry.base, 8) + bytes(entry.length, 8) + bytes(UInt64(entry.type), 4)
        guard call.memory.write(call.special.es.base &+ UInt64(call.di), data) else {
            call.carry = true
            call.ah = Self.unsupported
            return
        }
        BIOSCall.set(&call.general.rax, wide: 0x534D_4150)
        BIOSCall.set(&call.general.rbx, wide: place + 1 < map.count ? UInt32(place + 1) : 0)
        BIOSCall.set(&call.general.rcx, wide: 20)
    }

    // MARK: INT 14h

    /// The first serial port alone is there.
    func serial(_ call: inout BIOSCall) {
        guard call.dx == 0 else {
            call.ah = 0x80
            return
        }
        let port = hardware.serialPort
        func status() -> UInt8 { UInt8(truncatingIfNeeded: port.read(5, size: 1)) }
        switch call.ah {
        case 0x00:
            // 8 bits, no parity, whatever is asked for: nothing is lost on this line.
            _ = port.write(3, size: 1, 0x03)
            call.ah = status()
            call.al = UInt8(truncatingIfNeeded: port.read(6, size: 1))
        case 0x01:
            _ = port.write(0, size: 1, UInt64(call.al))
            call.ah = status()
        case 0x02:
            guard status() & 1 != 0 else {
                call.ah = 0x80 | status()
                return
            }
            call.al = UInt8(truncatingIfNeeded: port.read(0, size: 1))
            call.ah = status() & 0x1E
        case 0x03:
            call.ah = status()
            call.al = UInt8(truncatingIfNeeded: port.read(6, size: 1))
        default: call.isKnown = false
        }
    }

    // MARK: INT 1Ah

    func clock(_ call: inout BIOSCall) {
        func decimal(_ value: Int) -> UInt8 { UInt8(truncatingIfNeeded: (value / 10) << 4 | value % 10) }
        func number(_ value: UInt8) -> Int { min(Int(value >> 4), 9) * 10 + min(Int(value & 0xF), 9) }
        let clock = hardware.devices.realTimeClock
        var time = clock.time
        call.carry = false
        switch call.ah {
        case 0x00:
            call.dx = call.memory.word(BIOSData.ticks) ?? 0
            call.cx = call.memory.word(BIOSData.ticks + 2) ?? 0
            call.al = call.memory.byte(BIOSData.midnight) ?? 0
            call.memory.setByte(BIOSData.midnight, 0)
            call.carry = nil
        case 0x01:
            call.memory.setWord(BIOSData.ticks, call.dx)
            call.memory.setWord(BIOSData.ticks + 2, call.cx)
            call.memory.setByte(BIOSData.midnight, 0)
            call.carry = nil
        case 0x02:
            call.cx = UInt16(decimal(time.hour)) << 8 | UInt16(decimal(time.minute))
            call.dx = UInt16(decimal(time.second)) << 8
        case 0x03:
            time.hour = min(number(call.ch), 23)
            time.minute = min(number(call.cl), 59)
            time.second = min(number(call.dh), 59)
            clock.setTime(time)
        case 0x04:
            call.cx = UInt16(decimal(time.year / 100)) << 8 | UInt16(decimal(time.year % 100))
            call.dx = UInt16(decimal(time.month)) << 8 | UInt16(decimal(time.day))
        case 0x05:
            time.year = number(call.ch) * 100 + number(call.cl)
            time.month = max(1, min(number(call.dh), 12))
            time.day = max(1, min(number(call.dl), CalendarTime.days(in: time.month, of: time.year)))
            clock.setTime(time)
        // There is no PCI BIOS.
        case 0xB1:
            call.carry = true
            call.ah = 0x81
        default: call.refuse()
        }
    }
}
