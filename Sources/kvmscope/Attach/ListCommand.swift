import ArgumentParser
import Attach
import Commands
import Glibc
import Host

/// `kvmscope list`: every KVM guest of the host.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the KVM guests of this host, and whether they can be attached to.")

    @Flag(help: "One JSON object: command, ok, and result, with the thread of each vCPU.")
    var json = false

    @Flag(help: "Say which thread runs each vCPU, and how that was found out.")
    var threads = false

    @Option(help: "Colours: auto looks at the terminal and at NO_COLOR.")
    var color = ColorChoice.auto

    func run() throws {
        Output(json: json, color: color).show(
            GuestTable(
                GuestFinder().guests(), showsThreads: threads, fitsWidth: isTerminal(STDOUT_FILENO)),
            of: "list")
    }
}

/// The guests of a host, for people and as JSON.
struct GuestTable: CommandOutput {
    struct Row: Encodable, Sendable {
        struct VCPU: Encodable, Sendable {
            var id: Int
            var thread: Int32?
            var threadSource: String?
        }
        var process: Int32
        var name: String
        var vmm: String
        var vcpus: [VCPU]
        var memoryBytes: UInt64?
        var uptimeSeconds: Double?
        var attachable: Bool
        var obstacle: String?
        var remedy: String?
    }
    var guests: [Row]
    var hiddenProcesses: Int
    private var showsThreads: Bool
    /// Of a terminal; a file or a program has everything.
    private var fitsWidth: Bool

    private enum CodingKeys: CodingKey {
        case guests
        case hiddenProcesses
    }

    init(_ list: GuestList, showsThreads: Bool = false, fitsWidth: Bool = true) {
        self.showsThreads = showsThreads
        self.fitsWidth = fitsWidth
        hiddenProcesses = list.hiddenProcesses
        guests = list.guests.map { guest in
            Row(
                process: guest.process, name: guest.name, vmm: guest.vmm.rawValue,
                vcpus: guest.vcpus.map {
                    Row.VCPU(id: $0.id, thread: $0.thread, threadSource: $0.threadSource?.rawValue)
                },
                memoryBytes: guest.ram,
                uptimeSeconds: guest.uptime.map {
                    Double($0.components.seconds) + Double($0.components.attoseconds) / 1e18
                },
                attachable: guest.obstacle == nil, obstacle: guest.obstacle?.message,
                remedy: guest.obstacle?.words)
        }
    }

    func lines(width: Int) -> [StyledLine] {
        guard !guests.isEmpty else { return note("no KVM guest runs\(hidden)", indent: 0, width) }
        let header = ["PID", "NAME", "VMM", "VCPUS", "MEMORY", "UPTIME", "ATTACH"]
        let rows = guests.map { guest in
            [
                "\(guest.process)", guest.name, guest.vmm, "\(guest.vcpus.count)",
                guest.memoryBytes.map(Self.size) ?? "?", guest.uptimeSeconds.map(Self.time) ?? "?",
                guest.attachable ? "yes" : "no: \(guest.obstacle ?? "")",
            ].map(\.printable)
        }
        var widths = header.indices.map { column in ([header] + rows).map { $0[column].columns }.max() ?? 0 }
        if fitsWidth { Self.fit(&widths, in: width) }
        func line(_ cells: [String]) -> String {
            cells.enumerated().map { index, cell in
                let cell = Self.cut(cell, to: widths[index])
                return index == cells.count - 1
                    ? cell : cell + String(repeating: " ", count: widths[index] - cell.columns)
            }.joined(separator: "  ")
        }
        var lines = [StyledLine(line(header), .heading)]
        for (row, guest) in zip(rows, guests) {
            lines.append(StyledLine(line(row), .plain))
            // What the row has no room for stands below it.
            if let obstacle = guest.obstacle, row[header.count - 1].columns > widths[header.count - 1] {
                lines += note(obstacle.printable, indent: 4, width)
            }
            if let remedy = guest.remedy { lines += note(remedy.printable, indent: 4, width) }
            for vcpu in showsThreads ? guest.vcpus : [] {
                let source = vcpu.threadSource.map { " (by \($0))" } ?? ""
                let thread = vcpu.thread.map { "thread \($0)\(source)" } ?? "no thread known"
                lines.append(StyledLine("    vCPU \(vcpu.id): \(thread)", .plain))
            }
        }
        if hiddenProcesses > 0 { lines += note(String(hidden.dropFirst(2)), indent: 0, width) }
        return lines
    }

    /// A sentence, in as many lines as it needs: nothing of it is left out.
    private func note(_ text: String, indent: Int, _ width: Int) -> [StyledLine] {
        let margin = String(repeating: " ", count: indent)
        let parts = fitsWidth ? wrapped(text, max(20, width - indent)) : [text]
        return parts.map { StyledLine(margin + $0, .dim) }
    }

    /// Takes what is too much from the column that is widest.
    private static func fit(_ widths: inout [Int], in width: Int) {
        func excess() -> Int { widths.reduce(0, +) + 2 * (widths.count - 1) - width }
        while excess() > 0, let widest = widths.indices.max(by: { widths[$0] < widths[$1] }),
            widths[widest] > leastWidth
        {
            widths[widest] -= 1
        }
    }

    /// What a column keeps of a name.
    private static let leastWidth = 8

    /// With a mark where something is cut off.
    private static func cut(_ text: String, to width: Int) -> String {
        guard text.columns > width else { return text }
        var kept = Substring(text)
        while kept.columns > width - 1, !kept.isEmpty { kept.removeLast() }
        return kept + "\u{2026}"
    }

    private var hidden: String {
        hiddenProcesses > 0
            ? "; \(hiddenProcesses) processes of other users could not be looked into (run as root to see them)"
            : ""
    }

    private static func size(_ bytes: UInt64) -> String {
        // Rounded: a PC lacks some of its first MiB.
        func rounded(_ shift: UInt64) -> UInt64 { (bytes &+ (1 << (shift - 1))) >> shift }
        return bytes >= 10 << 30
            ? "\(rounded(30))G" : bytes >= 10 << 20 ? "\(rounded(20))M" : "\(bytes >> 10)K"
    }

    private static func time(_ seconds: Double) -> String {
        let whole = Int(seconds)
        let (days, hours, minutes) = (whole / 86400, whole / 3600 % 24, whole / 60 % 60)
        if days > 0 { return "\(days)d\(hours)h" }
        return hours > 0 ? "\(hours)h\(minutes)m" : minutes > 0 ? "\(minutes)m\(whole % 60)s" : "\(whole)s"
    }
}
