/// The cells of a sample by thread and by process, with none of them copied.
struct CellIndex: Sendable {
    private let cells: [MonitorSample.Cell]
    private var threads: [Int32: Range<Int>] = [:]
    /// What belongs to no known guest is under nil.
    private var processes: [Int32?: [Range<Int>]] = [:]

    /// - Parameters:
    ///   - cells: by key, so that a thread's stand together.
    ///   - owner: the process of a thread.
    init(_ cells: [MonitorSample.Cell], owner: (Int32) -> Int32?) {
        self.cells = cells
        var start = 0
        while start < cells.count {
            let thread = cells[start].key.thread
            var end = start + 1
            while end < cells.count, cells[end].key.thread == thread { end += 1 }
            threads[thread] = start..<end
            processes[owner(thread), default: []].append(start..<end)
            start = end
        }
    }

    var all: CellList { CellList(cells: cells, ranges: [cells.indices]) }

    /// Those of no known guest where `process` is nil.
    subscript(process process: Int32?) -> CellList {
        CellList(cells: cells, ranges: processes[process] ?? [])
    }

    subscript(thread thread: Int32) -> CellList {
        CellList(cells: cells, ranges: threads[thread].map { [$0] } ?? [])
    }
}

/// Some of a sample's cells.
struct CellList: Sequence {
    fileprivate let cells: [MonitorSample.Cell]
    fileprivate let ranges: [Range<Int>]

    struct Iterator: IteratorProtocol {
        private let list: CellList
        private var range = 0
        private var place: Int

        fileprivate init(_ list: CellList) {
            self.list = list
            place = list.ranges.first?.lowerBound ?? 0
        }

        mutating func next() -> MonitorSample.Cell? {
            while range < list.ranges.count {
                if place < list.ranges[range].upperBound {
                    defer { place += 1 }
                    return list.cells[place]
                }
                range += 1
                if range < list.ranges.count { place = list.ranges[range].lowerBound }
            }
            return nil
        }
    }

    func makeIterator() -> Iterator { Iterator(self) }
}
