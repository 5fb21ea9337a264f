import DebugTarget
import Debugger
import Host
import KVMCore
import X86

/// One vCPU: `vcpu info`, and a row of `vcpu list`.
public struct VCPUOutput: CommandOutput, Hashable {
    /// Shares of the time since the sample before, 0 to 1.
    public struct Usage: Sendable, Hashable, Encodable {
        public var guest: Double
        public var kernel: Double
        public var user: Double
        /// Ready to run, while another thread had the CPU.
        public var waiting: Double?
    }

    public struct Host: Sendable, Hashable, Encodable {
        /// The CPU that the thread last ran on.
        public var cpu: Int
        public var voluntarySwitches: UInt64
        public var involuntarySwitches: UInt64
        public var usage: Usage?
    }

    public var id: Int
    public var isBoot: Bool
    /// "running", "paused" by its VMM, "stopped", "halted", "waiting" or "dead"; absent if nothing is known.
    public var state: String?
    /// KVM_GET_MP_STATE.
    public var mpState: String?
    public var mode: String?
    public var cs: Hex?
    public var ip: Hex?
    public var process: Int32
    public var thread: Int32
    public var host: Host?
    public var exits: UInt64
    public var guestNanoseconds: UInt64
    public var handlingNanoseconds: UInt64
    public var mostFrequentExit: String?
    private var modeTitle: String
    private var place: String

    private enum CodingKeys: String, CodingKey {
        case id, isBoot, state, mpState, mode, cs, ip, process, thread, host, exits, guestNanoseconds,
            handlingNanoseconds, mostFrequentExit
    }

    init(
        _ identity: VCPUIdentity, _ snapshot: VCPUSnapshot?, mpState: MPState?, host: ThreadTimes.Host?,
        exits: ExitCount, mostFrequent: String?
    ) {
        id = identity.id
        isBoot = identity.isBoot
        state = snapshot?.activity.rawValue
        self.mpState = mpState?.title
        mode = snapshot?.mode.rawValue
        modeTitle = snapshot?.mode.title ?? "unknown mode"
        cs = snapshot.map { Hex($0.special.cs.selector) }
        ip = snapshot.map { Hex($0.registers.rip) }
        place =
            snapshot.map {
                Hex.digits($0.special.cs.selector, width: 4) + ":"
                    + Hex.digits($0.registers.rip, width: $0.mode.offsetDigits)
            } ?? "??"
        process = identity.process
        thread = identity.thread
        self.host = host.map { host in
            Host(
                cpu: host.sample.hostCPU, voluntarySwitches: host.sample.voluntarySwitches,
                involuntarySwitches: host.sample.involuntarySwitches,
                usage: host.usage.map {
                    Usage(guest: $0.guest, kernel: $0.kernel, user: $0.user, waiting: $0.waiting)
                })
        }
        self.exits = exits.count
        guestNanoseconds = exits.guest
        handlingNanoseconds = exits.handling
        mostFrequentExit = mostFrequent
    }

    /// The cells of a row of `vcpu list`.
    fileprivate func cells(isSelected: Bool) -> [StyledLine.Span] {
        [
            .init((isSelected ? "*" : " ") + "\(id)", isSelected ? .pc : .plain),
            .init(isBoot ? "boot" : "ap", .dim), .init(state ?? "??"), .init(mode ?? "??"),
            .init(place, .address), .init(thread > 0 ? "\(thread)" : "-"),
            .init(host.map { "\($0.cpu)" } ?? "??"), .init(percent(host?.usage?.guest)),
            .init(percent(host?.usage?.kernel)), .init(percent(host?.usage?.user)),
            .init(grouped(exits)),
        ]
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine("vCPU \(id)", .heading)
        head.append(isBoot ? ", boot processor" : ", application processor")
        if let state { head.append(", \(state)") }
        if let mpState { head.append(" (\(mpState))", .dim) }
        var result = [head]
        func row(_ name: String, _ text: String, _ style: Style = .plain) {
            var line = StyledLine("  " + name.padded(10), .dim)
            line.append(text, style)
            result.append(line)
        }
        row("at", "\(place), \(modeTitle)", .address)
        row("thread", thread > 0 ? "\(thread) of process \(process)" : "none yet")
        if let host {
            row("host CPU", "\(host.cpu), when it last ran")
            row(
                "switches",
                "\(grouped(host.voluntarySwitches)) voluntary, \(grouped(host.involuntarySwitches)) involuntary"
            )
            if let usage = host.usage {
                var text =
                    "guest \(percent(usage.guest)), kernel \(percent(usage.kernel)), user \(percent(usage.user))"
                if let waiting = usage.waiting { text += ", waiting for a CPU \(percent(waiting))" }
                row("time", text)
            }
        } else if thread > 0 {
            row("host", "/proc does not show the thread", .warning)
        }
        var text = "\(grouped(exits)), \(shortTime(guestNanoseconds)) in KVM_RUN, "
        text += "\(shortTime(handlingNanoseconds)) handling them"
        if let mostFrequentExit { text += "; most often \(mostFrequentExit)" }
        row("exits", text)
        return result
    }
}

