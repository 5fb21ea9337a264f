/// One record of a tracepoint as far as it counts.
package struct ExitEvent: Sendable, Hashable {
    package enum Content: Sendable, Hashable {
        case exit(code: UInt64, instructionPointer: UInt64?)
        case entry
        case userspaceExit(code: UInt64)
        /// Not counted where `kind` is nil.
        case count(kind: CounterKind?, code: UInt64, emulation: Emulation?)
        case timed(kind: CounterKind, code: UInt64, nanoseconds: UInt64)
    }
    /// What an access says of emulation.
    package enum Emulation: Sendable, Hashable {
        case begins
        /// The access was made before: the exit to userspace was for it.
        case completed
    }

    /// In nanoseconds of one clock.
    package var time: UInt64
    package var thread: Int32
    package var content: Content

    package init(time: UInt64, thread: Int32, _ content: Content) {
        self.time = time
        self.thread = thread
        self.content = content
    }
}

/// Reads raw records of tracepoints, as perf's rings and recordings have them.
package struct RecordReader: Sendable {
    private var layouts: [Compiled] = []
    /// By the event's ID: the place of its layout and 1, or 0.
    private var places: [UInt16] = []

    /// A layout with its fields looked up.
    fileprivate struct Compiled: Sendable {
        var role: EventRule.Role
        var code: [EventLayout.Part]
        var reason: TracepointFormat.Field?
        var errno: TracepointFormat.Field?
        var time: TracepointFormat.Field?
        var instructionPointer: TracepointFormat.Field?
        var ignored: (field: TracepointFormat.Field, value: UInt64)?
        var emulation: (field: TracepointFormat.Field, completed: UInt64)?

        init(_ layout: EventLayout) {
            role = layout.rule.role
            code = layout.code
            reason = layout.named["reason"]
            errno = layout.named["errno"]
            if case .timed(_, let field) = role { time = layout.named[field] }
            instructionPointer = layout.rule.instructionPointer.flatMap { layout.named[$0] }
            ignored = layout.ignored
            if let rule = layout.rule.emulation, let field = layout.named[rule.field] {
                emulation = (field, rule.completed)
            }
        }
    }

    package init(_ events: KVMEvents) {
        // An ID has the two bytes of common_type.
        for layout in events.layouts where layout.id <= UInt64(UInt16.max) {
            let id = Int(layout.id)
            if places.count <= id { places += [UInt16](repeating: 0, count: id + 1 - places.count) }
            layouts.append(Compiled(layout))
            places[id] = UInt16(clamping: layouts.count)
        }
    }

    /// - Returns: nil for a record that is too short for its event, or of an event that is not known.
    package func event(_ record: some Collection<UInt8>, time: UInt64, thread: Int32) -> ExitEvent? {
        Array(record).withUnsafeBytes { event($0, time: time, thread: thread) }
    }

    /// - Returns: nil for a record that is too short for its event, or of an event that is not known.
    package func event(_ record: UnsafeRawBufferPointer, time: UInt64, thread: Int32) -> ExitEvent? {
        // SAFETY: common_type is the first two bytes of every record, which are there.
        guard record.count >= 2 else { return nil }
        let id = Int(record.loadUnaligned(as: UInt16.self))
        guard id < places.count, places[id] > 0,
            let content = layouts[Int(places[id]) - 1].content(of: record)
        else { return nil }
        return ExitEvent(time: time, thread: thread, content)
    }
}

extension RecordReader.Compiled {
    fileprivate func content(of record: UnsafeRawBufferPointer) -> ExitEvent.Content? {
        switch role {
        case .entry: return .entry
        case .exit:
            guard let code = code(of: record) else { return nil }
            return .exit(code: code, instructionPointer: instructionPointer?.value(in: record))
        case .userspaceExit:
            guard let errno = errno?.value(in: record), let reason = reason?.value(in: record) else {
                return nil
            }
            let isFailure = Int64(bitPattern: errno) < 0
            return .userspaceExit(
                code: isFailure ? CounterKey.failedRun | (0 &- errno) & 0xFFFF_FFFF : reason & 0xFFFF_FFFF)
        case .timed(let kind, _):
            guard let code = code(of: record), let time = time?.value(in: record) else { return nil }
            return .timed(kind: kind, code: code, nanoseconds: time)
        case .count(let kind):
            guard let code = code(of: record) else { return nil }
            let isIgnored = ignored.map { $0.field.value(in: record) == $0.value } ?? false
            var access: ExitEvent.Emulation?
            if let emulation, let value = emulation.field.value(in: record) {
                access = value == emulation.completed ? .completed : .begins
            }
            return .count(kind: isIgnored ? nil : kind, code: code, emulation: access)
        }
    }

    private func code(of record: UnsafeRawBufferPointer) -> UInt64? {
        var code: UInt64 = 0
        for part in self.code {
            guard var value = part.field.value(in: record) else { return nil }
            switch part.rule.test {
            case .isSet: value = value == 0 ? 0 : 1
            case .equals(let wanted): value = value == wanted ? 1 : 0
            case nil:
                // As wide as it is in the record: a sign would run into the other parts.
                if part.field.size < 8 { value &= 1 << UInt64(part.field.size * 8) - 1 }
            }
            code |= (value >> part.rule.shiftRight) << part.rule.shiftLeft
        }
        return code
    }
}
