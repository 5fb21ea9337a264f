/// Where the members of KVM's and the kernel's structures are, in bytes, as BTF says.
package struct KVMLayout: Sendable {
    /// The BTF id of the function that stands for the task_file iterator.
    var iterator: UInt32
    var iteratorMeta: Int16
    var iteratorFile: Int16
    var iteratorDescriptor: Int16
    var metaSequence: Int16
    var filePrivate: Int16
    /// Nil where the kernel does not describe them.
    var owner: Owner?

    /// How the address space of a task and that of a VM's maker are found.
    struct Owner: Sendable {
        var iteratorTask: Int16
        var taskMM: Int16
        var kvmMM: UInt64
    }

    var kvmSlots: UInt64
    /// The number of vCPUs: `online_vcpus`.
    var kvmVCPUs: UInt64?
    var slotsTree: UInt64
    var slotsNodeIndex: UInt64
    var slotsGeneration: UInt64
    var nodeLeft: UInt64
    var nodeRight: UInt64
    /// The size of the pair of tree nodes of one set: an rb_node.
    var slotNodeSize: UInt64
    var slotNode: UInt64
    var slotFrame: UInt64
    var slotPages: UInt64
    var slotAddress: UInt64
    var slotFlags: UInt64
    var slotID: UInt64

    var vcpuVM: UInt64
    var vcpuPID: UInt64
    var vcpuGuestDebug: UInt64
    /// `arch.guest_state_protected`, where the kernel has encrypted guests.
    var vcpuProtected: UInt64?
    /// The same of a VM, before its vCPUs are protected, too: `arch.has_protected_state`, from Linux 6.9 on.
    var machineProtected: UInt64?
    /// KVM_X86_*_VM: `arch.vm_type`, from Linux 6.8 on.
    var machineType: UInt64?
    /// `arch.mp_state`, on x86.
    var vcpuMPState: UInt64?
    var pidNumbers: UInt64
    var pidNumberSize: UInt64 { 16 }

    package static let names = [
        "bpf_iter_task_file", "bpf_iter__task_file", "bpf_iter_meta", "file", "rb_node", "pid", "task_struct",
        "kvm",
        "kvm_memslots",
        "kvm_memory_slot", "kvm_vcpu",
    ]

    static func ofThisKernel() throws(HostGuestError) -> KVMLayout {
        let remedy = "it needs a kernel with CONFIG_DEBUG_INFO_BTF; without, the memory map is searched for"
        guard let bytes = ProcessFiles.bytes("/sys/kernel/btf/vmlinux", limit: 256 << 20) else {
            throw HostGuestError(
                .unsupported, "the kernel does not describe its types (/sys/kernel/btf)", remedy: remedy)
        }
        guard let kernel = BTF(bytes, wanted: names) else {
            throw HostGuestError(.unsupported, "/sys/kernel/btf/vmlinux is not understood", remedy: remedy)
        }
        // Where KVM is a module, its types are described beside the kernel's.
        let module = ProcessFiles.bytes("/sys/kernel/btf/kvm", limit: 64 << 20).flatMap {
            BTF($0, wanted: names, base: kernel)
        }
        guard let layout = KVMLayout(kernel: kernel, kvm: module) else {
            throw HostGuestError(
                .unsupported, "this kernel's KVM keeps its memory slots otherwise than kvmscope knows",
                remedy: "the memory map is searched for instead")
        }
        return layout
    }

    /// Nil where a type or a member is missing.
    ///
    /// - Parameters:
    ///   - kernel: the types of the kernel itself.
    ///   - kvm: those of KVM, if it is a module.
    package init?(kernel: BTF, kvm module: BTF?) {
        func member(_ btf: BTF, _ type: String, _ member: String) -> UInt64? {
            btf.type(type, .structure).flatMap { btf.offset(of: member, in: $0) }.map { UInt64($0) }
        }
        func small(_ type: String, _ name: String) -> Int16? {
            member(kernel, type, name).flatMap { Int16(exactly: $0) }
        }
        let kvm = module?.type("kvm", .structure) != nil ? module ?? kernel : kernel
        guard let iterator = kernel.type("bpf_iter_task_file", .function),
            let meta = small("bpf_iter__task_file", "meta"), let file = small("bpf_iter__task_file", "file"),
            let descriptor = small("bpf_iter__task_file", "fd"), let sequence = small("bpf_iter_meta", "seq"),
            let filePrivate = small("file", "private_data"), let left = member(kernel, "rb_node", "rb_left"),
            let right = member(kernel, "rb_node", "rb_right"), let numbers = member(kernel, "pid", "numbers")
        else { return nil }
        guard let kvmSlots = member(kvm, "kvm", "memslots"),
            let tree = member(kvm, "kvm_memslots", "gfn_tree"),
            let nodeIndex = member(kvm, "kvm_memslots", "node_idx"),
            let generation = member(kvm, "kvm_memslots", "generation"),
            let node = member(kvm, "kvm_memory_slot", "gfn_node"),
            let frame = member(kvm, "kvm_memory_slot", "base_gfn"),
            let pages = member(kvm, "kvm_memory_slot", "npages"),
            let address = member(kvm, "kvm_memory_slot", "userspace_addr"),
            let flags = member(kvm, "kvm_memory_slot", "flags"),
            let id = member(kvm, "kvm_memory_slot", "id"),
            let vcpuVM = member(kvm, "kvm_vcpu", "kvm"), let vcpuPID = member(kvm, "kvm_vcpu", "pid"),
            let debug = member(kvm, "kvm_vcpu", "guest_debug")
        else { return nil }
        self.iterator = iterator
        iteratorMeta = meta
        iteratorFile = file
        iteratorDescriptor = descriptor
        metaSequence = sequence
        self.filePrivate = filePrivate
        if let task = small("bpf_iter__task_file", "task"), let taskMM = small("task_struct", "mm"),
            let kvmMM = member(kvm, "kvm", "mm")
        {
            owner = Owner(iteratorTask: task, taskMM: taskMM, kvmMM: kvmMM)
        }
        self.kvmSlots = kvmSlots
        kvmVCPUs = member(kvm, "kvm", "online_vcpus")
        slotsTree = tree
        slotsNodeIndex = nodeIndex
        slotsGeneration = generation
        nodeLeft = left
        nodeRight = right
        // struct rb_node is three pointers; members of an array are as far apart as their size.
        slotNodeSize = 24
        slotNode = node
        slotFrame = frame
        slotPages = pages
        slotAddress = address
        slotFlags = flags
        slotID = id
        self.vcpuVM = vcpuVM
        self.vcpuPID = vcpuPID
        vcpuGuestDebug = debug
        vcpuProtected = kvm.type("kvm_vcpu", .structure).flatMap {
            kvm.offset(of: ["arch", "guest_state_protected"], in: $0).map { UInt64($0) }
        }
        let arch = kvm.type("kvm", .structure)
        machineProtected = arch.flatMap {
            kvm.offset(of: ["arch", "has_protected_state"], in: $0).map { UInt64($0) }
        }
        machineType = arch.flatMap { kvm.offset(of: ["arch", "vm_type"], in: $0).map { UInt64($0) } }
        vcpuMPState = kvm.type("kvm_vcpu", .structure).flatMap {
            kvm.offset(of: ["arch", "mp_state"], in: $0).map { UInt64($0) }
        }
        pidNumbers = numbers
    }
}
