import CLinux
import Glibc

/// Reads a hash of counters in the kernel: as a whole where keys may have come, else those that are known, one by one.
///
/// The kernel goes through every bucket of a hash, however few are full: some milliseconds for a table of the usual size,
/// where a key takes a microsecond.
struct CounterMapReader {
    private let map: CounterMaps.Map
    private let keySize: Int
    /// BPF_MAP_LOOKUP_BATCH is of Linux 5.6.
    private var hasBatches = true
    /// All that there are, one after another; nil before the first walk, and where there are too many to ask for each.
    private var known: [UInt8]?
    private var value: [UInt8]
    /// How often the whole was gone through.
    private(set) var walks = 0

    /// With more keys than this a walk is no dearer.
    private static let mostKnown = 512

    init(_ map: CounterMaps.Map, keySize: Int) {
        self.map = map
        self.keySize = keySize
        value = [UInt8](repeating: 0, count: map.valueSize)
    }

    typealias Body = (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void

    /// Calls `body` with each entry. Entries that come or go meanwhile may be left out.
    ///
    /// - Parameter mayHaveCome: a key may have been made since the last call.
    mutating func read(mayHaveCome: Bool, _ body: Body) throws(MonitorError) {
        if !mayHaveCome, let known {
            readKnown(known, body)
            return
        }
        known = nil
        walks += 1
        var found: [UInt8]? = []
        let limit = Self.mostKnown * keySize
        func take(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            found?.append(contentsOf: key)
            if let count = found?.count, count > limit { found = nil }
            body(key, value)
        }
        if hasBatches { hasBatches = try readBatches(take) }
        if !hasBatches { try readEach(take) }
        known = found
    }

    /// Keys were taken out of the map.
    mutating func forget(_ isGone: (_ key: UnsafeRawBufferPointer) -> Bool) {
        guard let all = known else { return }
        var left: [UInt8] = []
        all.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: keySize) {
                // SAFETY: a whole number of keys, used within this closure only.
                let key = UnsafeRawBufferPointer(rebasing: bytes[start..<start + keySize])
                if !isGone(key) { left.append(contentsOf: key) }
            }
        }
        known = left
    }

    private mutating func readKnown(_ keys: [UInt8], _ body: Body) {
        let (descriptor, size) = (map.descriptor, keySize)
        keys.withUnsafeBytes { keys in
            value.withUnsafeMutableBytes { value in
                for start in stride(from: 0, to: keys.count, by: size) {
                    // SAFETY: a whole number of keys, used within this closure only.
                    let key = UnsafeRawBufferPointer(rebasing: keys[start..<start + size])
                    guard clinux_bpf_map_lookup(descriptor, key.baseAddress, value.baseAddress) == 0 else {
                        continue
                    }
                    body(key, UnsafeRawBufferPointer(value))
                }
            }
        }
    }

    /// - Returns: false where the kernel has no batches.
    private func readBatches(_ body: Body) throws(MonitorError) -> Bool {
        // All entries of a bucket come together.
        let room = 1024
        var keys = [UInt8](repeating: 0, count: room * keySize)
        var values = [UInt8](repeating: 0, count: room * map.valueSize)
        var position: UInt32 = 0
        var isFirst = true
        while true {
            var count = UInt32(room)
            let result = clinux_bpf_map_batch(
                map.descriptor, isFirst ? 1 : 0, &position, &keys, &values, &count)
            if isFirst, result == -EINVAL || result == -ENOTSUP || result == -524 { return false }
            guard result == 0 || result == -ENOENT else { throw Self.unreadable(result) }
            isFirst = false
            keys.withUnsafeBytes { keys in
                values.withUnsafeBytes { values in
                    for index in 0..<Int(count) {
                        // SAFETY: both have room for `count`, and are used within this closure only.
                        body(
                            UnsafeRawBufferPointer(rebasing: keys[index * keySize..<(index + 1) * keySize]),
                            UnsafeRawBufferPointer(
                                rebasing: values[index * map.valueSize..<(index + 1) * map.valueSize]))
                    }
                }
            }
            if result == -ENOENT { return true }
        }
    }

    private func readEach(_ body: Body) throws(MonitorError) {
        var key = [UInt8](repeating: 0, count: keySize)
        var value = [UInt8](repeating: 0, count: map.valueSize)
        var result = clinux_bpf_map_next(map.descriptor, nil, &key)
        while result == 0 {
            let current = key
            if clinux_bpf_map_lookup(map.descriptor, current, &value) == 0 {
                current.withUnsafeBytes { key in value.withUnsafeBytes { body(key, $0) } }
            }
            result = clinux_bpf_map_next(map.descriptor, current, &key)
        }
        guard result == -ENOENT else { throw Self.unreadable(result) }
    }

    private static func unreadable(_ result: Int32) -> MonitorError {
        MonitorError("the counters in the kernel cannot be read (\(String(cString: strerror(-result))))")
    }
}
