import DebugTarget
import Debugger
import Glibc
import KVMCore
import Testing
import X86

@testable import Machine

/// Kernels of our own, and Debian's, from their files to what they print.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct LoaderLiveTests {
    /// Runs a file to its end.
    private func run(
        _ bytes: [UInt8], entry: EntryMode? = nil, commandLine: String? = nil, module: [UInt8]? = nil
    ) throws -> (machine: OwnedMachine, report: StopReport) {
        let folder = try Folder()
        var configuration = MachineConfiguration()
        configuration.source = ImageRequest(
            path: try folder.file("a", bytes), mode: entry, commandLine: commandLine,
            initrd: try module.map { try folder.file("b", $0) })
        let machine = try OwnedMachine(configuration)
        return (machine, try machine.runToStop())
    }

    @Test func elf32() throws {
        let (machine, report) = try run(MadeELF.one(kernel("elf32"), at: 0x10_0000, is64: false).bytes)
        #expect(report.reason == .hlt)
        #expect(machine.text(.debug) == "32 bits\n")
    }

    @Test(arguments: [nil, 0xFFFF_8000_0010_0000 as UInt64])
    func elf64(_ virtual: UInt64?) throws {
        let elf = MadeELF.one(kernel("elf64"), at: 0x10_0000, virtual: virtual)
        let (machine, report) = try run(elf.bytes)
        #expect(report.reason == .hlt)
        #expect(machine.text(.debug) == "64 bits\n")
        let special = try machine.withVCPU(0) { try $0.specialRegisters() }
        #expect(special.efer.contains(.lma) && special.cs.attributes.isLong)
    }

    @Test func multiboot() throws {
        let (machine, report) = try run(
            kernel("multiboot"), commandLine: "a b", module: Array("the module".utf8))
        #expect(report.reason == .hlt)
        #expect(machine.text(.debug) == "a b\nkvmscope\nthe module\n0000fc00\n")
        #expect(machine.loadedImage?.kind == "multiboot")
    }

    @Test func multiboot2() throws {
        let (machine, report) = try run(
            kernel("multiboot2"), commandLine: "a b", module: Array("the module".utf8))
        #expect(report.reason == .hlt)
        #expect(machine.text(.debug) == "a b\nthe module\nRSD PTR \n")
    }

    @Test(arguments: EntryMode.allCases)
    func linuxProtocol(_ mode: EntryMode) throws {
        let (machine, report) = try run(
            kernel("bzimage"), entry: mode, commandLine: "quiet", module: Array("disk".utf8))
        #expect(report.reason == .hlt)
        #expect(machine.text(.debug) == "\(mode.rawValue): quiet" + (mode == .real ? "" : "\ndisk"))
    }

    /// It finds the power switch by ACPI's tables, from the RSDP on.
    @Test func pvhAndPowerOffByACPI() throws {
        var elf = MadeELF.one(kernel("pvh"), at: 0x10_0000)
        elf.segments.append(MadeELF.note("Xen", 18, [0, 0, 0x10, 0]))
        let (machine, report) = try run(
            elf.bytes, entry: .prot, commandLine: "pvh", module: Array("disk".utf8))
        #expect(report.reason == .poweredOff)
        #expect(machine.text(.debug) == "pvh\ndisk\n")
        #expect(machine.powerOff?.cause == .acpi)
    }

    private static let invaders = "/boot/invaders.exec"

    /// Debian's grub-invaders, unmodified: it draws on the text screen, which is read from memory.
    @Test(.enabled(if: access(invaders, R_OK) == 0, "needs the package grub-invaders"))
    func grubInvadersDraws() throws {
        var configuration = MachineConfiguration()
        configuration.source = ImageRequest(path: Self.invaders)
        let machine = try OwnedMachine(configuration)
        #expect(machine.loadedImage?.kind == "multiboot")
        func screen() throws -> [UInt8] {
            var cells = [UInt8](repeating: 0, count: 80 * 25 * 2)
            try cells.withUnsafeMutableBytes { try machine.memory.read(0xB8000, into: $0) }
            return stride(from: 0, to: cells.count, by: 2).map { cells[$0] }
        }
        // It has no end: it is looked at until it has drawn.
        for _ in 0..<600 {
            try machine.go()
            if let report = machine.waitForStop(timeout: .milliseconds(100)) {
                Issue.record("it ended: \(report.reason)")
                break
            }
            machine.interrupt()
            _ = try #require(machine.waitForStop(timeout: .seconds(60)))
            if try screen().filter({ $0 != 0 && $0 != 0x20 }).count > 40 { break }
        }
        let text = String(
            decoding: try screen().map { (0x20..<0x7F).contains($0) ? $0 : 0x2E }, as: UTF8.self)
        #expect(try screen().filter { $0 != 0 && $0 != 0x20 }.count > 40, "\(text)")
    }
}
