import DebugTarget
import Debugger
import Foundation
import Testing

@testable import Machine

/// A program of what some hosts' KVM lacks, here and on QEMU's TCG: each byte that it prints is the same.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
struct AssistOracleTests {
    private static let qemu = ["/usr/bin/qemu-system-x86_64"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    /// What another processor makes of it.
    private func reference(_ image: URL, in folder: URL) throws -> [UInt8] {
        let output = folder.appending(path: "printed")
        let process = Process(
            of: try #require(Self.qemu),
            [
                "-accel", "tcg", "-cpu", "max", "-display", "none", "-nodefaults", "-no-reboot", "-kernel",
                image.path,
                "-debugcon", "file:\(output.path)", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            ])
        try process.run()
        process.waitUntilExit()
        // 2 * the byte that was written, and 1.
        #expect(process.terminationStatus == 0x2E * 2 + 1)
        return [UInt8](try Data(contentsOf: output))
    }

    /// Runs a kernel there, and makes a machine that has run it here.
    ///
    /// - Parameter isStepped: instruction by instruction.
    private func run(_ name: String, isStepped: Bool = false) throws -> (OwnedMachine, [UInt8]) {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kvmscope-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let image = folder.appending(path: name)
        try Data(kernel(name)).write(to: image)
        let expected = try reference(image, in: folder)
        var configuration = MachineConfiguration()
        configuration.source = ImageRequest(path: image.path)
        let machine = try OwnedMachine(configuration)
        guard isStepped else {
            #expect(try machine.runToStop().reason == .poweredOff)
            return (machine, expected)
        }
        let debugger = try Debugger(target: machine)
        for _ in 0..<10_000 {
            try debugger.step()
            if debugger.stop.reason == .poweredOff { break }
        }
        #expect(debugger.stop.reason == .poweredOff)
        return (machine, expected)
    }

    private func compare(_ machine: OwnedMachine, _ expected: [UInt8]) throws {
        let printed = try #require(machine.consoleOutput(.debug)).bytes
        #expect(printed.count == expected.count)
        if let place = zip(printed, expected).enumerated().first(where: { $0.element.0 != $0.element.1 }) {
            Issue.record("byte \(place.offset): \(place.element.0) here, \(place.element.1) there")
        }
    }

    /// INT n, INT3, INTO, a gate that refuses and undefined instructions, from ring 3 to ring 0's stack and back: each
    /// frame has 36 bytes. Where KVM's emulator runs such code, it has these instructions when they are stepped.
    @Test(.enabled(if: qemu != nil, "needs qemu-system-x86"))
    func ring3IsLeftByInterrupts() throws {
        let (machine, expected) = try run("ring3", isStepped: VCPURunner.staysAtHighInterrupts)
        #expect(expected.count == 7 * 36 + 4 + 2)
        try compare(machine, expected)
    }

    @Test(
        .enabled(if: qemu != nil, "needs qemu-system-x86"),
        .enabled(
            if: !VCPURunner.staysAtHighInterrupts,
            "hosts that run 64-bit code of ring 3 outside of KVM's emulator do not look at a gate's DPL"))
    func ring3IsLeftByInterruptsIn64BitMode() throws {
        let (machine, expected) = try run("ring3long")
        #expect(expected.count == 5 * 36 + 4 + 2)
        try compare(machine, expected)
    }

    @Test(.enabled(if: qemu != nil, "needs qemu-system-x86"))
    func eachByteIsThatOfTCG() throws {
        let (machine, expected) = try run("assist")
        // Four instructions by 1,024 cases, 144 selectors, 64 times POPCNT in two forms, and the frames of two interrupts
        // and two exceptions.
        #expect(expected.count == 4 * 1024 * 3 + 144 * 10 + 64 * 4 + 93)
        try compare(machine, expected)
        // Where it was needed, the list says so.
        #expect(
            machine.assisted.isEmpty || machine.assisted.contains { $0.name == "daa" && $0.count == 1024 })
    }
}
