import DebugTarget
import Debugger
import Host
import KVMCore
import SystemPackage
import Testing
import X86

@testable import Attach

@Suite("Where the guest's memory is")
struct MemoryMapTests {
    @Test("a mapping that may be guest RAM: anonymous, and large")
    func candidates() {
        let map = AddressMap(
            """
            7f00000000-7f00003000 rw-s 00000000 00:0f 1 anon_inode:kvm-vcpu:1
            10000000-20000000 rw-p 00000000 00:00 0
            """)
        #expect(GuestMemoryMap.candidates(map).map(\.hva) == [0x1000_0000])
    }

    @Test("an encrypted guest where the kernel cannot be asked: by what KVM_GET_REGS says")
    func encryptedByItsRegisters() {
        let refusal = AttachedTarget.encryption(KVMError("KVM_GET_REGS", .invalidArgument), vcpu: 1)
        #expect(refusal?.code == .encrypted)
        #expect(refusal?.message.contains("does not give the registers of vCPU 1") == true)
        for errno: Errno in [.badFileDescriptor, .ioError, .noSuchProcess, .resourceBusy] {
            #expect(AttachedTarget.encryption(KVMError("KVM_GET_REGS", errno), vcpu: 1) == nil)
        }
    }

    /// A BTF of one structure `outer { int a; union { long b; int c; }; }` and a function `work`.
    private func typeData(_ damage: (inout [UInt32]) -> Void = { _ in }) -> [UInt8] {
        let strings: [UInt8] = Array("\0outer\0a\0b\0c\0work\0int\0".utf8)
        func name(_ text: String) -> UInt32 {
            let needle = Array((text + "\0").utf8)
            let at = (1..<strings.count).first {
                strings[$0...].starts(with: needle) && strings[$0 - 1] == 0
            }
            return UInt32(at ?? 0)
        }
        var types: [UInt32] = [
            name("int"), 1 << 24, 4, 0,  // 1: INT, and its encoding
            0, 5 << 24 | 2, 8, name("b"), 1, 0, name("c"), 1, 32,  // 2: an anonymous UNION; c at bit 32
            name("outer"), 4 << 24 | 2, 16, name("a"), 1, 0, 0, 2, 64,  // 3: STRUCT
            name("work"), 12 << 24, 1,  // 4: FUNC
        ]
        damage(&types)
        return typeData(types, strings)
    }

    private func typeData(_ types: [UInt32], _ strings: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0x9F, 0xEB, 1, 0]
        func put(_ value: UInt32) { bytes += withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        for value in [24, 0, UInt32(types.count * 4), UInt32(types.count * 4), UInt32(strings.count)] {
            put(value)
        }
        for value in types { put(value) }
        return bytes + strings
    }

    @Test("offsets come from the kernel's description of its types")
    func offsets() throws {
        let btf = try #require(BTF(typeData(), wanted: ["outer", "work", "int"]))
        let outer = try #require(btf.type("outer", .structure))
        #expect(outer == 3)
        #expect(btf.type("work", .function) == 4)
        #expect(btf.type("outer", .function) == nil)
        #expect(btf.type("nothing", .structure) == nil)
        #expect(btf.offset(of: "a", in: outer) == 0)
        #expect(btf.offset(of: "b", in: outer) == 8)
        #expect(btf.offset(of: "c", in: outer) == 12)
        #expect(btf.offset(of: "d", in: outer) == nil)
        #expect(btf.offset(of: "a", in: 4) == nil)
        #expect(btf.offset(of: "a", in: 99) == nil)
    }

