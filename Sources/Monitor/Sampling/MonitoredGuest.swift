package import Host
package import PreciseTimes

/// A guest of this host as the monitor knows it.
package struct MonitoredGuest: Sendable, Hashable {
    package struct VCPU: Sendable, Hashable {
        package var id: Int
        /// The thread that runs it; nil where that is not known.
        package var thread: Int32?

        package init(id: Int, thread: Int32?) {
            self.id = id
            self.thread = thread
        }
    }

    package var process: Int32
    package var name: String
    /// The program that runs it.
    package var vmm: String
    /// By id.
    package var vcpus: [VCPU]
    /// In bytes.
    package var ram: UInt64?
    /// Descriptors of its VM in the VMM: with a thread they name its folder in debugfs.
    package var vmDescriptors: [Int32]

    package init(
        process: Int32, name: String, vmm: String, vcpus: [VCPU], ram: UInt64? = nil,
        vmDescriptors: [Int32] = []
    ) {
        self.process = process
        self.name = name
        self.vmm = vmm
        self.vcpus = vcpus
        self.ram = ram
        self.vmDescriptors = vmDescriptors
    }

    package var threads: [Int32] { vcpus.compactMap(\.thread) }
}

/// What is known of the host's guests and threads.
package protocol GuestDirectory: AnyObject {
    /// Every guest, by process, and how many processes could not be looked into.
    func guests() -> (guests: [MonitoredGuest], hidden: Int)
    /// What a thread has used; nil once it has ended.
    func thread(_ thread: Int32, of process: Int32) -> ThreadSample?
    /// It lists every guest of the host, not only one that was asked for.
    var isWhole: Bool { get }
    /// A cheap look: false where no VM and no vCPU has come or gone since ``guests()``.
    var mayHaveChanged: Bool { get }
}

extension GuestDirectory {
    package var isWhole: Bool { true }
    package var mayHaveChanged: Bool { true }
}

/// What one vCPU's thread did with an interval, each a share of it: 0 to 1.
package struct ThreadShare: Sendable, Hashable {
    package var guest: Double
    package var kernel: Double
    package var user: Double
    /// Ready to run while another thread had the CPU, which the guest sees as stolen; nil where the kernel does not say.
    package var ready: Double?
    /// Neither on a CPU nor ready: halted, or held by its VMM. Nil where the kernel does not say.
    package var asleep: Double?
    package var hostCPU: Int
    /// Times that it was seen on another CPU than before, since it is watched.
    package var moves: UInt64

    package init(
        guest: Double, kernel: Double, user: Double, ready: Double?, asleep: Double?, hostCPU: Int,
        moves: UInt64
    ) {
        self.guest = guest
        self.kernel = kernel
        self.user = user
        self.ready = ready
        self.asleep = asleep
        self.hostCPU = hostCPU
        self.moves = moves
    }
}

/// What was counted in one interval.
package struct MonitorSample: Sendable {
    package struct Cell: Sendable {
        package var key: CounterKey
        package var counter: Counter

        package init(key: CounterKey, counter: Counter) {
            self.key = key
            self.counter = counter
        }
    }

    /// Counts up from 0 over the monitor's life.
    package var number: Int
    /// CLOCK_MONOTONIC, in nanoseconds.
    package var start: UInt64
    package var end: UInt64
    /// Seconds since 1970, of its end.
    package var wallTime: Double
    /// Also those that ended in the interval, where something was counted of them.
    package var guests: [MonitoredGuest]
    /// The processes of threads that counted and are not known as vCPUs: one that ended before it was looked for, or that
    /// has run a vCPU for another.
    package var owners: [Int32: Int32]
    /// By key; empty ones are left out.
    package var cells: [Cell]
    /// By thread.
    package var shares: [Int32: ThreadShare]
    /// By thread, the code of the last ``CounterKind/userspaceExit``.
    package var lastExits: [Int32: UInt64]
    package var losses: Losses
    /// Processes that this user may not look into.
    package var hiddenProcesses: Int
    /// Every guest of the host is looked for: exits of no guest here are news.
    package var isWhole = true
    /// Of those cells whose times are kept with two digits.
    package var preciseTimes: [CounterKey: TimeBins] = [:]

    package init(
        number: Int, start: UInt64, end: UInt64, wallTime: Double, guests: [MonitoredGuest], cells: [Cell],
        shares: [Int32: ThreadShare] = [:], lastExits: [Int32: UInt64] = [:], losses: Losses = Losses(),
        hiddenProcesses: Int = 0, owners: [Int32: Int32] = [:]
    ) {
        self.owners = owners
        self.number = number
        self.start = start
        self.end = end
        self.wallTime = wallTime
        self.guests = guests
        self.cells = cells
        self.shares = shares
        self.lastExits = lastExits
        self.losses = losses
        self.hiddenProcesses = hiddenProcesses
    }

    package var seconds: Double { end > start ? Double(end - start) / 1e9 : 0 }
}
