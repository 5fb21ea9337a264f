import X86

extension FaultChain {
    /// What leads from the instruction that a vCPU stands at to a triple fault.
    ///
    /// Found by looking: the processor does not tell. The first exception is what the instruction must raise in
    /// this state; each further one is what delivering the one before raises. Source: SDM volume 3A, 6.15, table 6-5.
    init(_ scene: FaultScene) {
        self.init(links: [], end: .unknown)
        guard let first = scene.firstFault() else { return }
        links.append(first.link)
        var isSoftware = first.isSoftware
        let delivery = scene.delivery
        // Benign, contributory or page fault, double fault, shutdown: each link is worse than the one before, but a
        // page fault may follow a contributory exception without a double fault.
        while links.count < 8, let last = links.last {
            let outcome = delivery.deliver(last.vector, errorCode: last.errorCode, isSoftware: isSoftware)
            isSoftware = false
            switch outcome {
            case .arrives(let arrival):
                end = .reachesHandler(linear: arrival.linear)
                return
            case .taskGate(let selector):
                end = .taskGate(selector: selector)
                return
            case .unreadable(let gpa):
                end = .unreadable(gpa: gpa)
                return
            case .faults(let next):
                links.append(next)
                guard last.vector != 8 else {
                    end = .shutdown
                    return
                }
                if Self.isDouble(last.vector, next.vector) {
                    let code: UInt32? = scene.special.cr0.contains(.pe) ? 0 : nil
                    links.append(Link(vector: 8, errorCode: code, cause: nil))
                }
            }
        }
    }

    /// Whether the second exception, raised while the first is delivered, makes a double fault of both.
    static func isDouble(_ first: UInt8, _ second: UInt8) -> Bool {
        switch first {
        case 0, 10, 11, 12, 13, 21: [0, 10, 11, 12, 13, 21].contains(second)
        case 14, 20: [0, 10, 11, 12, 13, 14, 20, 21].contains(second)
        default: false
        }
    }
}
