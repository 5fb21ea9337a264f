import DebugTarget
import Foundation
import Testing

@testable import Machine

/// A boot sector that makes a table of BIOS calls, here and on SeaBIOS under QEMU's TCG: what differs is what the list of
/// differences gives a reason for, and no more or less.
@Suite(.enabled(if: isLive, "needs /dev/kvm"), .serialized)
final class BIOSOracleTests {
    private static let qemu = ["/usr/bin/qemu-system-i386", "/usr/bin/qemu-system-x86_64"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    /// What came of one call, field by field.
    private struct Record {
        var name: String
        var fields: [(name: String, value: String)] = []
    }

    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "oracle-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// A floppy with the program, and a disk of 16 cylinders whose sectors hold their numbers.
    private func images() throws -> (floppy: String, disk: String) {
        let program = kernel("bioscalls")
        #expect(program.count == 18 * 512)
        let floppy = folder.appending(path: "floppy.img")
        try Data(program + [UInt8](repeating: 0, count: 1_474_560 - program.count)).write(to: floppy)
        var bytes: [UInt8] = []
        for sector in 0..<UInt32(16 * 63 * 16) {
            for _ in 0..<128 { bytes.append(number: sector) }
        }
        bytes.replaceSubrange(0..<512, with: [UInt8](repeating: 0, count: 512))
        // One partition that ends with a cylinder of 16 heads.
        bytes.replaceSubrange(446..<454, with: [0x80, 1, 1, 0, 6, 15, 63, 14])
        bytes.put(UInt32(63), at: 454)
        bytes.put(UInt32(16 * 63 * 15 - 63), at: 458)
        bytes.replaceSubrange(510..<512, with: [0x55, 0xAA])
        let disk = folder.appending(path: "disk.img")
        try Data(bytes).write(to: disk)
        return (floppy.path, disk.path)
    }

    private func reference(_ floppy: String, _ disk: String) throws -> [UInt8] {
        let output = folder.appending(path: "printed")
        let process = Process(
            of: try #require(Self.qemu),
            [
                "-accel", "tcg", "-m", "64", "-display", "none", "-nodefaults", "-vga", "std", "-serial",
                "null",
                "-no-reboot", "-boot", "a",
                "-drive", "file=\(floppy),if=floppy,format=raw,snapshot=on",
                "-drive", "file=\(disk),if=ide,format=raw,snapshot=on",
                "-debugcon", "file:\(output.path)", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            ])
        try process.run()
        process.waitUntilExit()
        // 2 * the byte that was written, and 1.
        #expect(process.terminationStatus == 0x2E * 2 + 1)
        return [UInt8](try Data(contentsOf: output))
    }

    private func records(_ bytes: [UInt8]) throws -> [Record] {
        var records: [Record] = []
        var place = 0
        func number(_ size: Int) throws -> UInt64 {
            try #require(place + size <= bytes.count, "a record is cut off")
            defer { place += size }
            return bytes[place..<place + size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        while place < bytes.count {
            let end = try #require(bytes[place...].firstIndex(of: 0))
            var record = Record(name: String(decoding: bytes[place..<end], as: UTF8.self))
            place = end + 1
            for name in ["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"] {
                record.fields.append((name, String(try number(4), radix: 16)))
            }
            record.fields.append(("es", String(try number(2), radix: 16)))
            let flags = try number(2)
            for (name, bit) in [("cf", 0), ("zf", 6), ("if", 9)] {
                record.fields.append((name, String(flags >> UInt64(bit) & 1)))
            }
            let count = Int(try number(2))
            let data = try (0..<count).map { _ in try number(1) }
            record.fields.append(
                ("bytes", data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()))
            records.append(record)
        }
        return records
    }

    /// The rows of the list: calls in backticks, fields, a reason.
    private func listed() throws -> [String: Set<String>] {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../Sources/kvmscope/kvmscope.docc/BIOSDifferences.md")
        var all: [String: Set<String>] = [:]
        for line in try String(contentsOf: page, encoding: .utf8).split(separator: "\n")
        where line.hasPrefix("| `") {
            let columns = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            try #require(columns.count == 3 && !columns[2].isEmpty, "a difference without a reason: \(line)")
            let fields = Set(columns[1].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
            for (index, name) in columns[0].split(separator: "`").enumerated() where index % 2 == 0 {
                all[String(name), default: []].formUnion(fields)
            }
        }
        return all
    }

    @Test(.enabled(if: qemu != nil, "needs qemu-system-x86"))
    func eachDifferenceFromSeaBIOSHasAReason() throws {
        let (floppy, disk) = try images()
        let expected = try records(try reference(floppy, disk))
        var configuration = MachineConfiguration()
        configuration.interruptController = .user
        configuration.clockOrigin = 1_700_000_000
        configuration.hasBIOS = true
        configuration.drives = [.init(.floppy, path: floppy), .init(.disk, path: disk)]
        let machine = try OwnedMachine(configuration)
        #expect(try machine.runToStop().reason == .poweredOff)
        let printed = try records(try #require(machine.consoleOutput(.debug)).bytes)
        #expect(printed.map(\.name) == expected.map(\.name))
        #expect(printed.count > 100)

        var listed = try listed()
        for (here, there) in zip(printed, expected) {
            var reasons = listed.removeValue(forKey: here.name) ?? []
            for (mine, its) in zip(here.fields, there.fields) where mine.value != its.value {
                if reasons.remove(mine.name) != nil { continue }
                Issue.record("\(here.name): \(mine.name) is \(mine.value) here, \(its.value) there")
            }
            for name in reasons.sorted() { Issue.record("\(here.name): \(name) does not differ") }
        }
        for name in listed.keys.sorted() { Issue.record("no call is named \(name)") }
    }
}
