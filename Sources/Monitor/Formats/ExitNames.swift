/// The names of exits, from the kernel's own format files. A code that they do not name is a number: another hypervisor's
/// code never gets a name of VMX's or SVM's.
package struct ExitNames: Sendable, Hashable {
    /// By the number of the instruction set (KVM_ISA_VMX, KVM_ISA_SVM of arch/x86/kvm/trace.h), then by the code.
    private var hardware: [UInt32: [UInt64: String]] = [:]
    private var userspace: [UInt64: String] = [:]

    package static let vmx: UInt32 = 1
    package static let svm: UInt32 = 2

    /// - Parameters:
    ///   - exit: of kvm_exit; nil where there is no such event.
    ///   - userspaceExit: of kvm_userspace_exit.
    package init(exit: TracepointFormat?, userspaceExit: TracepointFormat?) {
        var isaBefore: UInt32?
        for list in exit.map({ SymbolicList.lists(in: $0.printFormat) }) ?? [] {
            guard list.expression.contains("exit_reason"), !list.names.isEmpty else { continue }
            // `(REC->isa == 1) ? LIST : LIST`: the second is the other one's.
            let isa = Self.isa(list.before) ?? (isaBefore == Self.vmx ? Self.svm : Self.vmx)
            isaBefore = isa
            // -1 is 32 bits wide in a record.
            hardware[isa, default: [:]].merge(
                list.names.map { ($0.key & 0xFFFF_FFFF, $0.value) }, uniquingKeysWith: { first, _ in first })
        }
        for list in userspaceExit.map({ SymbolicList.lists(in: $0.printFormat) }) ?? [] {
            for (code, name) in list.names {
                let prefix = "KVM_EXIT_"
                userspace[code] = name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
            }
        }
    }

    /// The number that `isa` is compared with right before a list.
    private static func isa(_ before: String) -> UInt32? {
        let text = before.filter { !$0.isWhitespace }
        guard text.hasSuffix(")?"), let equals = text.lastRange(of: "isa==") else { return nil }
        return UInt32(text[equals.upperBound...].prefix { $0.isNumber })
    }

    /// Of a hardware exit.
    package func hardwareExit(isa: UInt32, reason: UInt32) -> String {
        // VMX: the basic reason is in 16 bits, what is above are flags. Source: SDM volume 3, 26.9.1.
        let code = UInt64(isa == Self.vmx ? reason & 0xFFFF : reason)
        if let name = hardware[isa]?[code] {
            return isa == Self.vmx && reason >> 31 == 1 ? name + " (failed entry)" : name
        }
        return "reason 0x" + String(reason, radix: 16)
    }

    /// Of a return of KVM_RUN with this KVM_EXIT_*.
    package func userspaceExit(reason: UInt32) -> String {
        userspace[UInt64(reason)] ?? "reason \(reason)"
    }
}

extension String {
    /// The last place where `text` stands.
    fileprivate func lastRange(of text: String) -> Range<Index>? {
        var end = endIndex
        while end >= startIndex {
            let head = self[..<end]
            if head.hasSuffix(text) { return index(end, offsetBy: -text.count)..<end }
            guard end > startIndex else { return nil }
            end = index(before: end)
        }
        return nil
    }
}
