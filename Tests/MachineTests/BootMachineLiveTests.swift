import DebugTarget
import Debugger
import Expressions
import Foundation
import KVMCore
import Testing
import X86

@testable import Machine

/// The PC with its BIOS in a guest: its ROM, the kernel's interrupt controllers, and CDs that stand for other drives.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
final class BootMachineLiveTests {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "pc-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func machine(
        _ code: [UInt8], _ kind: DriveState.Kind = .disk,
        _ change: (inout MachineConfiguration) -> Void = { _ in }
    ) throws -> OwnedMachine {
        let path = folder.appending(path: UUID().uuidString).path
        try Data(code + [UInt8](repeating: 0, count: max(0, 4096 - code.count))).write(
            to: URL(filePath: path))
        var configuration = MachineConfiguration()
        configuration.interruptController = .user
        configuration.hasBIOS = true
        configuration.drives = [.init(kind, path: path)]
        change(&configuration)
        return try OwnedMachine(configuration)
    }

    private static let controllers: [MachineConfiguration.InterruptController] = [.user, .kernel]

    // MARK: the ROM

    /// The guest writes to F1234h and reads it back; the debugger's writes go there all the same.
    @Test(arguments: controllers)
    func theGuestCannotWriteTheROM(_ controllers: MachineConfiguration.InterruptController) throws {
        let code: [UInt8] = [
            0xB8, 0x00, 0xF0, 0x8E, 0xD8,  // ds = F000h
            0xC6, 0x06, 0x34, 0x12, 0x5A,  // mov byte [1234h], 5Ah
            0xA0, 0x34, 0x12, 0xE6, 0xE9,  // out e9, [1234h]
            0x1E, 0x07, 0xBF, 0x00, 0x20, 0xB9, 0x04, 0x00, 0xF3, 0xAA,  // es = ds; rep stosb at 2000h
            0xA0, 0x01, 0x20, 0xE6, 0xE9,  // out e9, [2001h]
            0xFA, 0xF4,  // cli; hlt
        ]
        let machine = try machine(code) { $0.interruptController = controllers }
        let rom = try #require(machine.deviceState.rom)
        #expect(rom.first == 0xF0000 && rom.last == 0xFFFFF && rom.dropped == nil)
        guard rom.isProtected else { return }
        try [0x77].withUnsafeBytes { (bytes: UnsafeRawBufferPointer) in
            try machine.memory.write(0xF1234, UnsafeRawBufferPointer(rebasing: bytes.prefix(1)))
        }
        if controllers == .user {
            #expect(try machine.runToStop().reason == .hlt)
        } else {
            // HLT waits in the kernel.
            try machine.go()
            #expect(wait { machine.consoleOutput(.debug)?.bytes.count == 2 })
            machine.interrupt()
            _ = machine.waitForStop(timeout: .seconds(60))
        }
        #expect(machine.consoleOutput(.debug)?.bytes == [0x77, 0x00])
        let dropped = try #require(machine.deviceState.rom?.dropped)
        #expect(dropped.writes >= 2 && dropped.address & ~3 == 0xF2000)
        // It starts anew.
        try machine.restart()
        #expect(machine.deviceState.rom?.dropped == nil)
        #expect(machine.memory.word(0xF1234, size: 1) == 0)
    }

    /// What a disk gives is not written there either.
    @Test func aDiskIsNotReadIntoTheROM() throws {
        let code: [UInt8] = [
            0xB8, 0x00, 0xF0, 0x8E, 0xC0, 0xBB, 0x00, 0xC0,  // es:bx = F000:C000, the stubs
            0xB8, 0x01, 0x02, 0xB9, 0x01, 0x00, 0xB6, 0x00, 0xCD, 0x13,  // sector 1
            0xCD, 0x12, 0xE6, 0xE9, 0xFA, 0xF4,  // int 12h; out e9, al; cli; hlt
        ]
        let machine = try machine(code)
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.consoleOutput(.debug)?.bytes == [0x7F])
        #expect(machine.deviceState.rom?.dropped?.writes == 1)
    }

    /// A watchpoint there sees the write, which is dropped.
    @Test func aWatchpointSeesWhatIsDropped() throws {
        let code: [UInt8] = [
            0xB8, 0x00, 0xF0, 0x8E, 0xD8, 0xC6, 0x06, 0x34, 0x12, 0x5A, 0xA0, 0x34, 0x12, 0xE6, 0xE9, 0xFA,
            0xF4,
        ]
        let machine = try machine(code)
        guard machine.deviceState.rom?.isProtected == true else { return }
        let debugger = try Debugger(target: machine)
        let watch = try debugger.setWatchpoint(at: .linear(0xF1234), length: 1, access: .write)
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .seconds(60)))
        if case .watchpoint(let hits) = stop.reason {
            #expect(hits.map(\.number) == [watch.number])
            #expect(try debugger.registerValue("rip").bits == 0x7C0A)
            try debugger.startContinue()
            #expect(try debugger.collectStop(timeout: .seconds(60))?.reason == .hlt)
        } else {
            // Hosts whose debug registers compare with what is in memory see nothing change.
            #expect(stop.reason == .hlt)
        }
        #expect(machine.consoleOutput(.debug)?.bytes == [0])
    }

    /// A stack in the ROM, and an instruction that the emulator of a KVM may not do to it: nothing hangs.
    @Test(arguments: [false, true])
    func aStackInTheROMDoesNotHang(hasFXSAVE: Bool) throws {
        var code: [UInt8] = [
            // cli; ds = ss = F000h; sp = 3000h
            0xFA, 0xB8, 0x00, 0xF0, 0x8E, 0xD8, 0x8E, 0xD0, 0xBC, 0x00, 0x30,
            0x50, 0x0E, 0xE8, 0x00, 0x00, 0x58,  // push ax; push cs; call next; pop ax
        ]
        // mov eax, cr4; or ax, 200h; mov cr4, eax; fxsave [2000h]
        if hasFXSAVE {
            code += [
                0x0F, 0x20, 0xE0, 0x0D, 0x00, 0x02, 0x0F, 0x22, 0xE0, 0x0F, 0xAE, 0x06, 0x00, 0x20,
            ]
        }
        code += [0xB0, 0x2E, 0xE6, 0xE9, 0xFA, 0xF4]
        let machine = try machine(code)
        guard machine.deviceState.rom?.isProtected == true else { return }
        try machine.go()
        // It gets through, or it stops, or the user stops it.
        let isThrough = machine.waitForStop(timeout: .seconds(5)) != nil
        if !isThrough {
            machine.interrupt()
            #expect(machine.waitForStop(timeout: .seconds(30)) != nil)
        }
        if !hasFXSAVE { #expect(isThrough && machine.text(.debug) == ".") }
        #expect(machine.memory.word(0xF2FFE, size: 2) == 0)
    }

    // MARK: the kernel's controllers

    private func wait(_ seconds: Int = 30, for condition: () -> Bool) -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while !condition() {
            guard ContinuousClock.now < end else { return false }
            usleep(10_000)
        }
        return true
    }

    /// Prints what the guest has printed once it is done, which a HLT in the kernel does not tell.
    private func output(_ machine: OwnedMachine, until end: UInt8 = 0x2E) throws -> String {
        try machine.go()
        #expect(wait { machine.consoleOutput(.debug)?.bytes.last == end })
        machine.interrupt()
        #expect(machine.waitForStop(timeout: .seconds(60)) != nil)
        return machine.text(.debug)
    }

    /// Ticks, a key and the clock's own interrupts come through the kernel's controllers, with one vCPU and with two.
    @Test(arguments: [1, 2])
    func interruptsComeThroughTheKernel(vcpus: Int) throws {
        let code: [UInt8] = [
            0x31, 0xC0, 0x8E, 0xD8,  // ds = 0
            0xA1, 0x6C, 0x04,  // mov ax, [46Ch]
            0xF4, 0x3B, 0x06, 0x6C, 0x04, 0x74, 0xF9,  // hlt; cmp ax, [46Ch]; je hlt
            0xB0, 0x74, 0xE6, 0xE9,  // 't'
            0x31, 0xC0, 0xCD, 0x16, 0xE6, 0xE9,  // int 16h; out e9, al
            0xC6, 0x06, 0x00, 0x06, 0x00,  // mov byte [600h], 0
            0x8E, 0xC0, 0xB8, 0x00, 0x00, 0x8E, 0xC0,  // es = 0
            0xBB, 0x00, 0x06, 0xB9, 0x00, 0x00, 0xBA, 0xE8, 0x03,  // es:bx = 600h, 1000 us
            0xB8, 0x00, 0x83, 0xCD, 0x15,  // int 15h AX=8300h
            0xF4, 0x80, 0x3E, 0x00, 0x06, 0x80, 0x75, 0xF8,  // hlt; cmp byte [600h], 80h; jne hlt
            0xB0, 0x2E, 0xE6, 0xE9, 0xEB, 0xFE,  // '.'; jmp $
        ]
        let machine = try machine(code) {
            $0.interruptController = .kernel
            $0.vcpus = vcpus
        }
        #expect(machine.hasKeyboard)
        // The key waits in the keyboard controller until the guest asks for one.
        #expect(machine.type([.byte(0x6B)]) == nil)
        #expect(try output(machine) == "tk.")
        #expect(machine.realTimeClock != nil)
        // The same again from the start.
        try machine.restart()
        #expect(machine.type([.byte(0x6B)]) == nil)
        #expect(try output(machine).suffix(3) == "tk.")
    }

    /// The second processor is started by INIT and SIPI from real mode, and calls the BIOS, too.
    @Test func anotherProcessorCallsTheBIOS() throws {
        let code: [UInt8] = [
            0xFA, 0x31, 0xC0, 0x8E, 0xD8,  // cli; ds = 0
            // The trampoline, from `there` on, to 8000h.
            0x8E, 0xC0, 0xBE, 0x60, 0x7C, 0xBF, 0x00, 0x80, 0xB9, 0x20, 0x00, 0xF3, 0xA4,
            // Unreal mode for the APIC's page: a descriptor of 4 GiB in FS.
            0x0F, 0x01, 0x16, 0x50, 0x7C,  // lgdt [7C50h]
            0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0,  // cr0 |= 1
            0xBB, 0x08, 0x00, 0x8E, 0xE3,  // fs = 8
            0x24, 0xFE, 0x0F, 0x22, 0xC0,  // cr0 &= ~1
            // INIT, then SIPI to 8000h, to all but this one.
            0x66, 0xBF, 0x00, 0x03, 0xE0, 0xFE,  // mov edi, FEE00300h
            0x64, 0x67, 0x66, 0xC7, 0x07, 0x00, 0x45, 0x0C, 0x00,
            0x64, 0x67, 0x66, 0xC7, 0x07, 0x08, 0x46, 0x0C, 0x00,
            0xEB, 0xFE,
        ]
        let there: [UInt8] = [
            0xFA, 0x31, 0xC0, 0x8E, 0xD8, 0x8E, 0xD0, 0xBC, 0x00, 0x78,  // ds = ss = 0, sp = 7800h
            0xCD, 0x12, 0x3D, 0x7F, 0x02, 0x75, 0x04,  // int 12h; 639?
            0xB0, 0x2E, 0xE6, 0xE9, 0xF4, 0xEB, 0xFD,  // '.'; hlt
        ]
        // At 7C50h the table's size and place; at 7C90h the table: nothing, and data of 4 GiB.
        var bytes = code + [UInt8](repeating: 0, count: 0x50 - code.count)
        bytes += [0x0F, 0x00, 0x90, 0x7C, 0x00, 0x00]
        bytes += [UInt8](repeating: 0, count: 0x60 - bytes.count) + there
        bytes += [UInt8](repeating: 0, count: 0x90 - bytes.count)
        bytes += [0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0x93, 0xCF, 0]
        let machine = try machine(bytes) {
            $0.interruptController = .kernel
            $0.vcpus = 2
        }
        #expect(try output(machine) == ".")
        let calls = try #require(machine.firmware).recent()
        #expect(calls.contains { $0.vector == 0x12 && $0.callerSegment == 0x0800 })
    }

    // MARK: CDs

    /// A CD of 64 sectors whose boot entry asks for a medium at sector 24.
    private func disc(medium: UInt8, _ code: [UInt8]) throws -> String {
        let sector = [UInt8](repeating: 0, count: 512 - code.count)
        let bytes = bootableDisc(sectors: 64, medium: medium, count: 1, at: 24, code + sector + [0x21])
        let path = folder.appending(path: "\(medium).iso").path
        try bytes.write(to: URL(filePath: path))
        return path
    }

    /// Boots as the drive that it stands for, reads from it, cannot write it, is told of by AH=4Bh, and ends it.
    @Test(arguments: [(1, 0x00), (2, 0x00), (3, 0x00), (4, 0x80)] as [(UInt8, UInt8)])
    func aCDStandsForADrive(medium: UInt8, drive: UInt8) throws {
        let code: [UInt8] = [
            0x88, 0xD0, 0xE6, 0xE9,  // out e9, dl
            0x31, 0xC0, 0x8E, 0xC0, 0x8E, 0xD8,  // es = ds = 0
            // sector 2 to 8000h
            0xB8, 0x01, 0x02, 0xBB, 0x00, 0x80, 0xB9, 0x02, 0x00, 0xB6, 0x00, 0xCD, 0x13,
            0xA0, 0x00, 0x80, 0xE6, 0xE9,  // out e9, [8000h]
            0xB8, 0x01, 0x03, 0xCD, 0x13, 0x88, 0xE0, 0xE6, 0xE9,  // write it: out e9, ah
            0xB8, 0x01, 0x4B, 0xBE, 0x00, 0x81, 0xCD, 0x13,  // status to 8100h
            0xA0, 0x01, 0x81, 0xE6, 0xE9, 0xA0, 0x04, 0x81, 0xE6, 0xE9,  // out e9, medium and sector
            0xB8, 0x00, 0x4B, 0xCD, 0x13,  // the end of it
            0xB8, 0x01, 0x02, 0xBB, 0x00, 0x80, 0xB9, 0x01, 0x00, 0xCD, 0x13,  // the same drive's sector 1
            0xA0, 0x00, 0x80, 0xE6, 0xE9,  // out e9, [8000h]
            0xFA, 0xF4,
        ]
        let other = folder.appending(path: "other").path
        try Data([UInt8](repeating: 0x5C, count: 4096)).write(to: URL(filePath: other))
        var configuration = MachineConfiguration()
        configuration.interruptController = .user
        configuration.hasBIOS = true
        configuration.drives = [
            .init(.cdrom, path: try disc(medium: medium, code)),
            .init(medium == 4 ? .disk : .floppy, path: other),
        ]
        let machine = try OwnedMachine(configuration)
        #expect(machine.drives.map(\.number) == [drive, 0xE0, drive + 1])
        #expect(try machine.runToStop().reason == .hlt)
        #expect(machine.consoleOutput(.debug)?.bytes == [drive, 0x21, 0x03, medium, 24, 0x5C])
    }
}
