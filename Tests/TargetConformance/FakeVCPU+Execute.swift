import DebugTarget
import Debugger
import KVMCore
import X86

extension FakeVCPU {
    /// One real-mode instruction of the few that it knows; any other is a triple fault.
    func execute() -> VCPUExit? {
        let opcode = byte(0)
        switch opcode {
        case 0x90: advance(1)
        case 0xFA: flag(.if, false)
        case 0xFB:
            holdsTraps = !general.rflags.contains(.if)
            flag(.if, true)
        case 0xFC: flag(.df, false)
        case 0x40...0x47:
            let value = (self[opcode & 7] &+ 1) & 0xFFFF
            self[opcode & 7] = value
            setZero(value)
            advance(1)
        case 0x48...0x4F:
            let value = (self[opcode & 7] &- 1) & 0xFFFF
            self[opcode & 7] = value
            setZero(value)
            advance(1)
        case 0x50...0x57:
            push(self[opcode & 7])
            advance(1)
        case 0x58...0x5F:
            self[opcode & 7] = pop()
            advance(1)
        case 0xB0...0xB3:
            self[opcode & 3] = self[opcode & 3] & 0xFF00 | UInt64(byte(1))
            advance(2)
        case 0xB8...0xBF:
            self[opcode & 7] = word(1)
            advance(3)
        case 0xA1:
            let address = physical(special.ds.base &+ word(1))
            if memory.access(address) == PageAccess.none || address >= memory.regions[0].size {
                protectedAccess = MMIO(gpa: address, isWrite: false, data: AccessData(value: 0, count: 2))
                return nil
            }
            self[0] = load(special.ds.base &+ word(1))
            advance(3)
        case 0xA3:
            if quirks.contains(.weakEmulator), memory.access(physical(special.ds.base &+ word(1))) != nil {
                return .internalError(InternalError(suberror: 1, data: []))
            }
            store(special.ds.base &+ word(1), self[0])
            advance(3)
        case 0x74: advance(general.rflags.contains(.zf) ? 2 &+ signed(byte(1)) : 2)
        case 0x75: advance(general.rflags.contains(.zf) ? 2 : 2 &+ signed(byte(1)))
        case 0xEB: advance(2 &+ signed(byte(1)))
        case 0xE8:
            push(general.rip &+ 3)
            advance(3 &+ word(1))
        case 0xC3: general.rip = pop()
        case 0xE2:
            self[1] = (self[1] &- 1) & 0xFFFF
            advance(self[1] == 0 ? 2 : 2 &+ signed(byte(1)))
        case 0xCC: raise(vector: 3, returningTo: general.rip &+ 1)
        case 0xCD where byte(1) >= 0x80 && quirks.contains(.noHighVectors): break
        case 0xCD: raise(vector: byte(1), returningTo: general.rip &+ 2)
        case 0xCF: interruptReturn()
        case 0xF3 where byte(1) == 0xA4: moveString()
        case 0xE6, 0xE4, 0xEE, 0xEF, 0xED: return portAccess(opcode)
        case 0x87 where byte(1) == 0xDB: advance(2)
        case 0xF7 where byte(1) == 0xF1: divide()
        case 0x0F where byte(1) == 0x30: return writeMSR()
        case 0x0F where byte(1) == 0x22: return writeControl(byte(2))
        case 0xF3 where byte(1) == 0x6C || byte(1) == 0x6E: return stringAccess()
        case 0x9C:
            push(pushedFlags)
            advance(1)
        case 0x9D:
            loadFlags(pop())
            advance(1)
        case 0x16:
            push(special.ss.selector.asWord)
            advance(1)
        case 0x17:
            special.ss = .real(UInt16(pop()))
            holdsTraps = true
            advance(1)
        case 0x8E where byte(1) & 0xF8 == 0xD0:
            special.ss = .real(UInt16(self[byte(1) & 7]))
            holdsTraps = true
            advance(2)
        case 0x0F: return system()
        case 0xF4:
            advance(1)
            return .hlt
        default: return .shutdown
        }
        return nil
    }

    /// MOV CR0, CR3 or CR4, EAX. Source: SDM volume 3A, 2.5 and 10.8.5.
    private func writeControl(_ modrm: UInt8) -> VCPUExit? {
        let value = general.rax & 0xFFFF_FFFF
        switch modrm {
        case 0xC0:
            special.cr0.rawValue = value
            if special.cr0.contains(.pg), special.efer.contains(.lme) { special.efer.insert(.lma) }
        case 0xD8: special.cr3 = value
        case 0xE0: special.cr4.rawValue = value
        default: return .shutdown
        }
        advance(3)
        return nil
    }

