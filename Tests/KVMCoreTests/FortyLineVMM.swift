import KVMCore

struct UnexpectedExit: Error { let exit: VCPUExit }

/// Runs a guest that writes to its serial port, and returns what it wrote.
func greetingOfAGuest() throws -> String {
    let kvm = try KVM.open()
    let vm = try kvm.createVM()
    try vm.setTSSAddress(0xFFFB_D000)  // Intel's processors need three pages for real mode.
    let program: [UInt8] = [
        0xBE, 0x00, 0x20,  // mov si, 0x2000
        0xB9, 0x06, 0x00,  // mov cx, 6
        0xBA, 0xF8, 0x03,  // mov dx, 0x3F8
        0xF3, 0x6E,  // rep outsb
        0xF4,  // hlt
    ]
    let memory = try GuestMemory(size: 0x10000)
    try memory.write(0x1000, program)
    try memory.write(0x2000, Array("hello\n".utf8))
    try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory)
    let vcpu = try vm.createVCPU(id: 0)
    try vcpu.setCPUID(try kvm.supportedCPUID())
    var special = try vcpu.specialRegisters()
    special.cs = .real(0, code: true)
    try vcpu.setSpecialRegisters(special)
    var registers = GeneralRegisters()
    registers.rip = 0x1000
    try vcpu.setRegisters(registers)
    var output: [UInt8] = []
    while true {
        switch try vcpu.run() {
        case .io(let io) where io.direction == .out && io.port == 0x3F8:
            output += io.count > 1 ? io.string : [UInt8(truncatingIfNeeded: io.data.value)]
        case .hlt: return String(decoding: output, as: UTF8.self)
        case .interrupted: continue  // A signal came: nothing happened to the guest.
        case let exit: throw UnexpectedExit(exit: exit)
        }
    }
}
