import Examples
import Testing

@testable import Machine

/// The bytes of the examples, without running them.
struct ExampleImageTests {
    @Test func tableIsWhole() throws {
        var names: [String] = []
        for index in 0..<examples_count() {
            // SAFETY: the table and what it points to are constants of the program.
            let guest = try #require(examples_at(index)).pointee
            // SAFETY: a string constant.
            names.append(String(cString: guest.name))
            #expect(guest.size > 0)
            #expect(guest.load_address == 0x7C00)
            #expect(guest.vcpus >= 1)
        }
        #expect(names == ["boot", "exits", "smp", "spin", "triplefault", "twostage"])
        #expect(examples_at(examples_count()) == nil)
    }

    @Test func bootIsABootSector() throws {
        let image = try example("boot").image
        #expect(image.parts[0].bytes.count == 512)
        #expect(image.parts[0].bytes.suffix(2) == [0x55, 0xAA])
        #expect(image.entry == .bootSector(drive: 0x80))
    }

    /// Each starts with `cli; jmp 0:next`, whose address the assembler must have worked out: a relocation would have
    /// left a zero.
    @Test(arguments: ["boot", "exits", "smp", "spin", "triplefault", "twostage"])
    func addressesAreThere(name: String) throws {
        let bytes = try example(name).image.parts[0].bytes
        #expect(Array(bytes.prefix(6)) == [0xFA, 0xEA, 0x06, 0x7C, 0x00, 0x00])
    }

    /// `lgdt` is followed by the address of limit and base, and the base stands 8-byte aligned before it.
    @Test(arguments: ["boot", "exits", "triplefault"])
    func descriptorTableIsWhereItSays(name: String) throws {
        let bytes = try example(name).image.parts[0].bytes
        let lgdt = try #require(
            (0..<bytes.count - 5).first { Array(bytes[$0..<$0 + 3]) == [0x0F, 0x01, 0x16] })
        func word(_ offset: Int) -> Int { Int(bytes[offset]) | Int(bytes[offset + 1]) << 8 }
        let pointer = word(lgdt + 3) - 0x7C00
        let base = word(pointer + 2) - 0x7C00
        #expect(word(pointer + 4) == 0)
        #expect(base % 8 == 0)
        #expect(base + word(pointer) + 1 == pointer)
        #expect(bytes[base..<base + 8].allSatisfy { $0 == 0 })
    }
}