    private func portAccess(_ opcode: UInt8) -> VCPUExit {
        let isOut = opcode & 2 != 0
        let isByDX = opcode & 8 != 0
        let size = isByDX && opcode & 1 != 0 ? 2 : 1
        let port = isByDX ? UInt16(self[2]) : UInt16(byte(1))
        let data = AccessData(value: isOut ? self[0] : 0, count: isOut ? size : 0)
        let length: UInt64 = isByDX ? 1 : 2
        advance(length)
        if isOut { outWasDone(length) }
        return .io(
            PortIO(
                direction: isOut ? .out : .in, port: port, size: size,
                data: isOut ? data : AccessData(value: 0, count: size)))
    }

    /// RFLAGS as the stack gets them. A host that steps with TF pushes it; KVM's emulator pushes none while it steps.
    private var pushedFlags: UInt64 {
        var flags = general.rflags
        if quirks.contains(.tfIsReal) {
            if isTrapping { flags.insert(.tf) }
        } else if guestDebug.control.contains(.singleStep) {
            flags.remove(.tf)
        }
        return flags.rawValue
    }

    private func loadFlags(_ flags: UInt64) {
        general.rflags = RFlags(rawValue: flags).union(.reserved1)
        // TF is what was loaded, whoever wanted to step with it.
        if quirks.contains(.tfIsReal) { isTrapping = false }
    }

    /// CPUID, RDMSR, and MOV EAX, CR0.
    private func system() -> VCPUExit? {
        switch byte(1) {
        case 0xA2:
            general.rax = 0
            advance(2)
        case 0x32:
            general.rax = ((try? msr(UInt32(truncatingIfNeeded: general.rcx))) ?? 0) & 0xFFFF_FFFF
            advance(2)
        case 0x20:
            general.rax = special.cr0.rawValue
            advance(3)
        default: return .shutdown
        }
        return nil
    }

    /// IN's answer, or that of INS.
    func answer(_ value: UInt64, size: Int) {
        if let target = insTarget {
            insTarget = nil
            store(target, value, count: 1)
            return
        }
        self[0] = size == 2 ? value & 0xFFFF : self[0] & 0xFF00 | value & 0xFF
    }

    /// div cx: #DE where CX is 0, with the return address on the instruction.
    private func divide() {
        let dividend = self[2] << 16 | self[0]
        guard self[1] != 0, dividend / self[1] <= 0xFFFF else {
            return raise(vector: 0, returningTo: general.rip)
        }
        (self[0], self[2]) = (dividend / self[1], dividend % self[1])
        advance(2)
    }

    /// wrmsr: an index that no processor has is #GP.
    private func writeMSR() -> VCPUExit? {
        let index = UInt32(truncatingIfNeeded: general.rcx)
        let value = general.rdx << 32 | general.rax & 0xFFFF_FFFF
        let isTrapped =
            switch trappedMSRs {
            case .none: false
            case .these(let indexes): indexes.contains(index)
            case .all: true
            }
        if isTrapped { return .writeMSR(MSRAccess(index: index, data: value, why: 4)) }
        if index == 0x1234_5678 {
            raise(vector: 13, returningTo: general.rip)
        } else {
            msrs[index] = value
            if index == 0xC000_0080 { special.efer.rawValue = value | special.efer.rawValue & 0x400 }
            advance(2)
        }
        return nil
    }

    /// The WRMSR that exited counts as done.
    func acceptMSR() { advance(2) }

    /// REP INSB and REP OUTSB: an exit for each byte.
    private func stringAccess() -> VCPUExit? {
        guard self[1] != 0 else {
            advance(2)
            return nil
        }
        let isOut = byte(1) == 0x6E
        let data = AccessData(
            value: isOut ? UInt64(memory[physical(special.ds.base &+ self[6])]) : 0, count: 1)
        insTarget = isOut ? nil : special.es.base &+ self[7]
        self[isOut ? 6 : 7] = (self[isOut ? 6 : 7] &+ 1) & 0xFFFF
        self[1] = (self[1] &- 1) & 0xFFFF
        if self[1] == 0 { advance(2) }
        return .io(PortIO(direction: isOut ? .out : .in, port: UInt16(self[2]), size: 1, data: data))
    }

