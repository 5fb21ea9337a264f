public import DebugTarget
import Debugger
import Expressions
import Glibc
import X86

/// What a case needs and not every target or host has.
public enum CaseRequirement: String, Sendable, Hashable, CaseIterable {
    /// A HLT with nothing to wake the vCPU stops the guest. Where another program is the machine, that is its
    /// business: it may wake the guest at any time.
    case haltStops = "a HLT that nothing ends stops this guest"
    /// Its pages are ours to protect, and what becomes of it after a triple fault is ours to say.
    case ownMachine = "the machine is the debugger's own"
    /// 32- and 64-bit code, which a made-up processor does not have.
    case processor = "a processor with 32- and 64-bit mode"
    /// 4-level paging, for which whoever made the guest must have given it CPUID.
    case cpuid = "the guest has CPUID"
    /// Port 0x8A00.
    case ioDebug = "the machine has port 0x8A00"
    /// Execution breakpoints in DR0 to DR3 fire.
    case debugRegisters = "debug registers fire on this host"
    /// An access over a segment's end is #GP, which some emulated processors do not look for.
    case segmentLimits = "the processor checks segment limits"
}

/// Debugging cases that every kind of target has to pass: the same code, the same expectations.
///
/// A factory makes a target with so many vCPUs and at least 1 MiB of RAM at 0; the cases put their own code at
/// 0000:7C00 and the vCPUs there.
public struct ConformanceCase: Sendable, CustomStringConvertible {
    public let name: String
    /// The vCPUs that the case needs.
    public let vcpus: Int
    public let requirements: Set<CaseRequirement>
    private let body: @Sendable (Fixture) throws -> Void

    /// - Parameters:
    ///   - overwrites: the guest overwrites patches that must hold all the same.
    ///   - pages: the guest turns 4-level paging on.
    init(
        _ name: String, vcpus: Int = 1, stopsAtHalt: Bool = false, overwrites: Bool = false,
        needsProcessor: Bool = false, pages: Bool = false, needs: Set<CaseRequirement> = [],
        _ body: @escaping @Sendable (Fixture) throws -> Void
    ) {
        self.name = name
        self.vcpus = vcpus
        var requirements = needs
        if stopsAtHalt { requirements.insert(.haltStops) }
        if overwrites { requirements.insert(.ownMachine) }
        if needsProcessor { requirements.insert(.processor) }
        if pages { requirements.insert(.cpuid) }
        self.requirements = requirements
        self.body = body
    }

    public var description: String { name }

    /// - Parameter lacks: what no look at the target tells.
    /// - Returns: what the target or its host lacks, where the case was not run; nil where it was.
    /// - Throws: ``ConformanceFailure`` for what was otherwise than expected, or what the target threw.
    public func run(
        lacks: Set<CaseRequirement> = [], _ make: (_ vcpus: Int) throws -> any Target
    ) throws -> String? {
        let known = requirements.intersection(lacks)
        if let missing = known.sorted(by: { $0.rawValue < $1.rawValue }).first { return missing.rawValue }
        let target = try make(vcpus)
        let fixture = try Fixture(target)
        for requirement in CaseRequirement.allCases where requirements.contains(requirement) {
            let isMet =
                switch requirement {
                case .haltStops: !(target is any ExitForwarding)
                case .ownMachine: target is any MemoryProtecting
                case .processor: !(target is FakeTarget)
                case .cpuid: true
                case .ioDebug: target is any IODebugProviding
                case .debugRegisters:
                    target.debugFacilities.works(
                        .executionBreakpoint, in: [.real, .protectedKernel, .longKernel])
                case .segmentLimits: try !(target is FakeTarget) && fixture.checksSegmentLimits()
                }
            if !isMet { return requirement.rawValue }
        }
        try body(fixture)
        return nil
    }

    /// Those whose names hold one of the texts in `KVMSCOPE_CASES`, with `|` between them; all where it is not set. For
    /// hosts on which all of them take long.
    public static let chosen: [ConformanceCase] = {
        guard let wanted = getenv("KVMSCOPE_CASES").map({ String(cString: $0) }) else { return all }
        let texts = wanted.split(separator: "|")
        let chosen = all.filter { test in texts.contains { test.name.contains($0) } }
        precondition(!chosen.isEmpty, "KVMSCOPE_CASES: no case is called \(wanted)")
        return chosen
    }()

    public static let all: [ConformanceCase] =
        stepping + stepKinds + stepModes + stepOrders + breaking + patching + patchedSpaces + conditions
        + watching + halting
        + editing + running + catching + remembering + nullJumps
}

