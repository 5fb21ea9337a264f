import DebugTarget
import Debugger
import Foundation
import KVMCore
import TargetConformance
import Testing
import X86

@testable import Attach

/// What a guest cannot go on from by itself is the VMM's to deal with, and may be its end: it is told of before the VMM
/// sees it.
@Suite("Exits that end a guest", .enabled(if: Host.runsKVM, "needs /dev/kvm"), .serialized)
struct FatalExitLiveTests {
    /// At 0x7C00: spins until BX is not 0, and then shuts down: an exception in protected mode with no IDT.
    private static let mortal: [UInt8] = [
        0x85, 0xDB,  //                                spin: test bx, bx
        0x74, 0xFC,  //                                      jz spin
        0x31, 0xC0,  //                                      xor ax, ax
        0x8E, 0xD8,  //                                      mov ds, ax
        0x0F, 0x01, 0x1E, 0x37, 0x7C,  //                    lidt [idtr]
        0x0F, 0x01, 0x16, 0x31, 0x7C,  //                    lgdt [gdtr]
        0x0F, 0x20, 0xC0,  //                                mov eax, cr0
        0x0C, 0x01,  //                                      or al, 1
        0x0F, 0x22, 0xC0,  //                                mov cr0, eax
        0xEA, 0x1F, 0x7C, 0x08, 0x00,  //                    jmp 0x08:protected
        0x0F, 0x0B,  //                           protected: ud2
        0, 0, 0, 0, 0, 0, 0, 0,  //                     gdt: dq 0
        0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0,  //              32-bit code, base 0, limit 4 GiB
        0x0F, 0x00, 0x21, 0x7C, 0x00, 0x00,  //        gdtr: dw 15; dd gdt
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  //        idtr: dw 0; dd 0
    ]

    private func caught(_ tiny: TinyGuest) throws -> (AttachedTarget, Debugger) {
        let (target, debugger) = try tiny.stopped()
        try debugger.setCatchpoint(.tripleFault)
        try debugger.setRegister("bx", to: 1)
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(stop.reason == .tripleFault)
        #expect(stop.caught.map(\.what) == [.tripleFault])
        #expect(stop.vcpus[0].activity == .dead)
        // It stands before the VMM has seen that, as it was then; SVM's KVM has reset the vCPU by then.
        #expect(try tiny.vcpu().other == 0 && tiny.process.isRunning)
        if try debugger.blackBox(limit: 1).fault?.origin == .lost {
            #expect(stop.vcpus[0].registers.rip == 0xFFF0 && stop.vcpus[0].special.cs.base == 0xFFFF_0000)
        } else {
            #expect(stop.vcpus[0].registers.rbx == 1)
            #expect(stop.vcpus[0].special.idt.limit == 0 && stop.vcpus[0].pc == 0x7C1F)
        }
        return (target, debugger)
    }

    @Test("a triple fault that ends the VMM is told of first, and then the end")
    func ends() throws {
        let tiny = try TinyGuest(image: Self.mortal, "mortal")
        let (_, debugger) = try caught(tiny)
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        guard case .ended(let what) = stop.reason else { throw Failure("\(stop.reason)") }
        #expect(what.contains("has ended"))
        tiny.process.waitUntilExit()
        #expect(tiny.process.terminationStatus == 0)
    }

    @Test(
        "one that the VMM lives on after is told to it when the guest is resumed", arguments: [false, true])
    func livesOn(detaches: Bool) throws {
        let tiny = try TinyGuest(image: Self.mortal)
        let (target, debugger) = try caught(tiny)
        if detaches { try debugger.detach() } else { try debugger.startContinue() }
        let end = ContinuousClock.now + .paced(10)
        while try tiny.vcpu().other == 0, ContinuousClock.now < end { usleep(1000) }
        let log = try tiny.vcpu()
        #expect(log.other >= 1 && log.otherReason == 8 && log.debug == 0 && log.interrupted == 0)
        #expect(try tiny.isTraced(0) == !detaches)
        _ = target
    }

