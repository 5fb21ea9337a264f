import Monitor

/// What the monitor reads of the kernel's and of its own.
enum Watching {
    static func tracepoint(_ bytes: [UInt8]) {
        let end = bytes.firstIndex(of: 0) ?? bytes.endIndex
        let text = String(decoding: bytes[..<end], as: UTF8.self)
        let record = bytes[end...].dropFirst()
        for list in SymbolicList.lists(in: text) { precondition(list.names.count <= bytes.count) }
        let events = KVMEvents { _ in text }
        precondition(events.layouts.count + events.problems.count == EventRule.all.count)
        _ = events.names.hardwareExit(isa: 1, reason: UInt32(truncatingIfNeeded: bytes.count))
        _ = RecordReader(events).event(record, time: 0, thread: 1)
        guard let format = try? TracepointFormat(text) else { return }
        for field in format.fields {
            guard let value = Array(record).withUnsafeBytes({ field.value(in: $0) }) else { continue }
            precondition(
                field.offset + field.size <= record.count
                    && (field.size == 8 || field.isSigned || value >> UInt64(field.size * 8) == 0))
        }
    }

    static func tracepage(_ bytes: [UInt8]) {
        let end = bytes.firstIndex(of: 0) ?? bytes.endIndex
        let text = String(decoding: bytes[..<end], as: UTF8.self)
        _ = TraceStatistics(text)
        let layout = (try? TracePage.Layout(text)) ?? TracePage.Layout()
        let page = Array(bytes[end...].dropFirst())
        page.withUnsafeBytes { page in
            guard let read = TracePage(page, layout) else { return }
            var (count, length) = (0, 0)
            _ = read.events { _, record in
                count += 1
                length += record.count
                guard let start = page.baseAddress, let own = record.baseAddress else { return }
                precondition(own >= start && own + record.count <= start + page.count)
            }
            // Each has a header of four bytes.
            precondition(count * 4 + length <= page.count)
        }
    }

    static func sample(_ bytes: [UInt8]) {
        let frame = MonitorSample(number: 0, start: 0, end: 1_000_000_000, wallTime: 0, guests: [], cells: [])
        guard let sample = SampleCoding.decode(bytes, into: frame) else { return }
        precondition(sample.cells.count <= bytes.count)
        // What was read is what would be written, and its tables can be made.
        guard let again = SampleCoding.decode(SampleCoding.encode(sample), into: frame) else {
            fatalError("what was encoded is not decoded")
        }
        precondition(again.cells.map(\.key) == sample.cells.map(\.key))
        let report = HostReport(
            sample, names: ExitNames(exit: nil, userspaceExit: nil), badge: SourceBadge(.recording))
        _ = report.reasons(Selection())
        _ = report.details(Selection())
        _ = report.times(Selection()).quantile(0.99)
        precise(bytes, sample)
    }

    /// The same bytes as the precise times of that sample.
    private static func precise(_ bytes: [UInt8], _ sample: MonitorSample) {
        guard let times = SampleCoding.decodePrecise(bytes, of: sample) else { return }
        precondition(times.count <= sample.cells.count)
        var whole = sample
        whole.preciseTimes = times
        precondition(SampleCoding.decodePrecise(SampleCoding.encodePrecise(whole), of: whole) == times)
        _ = HostReport(
            whole, names: ExitNames(exit: nil, userspaceExit: nil), badge: SourceBadge(.recording)
        ).reasons(Selection())
    }

    static func recording(_ bytes: [UInt8]) {
        guard let kind = bytes.first, (1...5).contains(kind) else { return file(bytes) }
        guard let item = RecordingReader.item(kind: kind, Array(bytes.dropFirst())) else { return }
        // What was read is what would be written, and a whole recording of it can be shown.
        var written: [UInt8] = []
        let start =
            if case .start(let start) = item { start } else {
                Recording.Start(wallTime: 0, time: 0, kernel: "", formats: [:], missing: [])
            }
        do {
            var writer = try RecordingWriter(start, sink: { written += $0 })
            switch item {
            case .start: break
            case .guests(let time, let guests, let owners):
                try writer.guests(guests, owners: owners, at: time)
            case .lost(let time, let count): try writer.lost(count, at: time)
            case .end(let time): try writer.end(at: time)
            case .events(let events):
                for event in events { try writer.add(event) }
                try writer.flush()
                precondition(events.count <= bytes.count)
            }
        } catch {
            fatalError("\(error)")
        }
        var at = 0
        guard
            var reader = try? RecordingReader(source: { count in
                defer { at = min(at + count, written.count) }
                return Array(written[at..<min(at + count, written.count)])
            })
        else { fatalError("what was written is not read") }
        if case .events(let events) = item, !events.isEmpty {
            guard case .events(let again) = try? reader.next(), again == events else {
                fatalError("what was encoded is not decoded")
            }
        }
        file(written)
    }

    private static func file(_ bytes: [UInt8]) {
        func reader() -> RecordingReader? {
            var at = 0
            return try? RecordingReader(source: { count in
                defer { at = min(at + count, bytes.count) }
                return Array(bytes[at..<min(at + count, bytes.count)])
            })
        }
        guard let first = reader(), let second = reader() else { return }
        guard let run = try? RecordedRun(first) else { fatalError("reading cannot fail here") }
        let report = HostReport(run.sample, names: run.names, badge: run.badge)
        for guest in report.guests {
            _ = report.reasons(Selection(process: guest.process))
            _ = report.details(Selection(process: guest.process))
            _ = report.vcpus(of: guest.process)
        }
        _ = report.missing
        var size = 0
        guard let ending = try? PerfettoTrace.write(second, sink: { size += $0.count }) else {
            fatalError("writing cannot fail here")
        }
        precondition(ending == run.ending && size > 0)
    }
}
