public import Commands
import DebugTarget
import Debugger
public import GuestView
import X86

/// All that the screen depends on. ``update(_:)`` changes it, ``view()`` draws it; neither does anything else.
public struct Model: Sendable {
    public var size: Size
    public internal(set) var wishes = LayoutWishes()
    /// Nil: the command line has the keys.
    public internal(set) var focus: Pane?
    public internal(set) var guest: GuestView?
    public internal(set) var commandLine = CommandLine()
    public internal(set) var output: [OutputLine] = []

    /// Which of the guest's consoles is shown; wraps.
    var console = 0
    /// Where the memory pane looks; nil until there is a guest.
    var memory: MemoryPlace?
    /// The linear address of the first line of code; nil begins at the next instruction.
    var codeStart: UInt64?
    /// Lines that the code is to move by at the next gathering.
    var codeScroll = 0
    /// The stop at which the user pointed the code pane elsewhere: until the next one it stays there.
    var codePinnedAt: Int?
    /// The code pane's cursor, in its lines.
    var codeCursor = 0
    /// Rows scrolled down in a pane that starts at its top, or up in one that starts at its end.
    var scroll: [Pane: Int] = [:]
    /// The field that the cursor of a pane stands on.
    var cursors: [Pane: Field.Kind] = [:]
    /// An edit in place.
    var edit: Edit?
    /// A question at the bottom.
    var question: Question?
    var showsHelp = false
    var helpScroll = 0
    /// When Ctrl-C came last with nothing to stop, in milliseconds.
    var lastInterrupt: UInt64?
    /// What was searched for last, and the line it was found on.
    var searched: String?
    var matched: Int?
    /// Where in ``output`` the answer to the last command begins.
    var answerStart = 0
    /// A word at the bottom, until the next key.
    var notice: String?

    /// That keys wait for the guest to run was said, since it ran last.
    var saidKeysWait = false

    /// In which order the exits stand.
    var exitOrder = ExitOrder.count
    /// Exits a second while the guest ran, at each look; the newest last.
    var exitRates: [Double?] = []
    static let longestRates = 64
    /// The guest ends with the session.
    var endsGuest = false

    /// Lines that the output pane keeps.
    public static let outputLimit = 5_000

    struct Question: Sendable, Hashable {
        enum Kind: Sendable, Hashable {
            /// Whether the guest may end with the session.
            case quit
            case address(Purpose)
            case search(Pane)
        }
        var kind: Kind
        var text = ""
        var prompt: String {
            switch kind {
            case .quit: "the guest ends with kvmscope: quit? (y or n) "
            case .address(.memory): "memory at: "
            case .address(.code): "code at: "
            case .search(.memory), .search(.stack): "find (text, 55 aa or 0x7c00): "
            case .search(.code): "find an instruction: "
            case .search(.registers), .search(.system): "find a register or a value: "
            case .search: "search: "
            }
        }
    }

    /// - Parameter endsGuest: the guest ends with the session, so that leaving is asked about once it has run.
    public init(size: Size, layout: ScreenLayout = .boot, endsGuest: Bool = false) {
        self.size = size
        self.endsGuest = endsGuest
        wishes = LayoutWishes(layout)
    }

    public var layout: Layout {
        layout(wishes)
    }

    func layout(_ wishes: LayoutWishes) -> Layout {
        Layout(
            size: size, vcpus: guest?.vcpus.count ?? 1, isLong: guest?.current?.mode == .long64,
            wishes: wishes)
    }
}

extension Model {
    public var needs: Needs {
        let layout = layout
        var needs = Needs()
        if let code = layout.frame(of: .code) {
            needs.codeLines = code.content.height
            needs.codeStart = codeStart
            needs.codeScroll = codeScroll
            needs.codePinnedAt = codePinnedAt
        }
        if let stack = layout.frame(of: .stack) {
            needs.stackFirst = scroll[.stack, default: 0]
            needs.stackSlots = stack.content.height + needs.stackFirst
        }
        if let frame = layout.frame(of: .memory), let memory {
            needs.memory = memory
            needs.memoryBytes = frame.content.height * memoryColumns(width: frame.content.width, memory)
        }
        if let exits = layout.frame(of: .exits) {
            needs.recentExits = exits.content.height + scroll[.exits, default: 0]
        }
        if layout.frame(of: .console) != nil { needs.console = console }
        needs.debugRegisters = layout.frame(of: .system) != nil
        if let registers = layout.frame(of: .registers) {
            needs.chains = RegisterForm(registers.content, isLong: guest?.current?.mode == .long64).hasChains
        }
        if let guest { needVCPUs(guest, layout, &needs) }
        return needs
    }

    private func needVCPUs(_ guest: GuestView, _ layout: Layout, _ needs: inout Needs) {
        if let lines = layout.frame(of: .vcpus) {
            needs.linesOf = Set(shownVCPUs(guest, rows: lines.content.height).map(\.id))
        }
        // Addresses are translated by the selected one's registers, whatever the pane.
        let showsSelected = Pane.allCases.contains {
            ![.vcpus, .peers, .output, .console, .exits].contains($0) && layout.frame(of: $0) != nil
        }
        var shown: Set<Int> = showsSelected ? [guest.selected] : []
        if let peers = layout.frame(of: .peers) {
            shown.formUnion(shownPeers(guest, width: peers.content.width).map(\.id))
        }
        needs.registersOf = shown
    }
}

/// Bytes in a row of the memory pane.
func memoryColumns(width: Int, _ place: MemoryPlace) -> Int {
    let address = place.prefix.utf8.count + place.shownDigits + 2
    for count in [16, 8, 4] where address + count * 4 + 1 <= width { return count }
    return 4
}