    @Test("one that is mended by an edit is never seen by the VMM", arguments: [false, true])
    func mended(detaches: Bool) throws {
        let tiny = try TinyGuest(image: Self.mortal, "mortal")
        let (target, debugger) = try caught(tiny)
        if try debugger.blackBox(limit: 1).fault?.origin == .lost {
            try Test.cancel("needs a host whose KVM keeps the vCPU as it is at a shutdown")
        }
        // `jmp protected`
        try debugger.writeMemory(.physical(0x7C1F), [0xEB, 0xFE])
        try debugger.setRegister("eip", to: 0x7C1F)
        #expect(try debugger.step().reason == .step(count: 1))
        if detaches { try debugger.detach() } else { try debugger.startContinue() }
        usleep(20_000)
        #expect(tiny.process.isRunning)
        let log = try tiny.vcpu()
        #expect(log.other == 0 && log.debug == 0 && log.interrupted == 0)
        guard !detaches else { return #expect(try !tiny.isTraced(0)) }
        debugger.interrupt()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(stop.vcpus[0].pc == 0x7C1F)
        _ = target
    }

    /// At 0x7C00: as above without the wait, and ends by a jump to where no memory is: the host's KVM cannot emulate that.
    static func dying(_ end: [UInt8]) -> [UInt8] {
        // nop; nop; nop; nop in place of the wait, `jmp end` in place of UD2.
        [0x90, 0x90, 0x90, 0x90] + mortal[4..<0x1F] + [0xEB, UInt8(mortal.count - 0x21)] + mortal[0x21...]
            + end
    }
    /// jmp 0x08:0x40000000
    static let lost: [UInt8] = [0xEA, 0x00, 0x00, 0x00, 0x40, 0x08, 0x00]
    /// ud2
    private static let shutDown: [UInt8] = [0x0F, 0x0B]

    static func awaitFreeze(_ tiny: TinyGuest) throws {
        let end = ContinuousClock.now + .paced(20)
        while try tiny.vcpu().other == 0 {
            guard ContinuousClock.now < end else { throw Failure("it does not come to its end") }
            usleep(1000)
        }
    }

    @Test(
        "a guest that its VMM keeps from running since such an exit is found so: the exit is the stop, a step says it",
        arguments: [
            (lost, "internal error", UInt64(17)), (shutDown, "triple fault", 8),
            (shutDown, "refused to enter the guest", 9),
        ])
    func found(end: [UInt8], words: String, reason: UInt64) throws {
        // KVM_EXIT_FAIL_ENTRY comes of a host's fault, which no guest can bring about: the VMM puts it there.
        let tiny = try TinyGuest(image: Self.dying(end), "freeze", reason == 9 ? "refused" : "-")
        try Self.awaitFreeze(tiny)
        #expect(try tiny.vcpu().otherReason == reason)
        let target = try tiny.attach()
        let debugger = try Debugger(target: target)
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        expect(stop.reason, isOf: reason)
        #expect(stop.vcpus[0].activity == .dead)
        let withheld = try debugger.step().reason
        guard case .withheld(let withholding) = withheld else { throw Failure("\(withheld)") }
        #expect(
            withholding.reason.contains(words) && withholding.reason.contains("waits in"), "\(withholding)")
        // It was told of, and is not again.
        try debugger.startContinue()
        #expect(try debugger.collectStop(timeout: .milliseconds(700)) == nil)
        #expect(target.withholding(vcpu: 0)?.reason.contains(words) == true)
        try debugger.detach()
        #expect(try tiny.vcpu().returns == 1 && !tiny.isTraced(0))
    }

    private func expect(_ reason: StopReason, isOf exit: UInt64) {
        switch reason {
        case .tripleFault: #expect(exit == 8)
        case .internalError(let error): #expect(exit == 17 && error.suberror == 1)
        case .failEntry(let hardwareReason, let cpu):
            #expect(exit == 9 && hardwareReason == 0x8000_0021 && cpu == 1)
        default: Issue.record("\(reason)")
        }
    }

    @Test("an instruction that the host's KVM cannot execute is named, as the guest's own is")
    func lackedInstruction() throws {
        let image: [UInt8] = [
            0x85, 0xDB,  //              spin: test bx, bx
            0x74, 0xFC,  //                    jz spin
            0xDF, 0x06, 0x00, 0x05,  //        fild word [0x500]
            0xE6, 0x77,  //                    out 0x77, al: the host executes it
            0xEB, 0xFE,  //                    jmp $
        ]
        let tiny = try TinyGuest(image: image, "freeze")
        let (_, debugger) = try tiny.stopped()
        try debugger.setRegister("bx", to: 1)
        try debugger.startContinue()
        var taken: Stop?
        let end = ContinuousClock.now + .paced(20)
        while taken == nil, try tiny.vcpu().io == 0, ContinuousClock.now < end {
            taken = try debugger.collectStop(timeout: .milliseconds(20))
        }
        guard let stop = taken else {
            #expect(try tiny.vcpu().io > 0, "nothing came of it")
            try debugger.detach()
            try Test.cancel("this host executes FILD in real mode")
        }
        guard case .internalError(let error) = stop.reason else { throw Failure("\(stop.reason)") }
        let cause = try #require(debugger.cause(of: error, vcpu: 0))
        #expect(cause.kind == .notEmulated)
        #expect(cause.code?.text.contains("fild") == true, "\(cause)")
        #expect(stop.vcpus[0].pc == 0x7C04)
        try debugger.detach()
    }

    @Test("one that comes to it while attached to stops there, armed or not", arguments: [false, true])
    func comes(isArmed: Bool) throws {
        let tiny = try TinyGuest(image: Self.mortal, "freeze")
        let (_, debugger) = try tiny.stopped()
        if isArmed { try debugger.setBreakpoint(at: .linear(0x9000)) }
        try debugger.setRegister("bx", to: 1)
        try debugger.startContinue()
        let stop = try #require(try debugger.collectStop(timeout: .paced(10)))
        #expect(stop.reason == .tripleFault)
        #expect(try tiny.vcpu().other == 1)
        try debugger.detach()
        #expect(try tiny.vcpu().debug == 0 && tiny.vcpu().interrupted == 0)
    }
}
