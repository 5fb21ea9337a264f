import Foundation
import Testing

/// A boot sector that no one here wrote, from Debian's packages, and what GDB on QEMU says of it.
struct BootSector: Sendable, CustomTestStringConvertible {
    var image: String
    var recorded: String
    var testDescription: String { recorded }

    static let all = [
        BootSector(image: "/usr/lib/syslinux/mbr/mbr.bin", recorded: "syslinux-mbr"),
        BootSector(image: "/usr/lib/grub/i386-pc/boot.img", recorded: "grub-boot"),
    ]
    static let areInstalled = Host.isCI || all.allSatisfy { FileManager.default.fileExists(atPath: $0.image) }

    /// The recorded trace: `linear bytes`, a line for each instruction up to the first INT.
    func trace() throws -> [String] {
        let file = Built.packageRoot.appending(path: "Tests/EndToEndTests/Recorded/\(recorded).trace")
        return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
    }
}

@Suite(
    .enabled(if: Host.runsKVM, "needs /dev/kvm"),
    .enabled(if: BootSector.areInstalled, "needs syslinux-common and grub-pc-bin"))
struct BootSectorTraceTests {
    /// `step` after `step` up to the first INT, as a script would do it, from the JSON of each stop.
    private func stepped(_ sector: BootSector, steps: Int) throws -> [String] {
        let done = try batch(
            [sector.image, "--json"], ["x/i $pc"] + Array(repeating: "step", count: steps))
        #expect(done.status == 0, "\(done.errors)")
        var trace: [String] = []
        for line in done.output.split(separator: "\n").dropFirst() {
            let record = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
            let result = try #require(record["result"] as? [String: Any], "\(line)")
            let position =
                try #require(
                    (result["position"] as? [String: Any])
                        ?? (result["instructions"] as? [[String: Any]])?.first,
                    "\(line)")
            let linear = try #require(position["linear"] as? String, "\(line)")
            let bytes = try #require(position["bytes"] as? String, "\(line)")
            let address = String(try #require(UInt32(linear.dropFirst(2), radix: 16)), radix: 16)
            let padded = String(repeating: "0", count: max(0, 5 - address.count)) + address
            let entry = "\(padded) \(bytes.filter { !$0.isWhitespace })"
            // A REP instruction can stop before its first repetition; it is one instruction.
            if trace.last != entry { trace.append(entry) }
            if bytes.hasPrefix("cd") { break }
        }
        return trace
    }

    @Test(arguments: BootSector.all)
    func traceEqualsGDBOnQEMU(_ sector: BootSector) throws {
        let expected = try sector.trace()
        #expect(expected.count > 20)
        #expect(try stepped(sector, steps: expected.count + 8) == expected)
    }

    /// The recordings are what GDB says, today, on this image.
    @Test(
        .enabled(if: Host.has("gdb", "qemu-system-i386"), "needs gdb and qemu-system-x86"),
        arguments: BootSector.all)
    func recordingIsWhatGDBSays(_ sector: BootSector) throws {
        let folder = try TemporaryFolder()
        // A disk whose first sector is the image, with the signature that firmware looks for.
        var disk = try Data(contentsOf: URL(filePath: sector.image)).prefix(510)
        disk.append(Data(count: 510 - disk.count))
        disk.append(contentsOf: [0x55, 0xAA])
        disk.append(Data(count: (1 << 20) - 512))
        let diskFile = folder.url.appending(path: "disk")
        try disk.write(to: diskFile)
        let stub = folder.url.appending(path: "stub").path
        let trace = folder.url.appending(path: "trace")

        let qemu = Process(
            of: try #require(Host.path(of: "qemu-system-i386")),
            [
                "-accel", "tcg", "-S", "-gdb", "unix:\(stub),server,nowait", "-display", "none", "-m", "16",
                "-drive", "file=\(diskFile.path),format=raw",
            ])
        qemu.standardOutput = FileHandle.nullDevice
        qemu.standardError = FileHandle.nullDevice
        try qemu.run()
        defer {
            qemu.terminate()
            qemu.waitUntilExit()
        }
        let end = Date(timeIntervalSinceNow: 30)
        while !FileManager.default.fileExists(atPath: stub), Date() < end { usleep(20_000) }

        let script = Built.packageRoot.appending(path: "Tests/EndToEndTests/Support/gdb-trace.py").path
        let gdb = try run(
            "gdb", ["-q", "-batch", "-x", script],
            environment: ["KVMSCOPE_STUB": stub, "KVMSCOPE_TRACE": trace.path])
        let said = try String(contentsOf: trace, encoding: .utf8).split(separator: "\n").map(String.init)
        #expect(try said == sector.trace(), "\(gdb.output)\(gdb.errors)")
    }
}