/// A share as a percentage; `??` for one that is not known.
func percent(_ share: Double?) -> String {
    guard let share, share.isFinite else { return "??" }
    let tenths = Int((min(max(share, 0), 1) * 1000).rounded())
    return "\(tenths / 10).\(tenths % 10)%"
}

extension MPState {
    var title: String {
        switch self {
        case .runnable: "runnable"
        case .uninitialized: "uninitialized"
        case .initReceived: "INIT received"
        case .halted: "halted"
        case .sipiReceived: "SIPI received"
        case .other(let number): "MP state \(number)"
        }
    }
}

/// `vcpu list`.
public struct VCPUListOutput: CommandOutput, Hashable {
    public var selected: Int
    public var vcpus: [VCPUOutput]

    public func lines(width: Int) -> [StyledLine] {
        var table = TextTable(
            [" Id", "Role", "State", "Mode", "CS:IP", "Thread", "CPU", "Guest", "Kernel", "User", "Exits"],
            rightAligned: [5, 6, 7, 8, 9, 10])
        for vcpu in vcpus { table.add(vcpu.cells(isSelected: vcpu.id == selected)) }
        return table.lines(width: width, dropping: [5, 6, 9, 8, 7, 1, 10])
    }
}

/// `cpu ID`: where the vCPU stands.
public struct VCPUSelected: CommandOutput, Hashable {
    public var vcpu: Int
    public var position: StopOutput.Position
    private var digits: Int

    private enum CodingKeys: String, CodingKey { case vcpu, position }

    init(vcpu: Int, _ line: StopLine, digits: Int) {
        self.vcpu = vcpu
        self.digits = digits
        position = StopOutput.Position(line)
    }

    public func lines(width: Int) -> [StyledLine] { [position.line(vcpu: vcpu, digits: digits)] }
}

/// `vcpu create`: what was made, and what each part cost.
public struct VCPUCreatedOutput: CommandOutput, Hashable {
    public struct Part: Sendable, Hashable, Encodable {
        public var name: String
        public var nanoseconds: UInt64
    }

    public var id: Int
    public var isBoot: Bool
    public var descriptor: Int32
    /// `anon_inode:kvm-vcpu:N`.
    public var descriptorName: String?
    public var process: Int32
    public var thread: Int32
    public var hasLocalAPIC: Bool
    public var mpState: String
    public var entry: Hex?
    public var parts: [Part]
    public var totalNanoseconds: UInt64

    init(_ creation: VCPUCreation) {
        id = creation.identity.id
        isBoot = creation.identity.isBoot
        descriptor = creation.descriptor
        descriptorName = creation.descriptorName
        process = creation.identity.process
        thread = creation.identity.thread
        hasLocalAPIC = creation.hasLocalAPIC
        mpState = creation.mpState.title
        entry = creation.entry.map { Hex($0) }
        parts = creation.parts.map { Part(name: $0.name, nanoseconds: $0.cost.nanoseconds) }
        totalNanoseconds = parts.reduce(0) { $0 &+ $1.nanoseconds }
    }

    public func lines(width: Int) -> [StyledLine] {
        var head = StyledLine("Created vCPU \(id)", .heading)
        head.append(": descriptor \(descriptor)")
        if let descriptorName { head.append(" (\(descriptorName))", .dim) }
        head.append(", thread \(thread), in \(shortTime(totalNanoseconds))")
        var state = "  " + (isBoot ? "boot processor" : "application processor") + ", \(mpState), "
        state += hasLocalAPIC ? "local APIC in the kernel" : "no local APIC"
        state += entry.map { ", starts at \($0)" } ?? ", as at reset"
        var table = TextTable(["  Part", "Cost"], rightAligned: [1])
        for part in parts { table.add([.init("  " + part.name), .init(shortTime(part.nanoseconds))]) }
        return [head, StyledLine(state)] + table.lines
    }
}
