import Attach
import Commands
import Foundation
import Host
import Testing

@testable import kvmscope

@Suite struct GuestTableTests {
    private func list(vcpus: Int) -> GuestList {
        let vcpus = (0..<vcpus).map {
            HostVCPU(
                id: $0, descriptor: Int32(20 + $0), thread: $0 == 1 ? nil : Int32(4_000_000 + $0),
                threadSource: .kernel)
        }
        return GuestList(
            guests: [
                HostGuest(
                    process: 7, name: "big", vmm: .qemu, arguments: [], vmDescriptors: [9], vcpus: vcpus,
                    ram: 4 << 30)
            ], hiddenProcesses: 0)
    }

    @Test("a guest with many vCPUs takes one short line: their number")
    func count() {
        let lines = GuestTable(list(vcpus: 48)).lines(width: 80).map(\.text)
        #expect(lines.count == 2)
        #expect(lines.allSatisfy { $0.count <= 80 }, "\(lines)")
        #expect(
            lines[1].split(separator: " ") == ["7", "big", "QEMU", "48", "4096M", "?", "yes"], "\(lines)")
    }

    @Test(
        "lines fit the terminal: the widest column is cut with a mark, what is to be done is not",
        arguments: [60, 80, 100])
    func fits(_ width: Int) {
        let name = String(repeating: "long name ", count: 12)
        var list = list(vcpus: 2)
        list.hiddenProcesses = 12
        list.guests[0].name = name
        let lines = GuestTable(list).lines(width: width).map(\.text)
        #expect(lines.allSatisfy { $0.columns <= width }, "\(lines)")
        #expect(lines[1].contains("long name l"))
        #expect(lines[1].contains("\u{2026}") && lines[1].hasSuffix("yes"), "\(lines)")
        #expect(lines.dropFirst(2).joined(separator: " ").hasSuffix("(run as root to see them)"), "\(lines)")
        // A file or another program has all of it.
        let whole = GuestTable(list, fitsWidth: false).lines(width: width).map(\.text)
        #expect(whole[1].contains(name))
        #expect(whole.count == 3)
    }

    @Test("an obstacle that its row has no room for stands below it, whole")
    func obstacle() {
        let message = "thread 1471 of the VMM is already traced by process 1480 (kvmscope)"
        var list = list(vcpus: 2)
        list.guests[0].obstacle = HostGuestError(.noProcess, message, remedy: "quit it")
        let lines = GuestTable(list).lines(width: 60).map(\.text)
        #expect(lines.allSatisfy { $0.columns <= 60 }, "\(lines)")
        #expect(lines[1].hasSuffix("\u{2026}"), "\(lines)")
        let below = lines.dropFirst(2).map { $0.drop { $0 == " " } }.joined(separator: " ")
        #expect(below.hasPrefix(message + " "), "\(lines)")
        let wide = GuestTable(list).lines(width: 140).map(\.text)
        #expect(wide[1].hasSuffix(message) && wide.count == 3, "\(wide)")
    }

    @Test("the threads are there on request, one a line, and always in JSON")
    func threads() throws {
        let table = GuestTable(list(vcpus: 3), showsThreads: true)
        let lines = table.lines(width: 80).map(\.text)
        #expect(
            lines.dropFirst(2) == [
                "    vCPU 0: thread 4000000 (by BPF)", "    vCPU 1: no thread known",
                "    vCPU 2: thread 4000002 (by BPF)",
            ], "\(lines)")
        for shows in [false, true] {
            let json = try JSONEncoder().encode(GuestTable(list(vcpus: 3), showsThreads: shows))
            let value = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
            #expect(Set(value.keys) == ["guests", "hiddenProcesses"])
            let guests = try #require(value["guests"] as? [[String: Any]])
            let vcpus = try #require(guests.first?["vcpus"] as? [[String: Any]])
            #expect(vcpus.map { $0["thread"] as? Int } == [4_000_000, nil, 4_000_002])
        }
    }
}
