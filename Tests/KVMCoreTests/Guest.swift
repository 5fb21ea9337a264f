import Glibc
import KVMCore
import X86

/// Whether live tests run. Under CI=true they always do: no /dev/kvm there is a failure.
let liveTestsRun = KVM.isAvailable || getenv("CI").map { String(cString: $0) } == "true"

/// A VM with 64 KiB of RAM at 0 and one vCPU that stands in real mode at the first byte of a program.
struct Guest: ~Copyable {
    let vm: VirtualMachine
    let memory: GuestMemory
    let vcpu: VCPU
    /// Where the program is, and CS:IP points (CS 0).
    static let start: UInt64 = 0x1000

    /// What interrupt controllers are in the kernel.
    enum Controllers {
        case none
        /// Local APICs, PICs and an IOAPIC.
        case all
        /// Local APICs alone.
        case split
    }

    init(_ program: [UInt8], irqchip: Bool = false, flags: MemoryFlags = []) throws {
        try self.init(program, controllers: irqchip ? .all : .none, flags: flags)
    }

    init(_ program: [UInt8], controllers: Controllers, flags: MemoryFlags = []) throws {
        let kvm = try KVM.open()
        let vm = try kvm.createVM()
        let memory = try GuestMemory(size: 0x10000)
        try vm.setMemoryRegion(slot: 0, gpa: 0, memory: memory, flags: flags)
        switch controllers {
        case .none: break
        case .all: try vm.createInterruptController()
        case .split: try vm.createSplitInterruptController()
        }
        let vcpu = try vm.createVCPU(id: 0)
        try vcpu.setCPUID(try kvm.supportedCPUID())
        try memory.write(Self.start, program)
        try vcpu.enterRealMode(at: Self.start)
        self.vm = vm
        self.memory = memory
        self.vcpu = vcpu
    }
}

extension VCPU {
    func enterRealMode(at ip: UInt64) throws {
        var special = try specialRegisters()
        special.cs = .real(0, code: true)
        special.ds = .real(0)
        special.es = .real(0)
        special.ss = .real(0)
        try setSpecialRegisters(special)
        var general = GeneralRegisters()
        general.rip = ip
        general.rsp = 0x8000
        try setRegisters(general)
    }
}

extension VCPUExit {
    var portIO: PortIO? { if case .io(let io) = self { io } else { nil } }
    var mmioAccess: MMIO? { if case .mmio(let mmio) = self { mmio } else { nil } }
    var debugExit: DebugExit? { if case .debug(let debug) = self { debug } else { nil } }
}
