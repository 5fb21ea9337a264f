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
    }
}
