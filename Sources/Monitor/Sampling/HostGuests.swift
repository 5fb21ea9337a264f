package import Host

/// The guests of this host, for the monitor.
package final class HostGuests: GuestDirectory {
    private let finder = GuestFinder()
    /// The only one that is looked for.
    private let process: Int32?
    private lazy var machines = try? DebugFSMachines(.debugging())
    /// Those that the last list was made with, if that can be told.
    private var listed: Set<String>?

    package init(only process: Int32? = nil) { self.process = process }

    package func guests() -> (guests: [MonitoredGuest], hidden: Int) {
        if let process { return (finder.guest(process: process).map { [MonitoredGuest($0)] } ?? [], 0) }
        // First: what comes meanwhile is seen the next time.
        listed = machines?.marks
        let list = finder.guests()
        return (list.guests.map { MonitoredGuest($0) }, list.hiddenProcesses)
    }

    package var isWhole: Bool { process == nil }

    package var mayHaveChanged: Bool {
        guard let listed, let marks = machines?.marks else { return true }
        return marks != listed
    }

    package func thread(_ thread: Int32, of process: Int32) -> ThreadSample? {
        ThreadSample(process: process, thread: thread)
    }

    /// The guest that a process id or name stands for.
    package func guest(matching text: String) throws(HostGuestError) -> MonitoredGuest {
        MonitoredGuest(try finder.guest(matching: text))
    }
}

extension MonitoredGuest {
    fileprivate init(_ guest: HostGuest) {
        self.init(
            process: guest.process, name: guest.name, vmm: guest.vmm.rawValue,
            vcpus: guest.vcpus.map { VCPU(id: $0.id, thread: $0.thread) }, ram: guest.ram,
            vmDescriptors: guest.vmDescriptors)
    }
}
