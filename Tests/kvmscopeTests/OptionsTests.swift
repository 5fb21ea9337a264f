import ArgumentParser
import Testing

@testable import kvmscope

@Suite struct OptionsTests {
    @Test(
        arguments: [
            ("4096", 4096), ("64K", 65536), ("64M", 64 << 20), ("2g", 2 << 30), ("0", 0),
            ("17179869183G", 17_179_869_183 << 30),
        ] as [(String, UInt64)])
    func sizes(_ text: String, _ bytes: UInt64) {
        #expect(ByteCount(argument: text)?.value == bytes)
    }

    @Test(
        arguments: [
            "", "K", "-1", "+1", "1T", "1.5G", "0x1000", "17179869184G", "18446744073709551616",
            "99999999999999999999G", "1 M",
        ])
    func sizesThatAreNone(_ text: String) {
        #expect(ByteCount(argument: text) == nil)
    }

    @Test(arguments: [UInt64(0), 1, 1023, 1024, 4096, 3 << 20, 1 << 30, .max])
    func sizesAreShownAsTyped(_ bytes: UInt64) {
        #expect(ByteCount(argument: ByteCount(bytes).description)?.value == bytes)
    }

    @Test(
        arguments: [
            ("0x7c00", 0x7C00), ("7C00h", 0x7C00), ("31744", 31744), ("0xffffffffffffffff", .max), ("0", 0),
        ] as [(String, UInt64)])
    func addresses(_ text: String, _ value: UInt64) {
        #expect(GuestAddress(argument: text)?.value == value)
    }

    @Test(arguments: ["", "0x", "h", "zz", "-1", "+1", "0x+1", "7c00", "0x10000000000000000"])
    func addressesThatAreNone(_ text: String) {
        #expect(GuestAddress(argument: text) == nil)
    }

    @Test(
        arguments: [
            ([], []), (["-ex", "a b", "-x", "f", "-ex", "c"], [.line("a b"), .file("f"), .line("c")]),
            (["-x", "f", "image", "-ex", "c", "-m", "4K"], [.file("f"), .line("c")]),
            (["-m", "4K", "-ex=a", "-x=f"], [.line("a"), .file("f")]),
            (["-ex", "x", "-x", "ex", "-ex", "ex"], [.line("x"), .file("ex"), .line("ex")]),
        ] as [([String], [StartCommand])])
    func theOrderOfCommandsIsKept(_ arguments: [String], _ expected: [StartCommand]) throws {
        let options = try Program.parse(arguments).options
        #expect(options.startCommands(in: arguments) == expected)
    }

    @Test(
        arguments: [
            ["a", "--example", "boot"], ["--flat", "0x1000"], ["--entry", "0x1000", "a"], ["--vcpus", "0"],
            ["--vcpus", "4097"], ["--kind", "disk"], ["--kind", "tape", "a"],
            ["--kind", "iso", "--flat", "0", "a"],
            ["-m", "5000"], ["-m", "0"], ["--irqchip", "some"], ["--color", "green"], ["a", "b"], ["--bogus"],
            ["-x"], ["-ex"],
        ])
    func whatMakesNoSenseIsRefused(_ arguments: [String]) {
        #expect(throws: (any Error).self) { try Program.parse(arguments) }
    }

    @Test func everyExampleHasANameAndBytes() {
        let all = ExampleGuest.all
        #expect(all.first?.name == "boot")
        #expect(Set(all.map(\.name)).count == all.count)
        for guest in all {
            #expect(!guest.bytes.isEmpty)
            #expect(!guest.summary.isEmpty)
            #expect(guest.vcpus > 0)
        }
    }
}
