/// `step all N`: the vCPUs step in turns, so that one that waits for another gets on, too.
struct StepTurns {
    /// Instructions in one turn.
    static let length = 64

    /// The vCPUs that have steps left, the next one first.
    private var waiting: [(vcpu: Int, left: Int)]
    /// How many instructions each one was to step.
    let count: Int
    /// vCPUs that went all the way.
    private(set) var finished = 0
    /// Whose turn it is, and for how long.
    private(set) var vcpu: Int
    private(set) var steps: Int

    /// Nil where there is nobody.
    init?(_ vcpus: [Int], count: Int) {
        guard let first = vcpus.first else { return nil }
        self.count = count
        waiting = vcpus.map { ($0, count) }
        vcpu = first
        steps = min(count, Self.length)
    }

    /// A turn is over.
    ///
    /// - Parameter hasHalted: the vCPU sleeps now, and steps no more.
    /// - Returns: false if it was the last one.
    mutating func next(hasHalted: Bool) -> Bool {
        var current = waiting.removeFirst()
        current.left -= steps
        if current.left <= 0 {
            finished += 1
        } else if !hasHalted {
            waiting.append(current)
        }
        guard let following = waiting.first else { return false }
        vcpu = following.vcpu
        steps = min(following.left, Self.length)
        return true
    }
}
