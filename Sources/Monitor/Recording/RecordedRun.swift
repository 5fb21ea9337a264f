/// A whole recording as one interval: what ``HostReport`` makes tables of.
package struct RecordedRun: Sendable {
    package let sample: MonitorSample
    package let names: ExitNames
    package let badge: SourceBadge
    package let ending: RecordingReader.Ending
    package let start: Recording.Start
    package let eventCount: UInt64

    private static let maximumPrecise = 1024

    /// Reads it to its end.
    package init(_ reader: RecordingReader) throws(MonitorError) {
        var reader = reader
        var accountant = ExitAccountant(maximumPrecise: Self.maximumPrecise)
        var guests = RecordedGuests()
        let start = reader.start
        var end = start.time
        var count: UInt64 = 0
        while let item = try reader.next() {
            switch item {
            case .start: break
            case .guests(let time, let list, let owners):
                end = max(end, time)
                guests.add(list, owners)
            case .events(let events):
                for event in events { accountant.account(event) }
                count &+= UInt64(events.count)
                if let last = events.last { end = max(end, last.time) }
            case .lost(let time, let lost):
                end = max(end, time)
                accountant.lost(lost)
            case .end(let time): end = max(end, time)
            }
        }
        self.start = start
        eventCount = count
        names = ExitNames(start)
        ending = reader.ending ?? .cut(at: 0)
        badge = SourceBadge(
            .recording, missing: start.missing + ["times of threads and steal: a recording has none"])
        var sample = MonitorSample(
            number: 0, start: start.time, end: end,
            wallTime: start.wallTime + Double(end &- start.time) / 1e9, guests: guests.all,
            cells: accountant.counted.filter { !$0.counter.isEmpty }.map {
                MonitorSample.Cell(key: $0.key, counter: $0.counter)
            }.sorted { $0.key < $1.key }, lastExits: accountant.lastExits, losses: accountant.losses,
            owners: guests.owners)
        sample.preciseTimes = accountant.takePreciseTimes()
        self.sample = sample
    }
}

extension ExitNames {
    /// Of the kernel that was recorded.
    package init(_ start: Recording.Start) {
        func format(_ event: String) -> TracepointFormat? {
            start.formats[event].flatMap { try? TracepointFormat($0) }
        }
        self.init(exit: format("kvm_exit"), userspaceExit: format("kvm_userspace_exit"))
    }
}

/// The guests of a recording, those that ended among them.
struct RecordedGuests {
    private var guests: [Int32: MonitoredGuest] = [:]
    private(set) var owners: [Int32: Int32] = [:]
    /// By thread, whose vCPU it is.
    private(set) var vcpus: [Int32: (process: Int32, vcpu: Int)] = [:]

    var all: [MonitoredGuest] { guests.values.sorted { $0.process < $1.process } }

    subscript(process: Int32) -> MonitoredGuest? { guests[process] }

    mutating func add(_ list: [MonitoredGuest], _ owners: [Int32: Int32]) {
        for guest in list {
            guests[guest.process] = guest
            for vcpu in guest.vcpus {
                if let thread = vcpu.thread { vcpus[thread] = (guest.process, vcpu.id) }
            }
        }
        self.owners.merge(owners) { $1 }
    }
}
