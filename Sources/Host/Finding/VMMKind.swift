/// Which program runs a guest, and what its user calls the guest.
public struct VMMKind: RawRepresentable, Sendable, Hashable, Encodable {
    public var rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public static let qemu = VMMKind(rawValue: "QEMU")
    public static let firecracker = VMMKind(rawValue: "Firecracker")
    public static let cloudHypervisor = VMMKind(rawValue: "cloud-hypervisor")
    public static let kvmtool = VMMKind(rawValue: "kvmtool")
    public static let crosvm = VMMKind(rawValue: "crosvm")
    public static let libkrun = VMMKind(rawValue: "libkrun")
    public static let kvmscope = VMMKind(rawValue: "kvmscope")

    /// The program's kind by its executable's name, or that name itself for one that is not known.
    ///
    /// - Parameter command: what the process calls itself. libkrun, a library, names the programs that use it.
    package init(executable: String, command: String = "") {
        let base = Self.program(executable)
        switch base {
        case _ where command == "libkrun VM": self = .libkrun
        case _ where base.hasPrefix("qemu"), "kvm": self = .qemu
        case _ where base.hasPrefix("firecracker"): self = .firecracker
        case _ where base.hasPrefix("cloud-hypervisor"): self = .cloudHypervisor
        case "lkvm", "kvmtool": self = .kvmtool
        case "crosvm": self = .crosvm
        case "kvmscope": self = .kvmscope
        default: self.init(rawValue: base)
        }
    }

    /// The last part of an executable's path.
    private static func program(_ executable: String) -> String {
        let name = executable.split(separator: "/").last.map(String.init) ?? executable
        let deleted = " (deleted)"
        return name.hasSuffix(deleted) ? String(name.dropLast(deleted.count)) : name
    }

    /// What the guest is called where the command line does not name it.
    ///
    /// - Parameter command: what the process calls itself, which of a program that uses libkrun says nothing.
    func defaultName(executable: String, command: String) -> String {
        self == .libkrun ? Self.program(executable) : command
    }

    /// What the command line calls the guest; nil if it does not.
    func guestName(_ arguments: [String]) -> String? {
        let name: String?
        switch self {
        case .qemu: name = Self.value(of: ["-name", "--name"], in: arguments).flatMap(Self.qemuName)
        case .firecracker:
            name =
                Self.value(of: ["--id"], in: arguments)
                ?? Self.value(of: ["--api-sock"], in: arguments).flatMap(Self.socketName)
        case .kvmtool, .crosvm, .libkrun: name = Self.value(of: ["--name", "-n"], in: arguments)
        case .cloudHypervisor:
            // It has no name for its guest; its API socket tells one from another.
            name = Self.value(of: ["--api-socket"], in: arguments).flatMap {
                Self.socketName($0.hasPrefix("path=") ? String($0.dropFirst(5)) : $0)
            }
        default: name = nil
        }
        guard let name, !name.isEmpty else { return nil }
        return name
    }

    /// What tells a VMM's API socket from others: its file's name, or its folder's where all VMMs have files of one
    /// name, as those of Kata Containers (`/run/vc/vm/ID/clh-api.sock`).
    private static func socketName(_ path: String) -> String? {
        let parts = path.split(separator: "/").map(String.init)
        guard let file = parts.last else { return nil }
        let isOneOfMany = ["api.sock", "api.socket", "clh-api.sock", "ch.sock", "firecracker.socket"]
            .contains(file)
        return isOneOfMany && parts.count > 1 ? parts[parts.count - 2] : file
    }

    /// `OPTION VALUE` or `OPTION=VALUE`, the last one given.
    private static func value(of options: [String], in arguments: [String]) -> String? {
        var value: String?
        for (index, argument) in arguments.enumerated() {
            if options.contains(argument), index + 1 < arguments.count {
                value = arguments[index + 1]
            } else if let option = options.first(where: { argument.hasPrefix($0 + "=") }) {
                value = String(argument.dropFirst(option.count + 1))
            }
        }
        return value
    }

    /// The name in QEMU's `-name [guest=]NAME[,debug-threads=on,...]`; a doubled comma is a comma in the name.
    private static func qemuName(_ text: String) -> String? {
        var fields = [""]
        var rest = text[...]
        while let character = rest.popFirst() {
            if character != "," {
                fields[fields.count - 1].append(character)
            } else if rest.first == "," {
                rest.removeFirst()
                fields[fields.count - 1].append(",")
            } else {
                fields.append("")
            }
        }
        if let named = fields.first(where: { $0.hasPrefix("guest=") }) { return String(named.dropFirst(6)) }
        guard let first = fields.first, !first.contains("=") else { return nil }
        return first
    }
}
