import KVMCore
import X86

/// One facility, tried in one context.
struct ProbeAttempt {
    var facility: DebugFacility
    var context: CodeContext

    /// Code, the guest debug it runs under, and how it must end.
    private struct Trial {
        var code: [UInt8]
        var debug = GuestDebug.off
        var isExpected: (_ exit: VCPUExit, _ rip: UInt64) -> Bool
    }

    /// All, in the order in which they are tried.
    static let all = CodeContext.allCases.flatMap { context in
        DebugFacility.allCases.map { ProbeAttempt(facility: $0, context: context) }
    }

    /// - Parameters:
    ///   - vcpu: as ``ProbeGuest/makeVCPU()`` made it, or as an attempt that did not spoil it has left it.
    ///   - reset: its special registers when it was made.
    ///   - isLate: KVM_RUN was asked to come back because it took too long.
    /// - Returns: what was found, and whether the vCPU can be used again.
    func run(
        _ guest: borrowing ProbeGuest, _ vcpu: VCPU, reset: SpecialRegisters, isLate: () -> Bool
    ) -> (finding: DebugFacilities.Finding, isSpoilt: Bool) {
        guard facility != .msrFilter || guest.canFilterMSRs && !context.isUser else {
            return (.untried, false)
        }
        for trial in trials {
            do throws(KVMError) {
                try guest.prepare(vcpu, trial.code, context, reset: reset)
                try vcpu.setGuestDebug(trial.debug)
                var exit = try enter(vcpu, isLate)
                // Some processors report a step right after they were left within an instruction, as for a page that is
                // not there yet: with nothing done.
                for _ in 0..<8 {
                    guard exit?.isStep ?? false, try vcpu.registers().rip == ProbeGuest.entry else { break }
                    exit = try enter(vcpu, isLate)
                }
                guard let exit else { return (.fails(.timeout), true) }
                if case .writeMSR = exit { try vcpu.acceptMSR() }
                let isFinal = try complete(vcpu)
                let rip = try vcpu.registers().rip
                guard trial.isExpected(exit, rip) else {
                    return (.fails(failure(exit, rip)), !isFinal || Self.spoils(exit))
                }
                if !isFinal { return (.works, true) }
            } catch {
                return (.fails(.refused(error)), true)
            }
        }
        return (.works, false)
    }

    /// KVM_RUN to its next exit; nil where it took too long.
    private func enter(_ vcpu: VCPU, _ isLate: () -> Bool) throws(KVMError) -> VCPUExit? {
        while true {
            let exit = try vcpu.run()
            guard case .interrupted = exit else { return exit }
            if isLate() { return nil }
        }
    }

    /// Has KVM finish what the exit began, so that it is not done to the next attempt.
    private func complete(_ vcpu: VCPU) throws(KVMError) -> Bool {
        for _ in 0..<4 where vcpu.isIOPending { _ = try vcpu.completeIO() }
        return !vcpu.isIOPending
    }

    private static func spoils(_ exit: VCPUExit) -> Bool {
        switch exit {
        case .debug, .hlt, .io, .mmio, .writeMSR: false
        default: true
        }
    }

    private func failure(_ exit: VCPUExit, _ rip: UInt64) -> DebugFacilities.Failure {
        guard case .hlt = exit else { return .exit(exit.reason) }
        guard let vector = ProbeGuest.vector(endingAt: rip) else { return .ranOn }
        // HLT, which ends the code, is not for CPL 3.
        let isEnd = context.isUser && vector == 13
        return isEnd ? .ranOn : .vector(vector)
    }

