import CBench
import Interface
import KVMCore
import X86

/// `VCPU` alone: a step with the registers and special registers in hand, as values.
func vcpuStepFigure(count: Int, rounds: Int) throws -> Figure {
    let machine = try KVM.open().createVM()
    let memory = try GuestMemory(size: 1 << 20)
    try memory.write(0x7C00, guestCode(CBENCH_STEP))
    try machine.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
    let vcpu = try machine.createVCPU(id: 0)
    var special = try vcpu.specialRegisters()
    special.cs = .real(0, code: true)
    try vcpu.setSpecialRegisters(special)
    var registers = GeneralRegisters()
    registers.rip = 0x7C00
    try vcpu.setRegisters(registers)
    try vcpu.setGuestDebug(GuestDebug(control: [.enable, .singleStep]))

    return try compare(
        "VCPU step, registers and sregs in hand", atLeast: 0.95, guest: CBENCH_STEP, count: count,
        rounds: rounds
    ) { count in
        var sum: UInt64 = 0
        for _ in 0..<count {
            guard case .debug = try vcpu.run() else {
                throw BenchFailure("a step did not end in KVM_EXIT_DEBUG")
            }
            let registers = try vcpu.registers()
            let special = try vcpu.specialRegisters()
            sum &+= registers.rip &+ special.cs.base
        }
        guard sum > 0 else { throw BenchFailure("the steps went nowhere") }
    }
}
