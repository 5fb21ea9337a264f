/// A place where the guest stops.
public struct Breakpoint: Sendable, Hashable {
    /// How a breakpoint makes the guest stop.
    public enum Mechanism: String, Sendable, Hashable {
        /// DR0-DR3 by KVM_SET_GUEST_DEBUG, on every vCPU. Memory is not changed, so a loader cannot overwrite
        /// it, and it works before the code is there. While one is armed KVM keeps the guest's own debug
        /// registers apart: the guest reads and writes them, but they do not fire.
        case debugRegister

        public var name: String {
            switch self {
            case .debugRegister: "debug register"
            }
        }
    }

    public var number: Int
    /// As the user gave it.
    public var address: Address
    /// The linear address that it stands for, found when it was set.
    public var linear: UInt64
    public var isEnabled: Bool
    /// Deleted when it is hit.
    public var isTemporary: Bool
    /// How often it stopped the guest.
    public var hits: Int
    public var mechanism: Mechanism

    public init(
        number: Int, address: Address, linear: UInt64, isEnabled: Bool = true, isTemporary: Bool = false,
        hits: Int = 0, mechanism: Mechanism = .debugRegister
    ) {
        self.number = number
        self.address = address
        self.linear = linear
        self.isEnabled = isEnabled
        self.isTemporary = isTemporary
        self.hits = hits
        self.mechanism = mechanism
    }
}

/// The breakpoints by number, and what of them goes into the debug registers.
struct BreakpointTable: Sendable {
    private(set) var list: [Breakpoint] = []
    private var lastNumber = 0

    /// - Throws: `.limit` if a fifth address would be armed.
    mutating func add(_ address: Address, linear: UInt64, isTemporary: Bool) throws(DebuggerError)
        -> Breakpoint
    {
        try checkRoom(for: linear)
        lastNumber += 1
        let breakpoint = Breakpoint(
            number: lastNumber, address: address, linear: linear, isTemporary: isTemporary)
        list.append(breakpoint)
        return breakpoint
    }

    mutating func remove(_ number: Int) throws(DebuggerError) {
        list.remove(at: try place(of: number))
    }

    mutating func removeAll() { list = [] }

    mutating func setEnabled(_ number: Int, _ enabled: Bool) throws(DebuggerError) {
        let place = try place(of: number)
        if enabled, !list[place].isEnabled { try checkRoom(for: list[place].linear) }
        list[place].isEnabled = enabled
    }

    /// Counts a hit of each, and deletes those that are temporary.
    mutating func hit(_ numbers: [Int]) {
        for place in list.indices where numbers.contains(list[place].number) { list[place].hits += 1 }
        list.removeAll { $0.isTemporary && numbers.contains($0.number) }
    }

    /// What the debug registers hold. Breakpoints at one address share a register.
    var armed: ArmedBreakpoints {
        var armed = ArmedBreakpoints()
        for breakpoint in list where breakpoint.isEnabled { armed.insert(breakpoint.linear) }
        return armed
    }

    /// The enabled breakpoints at a linear address.
    func numbers(at linear: UInt64) -> [Int] {
        list.filter { $0.isEnabled && $0.linear == linear }.map(\.number)
    }

    private func place(of number: Int) throws(DebuggerError) -> Int {
        if let place = list.firstIndex(where: { $0.number == number }) { return place }
        throw DebuggerError(
            .noBreakpoint, "there is no breakpoint \(number)",
            remedy: list.isEmpty
                ? "none is set" : "there are " + list.map { "\($0.number)" }.joined(separator: ", "))
    }

    private func checkRoom(for linear: UInt64) throws(DebuggerError) {
        let armed = armed
        guard !armed.contains(linear), armed.count == ArmedBreakpoints.capacity else { return }
        let used = list.filter(\.isEnabled).map { "\($0.number) at \($0.address)" }.joined(separator: ", ")
        throw DebuggerError(
            .limit, "all four debug registers are in use by breakpoints \(used)",
            remedy: "delete or disable one of them first")
    }
}

/// Up to four linear addresses, without an allocation: they are compared after every step.
struct ArmedBreakpoints: Sendable, Hashable {
    static let capacity = 4
    private(set) var addresses = SIMD4<UInt64>.zero
    private(set) var count = 0

    /// False if there is no room.
    @discardableResult
    mutating func insert(_ linear: UInt64) -> Bool {
        if contains(linear) { return true }
        guard count < Self.capacity else { return false }
        addresses[count] = linear
        count += 1
        return true
    }

    func contains(_ linear: UInt64) -> Bool {
        for i in 0..<count where addresses[i] == linear { return true }
        return false
    }

    /// DR7 with a global execution breakpoint for each address but `excluded`. Source: SDM volume 3B, 17.2.4.
    func dr7(except excluded: UInt64?) -> UInt64 {
        var dr7: UInt64 = 0x400
        for i in 0..<count where addresses[i] != excluded { dr7 |= 2 << UInt64(i * 2) }
        return dr7
    }
}
