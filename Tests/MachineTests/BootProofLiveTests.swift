import DebugTarget
import Debugger
import Expressions
import Foundation
import Glibc
import KVMCore
import Machine
import Testing
import X86

/// Unmodified boot code of Debian's packages.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
final class BootProofLiveTests {
    private static let grubFolder = "/usr/lib/grub/x86_64-pc"
    private static let mbrFile = "/usr/lib/syslinux/mbr/mbr.bin"
    private static func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "boot-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = folder.appending(path: name).path
        try Data(bytes).write(to: URL(filePath: path))
        return path
    }

    /// Several vCPUs have the kernel's interrupt controllers.
    private func machine(_ drives: [MachineConfiguration.Drive], vcpus: Int = 1) throws -> OwnedMachine {
        var configuration = MachineConfiguration()
        configuration.interruptController = vcpus == 1 ? .user : .kernel
        configuration.vcpus = vcpus
        configuration.clockOrigin = 1_700_000_000
        configuration.hasBIOS = true
        configuration.drives = drives
        return try OwnedMachine(configuration)
    }

    /// A disk of 4 MiB with one partition, and `code` in its first sector.
    private func disk(_ code: [UInt8] = []) throws -> MachineConfiguration.Drive {
        var bytes = code + [UInt8](repeating: 0, count: (4 << 20) - code.count)
        // Active, FAT, sectors 63 to 8191.
        bytes.replaceSubrange(
            446..<462, with: [0x80, 1, 1, 0, 0x06, 0x0F, 0x3F, 0x07, 63, 0, 0, 0, 0xC1, 0x1F, 0, 0])
        bytes.replaceSubrange(510..<512, with: [0x55, 0xAA])
        return .init(.disk, path: try file("disk.img", bytes))
    }

    @Test(.enabled(if: isThere(grubFolder + "/stage2"), "needs grub-legacy"), arguments: [1, 2])
    func grubLegacyShowsItsPromptAndAnswers(vcpus: Int) throws {
        let stages = try ["stage1", "stage2"].map {
            [UInt8](try Data(contentsOf: URL(filePath: "\(Self.grubFolder)/\($0)")))
        }
        let floppy = try file("grub.img", stages[0] + stages[1])
        let machine = try machine([.init(.floppy, path: floppy), try disk()], vcpus: vcpus)
        try machine.go()
        #expect(machine.screen(with: "grub> ").contains("GNU GRUB"))
        let keys = Array("root (hd0,0)".utf8).map { TypedKey.byte($0) } + [.named("enter")]
        #expect(machine.type(keys) == nil)
        #expect(machine.screen(with: "partition type 0x6").contains("partition type 0x6"))
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .seconds(60))?.reason == .interrupted)
        let counts = try #require(machine.firmware).counts
        let unknown = counts.filter { !$0.isKnown && $0.vector == 0x13 }
        #expect(unknown.isEmpty)
    }

    private static let memtest = "/boot/memtest86+ia32.bin"

    /// It is a floppy and a kernel in one; as a floppy it loads itself by INT 13h and draws its screen.
    @Test(.enabled(if: isThere(memtest), "needs memtest86+"))
    func memtestDrawsItsScreen() throws {
        let machine = try machine([.init(.floppy, path: Self.memtest)])
        try machine.go()
        #expect(machine.screen(with: "<F1> Configuration").contains("Memtest86+"))
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .seconds(60)) != nil)
    }

    @Test(.enabled(if: isThere(mbrFile), "needs syslinux-common"))
    func theFirstDiskCallOfAnMBRIsCaughtAndNamed() throws {
        let machine = try machine([
            try disk([UInt8](try Data(contentsOf: URL(filePath: Self.mbrFile))))
        ])
        let debugger = try Debugger(target: machine)
        #expect(try debugger.registerValue("rip").bits == 0x7C00)
        #expect(try debugger.registerValue("dl").bits == 0x80)
        try debugger.setCatchpoint(.firmware(vector: 0x13, function: nil))
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .seconds(60)))
        guard case .caught(let events) = stop.reason, case .firmware(let call)? = events.first?.what else {
            Issue.record("stopped for \(stop.reason)")
            return
        }
        #expect(call.vector == 0x13 && call.before.ah == 0x41)
        #expect(call.before.edx & 0xFF == 0x80)
        // Two steps lead back to the caller: the IRET of the stub, and what comes after the INT.
        try debugger.step()
        #expect(try debugger.registerValue("cs").bits == UInt64(call.callerSegment))
        #expect(try debugger.registerValue("rip").bits == UInt64(call.callerOffset))
    }

    /// A condition sees the registers as they were at the call, which it may have changed.
    @Test func aConditionSeesTheArguments() throws {
        // mov ax, 0x0E41; int 10h; mov ah, 0x41; mov bx, 0x55AA; mov dl, 0x80; int 13h; jmp $
        let code: [UInt8] = [
            0xB8, 0x41, 0x0E, 0xCD, 0x10, 0xB4, 0x41, 0xBB, 0xAA, 0x55, 0xB2, 0x80, 0xCD, 0x13, 0xEB, 0xFE,
        ]
        let machine = try machine([try disk(code)])
        let debugger = try Debugger(target: machine)
        try debugger.setCatchpoint(.firmware(vector: nil, function: nil), condition: "$bx == 0x55aa")
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .seconds(60)))
        guard case .caught = stop.reason else {
            Issue.record("stopped for \(stop.reason)")
            return
        }
        #expect(try debugger.registerValue("bx").bits == 0xAA55)
        #expect(machine.textScreen?.cells.first?.character == 0x41)
    }

    /// Stepping into a service and out, and over it.
    @Test func stepsThroughACallAndOverIt() throws {
        // int 12h; int 11h; jmp $
        let machine = try machine([try disk([0xCD, 0x12, 0xCD, 0x11, 0xEB, 0xFE])])
        let debugger = try Debugger(target: machine)
        // INT, OUT, IRET.
        try debugger.step(count: 3)
        #expect(try debugger.registerValue("rip").bits == 0x7C02)
        #expect(try debugger.registerValue("ax").bits == 639)
        try debugger.startNext()
        #expect(try debugger.collectStop(timeout: .seconds(60)) != nil)
        #expect(try debugger.registerValue("rip").bits == 0x7C04)
        #expect(try debugger.registerValue("ax").bits & 0x22 == 0x22)
    }

    /// A key ends the wait of INT 16h; ticks are counted meanwhile.
    @Test func aKeyIsWaitedFor() throws {
        // xor ax, ax; int 16h; out 0xE9, al; cli; hlt
        let machine = try machine([try disk([0x31, 0xC0, 0xCD, 0x16, 0xE6, 0xE9, 0xFA, 0xF4])])
        try machine.go()
        #expect(machine.waitForStop(timeout: .milliseconds(200)) == nil)
        #expect(machine.type([.byte(0x71)]) == nil)
        #expect(machine.waitForStop(timeout: .seconds(60))?.reason == .hlt)
        #expect(machine.text(.debug) == "q")
        #expect((machine.memory.word(0x46C, size: 4) ?? 0) > 0)
    }

    /// The guest's own tick handler is chained to the BIOS's.
    @Test func ticksAreHookedAndChained() throws {
        let code: [UInt8] = [
            0xFA, 0x31, 0xC0, 0x8E, 0xD8,  // 7C00 cli; ds = 0
            0xC7, 0x06, 0x70, 0x00, 0x1C, 0x7C,  // 7C05 vector 1Ch: 0000:7C1C
            0xC7, 0x06, 0x72, 0x00, 0x00, 0x00,  // 7C0B
            0xFB,  // 7C11 sti
            0xF4,  // 7C12 hlt
            0x83, 0x3E, 0x00, 0x05, 0x02,  // 7C13 cmp word [0x500], 2
            0x72, 0xF8,  // 7C18 jb hlt
            0xFA, 0xF4,  // 7C1A cli; hlt
            0xFF, 0x06, 0x00, 0x01, 0xCF,  // 7C1C inc word [0x100], which is 0x500: DS is 40h in there; iret
        ]
        let machine = try machine([try disk(code)])
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.memory.word(0x500, size: 2) == 2)
    }

    /// With A20 off 1 MiB is 0, with it on it is not: as boot code finds out.
    @Test(arguments: [true, false])
    func a20Wraps(isOn: Bool) throws {
        let code: [UInt8] = [
            0x31, 0xC0, 0x8E, 0xD8,  // ds = 0
            0xB8, 0xFF, 0xFF, 0x8E, 0xC0,  // es = FFFFh
            0xC6, 0x06, 0x00, 0x05, 0x11,  // mov byte [0x500], 11h
            0x26, 0xC6, 0x06, 0x10, 0x05, 0x22,  // mov byte es:[0x510], 22h: 1 MiB + 500h
            0xA0, 0x00, 0x05, 0xE6, 0xE9,  // out e9, [0x500]
            0xB8, isOn ? 0x00 : 0x01, 0x24, 0xCD, 0x15,  // the other way round, by INT 15h
            0xC6, 0x06, 0x00, 0x05, 0x33,  // mov byte [0x500], 33h
            0x26, 0xA0, 0x10, 0x05, 0xE6, 0xE9,  // out e9, es:[0x510]
            0xFA, 0xF4,  // cli; hlt
        ]
        var configuration = MachineConfiguration()
        configuration.interruptController = .user
        configuration.hasBIOS = true
        configuration.drives = [try disk(code)]
        configuration.isA20On = isOn
        let machine = try OwnedMachine(configuration)
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.consoleOutput(.debug)?.bytes == (isOn ? [0x11, 0x33] : [0x22, 0x00]))
        #expect(machine.deviceState.isA20On == !isOn)
    }

    @Test func drivesNeedABIOSAndBootCode() throws {
        var configuration = MachineConfiguration()
        configuration.drives = [try disk()]
        #expect(throws: MachineError.self) { try OwnedMachine(configuration) }
        configuration.hasBIOS = true
        #expect(throws: MachineError.self) { try OwnedMachine(configuration) }
        configuration.interruptController = .user
        configuration.drives = [.init(.floppy, path: try file("zeros", [UInt8](repeating: 0, count: 512)))]
        #expect(throws: MachineError.self) { try OwnedMachine(configuration) }
        configuration.drives = [.init(.disk, path: folder.appending(path: "none").path)]
        #expect(throws: MachineError.self) { try OwnedMachine(configuration) }
    }
}
