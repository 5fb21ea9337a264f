import RecordedHosts
import Testing

@testable import Monitor

/// Raw records of tracepoints, put together by a kernel's format.
struct Records {
    let kernel: KernelFormats
    let events: KVMEvents
    let reader: RecordReader

    init(_ kernel: KernelFormats) {
        self.kernel = kernel
        events = KVMEvents { kernel.text($0) }
        reader = RecordReader(events)
    }

    /// A record with these fields; all others are 0.
    func bytes(_ event: String, _ values: [String: Int64] = [:]) throws -> [UInt8] {
        let format = try TracepointFormat(#require(kernel.text(event)))
        let length = format.fields.map { $0.offset + $0.size }.max() ?? 8
        var bytes = [UInt8](repeating: 0, count: length)
        for (name, value) in values.merging(
            ["common_type": Int64(format.id)], uniquingKeysWith: { first, _ in first })
        {
            let field = try #require(format.field(name), "\(event) of \(kernel.rawValue) has no \(name)")
            for place in 0..<field.size {
                bytes[field.offset + place] = UInt8(truncatingIfNeeded: value >> Int64(place * 8))
            }
        }
        return bytes
    }

    func event(
        _ event: String, _ values: [String: Int64] = [:], at time: UInt64 = 0, thread: Int32 = 7
    ) throws -> ExitEvent {
        try #require(reader.event(try bytes(event, values), time: time, thread: thread))
    }
}
