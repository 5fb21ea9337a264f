import Glibc

/// Which thread runs which vCPU, by what /proc and debugfs say.
struct VCPUThreads {
    private let files: ProcessFiles
    private let vms: [Int32]

    init(_ files: ProcessFiles, vms: [Int32]) {
        self.files = files
        self.vms = vms
    }

    /// Finds the threads that are still missing.
    ///
    /// - Returns: if there are still some, the threads that were on a processor at every look: what they are in is not
    ///   to be seen until they are stopped.
    func fill(_ vcpus: inout [HostVCPU]) -> [Int32] {
        func missing() -> Bool { vcpus.contains { $0.thread == nil && !$0.isUntouched } }
        guard missing() else { return [] }
        let threads = files.ownThreads
        fillFromDebugFS(&vcpus, threads)
        guard missing() else { return [] }
        // A thread on a processor shows no system call: look a few times.
        var busy = Set(threads)
        for attempt in 0..<20 where missing() {
            if attempt > 0 { usleep(500) }
            for thread in threads {
                let call = files.text("task/\(thread)/syscall").flatMap(ThreadSyscall.init)
                if call != .running { busy.remove(thread) }
                guard let descriptor = call?.runDescriptor,
                    let index = vcpus.firstIndex(where: { $0.descriptor == descriptor && $0.thread == nil })
                else { continue }
                vcpus[index].thread = thread
                vcpus[index].threadSource = .systemCall
            }
        }
        guard missing() else { return [] }
        for thread in threads {
            guard
                let id = files.text("task/\(thread)/comm").flatMap({
                    HostVCPU.id(fromThreadName: String($0.prefix { $0 != "\n" }))
                }),
                let index = vcpus.firstIndex(where: { $0.id == id && $0.thread == nil && !$0.isUntouched })
            else { continue }
            vcpus[index].thread = thread
            vcpus[index].threadSource = .name
        }
        return missing() ? busy.sorted() : []
    }

    /// debugfs names a VM by the *thread* that made it and its descriptor.
    private func fillFromDebugFS(_ vcpus: inout [HostVCPU], _ threads: [Int32]) {
        for vm in vms {
            for creator in threads {
                let folder = "/sys/kernel/debug/kvm/\(creator)-\(vm)"
                for index in vcpus.indices where vcpus[index].thread == nil {
                    guard
                        let text = ProcessFiles.bytes("\(folder)/vcpu\(vcpus[index].id)/pid"),
                        let thread = Int32(String(decoding: text, as: UTF8.self).prefix { $0.isNumber }),
                        threads.contains(thread)
                    else { continue }
                    vcpus[index].thread = thread
                    vcpus[index].threadSource = .debugfs
                }
            }
        }
    }
}
