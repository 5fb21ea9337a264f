import DebugTarget
import Debugger
import Expressions
import Foundation
import KVMCore
import Machine
import Testing

/// Boot loaders of Debian's packages, unmodified, to their prompts. Where KVM emulates the guest each takes a minute or more:
/// KVMSCOPE_SLOW=1 runs them.
@Suite(
    .enabled(if: isLive, "needs /dev/kvm"),
    .enabled(if: ProcessInfo.processInfo.environment["KVMSCOPE_SLOW"] != nil, "runs with KVMSCOPE_SLOW=1"),
    .serialized)
final class BootLoaderProofs {
    private let folder: URL
    /// How long a loader may take, in seconds.
    private static let patience = 900

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "loaders-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func path(_ name: String) -> String { folder.appending(path: name).path }

    private func file(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
        try Data(bytes).write(to: URL(filePath: path(name)))
        return path(name)
    }

    /// As `kvmscope IMAGE` makes it.
    private func machine(_ image: String) throws -> OwnedMachine {
        var configuration = MachineConfiguration()
        configuration.interruptController = .user
        configuration.hasBIOS = true
        configuration.source = ImageRequest(path: image)
        return try OwnedMachine(configuration)
    }

    private func stop(_ machine: OwnedMachine) {
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .seconds(60)) != nil)
    }

    @Test(.enabled(if: tool("grub-mkimage") != nil, "needs grub-common and grub-pc-bin"))
    func grub2ListsItsDisk() throws {
        let folder = "/usr/lib/grub/i386-pc"
        try use(
            "grub-mkimage",
            [
                "-O", "i386-pc", "-o", path("core.img"), "-p", "(hd0)", "biosdisk", "ls", "part_msdos",
                "normal",
            ])
        var core = [UInt8](try Data(contentsOf: URL(filePath: path("core.img"))))
        // Its own list of blocks: the rest of it is in the sectors from 2 on, to be loaded at 8200h.
        let sectors = (core.count + 511) / 512 - 1
        core.replaceSubrange(
            0x1F4..<0x200,
            with: [
                2, 0, 0, 0, 0, 0, 0, 0, UInt8(sectors & 0xFF), UInt8(sectors >> 8), 0x20, 0x08,
            ])
        var disk = [UInt8](try Data(contentsOf: URL(filePath: folder + "/boot.img"))) + core
        disk.replaceSubrange(510..<512, with: [0x55, 0xAA])
        disk += [UInt8](repeating: 0, count: (4 << 20) - disk.count)
        let machine = try machine(try file("grub2.img", disk))
        let debugger = try Debugger(target: machine)
        // Into the loader's protected mode and back: each call of the BIOS is made from real mode again.
        let catchpoint = try debugger.setCatchpoint(.firmware(vector: 0x13, function: 0x42))
        for _ in 0..<3 {
            try debugger.startContinue()
            let stop = try #require(try debugger.collectStop(timeout: .seconds(Self.patience)))
            #expect(stop.caught.map(\.number) == [catchpoint.number], "\(stop.reason)")
        }
        try debugger.deleteAllBreakpoints()
        try debugger.startContinue()
        #expect(machine.screen(with: "grub> ", seconds: Self.patience).contains("grub> "))
        machine.type(line: "ls")
        #expect(machine.screen(with: "(hd0)", seconds: Self.patience).contains("(hd0)"))
        debugger.interrupt()
        #expect(try debugger.collectStop(timeout: .seconds(60))?.reason == .interrupted)
    }

    private static let hasSyslinux = tool("syslinux") != nil && tool("mformat") != nil

    @Test(.enabled(if: hasSyslinux, "needs syslinux and mtools"))
    func syslinuxOnAFloppy() throws {
        let image = try file("floppy.img", [UInt8](repeating: 0, count: 1440 << 10))
        try use("mformat", ["-i", image, "-f", "1440", "::"])
        try use("syslinux", ["-i", image])
        try prompt(machine(image))
    }

    @Test(.enabled(if: hasSyslinux, "needs syslinux and mtools"))
    func syslinuxOnADiskByAnMBR() throws {
        var disk = [UInt8](try Data(contentsOf: URL(filePath: "/usr/lib/syslinux/mbr/mbr.bin")))
        disk += [UInt8](repeating: 0, count: (64 << 20) - disk.count)
        // Active, FAT32 by LBA, sectors 2048 to the end.
        let count = UInt32(disk.count / 512 - 2048)
        disk.replaceSubrange(446..<458, with: [0x80, 0, 33, 0, 0x0C, 0, 0, 0, 0, 8, 0, 0])
        disk.replaceSubrange(458..<462, with: (0..<4).map { UInt8(truncatingIfNeeded: count >> ($0 * 8)) })
        disk.replaceSubrange(510..<512, with: [0x55, 0xAA])
        let image = try file("disk.img", disk)
        try use(
            "mformat",
            ["-i", "\(image)@@1M", "-F", "-H", "2048", "-T", "\(count)", "-h", "255", "-s", "63", "::"])
        try use("syslinux", ["-t", "\(1 << 20)", "-i", image])
        try prompt(machine(image))
    }

    private static let isolinux = "/usr/lib/ISOLINUX/isolinux.bin"

    @Test(
        .enabled(
            if: tool("xorriso") != nil && FileManager.default.fileExists(atPath: isolinux),
            "needs isolinux and xorriso"))
    func isolinuxFromACD() throws {
        let tree = folder.appending(path: "tree")
        try FileManager.default.createDirectory(at: tree, withIntermediateDirectories: true)
        for name in [Self.isolinux, "/usr/lib/syslinux/modules/bios/ldlinux.c32"] {
            let last = URL(filePath: name).lastPathComponent
            try FileManager.default.copyItem(atPath: name, toPath: tree.appending(path: last).path)
        }
        let image = path("cd.iso")
        try use(
            "xorriso",
            [
                "-as", "mkisofs", "-o", image, "-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot",
                "-boot-load-size", "4", "-boot-info-table", tree.path,
            ])
        try prompt(machine(image))
    }

    /// `boot:`, at which a line is typed and echoed.
    private func prompt(_ machine: OwnedMachine) throws {
        try machine.go()
        #expect(machine.screen(with: "boot:", seconds: Self.patience).contains("boot:"))
        machine.type(line: "help")
        #expect(machine.screen(with: "help", seconds: Self.patience).contains("help"))
        stop(machine)
    }

    /// The sector that install-mbr writes starts the active partition's.
    @Test(.enabled(if: tool("install-mbr") != nil, "needs mbr"))
    func installMBRChoosesAPartition() throws {
        var disk = [UInt8](repeating: 0, count: 4 << 20)
        // The second one is active: sectors 4096 to 8191.
        disk.replaceSubrange(446..<462, with: [0, 1, 1, 0, 6, 0, 0, 0, 63, 0, 0, 0, 0, 8, 0, 0])
        disk.replaceSubrange(462..<478, with: [0x80, 1, 1, 0, 6, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0])
        disk.replaceSubrange(510..<512, with: [0x55, 0xAA])
        // mov al, '2'; out 0xE9, al; cli; hlt
        disk.replaceSubrange(4096 * 512..<4096 * 512 + 6, with: [0xB0, 0x32, 0xE6, 0xE9, 0xFA, 0xF4])
        disk.replaceSubrange(4096 * 512 + 510..<4096 * 512 + 512, with: [0x55, 0xAA])
        let image = try file("mbr.img", disk)
        try use("install-mbr", ["--force", image])
        let machine = try machine(image)
        try machine.go()
        #expect(machine.waitForStop(timeout: .seconds(Self.patience))?.reason == .hlt)
        #expect(machine.text(.debug) == "2")
    }
}
