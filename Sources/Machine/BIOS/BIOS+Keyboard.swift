import DebugTarget

/// INT 16h. Source: IBM PS/2 and PC BIOS Interface Technical Reference, "Keyboard".
extension BIOS {
    func keyboard(_ call: inout BIOSCall, _ state: inout State) {
        let memory = call.memory
        switch call.ah {
        case 0x00, 0x10, 0x20:
            takeTyped(call, &state)
            guard let key = KeyBuffer(memory).next(for: call.ah) else {
                call.ending = .waits(halting: true)
                return
            }
            KeyBuffer(memory).removeFirst()
            call.ax = key
        case 0x01, 0x11, 0x21:
            takeTyped(call, &state)
            let key = KeyBuffer(memory).next(for: call.ah - 1)
            if let key { call.ax = key }
            call.zero = key == nil
        case 0x02: call.al = memory.byte(BIOSData.shiftFlags) ?? 0
        // The rate at which keys repeat: none does.
        case 0x03: break
        case 0x05: call.al = KeyBuffer(memory).append(call.cx) ? 0 : 1
        // INT 16h has 20h to 22h, 10h to 12h, and cannot set rates.
        case 0x09: call.al = 0x60
        case 0x0A: call.bx = 0x41AB
        case 0x12, 0x22:
            call.al = memory.byte(BIOSData.shiftFlags) ?? 0
            call.ah = memory.byte(BIOSData.moreShiftFlags) ?? 0
        default: call.isKnown = false
        }
    }

    /// A program that asks with interrupts off would never get its keys: what was typed is taken as INT 09h would, as long
    /// as that is the BIOS's own.
    private func takeTyped(_ call: BIOSCall, _ state: inout State) {
        guard let frame = call.frame, frame.flags & 0x200 == 0,
            call.memory.word(9 * 4) == BIOSROM.Place.keyboard,
            call.memory.word(9 * 4 + 2) == BIOSROM.segment, hardware.devices.keyboard.canInterrupt
        else { return }
        for _ in 0..<64 {
            guard !KeyBuffer(call.memory).isFull, let code = hardware.devices.keyboard.takeScanCode() else {
                return
            }
            state.keys.take(code, call.memory)
        }
    }
}

/// The ring of keys in the data area. A guest may have written anything to its pointers.
struct KeyBuffer {
    private let memory: BIOSMemory
    private let start: UInt16
    private let end: UInt16

    init(_ memory: BIOSMemory) {
        self.memory = memory
        let start = memory.word(BIOSData.keyBufferStart) ?? 0
        let end = memory.word(BIOSData.keyBufferEnd) ?? 0
        let isValid = start < end && end <= 0x400 && start % 2 == 0 && end % 2 == 0
        (self.start, self.end) = isValid ? (start, end) : (0x1E, 0x3E)
    }

    private func pointer(_ place: UInt64) -> UInt16 {
        let value = memory.word(place) ?? start
        return value >= start && value < end && value % 2 == 0 ? value : start
    }

    private func after(_ pointer: UInt16) -> UInt16 { pointer + 2 >= end ? start : pointer + 2 }

    var isFull: Bool { after(pointer(BIOSData.keyTail)) == pointer(BIOSData.keyHead) }

    var first: UInt16? {
        let head = pointer(BIOSData.keyHead)
        guard head != pointer(BIOSData.keyTail) else { return nil }
        return memory.word(0x400 + UInt64(head))
    }

    func removeFirst() {
        let head = pointer(BIOSData.keyHead)
        guard head != pointer(BIOSData.keyTail) else { return }
        memory.setWord(BIOSData.keyHead, after(head))
    }

    func append(_ key: UInt16) -> Bool {
        let tail = pointer(BIOSData.keyTail)
        guard !isFull else { return false }
        memory.setWord(0x400 + UInt64(tail), key)
        memory.setWord(BIOSData.keyTail, after(tail))
        return true
    }

    /// The next key as a function gives it: the oldest one knows no keys of the larger keyboard, and E0h stands for 0.
    func next(for function: UInt8) -> UInt16? {
        guard function == 0 else { return first }
        while let key = first {
            let (code, character) = (UInt8(key >> 8), UInt8(truncatingIfNeeded: key))
            // Keypad Enter and slash.
            if code == 0xE0 { return UInt16(character == 0x2F ? 0x35 : 0x1C) << 8 | UInt16(character) }
            if character == 0xE0, code != 0 { return UInt16(code) << 8 }
            if code > 0x84, character == 0 {
                removeFirst()
                continue
            }
            return key
        }
        return nil
    }
}
