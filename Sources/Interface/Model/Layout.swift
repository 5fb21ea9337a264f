public import Commands

/// Which pane stands where, for a size and the user's wishes.
public struct Layout: Sendable, Hashable {
    /// One frame: a title row, and the content of one of the panes that share it.
    public struct Frame: Sendable, Hashable {
        /// The panes that share the place; ``front`` is shown, the others are named in its title.
        public var panes: [Pane]
        public var front: Pane
        /// Title row and content.
        public var rect: Rect
        public var content: Rect {
            Rect(x: rect.x, y: rect.y + 1, width: rect.width, height: rect.height - 1)
        }
    }

    public var size: Size
    public var frames: [Frame] = []
    /// Columns of separators: x, first row, and the row after the last.
    public var separators: [Rect] = []
    public var commandRow: Int { size.height - 2 }
    public var hintRow: Int { size.height - 1 }

    /// Below this nothing useful fits.
    public static let minimum = Size(width: 40, height: 10)

    public func frame(of pane: Pane) -> Frame? { frames.first { $0.front == pane } }
    public func frame(holding pane: Pane) -> Frame? { frames.first { $0.panes.contains(pane) } }
    public func frame(x: Int, y: Int) -> Frame? { frames.first { $0.rect.contains(x: x, y: y) } }
}

/// The user's wishes about the layout.
public struct LayoutWishes: Sendable, Hashable {
    public var preset = ScreenLayout.boot
    public var hidden: Set<Pane> = []
    /// Panes brought to the front of a frame they share, the latest last.
    public var raised: [Pane] = []
    /// Rows more or less for the frame that a pane is the first of.
    public var rows: [Pane: Int] = [:]
    /// Columns more or less for each column but the last.
    public var columns: [Int: Int] = [:]
    /// One pane alone in the body.
    public var zoomed: Pane?

    public init(_ preset: ScreenLayout = .boot) { self.preset = preset }

    public mutating func raise(_ pane: Pane) {
        raised.removeAll { $0 == pane }
        raised.append(pane)
    }
}

extension Layout {
    /// Rows that the registers' content takes.
    static let registerRows = 11
    static let systemRows = 19
    /// Columns of a block of registers.
    static let registerColumns = 44

    /// - Parameter isLong: the registers shown are those of 64-bit code, of which there are more.
    public init(
        size: Size, vcpus: Int, isLong: Bool = false, wishes: LayoutWishes = LayoutWishes()
    ) {
        self.size = size
        guard size.width >= Self.minimum.width, size.height >= Self.minimum.height else { return }
        let bottom = size.height - 2
        let lines = max(1, min(vcpus, max(1, size.height / 12)) + wishes.rows[.vcpus, default: 0])
        var top = 0
        if !wishes.hidden.contains(.vcpus) {
            let height = min(lines + 1, bottom / 3)
            frames.append(
                Frame(
                    panes: [.vcpus], front: .vcpus,
                    rect: Rect(x: 0, y: 0, width: size.width, height: height)))
            top = height
        }
        let body = Rect(x: 0, y: top, width: size.width, height: bottom - top)
        if let zoomed = wishes.zoomed, zoomed != .vcpus {
            frames.append(Frame(panes: [zoomed], front: zoomed, rect: body))
            return
        }
        var columns = body
        let below = Self.below(size, wishes.preset).filter { !wishes.hidden.contains($0) }
        let band = Self.band(body.height, below, wishes)
        if band > 0 { columns.height -= band }
        let circumstances = Circumstances(
            size: size, height: columns.height, vcpus: vcpus, isLong: isLong, hasBand: band > 0,
            front: { panes in wishes.raised.last { panes.contains($0) } ?? panes[0] })
        place(Self.columns(wishes.preset, circumstances), in: columns, wishes)
        if band > 0 {
            place(
                [Slot(panes: below)],
                in: Rect(x: 0, y: columns.maxY, width: size.width, height: band), wishes)
        }
    }

