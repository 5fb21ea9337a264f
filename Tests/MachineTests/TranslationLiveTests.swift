import DebugTarget
import Debugger
import KVMCore
import Machine
import Testing
import X86

/// Our page walks against KVM's own, KVM_TRANSLATE.
@Suite(.enabled(if: isLive, "needs /dev/kvm")) struct TranslationLiveTests {
    fileprivate static let root: UInt64 = 0x10_0000
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

    /// A way to page: every mode, and what of it CR4 decides.
    struct Paging: Sendable, CustomTestStringConvertible {
        let mode: PagingMode
        var hasLargePages = true
        var hasNoExecute = true

        var testDescription: String {
            switch mode {
            case .none: "no paging"
            case .bits32: hasLargePages ? "32-bit paging with PSE" : "32-bit paging without PSE"
            case .pae: hasNoExecute ? "PAE paging with NX" : "PAE paging without NX"
            case .level4: hasNoExecute ? "4-level paging with NX" : "4-level paging without NX"
            case .level5: "5-level paging"
            }
        }

        static let all = [
            Paging(mode: .none), Paging(mode: .bits32, hasLargePages: false), Paging(mode: .bits32),
            Paging(mode: .pae, hasNoExecute: false), Paging(mode: .pae),
            Paging(mode: .level4, hasNoExecute: false), Paging(mode: .level4), Paging(mode: .level5),
        ]

        func special(_ reset: SpecialRegisters) -> SpecialRegisters {
            var special = reset
            special.cr3 = TranslationLiveTests.root
            special.cr0 = mode == .none ? [.pe, .et] : [.pe, .et, .pg]
            switch mode {
            case .none: special.cr4 = []
            case .bits32: special.cr4 = hasLargePages ? [.pse] : []
            case .pae, .level4: special.cr4 = [.pae]
            case .level5: special.cr4 = [.pae, .la57]
            }
            special.efer = mode == .level4 || mode == .level5 ? [.lme, .lma] : []
            if hasNoExecute, mode != .none, mode != .bits32 { special.efer.insert(.nxe) }
            return special
        }
    }

    /// KVM's words where it refuses the registers, or what it made of them; nil where it took them as they are.
    private func refusal(of paging: Paging, _ machine: OwnedMachine) throws -> String? {
        try machine.withVCPU(0) { vcpu in
            let wanted = paging.special(try vcpu.specialRegisters())
            do { try vcpu.setSpecialRegisters(wanted) } catch { return "\(error)" }
            let kept = try vcpu.specialRegisters()
            guard PagingMode(kept) != paging.mode || kept.cr4.contains(.pse) != wanted.cr4.contains(.pse)
            else { return nil }
            return "KVM_SET_SREGS made CR0 0x\(String(kept.cr0.rawValue, radix: 16)), CR4 "
                + "0x\(String(kept.cr4.rawValue, radix: 16)), EFER 0x\(String(kept.efer.rawValue, radix: 16)) of it"
        }
    }

    /// A mode that this host's KVM does not keep is said to be skipped, with what KVM did.
    @Test(arguments: Paging.all)
    func agreesWithKVM(_ paging: Paging) throws {
        let mode = paging.mode
        let machine = try machine(code: [0xF4]) { $0.ramSize = 16 << 20 }
        var random = Numbers(seed: 7)
        try fill(machine.memory, mode, &random)
        if let refusal = try refusal(of: paging, machine) {
            #expect(mode != .none && mode != .level4, "every host has \(mode)")
            Issue.record(
                "not compared, for this host's KVM does not keep \(paging.testDescription): \(refusal)",
                severity: .warning)
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
