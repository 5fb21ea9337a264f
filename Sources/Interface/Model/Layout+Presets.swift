import Commands

/// The columns of each of the user's layouts.
extension Layout {
    /// A frame before its height is known.
    struct Slot {
        var panes: [Pane]
        /// Content rows that it wants, no more; nil takes its share of what is left.
        var natural: Int?
        var weight = 1
    }
    struct Column {
        var width: Int
        var slots: [Slot]
    }

    /// What columns are made for.
    struct Circumstances {
        var size: Size
        /// Rows of the columns.
        var height: Int
        var vcpus: Int
        /// The registers shown are those of 64-bit code.
        var isLong: Bool
        /// Output has its place below.
        var hasBand: Bool
        /// Which of several panes is shown.
        var front: ([Pane]) -> Pane

        var isWide: Bool { size.width >= 165 }
        var leftWidth: Int {
            isWide ? 58 : size.width >= 132 ? 52 : size.width >= 80 ? Layout.registerColumns : size.width / 2
        }
        var peers: [Pane] { vcpus > 1 ? [.peers] : [] }
        /// Where output stands if it has no place below.
        var output: [Slot] { hasBand ? [] : [Slot(panes: [.output, .console], weight: 4)] }
        /// The system's registers take more rows than the others, where they are looked at and the stack is left some.
        var stateRows: Int {
            front([.registers, .system]) == .system
                ? min(Layout.systemRows, height - 5) : Layout.registerRows
        }
    }

    static func columns(_ layout: ScreenLayout, _ here: Circumstances) -> [Column] {
        switch layout {
        case .boot: here.isWide ? wideBoot(here) : boot(here)
        case .kernel: here.isWide ? wideKernel(here) : kernel(here)
        case .exits: exits(here)
        case .wide: wide(here)
        }
    }

    private static func wideBoot(_ here: Circumstances) -> [Column] {
        // High enough, the registers stand one a row, each with where it leads.
        let rows = here.isLong && here.height >= 52 ? RegisterForm.tallRows : registerRows
        // The stack goes before the system's registers, which are a tab where both have no room.
        let state: [Slot] =
            here.height >= 38
            ? [Slot(panes: [.registers], natural: rows), Slot(panes: [.system], natural: systemRows)]
            : [
                Slot(
                    panes: [.registers, .system],
                    natural: here.front([.registers, .system]) == .system ? systemRows : rows)
            ]
        let left = Column(width: here.leftWidth, slots: state + [Slot(panes: [.stack])])
        let rest = here.size.width - left.width - 2
        let peers = here.peers.isEmpty ? [] : [Slot(panes: here.peers, natural: registerRows)]
        let middle = Column(
            width: rest - max(56, rest * 2 / 5),
            slots: peers + [Slot(panes: [.code], weight: 3), Slot(panes: [.memory], weight: 2)])
        var right = Column(
            width: 0, slots: [Slot(panes: [.exits], weight: 3), Slot(panes: [.console], weight: 2)])
        if !here.hasBand { right.slots.append(Slot(panes: [.output], weight: 3)) }
        return [left, middle, right]
    }

    private static func boot(_ here: Circumstances) -> [Column] {
        var left: [Slot]
        var right = [Slot(panes: [.code], weight: 5)]
        if here.height >= 17 {
            left = [
                Slot(panes: [.registers, .system], natural: here.stateRows),
                Slot(panes: [.stack] + here.peers),
            ]
            if here.height >= 38 {
                left = [
                    Slot(panes: [.registers], natural: registerRows),
                    Slot(panes: [.system], natural: systemRows), Slot(panes: [.stack] + here.peers),
                ]
            }
            if here.height >= 22 {
                right += [Slot(panes: [.memory], weight: 3), Slot(panes: [.exits], weight: 4)]
            } else {
                right.append(Slot(panes: [.exits, .memory], weight: 3))
            }
        } else {
            left = [Slot(panes: [.registers, .system, .stack] + here.peers)]
            right = [Slot(panes: [.code], weight: 8), Slot(panes: [.exits, .memory], weight: 5)]
        }
        return [Column(width: here.leftWidth, slots: left), Column(width: 0, slots: right + here.output)]
    }

    private static func kernel(_ here: Circumstances) -> [Column] {
        guard here.height >= 17 else {
            return [
                Column(
                    width: here.leftWidth, slots: [Slot(panes: [.registers, .system, .stack] + here.peers)]),
                Column(width: 0, slots: [Slot(panes: [.code, .memory, .exits])] + here.output),
            ]
        }
        return [
            Column(
                width: here.leftWidth,
                slots: [
                    Slot(panes: [.registers, .system] + here.peers, natural: here.stateRows),
                    Slot(panes: [.stack]),
                ]),
            Column(width: 0, slots: [Slot(panes: [.code, .memory, .exits])] + here.output),
        ]
    }

    private static func wideKernel(_ here: Circumstances) -> [Column] {
        let left = Column(
            width: here.leftWidth,
            slots: [
                Slot(
                    panes: [.registers] + here.peers,
                    natural: here.isLong && here.height >= 38 ? RegisterForm.tallRows : registerRows),
                Slot(panes: [.stack]),
            ])
        let rest = here.size.width - left.width - 2
        let right = Column(
            width: 0,
            slots: [
                Slot(panes: [.system], natural: systemRows), Slot(panes: [.memory, .exits, .console]),
            ] + (here.hasBand ? [] : [Slot(panes: [.output])]))
        return [left, Column(width: rest - max(56, rest * 2 / 5), slots: [Slot(panes: [.code])]), right]
    }

    private static func exits(_ here: Circumstances) -> [Column] {
        let left =
            here.height >= 17
            ? [
                Slot(panes: [.registers, .system] + here.peers, natural: here.stateRows),
                Slot(panes: [.code, .stack, .memory]),
            ] : [Slot(panes: [.registers, .system, .code, .stack, .memory] + here.peers)]
        return [
            Column(width: here.leftWidth, slots: left),
            Column(width: 0, slots: [Slot(panes: [.exits], weight: 6)] + here.output),
        ]
    }

    private static func wide(_ here: Circumstances) -> [Column] {
        [
            Column(width: here.leftWidth, slots: [Slot(panes: [.registers, .system, .stack] + here.peers)]),
            Column(width: 0, slots: [Slot(panes: [.code, .memory, .exits], weight: 3)] + here.output),
        ]
    }
}
