/// /proc/PID/maps, as far as it matters here. Source: proc(5).
package struct AddressMap: Sendable {
    package struct Area: Sendable, Hashable {
        package var start: UInt64
        package var end: UInt64
        package var isReadable: Bool
        package var isWritable: Bool
        package var offset: UInt64
        package var name: String
        package var size: UInt64 { end - start }
    }
    package var areas: [Area]

    /// Lines that are not understood are left out.
    package init(_ text: String) {
        areas = text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard fields.count >= 5 else { return nil }
            let range = fields[0].split(separator: "-")
            guard range.count == 2, let start = UInt64(range[0], radix: 16),
                let end = UInt64(range[1], radix: 16),
                end >= start, let offset = UInt64(fields[2], radix: 16)
            else { return nil }
            return Area(
                start: start, end: end, isReadable: fields[1].contains("r"),
                isWritable: fields[1].contains("w"),
                offset: offset, name: fields.count > 5 ? String(fields[5].drop { $0 == " " }) : "")
        }
    }

    /// Where the VMM has mapped a vCPU's `kvm_run` from its beginning on: a ring of dirty pages may lie elsewhere.
    package func runArea(ofVCPU id: Int) -> Area? {
        areas.first {
            $0.offset == 0 && $0.isWritable && KVMDescriptor(link: $0.name) == .vcpu(id: id)
        }
    }
}
