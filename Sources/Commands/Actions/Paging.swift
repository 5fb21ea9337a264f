import DebugTarget
import Debugger
import X86

extension CommandTable {
    static let pagingCommands: [Command] = [
        Command(
            "page", ["pagewalk", "info page"], "ADDR", .tables, "walk the page tables for an address",
            details: """
                Each level's entry with its address and flags, and what all levels together allow, in the paging mode \
                of the selected vCPU. Where the walk fails it says at which level, and why.
                """,
            examples: [
                .init("page $rip", "where the code is"), .init("page 0xffff888000000000", "any address"),
            ],
            completion: [.expression], whileRunning: true, action: PagingActions.walk),
        Command(
            "info mem", [], "[ADDR [LEN]]", .tables, "show what is mapped, by ranges that allow the same",
            details: """
                Of everything, or from ADDR on. `Physical` is where the range begins, if its pages lie one after the \
                other there. Ctrl-C ends it.
                """,
            completion: [.expression], whileRunning: true, action: PagingActions.memory),
        Command(
            "info tlb", [], "[ADDR [LEN]]", .tables, "show every page that is mapped",
            details: """
                As the page tables in memory say; what a processor still remembers of older ones cannot be seen. \
                Bits: G global, D dirty, A accessed.
                """,
            completion: [.expression], whileRunning: true, action: PagingActions.pages),
        Command(
            "gva2gpa", ["v2p"], "ADDR", .tables, "translate a linear address to a guest-physical one",
            completion: [.expression], whileRunning: true, action: PagingActions.physical),
        Command(
            "p2v", ["gpa2gva"], "ADDR", .tables, "list the linear addresses that lead to a physical one",
            details: "All pages that are mapped are looked at; Ctrl-C ends it.",
            examples: [.init("p2v 0xb8000", "where video memory is mapped")],
            completion: [.expression], whileRunning: true, action: PagingActions.linear),
        Command(
            "gpa2hva", [], "ADDR", .tables, "translate a guest-physical address to one of the VMM's",
            completion: [.expression], whileRunning: true, action: PagingActions.host),
    ]
}

enum PagingActions {
    /// Rows that one command lists.
    private static let longest = 65_536

    static func walk(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else { throw call.usageError("`page` needs an address") }
        let address = try session.address(call.rest, call)
        let walk = try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.walk(address)
        }
        return .done(PageWalkOutput(vcpu: session.debugger.selectedVCPU, walk))
    }

    static func memory(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try map(session, call, .permissions)
    }

    static func pages(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try map(session, call, .pages)
    }

    private static func map(
        _ session: Session, _ call: Invocation, _ grouping: PageMap.Grouping
    ) throws(CommandError) -> Outcome {
        try call.checkCount(2)
        var range: ClosedRange<UInt64>?
        if let first = call.arguments.first {
            let address = try session.address(first, call)
            let start = try call.perform(at: first) { () throws(DebuggerError) in
                try session.debugger.linear(address)
            }
            var last = UInt64.max
            if call.arguments.count > 1 {
                let count = try session.number(call.arguments[1], call)
                guard count > 0 else { throw call.error("a length is 1 or more", at: call.arguments[1]) }
                last = start &+ min(count - 1, UInt64.max - start)
            }
            range = start...last
        }
        let map = try call.perform { () throws(DebuggerError) in
            try session.debugger.pageMap(
                in: range, grouping: grouping, limit: longest, shouldStop: session.shouldStop)
        }
        return .done(
            PageMapOutput(vcpu: session.debugger.selectedVCPU, map, pages: grouping == .pages))
    }

    static func physical(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard !call.rest.text.isEmpty else { throw call.usageError("`gva2gpa` needs an address") }
        let address = try session.address(call.rest, call)
        let gpa = try call.perform(at: call.rest) { () throws(DebuggerError) in
            try session.debugger.physical(address)
        }
        return .done(
            AddressesOutput(
                address: address.description, space: "physical", places: [.init(address: Hex(gpa))],
                end: LookEnd.complete.rawValue))
    }

    static func linear(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let gpa = try physicalArgument(session, call)
        let found = try call.perform { () throws(DebuggerError) in
            try session.debugger.linearAddresses(of: gpa, limit: 1000, shouldStop: session.shouldStop)
        }
        return .done(
            AddressesOutput(
                address: Address.physical(gpa).description, space: "linear",
                places: found.pages.map {
                    .init(
                        address: Hex($0.linear &+ (gpa &- $0.mapping.gpa)),
                        note: "\($0.mapping.sizeName) page, \($0.mapping.permissions)")
                }, end: found.end.rawValue))
    }

    static func host(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let gpa = try physicalArgument(session, call)
        let regions = session.debugger.target.memory.regions
        guard let region = regions.first(where: { gpa >= $0.gpa && gpa - $0.gpa < $0.size }) else {
            throw call.error("no memory of the guest is at \(Hex(gpa))", at: call.rest)
        }
        return .done(
            AddressesOutput(
                address: Address.physical(gpa).description, space: "host",
                places: [
                    .init(address: Hex(region.hva &+ (gpa - region.gpa)), note: "memslot \(region.slot)")
                ], end: LookEnd.complete.rawValue))
    }

    /// A number, or `p:ADDR`.
    private static func physicalArgument(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> UInt64 {
        guard !call.rest.text.isEmpty else {
            throw call.usageError("`\(call.command.name)` needs a guest-physical address")
        }
        switch try session.address(call.rest, call) {
        case .linear(let value), .physical(let value): return value
        case .virtual, .segmented:
            throw call.error("\(call.rest.text) is not a physical address", at: call.rest)
        }
    }
}