    @Test("a description that contradicts itself is refused, or has no offsets")
    func damaged() {
        let good = typeData()
        for length in 0..<good.count { #expect(BTF(Array(good[..<length]), wanted: ["outer"]) == nil) }
        #expect(BTF(typeData { $0[1] = 31 << 24 }, wanted: ["outer"]) == nil)
        // A structure that holds itself.
        let circular = BTF(typeData { $0[20] = 3 }, wanted: ["outer"])
        #expect(circular?.offset(of: "c", in: 3) == nil)
        // More members than there are bytes.
        #expect(BTF(typeData { $0[14] = 4 << 24 | 0xFFFF }, wanted: ["outer"]) == nil)
    }

    @Test("structures in structures are each looked through once", .timeLimit(.minutes(1)))
    func nested() throws {
        let strings = Array("\0outer\0last\0".utf8)
        // Each of 200 holds all others and itself, without a name and 4 bytes apart; the last one has `last`, too.
        let count: UInt32 = 200
        var types: [UInt32] = []
        for id in 1...count {
            types += [id == 1 ? 1 : 0, 4 << 24 | (id == count ? count + 1 : count), 0]
            for member in 1...count { types += [0, member, member * 32] }
        }
        types += [7, 1, 0]
        let btf = try #require(BTF(typeData(types, strings), wanted: ["outer"]))
        let outer = try #require(btf.type("outer", .structure))
        #expect(btf.offset(of: "nothing", in: outer) == nil)
        #expect(btf.offset(of: "last", in: outer) == 4 * Int(count))
        // As deep as they like: each holds the next, 1 byte on.
        var chain: [UInt32] = []
        for id in 1...count { chain += [id == 1 ? 1 : 0, 4 << 24 | 1, 0, id == count ? 7 : 0, id + 1, 8] }
        let deep = try #require(BTF(typeData(chain, strings), wanted: ["outer"]))
        #expect(deep.offset(of: "last", in: 1) == Int(count))
        #expect(deep.offset(of: ["last", "last"], in: 1) == nil)
    }

    @Test("each word and byte of a description may be anything, in the base and in what is beside it")
    func anything() throws {
        let good = typeData()
        let base = try #require(BTF(good, wanted: ["outer", "work"]))
        for place in good.indices {
            for value: UInt32 in [0, 1, 2, 0x7F, 0x80, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF] {
                var bytes = good
                for (index, byte) in withUnsafeBytes(of: value, Array.init).enumerated()
                where place + index < bytes.count { bytes[place + index] = byte }
                for btf in [
                    BTF(bytes, wanted: ["outer", "work"]), BTF(bytes, wanted: ["outer", "work"], base: base),
                ] {
                    guard let btf else { continue }
                    for name in ["outer", "work"] {
                        guard let id = btf.type(name, .structure) ?? btf.type(name, .function) else {
                            continue
                        }
                        for member in ["a", "b", "c", "outer", ""] {
                            if let offset = btf.offset(of: member, in: id) { #expect(offset >= 0) }
                        }
                        _ = btf.offset(of: ["a", "b"], in: id)
                    }
                    #expect(KVMLayout(kernel: btf, kvm: base) == nil)
                }
            }
        }
    }

    @Test("a candidate counts as checked where its page tables say what KVM says")
    func search() {
        let small = MemoryRegion(slot: 0, gpa: 0, size: 0x10000, hva: 0x5000_0000, isReadOnly: false)
        let large = MemoryRegion(slot: 0, gpa: 0, size: 0x20000, hva: 0x9000_0000, isReadOnly: false)
        var special = SpecialRegisters()
        special.cr0 = CR0(rawValue: 0x8000_0001)
        special.cr3 = 0x1000
        // 32-bit paging in the small one: linear 0x1234 is at 0x3234.
        let words: [UInt64: UInt64] = [0x5000_1000: 0x2003, 0x5000_2004: 0x3003]
        func read(_ hva: UInt64, _ count: Int) -> UInt64? { words[hva] ?? 0 }
        let found = GuestMemoryMap.search(
            [large, small], special: special, linear: 0x1234, truth: 0x3234, read: read)
        #expect(found == GuestMemoryMap(regions: [small], source: .search(isChecked: true)))
        #expect(!found.source.isAssumed)
        let wrong = GuestMemoryMap.search(
            [large, small], special: special, linear: 0x1234, truth: 0x4234, read: read)
        #expect(wrong == GuestMemoryMap(regions: [large], source: .search(isChecked: false)))
        special.cr0 = []
        let real = GuestMemoryMap.search(
            [large, small], special: special, linear: 0x1234, truth: 0x1234, read: read)
        #expect(real.source == .search(isChecked: false) && real.source.isAssumed)
        #expect(
            GuestMemoryMap.search([], special: special, linear: 0, truth: nil, read: read).source == .none)
    }
}
