/// Messages of Protocol Buffers in their wire format. Source: protobuf.dev, "Encoding".
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    private mutating func put(varint value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    /// Wire type 0: whole numbers, enumerations; those below zero have ten bytes.
    mutating func put(_ field: UInt64, _ value: UInt64) {
        put(varint: field << 3)
        put(varint: value)
    }

    mutating func put(_ field: UInt64, _ value: Int32) {
        put(field, UInt64(bitPattern: Int64(value)))
    }

    /// Wire type 2: a string.
    mutating func put(_ field: UInt64, _ text: String) {
        put(varint: field << 3 | 2)
        put(varint: UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    /// Wire type 2: a message.
    mutating func put(_ field: UInt64, _ body: (inout ProtobufWriter) -> Void) {
        var message = ProtobufWriter()
        body(&message)
        put(varint: field << 3 | 2)
        put(varint: UInt64(message.bytes.count))
        bytes.append(contentsOf: message.bytes)
    }
}
