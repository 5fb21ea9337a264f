/// The parts of the screen that can be focused, scrolled, resized and hidden.
public enum Pane: Int, Sendable, Hashable, CaseIterable {
    case vcpus, registers, system, code, stack, memory, exits, console, output, peers

    /// In its title bar.
    var title: String {
        switch self {
        case .vcpus: "vCPUs"
        case .registers: "Registers"
        case .system: "System"
        case .code: "Code"
        case .stack: "Stack"
        case .memory: "Memory"
        case .exits: "Exits"
        case .console: "Console"
        case .output: "Output"
        case .peers: "Other vCPUs"
        }
    }

    /// The key that focuses it from another pane: its number.
    static func numbered(_ digit: Int) -> Pane? {
        (1...Pane.allCases.count).contains(digit) ? Pane.allCases[digit - 1] : nil
    }
}
