import CLinux

/// Keeps the memory map of a launched VMM up to date where the kernel cannot be asked: by the calls of its vCPUs'
/// threads, which are the ones that a guest makes a VMM move memory in. It costs three more stops at each exit.
///
/// Used by the tracer's thread alone.
final class CallWatch {
    private(set) var machine: LaunchedMachine
    /// Calls that are under way, by thread.
    private var pending: [Int32: LaunchFollower.Call] = [:]

    init(_ machine: LaunchedMachine) { self.machine = machine }

    func entered(_ thread: Int32, _ info: clinux_syscall_info) {
        let process = machine.process
        pending[thread] = LaunchFollower.Call(number: info.number, arguments: info.arguments) {
            address, count in
            LaunchFollower.bytes(process, address, count)
        }
    }

    func left(_ thread: Int32, _ info: clinux_syscall_info) {
        guard let call = pending.removeValue(forKey: thread), info.op == 2, info.result >= 0,
            case .setRegion(machine.descriptor, let region) = call
        else { return }
        machine.set(region)
    }
}
