import CKVM
import SystemPackage
import Testing

@testable import KVMCore

/// Answers on made-up pages: what lands where, and what is refused.
@Suite struct AnswerTests {
    private let channel = FakeChannel()

    /// A vCPU whose last exit is the one that the fields make.
    private func vcpu(_ reason: Int32, _ fill: (UnsafeMutableRawBufferPointer) -> Void) throws -> VCPU {
        let file = ScratchFile(size: 12288)
        let vcpu = try VCPU(
            id: 0, descriptor: 1, channel: channel, localDescriptor: file.descriptor, mappingSize: 12288)
        vcpu.page.bytes.storeBytes(of: UInt32(reason), toByteOffset: 8, as: UInt32.self)
        fill(vcpu.page.bytes)
        _ = vcpu.observeExit()
        return vcpu
    }

    private func input(size: UInt8, count: UInt32, offset: UInt64 = 4096, direction: UInt8 = 0) throws -> VCPU
    {
        try vcpu(KVM_EXIT_IO) { page in
            page[32] = direction
            page[33] = size
            page.storeBytes(of: count, toByteOffset: 36, as: UInt32.self)
            page.storeBytes(of: offset, toByteOffset: 40, as: UInt64.self)
        }
    }

    @Test func oneValueFillsEveryAccess() throws {
        let vcpu = try input(size: 2, count: 3)
        try vcpu.answer(io: 0xFFFF_1234)
        #expect(Array(vcpu.page.bytes[4096..<4104]) == [0x34, 0x12, 0x34, 0x12, 0x34, 0x12, 0, 0])
    }

    @Test func bytesMustBeAsManyAsAreRead() throws {
        let vcpu = try input(size: 2, count: 2)
        try vcpu.answer(io: [1, 2, 3, 4])
        #expect(Array(vcpu.page.bytes[4096..<4101]) == [1, 2, 3, 4, 0])
        #expect(throws: KVMError.self) { try vcpu.answer(io: [1, 2, 3]) }
        #expect(throws: KVMError.self) { try vcpu.answer(io: [1, 2, 3, 4, 5]) }
    }

    @Test(arguments: [(1, 12289), (4, 12285), (1, .max)] as [(UInt8, UInt64)])
    func nothingIsWrittenOutsideTheMapping(size: UInt8, offset: UInt64) throws {
        let vcpu = try input(size: size, count: 1, offset: offset)
        #expect(throws: KVMError.self) { try vcpu.answer(io: 1) }
        #expect(throws: KVMError.self) { try vcpu.answer(io: [UInt8](repeating: 1, count: Int(size))) }
    }

    @Test func anOutIsNotAnswered() throws {
        let vcpu = try input(size: 1, count: 1, direction: 1)
        #expect(throws: KVMError.self) { try vcpu.answer(io: 1) }
    }

    @Test func memoryReadsAreAnswered() throws {
        let vcpu = try vcpu(KVM_EXIT_MMIO) { $0.storeBytes(of: 8, toByteOffset: 48, as: UInt32.self) }
        try vcpu.answer(mmio: 0x1122_3344_5566_7788)
        #expect(vcpu.page.bytes.field(40, as: UInt64.self) == 0x1122_3344_5566_7788)
        let error = #expect(throws: KVMError.self) { try vcpu.answer(io: 1) }
        #expect(error?.advice == "the last exit was MMIO")
    }

    @Test func msrsAreAnsweredOrRefused() throws {
        let read = try vcpu(KVM_EXIT_X86_RDMSR) { $0[32] = 9 }
        try read.answer(msr: 0xABCD)
        #expect(read.page.bytes.field(48, as: UInt64.self) == 0xABCD)
        #expect(read.page.bytes[32] == 0)
        try read.refuseMSR()
        #expect(read.page.bytes[32] == 1)
        #expect(throws: KVMError.self) { try read.acceptMSR() }

        let write = try vcpu(KVM_EXIT_X86_WRMSR) { $0[32] = 9 }
        try write.acceptMSR()
        #expect(write.page.bytes[32] == 0)
        try write.refuseMSR()
        #expect(write.page.bytes[32] == 1)
        #expect(throws: KVMError.self) { try write.answer(msr: 1) }
    }

    @Test func hypercallsAreAnswered() throws {
        let vcpu = try vcpu(KVM_EXIT_HYPERCALL) { _ in }
        try vcpu.answer(hypercall: 77)
        #expect(vcpu.page.bytes.field(88, as: UInt64.self) == 77)
    }

    @Test func whatAsksNothingTakesNoAnswer() throws {
        let vcpu = try vcpu(KVM_EXIT_HLT) { _ in }
        let answers: [(VCPU) throws -> Void] = [
            { try $0.answer(io: 1) }, { try $0.answer(mmio: 1) }, { try $0.answer(msr: 1) },
            { try $0.acceptMSR() }, { try $0.refuseMSR() }, { try $0.answer(hypercall: 1) },
        ]
        for answer in answers {
            let error = #expect(throws: KVMError.self) { try answer(vcpu) }
            #expect(error?.errno == .invalidArgument)
            #expect(error?.advice == "no exit waits for an answer")
        }
    }

    @Test func aRequestToStopSurvivesACompletion() throws {
        let vcpu = try input(size: 1, count: 1)
        let exit = vcpu.immediateExit
        exit.request()
        channel.answer(ckvm_run, with: [-Errno.interrupted.rawValue])
        #expect(try vcpu.completeIO() == .interrupted)
        #expect(exit.isRequested)
        #expect(vcpu.page.bytes[1] != 0)
        exit.clear()
        #expect(!exit.isRequested)
        #expect(vcpu.page.bytes[1] == 0)
    }
}