    private var trials: [Trial] {
        let entry = ProbeGuest.entry
        let step = GuestDebug(control: [.enable, .singleStep])
        switch facility {
        case .singleStep:
            // nop; nop; hlt
            return [
                Trial(code: [0x90, 0x90, 0xF4], debug: step) { exit, rip in
                    exit.isDebug && rip == entry + 1
                }
            ]
        case .handlerStep:
            // ud2
            return [
                Trial(code: [0x0F, 0x0B], debug: step) { exit, rip in
                    let handler = ProbeGuest.handler(6)
                    if exit.isDebug { return rip == handler || rip == handler + 1 }
                    // KVM cannot deliver an exception here, and says so before anything has run.
                    if case .internalError = exit { return rip == entry }
                    return false
                }
            ]
        case .executionBreakpoint:
            // nop; nop; hlt, with DR0 at the second one
            return [
                Trial(code: [0x90, 0x90, 0xF4], debug: Self.register(entry + 1, type: 0)) { exit, rip in
                    exit.matches && rip == entry + 1
                }
            ]
        case .dataBreakpoint:
            return [(true, UInt64(1)), (false, 3)].map { isWrite, type in
                let access = access(ProbeGuest.data, isWrite: isWrite)
                return Trial(
                    code: access + [0x90, 0xF4], debug: Self.register(ProbeGuest.data, type: type)
                ) { exit, rip in
                    exit.matches && rip == entry + UInt64(access.count)
                }
            }
        case .int3:
            // int3; hlt
            return [
                Trial(code: [0xCC, 0xF4], debug: GuestDebug(control: [.enable, .softwareBreakpoints])) {
                    exit, rip in exit.isDebug && rip == entry
                }
            ]
        case .portPatch:
            // out 0xE6, al; hlt
            return [
                Trial(code: [0xE6, 0xE6, 0xF4]) { exit, _ in
                    guard case .io(let io) = exit else { return false }
                    return io.direction == .out && io.port == 0xE6
                }
            ]
        case .pageProtection:
            return [
                Trial(code: access(ProbeGuest.readOnly, isWrite: true) + [0xF4]) { exit, _ in
                    guard case .mmio(let access) = exit else { return false }
                    return access.isWrite && access.gpa == ProbeGuest.readOnly && access.data.count == 1
                }
            ]
        case .msrFilter:
            // wrmsr; hlt
            return [
                Trial(code: [0x0F, 0x30, 0xF4]) { exit, _ in
                    guard case .writeMSR(let access) = exit else { return false }
                    return access.index == ProbeGuest.deniedMSR
                }
            ]
        }
    }

    /// DR0 at `address`, one byte long, global (SDM volume 3B, 17.2.4).
    ///
    /// - Parameter type: R/W of DR7: 0 execution, 1 writes, 3 reads and writes.
    private static func register(_ address: UInt64, type: UInt64) -> GuestDebug {
        GuestDebug(
            control: [.enable, .hardwareBreakpoints], addresses: SIMD4(address, 0, 0, 0),
            dr7: 0x402 | type << 16)
    }

    /// mov [address], al, or mov al, [address]
    private func access(_ address: UInt64, isWrite: Bool) -> [UInt8] {
        let low = UInt8(truncatingIfNeeded: address)
        let high = UInt8(truncatingIfNeeded: address >> 8)
        switch context {
        case .real, .virtual8086: return [isWrite ? 0xA2 : 0xA0, low, high]
        case .protectedKernel, .protectedUser, .compatibilityUser:
            return [isWrite ? 0xA2 : 0xA0, low, high, 0, 0]
        case .longKernel, .longUser: return [isWrite ? 0x88 : 0x8A, 0x04, 0x25, low, high, 0, 0]
        }
    }
}

extension VCPUExit {
    fileprivate var isDebug: Bool {
        if case .debug = self { true } else { false }
    }

    /// BS of DR6: the trap of a step, and of nothing else (SDM volume 3B, 17.2.3).
    fileprivate var isStep: Bool {
        if case .debug(let debug) = self { debug.isSingleStep && debug.matched == 0 } else { false }
    }

    /// DR0 matched.
    fileprivate var matches: Bool {
        if case .debug(let debug) = self { debug.matched & 1 != 0 } else { false }
    }
}