    func raise(vector: UInt8, returningTo ip: UInt64) {
        push(pushedFlags)
        push(special.cs.selector.asWord)
        push(ip)
        let entry = special.idt.base &+ UInt64(vector) * 4
        general.rip = load(entry)
        special.cs = .real(UInt16(load(entry &+ 2)), code: true)
        flagOnly(.if, false)
        flagOnly(.tf, false)
        if quirks.contains(.tfIsReal) { isTrapping = false }
    }

    private func interruptReturn() {
        let (ip, selector, flags) = (pop(), pop(), pop())
        general.rip = ip
        special.cs = .real(UInt16(selector), code: true)
        loadFlags(flags)
    }

    private func moveString() {
        while self[1] != 0 {
            store(special.es.base &+ self[7], UInt64(memory[physical(special.ds.base &+ self[6])]), count: 1)
            self[6] = (self[6] &+ 1) & 0xFFFF
            self[7] = (self[7] &+ 1) & 0xFFFF
            self[1] = (self[1] &- 1) & 0xFFFF
            if protectedAccess != nil, self[1] != 0 { return }
            // A trap comes after each iteration.
            if isTrapping, quirks.contains(.tfIsReal), self[1] != 0 { return }
        }
        advance(2)
    }

    // MARK: registers by number, as the opcode has them

    private subscript(number: UInt8) -> UInt64 {
        get {
            switch number & 7 {
            case 0: general.rax & 0xFFFF
            case 1: general.rcx & 0xFFFF
            case 2: general.rdx & 0xFFFF
            case 3: general.rbx & 0xFFFF
            case 4: general.rsp & 0xFFFF
            case 5: general.rbp & 0xFFFF
            case 6: general.rsi & 0xFFFF
            default: general.rdi & 0xFFFF
            }
        }
        set {
            func merge(_ old: UInt64) -> UInt64 { old & ~0xFFFF | newValue & 0xFFFF }
            switch number & 7 {
            case 0: general.rax = merge(general.rax)
            case 1: general.rcx = merge(general.rcx)
            case 2: general.rdx = merge(general.rdx)
            case 3: general.rbx = merge(general.rbx)
            case 4: general.rsp = merge(general.rsp)
            case 5: general.rbp = merge(general.rbp)
            case 6: general.rsi = merge(general.rsi)
            default: general.rdi = merge(general.rdi)
            }
        }
    }

    private func advance(_ count: UInt64) { general.rip = (general.rip &+ count) & 0xFFFF }
    private func signed(_ byte: UInt8) -> UInt64 { UInt64(bitPattern: Int64(Int8(bitPattern: byte))) }
    private func word(_ offset: UInt64) -> UInt64 { load(pc &+ offset) }
    private func load(_ linear: UInt64) -> UInt64 {
        UInt64(memory[physical(linear)]) | UInt64(memory[physical(linear &+ 1)]) << 8
    }
    private func store(_ linear: UInt64, _ value: UInt64, count: Int = 2) {
        let gpa = physical(linear)
        guard memory.access(gpa) == nil, gpa < memory.regions[0].size else {
            protectedAccess = MMIO(
                gpa: gpa, isWrite: true, data: AccessData(value: value, count: count))
            return
        }
        for i in 0..<UInt64(count) {
            memory[physical(linear &+ i)] = UInt8(truncatingIfNeeded: value >> (i * 8))
            didWrite(linear &+ i)
        }
    }
    private func push(_ value: UInt64) {
        self[4] = (self[4] &- 2) & 0xFFFF
        store(special.ss.base &+ self[4], value)
    }
    private func pop() -> UInt64 {
        let value = load(special.ss.base &+ self[4])
        self[4] = (self[4] &+ 2) & 0xFFFF
        return value
    }
    private func flagOnly(_ flag: RFlags, _ isSet: Bool) {
        if isSet { general.rflags.insert(flag) } else { general.rflags.remove(flag) }
    }
    private func flag(_ flag: RFlags, _ isSet: Bool) {
        flagOnly(flag, isSet)
        advance(1)
    }
    private func setZero(_ value: UInt64) { flagOnly(.zf, value == 0) }
}

extension UInt16 {
    fileprivate var asWord: UInt64 { UInt64(self) }
}