/// What was otherwise than a case expects.
public struct ConformanceFailure: Error, CustomStringConvertible {
    public let description: String
}

/// A target with a debugger on it, and shorthand for the cases.
final class Fixture {
    static let origin: UInt64 = 0x7C00
    let target: any Target
    let debugger: Debugger

    init(_ target: any Target) throws {
        self.target = target
        debugger = try Debugger(target: target)
    }

    /// Puts code at 0000:7C00 and all vCPUs before it, in real mode with a stack of their own.
    func load(_ code: [UInt8], at address: UInt64 = Fixture.origin) throws {
        try debugger.writeMemory(.physical(address), code)
        for identity in target.vcpus {
            try place(identity.id, at: address)
        }
    }

    func place(_ vcpu: Int, at ip: UInt64) throws {
        for segment in ["cs", "ds", "es", "ss"] { try debugger.setRegister(segment, to: 0, vcpu: vcpu) }
        for register in ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"] {
            try debugger.setRegister(register, to: 0, vcpu: vcpu)
        }
        try debugger.setRegister("rsp", to: 0x7000 - UInt64(vcpu) * 0x400, vcpu: vcpu)
        try debugger.setRegister("rflags", to: 2, vcpu: vcpu)
        try debugger.setRegister("rip", to: ip, vcpu: vcpu)
    }

    /// For a guest that runs until it is stopped. An emulated processor may leave a guest with IF clear for no interrupt
    /// of its host, which then stands still (Bochs 2.7, VMX).
    func allowInterrupts(vcpu: Int = 0) throws { try debugger.setRegister("if", to: 1, vcpu: vcpu) }

    func register(_ name: String, vcpu: Int? = nil) throws -> UInt64 {
        try debugger.registerValue(name, vcpu: vcpu).bits
    }

    func expect(
        _ name: String, _ value: UInt64, vcpu: Int? = nil, line: Int = #line
    ) throws {
        let found = try register(name, vcpu: vcpu)
        guard found == value else {
            throw ConformanceFailure(
                description:
                    "\(name) is 0x\(String(found, radix: 16)), expected 0x\(String(value, radix: 16)) "
                    + "(line \(line); stop \(debugger.stop.reason))")
        }
    }

    func expect(_ reason: StopReason, line: Int = #line) throws {
        guard debugger.stop.reason == reason else {
            throw ConformanceFailure(
                description: "stopped for \(debugger.stop.reason), expected \(reason) (line \(line))")
        }
    }

    func expect(_ condition: Bool, _ what: String, line: Int = #line) throws {
        guard condition else { throw ConformanceFailure(description: "\(what) (line \(line))") }
    }

    /// The code of the error that `body` throws.
    func expectError(
        _ code: DebuggerError.Code, line: Int = #line, _ body: () throws -> Void
    ) throws {
        do {
            try body()
        } catch let error as DebuggerError {
            guard error.code == code else {
                throw ConformanceFailure(
                    description: "\(error) is .\(error.code), expected .\(code) (line \(line))")
            }
            return
        }
        throw ConformanceFailure(description: "nothing was thrown, expected .\(code) (line \(line))")
    }

    /// The stop of what was started, which comes within some seconds.
    func collect(line: Int = #line) throws {
        guard try debugger.collectStop(timeout: .paced(20)) != nil else {
            debugger.interrupt()
            _ = try debugger.collectStop(timeout: .paced(20))
            throw ConformanceFailure(description: "no stop came (line \(line))")
        }
    }

    /// Whether a word at FFFFh raises #GP, found by running one.
    fileprivate func checksSegmentLimits() throws -> Bool {
        // 7C00 mov ax, [FFFF]; 7C03 nop
        try load([0xA1, 0xFF, 0xFF, 0x90])
        try handler(13, [0x90, 0xCF])
        for place: UInt64 in [0x7C03, 0x7D00] { try debugger.setBreakpoint(at: .linear(place)) }
        try go()
        try debugger.deleteAllBreakpoints()
        return try register("rip") == 0x7D00
    }

    /// Whether the host honours it in real mode.
    func honours(_ facility: DebugFacility) -> Bool {
        target.debugFacilities.works(facility, in: .real)
    }

    func step(_ count: Int = 1, line: Int = #line) throws {
        try debugger.startStep(count: count)
        try collect(line: line)
    }

    func next(line: Int = #line) throws {
        try debugger.startNext()
        try collect(line: line)
    }

    func go(line: Int = #line) throws {
        try debugger.startContinue()
        try collect(line: line)
    }
}
