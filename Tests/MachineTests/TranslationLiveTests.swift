import Debugger
import KVMCore
import Machine
import Testing
import X86

/// Our page walks against KVM's own, KVM_TRANSLATE.
@Suite(.enabled(if: isLive, "needs /dev/kvm")) struct TranslationLiveTests {
    private static let root: UInt64 = 0x10_0000
    private static let tables: UInt64 = 24

    /// Tables of random entries: most lead on, some are pages, some are garbage.
    private func fill(_ memory: any PhysicalMemory, _ mode: PagingMode, _ random: inout Numbers) throws {
        let size = mode.entrySize
        for table in 0..<Self.tables {
            var bytes = [UInt8](repeating: 0, count: 4096)
            for offset in stride(from: 0, to: 4096, by: size) {
                var entry = Self.root + (random.next() % Self.tables) << 12 | 7
                switch random.next() % 8 {
                case 0: entry = 0
                case 1: entry = random.next() | 1
                case 2: entry |= 0x80
                case 3: entry = entry & ~6 | random.next() & 0x166
                default: break
                }
                // The uppermost table of PAE has bits of its own, which KVM checks when CR3 is loaded.
                if mode == .pae, table == 0 { entry &= 0xFFFF_F001 }
                // KVM gives PSE-36 four bits more of address, whatever MAXPHYADDR is.
                if mode == .bits32, entry & 0x80 != 0 { entry &= ~0x1E_0000 }
                for byte in 0..<size {
                    bytes[offset + byte] = UInt8(truncatingIfNeeded: entry >> UInt64(byte * 8))
                }
            }
            try bytes.withUnsafeBytes { try memory.write(Self.root + table << 12, $0) }
        }
    }

    private func special(_ mode: PagingMode, _ reset: SpecialRegisters) -> SpecialRegisters {
        var special = reset
        special.cr3 = Self.root
        special.cr0 = mode == .none ? [.pe, .et] : [.pe, .et, .pg]
        switch mode {
        case .none: special.cr4 = []
        case .bits32: special.cr4 = [.pse]
        case .pae, .level4: special.cr4 = [.pae]
        case .level5: special.cr4 = [.pae, .la57]
        }
        special.efer = mode == .level4 || mode == .level5 ? [.lme, .lma, .nxe] : []
        return special
    }

    @Test(arguments: PagingMode.allCases)
    func agreesWithKVM(mode: PagingMode) throws {
        let machine = try machine(code: [0xF4]) { $0.ramSize = 16 << 20 }
        var random = Numbers(seed: 7)
        try fill(machine.memory, mode, &random)
        // A host that does not have the mode refuses it or, as KVM's PVM does, drops CR0.PG.
        let isTaken = try machine.withVCPU(0) { vcpu in
            let wanted = special(mode, try vcpu.specialRegisters())
            do { try vcpu.setSpecialRegisters(wanted) } catch { return false }
            return try PagingMode(vcpu.specialRegisters()) == mode
        }
        guard isTaken else {
            #expect(mode != .none && mode != .level4, "every host has \(mode)")
            return
        }
        let debugger = try Debugger(target: machine)
        var mapped = 0
        for _ in 0..<3000 {
            let linear: UInt64 =
                switch mode.linearBits {
                case 48: UInt64(bitPattern: Int64(bitPattern: random.next()) >> 16)
                case 57: UInt64(bitPattern: Int64(bitPattern: random.next()) >> 7)
                default: random.next() & 0xFFFF_FFFF
                }
            let walk = try debugger.walk(.linear(linear))
            let translation = try machine.withVCPU(0) { try $0.translate(linear) }
            #expect(
                walk.gpa == (translation.isValid ? translation.gpa : nil),
                "\(mode) \(String(linear, radix: 16)): \(walk)")
            if walk.gpa != nil { mapped += 1 }
        }
        // Both kinds were met.
        #expect(mapped > 100)
        #expect(mode == .none || mapped < 2900)
    }

    /// The scan, the way back and the walk say the same of a machine that has set its tables up itself.
    @Test func theBootGuestsTablesAreSeenWhole() throws {
        let machine = try machine("boot")
        let debugger = try Debugger(target: machine)
        try debugger.continueRun()
        let map = try debugger.pageMap(grouping: .permissions, limit: 100)
        #expect(map.mode == .level4)
        #expect(map.end == .complete && map.flaws.isEmpty)
        #expect(map.runs.count == 1)
        for linear in stride(from: UInt64(0), to: 4 << 20, by: 0x1000) {
            let isMapped = map.runs.contains { linear >= $0.linear && linear <= $0.last }
            let translation = try machine.withVCPU(0) { try $0.translate(linear) }
            #expect(translation.isValid == isMapped)
        }
        #expect(try debugger.linearAddresses(of: 0x7C00, limit: 10).pages.map(\.linear) == [0])
    }
}
