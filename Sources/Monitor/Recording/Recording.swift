/// A recording of the host's exits, as it stands in a file.
///
/// The file begins with ``magic`` and, in two bytes, the version. Frames follow: a byte for what it is (``Kind``), four bytes
/// for how many bytes of content there are, four for the CRC-32 of these five and of the content, and the content; numbers
/// of fixed width have their lowest byte first, all others are ``ByteWriter``'s. A frame is written in one go: where the
/// recorder is killed, what was written before is whole. Frames of kinds that a reader does not know are passed over; a
/// version that it does not know is refused.
package enum Recording {
    static let magic = Array("KVMSREC\n".utf8)
    static let version: UInt16 = 1
    static let frameHead = 9
    /// No frame is longer: one that says so is damaged.
    static let longestFrame = 4 << 20

    enum Kind: UInt8 {
        /// The host when it began: ``Start``.
        case start = 1
        /// The guests that there are from here on: ``RecordedGuests``.
        case guests = 2
        /// Events in the order of time: ``EventCoding``.
        case events = 3
        /// How many events were lost, and when.
        case lost = 4
        /// The recorder ended as it should.
        case end = 5
    }

    /// What is known when it begins.
    package struct Start: Sendable, Hashable {
        /// Seconds since 1970.
        package var wallTime: Double
        /// Of the same moment, on the events' clock.
        package var time: UInt64
        /// The kernel's release.
        package var kernel: String
        /// The `format` files of the events that name exits, by event.
        package var formats: [String: String]
        /// What could not be recorded and why, a line each.
        package var missing: [String]

        package init(
            wallTime: Double, time: UInt64, kernel: String, formats: [String: String], missing: [String]
        ) {
            self.wallTime = wallTime
            self.time = time
            self.kernel = kernel
            self.formats = formats
            self.missing = missing
        }
    }

    /// What a frame says.
    package enum Item: Sendable {
        case start(Start)
        /// With the processes of threads that are no vCPUs' and have counted all the same.
        case guests(time: UInt64, [MonitoredGuest], owners: [Int32: Int32])
        case events([ExitEvent])
        case lost(time: UInt64, UInt64)
        case end(time: UInt64)
    }

    /// Texts in a recording are no longer than this.
    static let longestText = 1 << 16
}

extension ByteWriter {
    mutating func put(_ text: String) {
        let bytes = Array(text.utf8.prefix(Recording.longestText))
        put(bytes.count)
        put(bytes: bytes)
    }

    mutating func put(_ start: Recording.Start) {
        put(start.wallTime.bitPattern)
        put(start.time)
        put(start.kernel)
        put(start.formats.count)
        for (event, text) in start.formats.sorted(by: { $0.key < $1.key }) {
            put(event)
            put(text)
        }
        put(start.missing.count)
        for line in start.missing { put(line) }
    }

    mutating func put(_ guests: [MonitoredGuest], _ owners: [Int32: Int32], at time: UInt64) {
        put(time)
        put(guests.count)
        for guest in guests {
            put(signed: Int64(guest.process))
            put(guest.name)
            put(guest.vmm)
            put(guest.ram.map { $0 &+ 1 } ?? 0)
            put(guest.vcpus.count)
            for vcpu in guest.vcpus {
                put(vcpu.id)
                put(signed: Int64(vcpu.thread ?? -1))
            }
        }
        put(owners.count)
        for (thread, process) in owners.sorted(by: { $0.key < $1.key }) {
            put(signed: Int64(thread))
            put(signed: Int64(process))
        }
    }
}

extension ByteReader {
    mutating func text() -> String? {
        guard let count = count(atLeast: 1), count <= Recording.longestText, let bytes = bytes(count) else {
            return nil
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    mutating func start() -> Recording.Start? {
        guard let wall = next(), let time = next(), let kernel = text(), let formats = count(atLeast: 2)
        else {
            return nil
        }
        let seconds = Double(bitPattern: wall)
        var start = Recording.Start(
            wallTime: seconds.isFinite ? seconds : 0, time: time, kernel: kernel, formats: [:], missing: [])
        for _ in 0..<formats {
            guard let event = text(), let format = text() else { return nil }
            start.formats[event] = format
        }
        guard let lines = count(atLeast: 1) else { return nil }
        for _ in 0..<lines {
            guard let line = text() else { return nil }
            start.missing.append(line)
        }
        return isAtEnd ? start : nil
    }

    mutating func guests() -> Recording.Item? {
        guard let time = next(), let count = count(atLeast: 5) else { return nil }
        var guests: [MonitoredGuest] = []
        for _ in 0..<count {
            guard let process = signed().flatMap(Int32.init(exactly:)), let name = text(), let vmm = text(),
                let ram = next(), let vcpus = self.count(atLeast: 2)
            else { return nil }
            var guest = MonitoredGuest(
                process: process, name: name, vmm: vmm, vcpus: [], ram: ram == 0 ? nil : ram - 1)
            for _ in 0..<vcpus {
                guard let id = next().flatMap({ Int(exactly: $0) }),
                    let thread = signed().flatMap(Int32.init(exactly:))
                else { return nil }
                guest.vcpus.append(MonitoredGuest.VCPU(id: id, thread: thread < 0 ? nil : thread))
            }
            guests.append(guest)
        }
        guard let others = self.count(atLeast: 2) else { return nil }
        var owners: [Int32: Int32] = [:]
        for _ in 0..<others {
            guard let thread = signed().flatMap(Int32.init(exactly:)),
                let process = signed().flatMap(Int32.init(exactly:))
            else { return nil }
            owners[thread] = process
        }
        return isAtEnd ? .guests(time: time, guests, owners: owners) : nil
    }
}