    /// What has the full width under the columns: text, whose lines are long.
    private static func below(_ size: Size, _ preset: ScreenLayout) -> [Pane] {
        // On a wide screen the console has a place of its own in these.
        size.width >= 165 && (preset == .boot || preset == .kernel) ? [.output] : [.output, .console]
    }

    /// Rows of that, with its title; none where the screen is too low for it, or nothing of it is shown.
    private static func band(_ height: Int, _ panes: [Pane], _ wishes: LayoutWishes) -> Int {
        guard height >= 16, !panes.isEmpty else { return 0 }
        let some = min(height * 3 / 8, 13 + max(0, height - 36) / 6)
        let rows = wishes.preset == .wide ? max(some, height - 11) : some
        let wish = panes.reduce(0) { $0 + wishes.rows[$1, default: 0] }
        return max(3, min(rows + wish, height - 6))
    }

    private mutating func place(_ columns: [Column], in body: Rect, _ wishes: LayoutWishes) {
        var columns = columns
        for index in columns.indices {
            columns[index].slots = columns[index].slots.compactMap { slot in
                var slot = slot
                slot.panes.removeAll { wishes.hidden.contains($0) }
                return slot.panes.isEmpty ? nil : slot
            }
        }
        columns.removeAll { $0.slots.isEmpty }
        guard !columns.isEmpty else { return }
        // The last column takes what the others leave, at least 20 cells.
        var x = body.x
        for (index, column) in columns.enumerated() {
            let left = columns.count - 1 - index
            let room = body.maxX - x - left * 21
            let wanted = column.width + wishes.columns[index, default: 0]
            let width = left == 0 ? body.maxX - x : max(20, min(wanted, room))
            place(
                column.slots, in: Rect(x: x, y: body.y, width: width, height: body.height), wishes)
            x += width
            if left > 0 {
                separators.append(Rect(x: x, y: body.y, width: 1, height: body.height))
                x += 1
            }
        }
    }

    private mutating func place(_ slots: [Slot], in column: Rect, _ wishes: LayoutWishes) {
        // Every frame has its title and two rows if there are so many; the last ones go if there are not.
        let slots = slots.prefix(max(1, column.height / 3))
        let least = 3
        var heights = slots.map { ($0.natural.map { $0 + 1 } ?? least) }
        var spare = column.height - heights.reduce(0, +)
        if spare < 0 {
            for index in heights.indices.reversed() where spare < 0 {
                let give = min(heights[index] - least, -spare)
                heights[index] -= give
                spare += give
            }
        } else {
            let weights = slots.reduce(0) { $0 + ($1.natural == nil ? $1.weight : 0) }
            if weights > 0 {
                // Shares of the whole flexible height, so that the weights hold.
                let flexible =
                    spare + zip(slots, heights).reduce(0) { $0 + ($1.0.natural == nil ? $1.1 : 0) }
                var given = 0
                for (index, slot) in slots.enumerated() where slot.natural == nil {
                    heights[index] = max(least, flexible * slot.weight / weights)
                    given += heights[index]
                }
                heights[slots.lastIndex { $0.natural == nil } ?? 0] += flexible - given
            } else {
                heights[heights.count - 1] += spare
            }
        }
        adjust(&heights, Array(slots), wishes, least)
        var y = column.y
        for (slot, height) in zip(slots, heights) {
            let front = wishes.raised.last { slot.panes.contains($0) } ?? slot.panes[0]
            frames.append(
                Frame(
                    panes: slot.panes, front: front,
                    rect: Rect(x: column.x, y: y, width: column.width, height: height)))
            y += height
        }
    }

    /// Moves rows between a frame and its neighbour, as the user asked.
    private func adjust(_ heights: inout [Int], _ slots: [Slot], _ wishes: LayoutWishes, _ least: Int) {
        guard slots.count > 1 else { return }
        for (index, slot) in slots.enumerated() {
            let wish = slot.panes.reduce(0) { $0 + wishes.rows[$1, default: 0] }
            let other = index + 1 < slots.count ? index + 1 : index - 1
            let rows = max(least - heights[index], min(wish, heights[other] - least))
            heights[index] += rows
            heights[other] -= rows
        }
    }
}
