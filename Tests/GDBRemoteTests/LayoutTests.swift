import Foundation
import Testing
import X86

@testable import GDBRemote

@Suite struct LayoutTests {
    private static let all = RemoteArchitecture.allCases.flatMap { architecture in
        [false, true].map { RegisterLayout.of(architecture, hasAVX: $0) }
    }

    /// The order and the sizes are GDB's: `g` has them one after the other.
    @Test(arguments: [(RemoteArchitecture.i8086, 64), (.i386, 64), (.long64, 164)])
    func theBlockOfG(_ architecture: RemoteArchitecture, _ size: Int) {
        let layout = RegisterLayout.of(architecture, hasAVX: false)
        let block = layout.registers.prefix(layout.blockCount)
        #expect(block.reduce(0) { $0 + $1.size } == size)
        let isLong = architecture == .long64
        #expect(block.last?.name == "gs")
        #expect(layout.registers[isLong ? 16 : 8].name == (isLong ? "rip" : "eip"))
        #expect(layout.registers[isLong ? 7 : 4].name == (isLong ? "rsp" : "esp"))
        #expect(layout.registers[isLong ? 24 : 16].name == "st0")
        #expect(layout.expedited.count == 3)
    }

    @Test func namesAndNumbers() {
        for layout in Self.all {
            #expect(Set(layout.registers.map(\.name)).count == layout.registers.count)
            #expect(layout.registers.map(\.number) == Array(0..<layout.registers.count))
            #expect(layout.registers.allSatisfy { $0.bits % 8 == 0 && $0.bits > 0 })
            // Each register is in one feature.
            #expect(layout.features.flatMap { Array($0.registers) } == Array(0..<layout.registers.count))
            let names = Set(layout.registers.map(\.name))
            for name in [
                "cs_base", "cs_limit", "cs_attr", "fs_base", "tr", "ldtr", "gdtr_base", "idtr_limit", "cr0",
                "cr2", "cr3", "cr4", "cr8", "efer", "dr0", "dr7", "lstar", "kernel_gs_base", "ip", "mxcsr",
                "fop",
            ] {
                #expect(names.contains(name), "\(layout.architecture): \(name)")
            }
            #expect(layout[UInt64(layout.registers.count)] == nil)
            #expect(layout[.max] == nil)
        }
    }

    /// Types are defined before they are used, and what is written is XML.
    @Test func theDescriptionIsWhole() throws {
        let known: Set = [
            "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "uint128", "code_ptr",
            "data_ptr", "i387_ext", "ieee_single",
            "ieee_double",
        ]
        for layout in Self.all {
            let text = layout.targetDescription
            #expect(text.contains("<architecture>\(layout.architecture.rawValue)</architecture>"))
            var types = known
            var open: [Substring] = []
            for tag in text.split(separator: "<").map({ $0.prefix { $0 != ">" } }) {
                if tag.hasPrefix("?") || tag.hasPrefix("!") { continue }
                if tag.hasPrefix("/") {
                    #expect(open.popLast() == tag.dropFirst())
                    continue
                }
                if !tag.hasSuffix("/") { open.append(tag.prefix { $0 != " " }) }
                for attribute in tag.split(separator: " ") where attribute.hasPrefix("type=") {
                    let type = attribute.dropFirst(6).prefix { $0 != "\"" }
                    #expect(types.contains(String(type)), "\(type)")
                }
                for attribute in tag.split(separator: " ") where attribute.hasPrefix("id=") {
                    types.insert(String(attribute.dropFirst(4).prefix { $0 != "\"" }))
                }
            }
            #expect(open.isEmpty)
        }
    }

    /// FXSAVE's tags and the full ones say the same, whatever the top is.
    @Test(arguments: 0..<8) func x87Tags(_ top: Int) {
        var registers = FPURegisters()
        registers.statusWord = UInt16(top) << 11
        func slot(_ exponent: UInt16, _ mantissa: UInt64) -> FPURegisters.Slot {
            var slot = FPURegisters.Slot.zero
            for byte in 0..<8 { slot[byte] = UInt8(truncatingIfNeeded: mantissa >> UInt64(byte * 8)) }
            slot[8] = UInt8(truncatingIfNeeded: exponent)
            slot[9] = UInt8(truncatingIfNeeded: exponent >> 8)
            return slot
        }
        // 1.0, 0.0, an infinity, a denormal number, and a NaN, as ST0 to ST4.
        let values = [
            (slot(0x3FFF, 1 << 63), 0), (slot(0, 0), 1), (slot(0x7FFF, 1 << 63), 2), (slot(0, 1), 2),
            (slot(0x7FFF, 3 << 62), 2),
        ]
        for (index, (value, _)) in values.enumerated() {
            registers.st[index] = value
            registers.tagWord |= 1 << UInt8((top + index) & 7)
        }
        let full = X87Tags.full(registers)
        for index in 0..<8 {
            #expect(Int(full >> (UInt16((top + index) & 7) * 2)) & 3 == (index < 5 ? values[index].1 : 3))
        }
        #expect(X87Tags.abridged(full) == registers.tagWord)
    }
}
