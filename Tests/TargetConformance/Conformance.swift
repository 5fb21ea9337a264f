public import Debugger
import X86

/// Debugging cases that every kind of target has to pass: the same code, the same expectations.
///
/// A factory makes a target with so many vCPUs and at least 1 MiB of RAM at 0; the cases put their own code at
/// 0000:7C00 and the vCPUs there.
public struct ConformanceCase: Sendable, CustomStringConvertible {
    public let name: String
    /// The vCPUs that the case needs.
    public let vcpus: Int
    /// A HLT with nothing to wake the vCPU stops the guest. Where another program is the machine, that is its
    /// business: it may wake the guest at any time.
    public let stopsAtHalt: Bool
    /// The guest overwrites patches that must hold all the same: its pages have to be ours to protect.
    public let overwrites: Bool
    /// It needs 32- and 64-bit code, which a made-up processor does not have.
    public let needsProcessor: Bool
    /// The guest turns 4-level paging on, for which whoever made it must have given it CPUID.
    public let pages: Bool
    private let body: @Sendable (Fixture) throws -> Void

    init(
        _ name: String, vcpus: Int = 1, stopsAtHalt: Bool = false, overwrites: Bool = false,
        needsProcessor: Bool = false, pages: Bool = false,
        _ body: @escaping @Sendable (Fixture) throws -> Void
    ) {
        self.name = name
        self.vcpus = vcpus
        self.stopsAtHalt = stopsAtHalt
        self.overwrites = overwrites
        self.needsProcessor = needsProcessor
        self.pages = pages
        self.body = body
    }

    public var description: String { name }

    /// - Throws: ``ConformanceFailure`` for what was otherwise than expected, or what the target threw.
    public func run(_ make: (_ vcpus: Int) throws -> any Target) throws {
        try body(Fixture(try make(vcpus)))
    }

    public static let all: [ConformanceCase] =
        stepping + stepKinds + stepModes + stepOrders + breaking + patching + patchedSpaces + conditions
        + watching + halting
        + editing + running + catching + remembering
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
        guard try debugger.collectStop(timeout: .seconds(20)) != nil else {
            debugger.interrupt()
            _ = try debugger.collectStop(timeout: .seconds(20))
            throw ConformanceFailure(description: "no stop came (line \(line))")
        }
    }

    func step(_ count: Int = 1) throws {
        try debugger.startStep(count: count)
        try collect()
    }

    func next() throws {
        try debugger.startNext()
        try collect()
    }

    func go() throws {
        try debugger.startContinue()
        try collect()
    }
}
