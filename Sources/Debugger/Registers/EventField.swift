public import KVMCore
import X86

/// A field of a vCPU's pending events, by the name that `struct kvm_vcpu_events` has for it.
public struct EventField: Sendable {
    public let name: String
    /// In bits.
    public let width: Int
    /// A few words for people.
    public let meaning: String
    let get: @Sendable (VCPUEvents) -> UInt64
    let set: @Sendable (inout VCPUEvents, UInt64) -> Void

    var mask: UInt64 { width == 64 ? .max : (1 << UInt64(width)) - 1 }

    public func value(in events: VCPUEvents) -> UInt64 { get(events) }

    /// - Parameter valid: the KVM_VCPUEVENT_VALID_ bit without which the kernel does not look at the field.
    private init(
        _ name: String, _ meaning: String, valid: UInt32 = 0,
        _ path: any WritableKeyPath<VCPUEvents, Bool> & Sendable
    ) {
        self.name = name
        self.meaning = meaning
        width = 1
        get = { $0[keyPath: path] ? 1 : 0 }
        set = {
            $0[keyPath: path] = $1 != 0
            $0.flags |= valid
        }
    }

    private init<Number: FixedWidthInteger & SendableMetatype>(
        _ name: String, _ meaning: String, valid: UInt32 = 0,
        _ path: any WritableKeyPath<VCPUEvents, Number> & Sendable
    ) {
        self.name = name
        self.meaning = meaning
        width = Number.bitWidth
        get = { UInt64(truncatingIfNeeded: $0[keyPath: path]) }
        set = {
            $0[keyPath: path] = Number(truncatingIfNeeded: $1)
            $0.flags |= valid
        }
    }

    /// The field of a name, with or without `events.` before it.
    public init?(_ name: some StringProtocol) {
        var key = name.lowercased()
        if key.hasPrefix("events.") { key.removeFirst("events.".count) }
        guard let found = Self.all.first(where: { $0.name == key }) else { return nil }
        self = found
    }

    /// All, in the kernel's order. Source: api.rst, 4.31 and 4.32.
    public static let all: [EventField] = [
        .init("exception.injected", "on its way to the guest", \.exceptionInjected),
        .init("exception.pending", "raised, not yet injected", valid: 0x10, \.exceptionPending),
        .init("exception.nr", "vector", \.exceptionVector),
        .init("exception.has_error_code", "an error code is pushed", \.exceptionHasErrorCode),
        .init("exception.error_code", "the error code", \.exceptionErrorCode),
        .init(
            "exception.has_payload", "CR2 or DR6 comes with it", valid: 0x10, \.exceptionHasPayload),
        .init("exception.payload", "CR2 or DR6", valid: 0x10, \.exceptionPayload),
        .init("interrupt.injected", "on its way to the guest", \.interruptInjected),
        .init("interrupt.nr", "vector", \.interruptVector),
        .init("interrupt.soft", "of INT n", \.interruptIsSoft),
        .init(
            "interrupt.shadow", "1 after MOV SS, 2 after STI; SVM has 3 for either", valid: 4,
            \.interruptShadow),
        .init("nmi.injected", "on its way to the guest", \.nmiInjected),
        .init("nmi.pending", "waits", valid: 1, \.nmiPending),
        .init("nmi.masked", "no NMI until IRET", \.nmiMasked),
        .init("sipi_vector", "start-up vector", valid: 2, \.sipiVector),
        .init("smi.smm", "in system-management mode", valid: 8, \.inSystemManagementMode),
        .init("smi.pending", "waits", valid: 8, \.smiPending),
        .init("smi.smm_inside_nmi", "the SMI came within an NMI", valid: 8, \.smmInsideNMI),
        .init("smi.latched_init", "INIT waits for RSM", valid: 8, \.latchedINIT),
        .init("triple_fault.pending", "the next entry shuts down", valid: 0x20, \.tripleFaultPending),
    ]
}
