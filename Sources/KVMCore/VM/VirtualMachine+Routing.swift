import CKVM
import SystemPackage

/// Where an interrupt line goes: `struct kvm_irq_routing_entry`. Source: api.rst, 4.52.
public struct GSIRoute: Sendable, Hashable {
    /// What a line ends at.
    public enum Target: Sendable, Hashable {
        /// An input, 0 to 7, of one of the PICs (KVM_IRQ_ROUTING_IRQCHIP).
        case pic(PIC, pin: UInt32)
        /// An input, 0 to 23, of the IOAPIC (KVM_IRQ_ROUTING_IRQCHIP).
        case ioapic(pin: UInt32)
        /// A message to a local APIC (KVM_IRQ_ROUTING_MSI), as of ``VirtualMachine/signalMSI(address:data:)``.
        case msi(address: UInt64, data: UInt32)
        /// A synthetic interrupt source of a vCPU (KVM_IRQ_ROUTING_HV_SINT).
        case hyperVSINT(vcpu: UInt32, sint: UInt32)
    }

    /// The line: what ``VirtualMachine/setIRQLine(_:_:)`` and ``VirtualMachine/assignIRQFD(_:gsi:)`` take.
    public var gsi: UInt32
    /// Where it goes. A line may end at one input of each chip, or at one message.
    public var target: Target

    /// - Parameters:
    ///   - gsi: the line, under KVM_CAP_IRQ_ROUTING.
    ///   - target: where it goes.
    public init(gsi: UInt32, _ target: Target) {
        self.gsi = gsi
        self.target = target
    }

    /// What KVM sets up with the interrupt controllers: lines 0 to 15 go to the PICs and the IOAPIC, 16 to 23 to the
    /// IOAPIC alone. Source: default_routing in arch/x86/kvm/irq.c (irq_comm.c before Linux 6.17).
    public static let ofController: [GSIRoute] =
        (0..<24).map { GSIRoute(gsi: $0, .ioapic(pin: $0)) }
        + (0..<16).map { GSIRoute(gsi: $0, .pic($0 < 8 ? .master : .slave, pin: $0 % 8)) }

    var encoded: kvm_irq_routing_entry {
        var entry = kvm_irq_routing_entry()
        entry.gsi = gsi
        switch target {
        case .pic(let chip, let pin):
            entry.type = UInt32(KVM_IRQ_ROUTING_IRQCHIP)
            entry.u.irqchip = kvm_irq_routing_irqchip(irqchip: chip.rawValue, pin: pin)
        case .ioapic(let pin):
            entry.type = UInt32(KVM_IRQ_ROUTING_IRQCHIP)
            entry.u.irqchip = kvm_irq_routing_irqchip(irqchip: UInt32(KVM_IRQCHIP_IOAPIC), pin: pin)
        case .msi(let address, let data):
            entry.type = UInt32(KVM_IRQ_ROUTING_MSI)
            entry.u.msi.address_lo = UInt32(truncatingIfNeeded: address)
            entry.u.msi.address_hi = UInt32(truncatingIfNeeded: address >> 32)
            entry.u.msi.data = data
        case .hyperVSINT(let vcpu, let sint):
            entry.type = UInt32(KVM_IRQ_ROUTING_HV_SINT)
            entry.u.hv_sint = kvm_irq_routing_hv_sint(vcpu: vcpu, sint: sint)
        }
        return entry
    }
}

/// A write of the guest that adds 1 to an ``EventFD`` in place of an exit: `struct kvm_ioeventfd`. Source: api.rst, 4.59.
public struct IOEvent: Sendable, Hashable {
    /// Where the guest writes.
    public enum Address: Sendable, Hashable {
        /// A port (KVM_IOEVENTFD_FLAG_PIO).
        case port(UInt16)
        /// A guest-physical address without memory.
        case mmio(UInt64)
    }

    /// Where the guest writes.
    public var address: Address
    /// How wide, in bytes: 1, 2, 4 or 8; 0 for any (KVM_CAP_IOEVENTFD_ANY_LENGTH).
    public var length: UInt32
    /// The value written (KVM_IOEVENTFD_FLAG_DATAMATCH); nil for any.
    public var value: UInt64?

    /// - Parameters:
    ///   - address: where the guest writes.
    ///   - length: how wide, in bytes; 0 for any.
    ///   - value: what it writes; nil for anything.
    public init(_ address: Address, length: UInt32, value: UInt64? = nil) {
        self.address = address
        self.length = length
        self.value = value
    }
}

extension VirtualMachine {
    /// Puts local APICs alone into the kernel: PICs, IOAPIC and PIT are the VMM's to emulate, and its IOAPIC's lines are
    /// routes to messages (``setGSIRouting(_:)``). Only before the first vCPU is made. HLT then no longer exits, and the
    /// EOI of a level-triggered interrupt of these lines comes out as ``VCPUExit/ioapicEOI(vector:)``.
    ///
    /// - Parameter pins: how many inputs the VMM's IOAPIC has; lines 0 to `pins - 1` are its.
    /// - Throws: EEXIST if the VM has interrupt controllers or vCPUs; EINVAL for more than 4096 pins.
    ///
    /// Corresponds to `KVM_ENABLE_CAP` of KVM_CAP_SPLIT_IRQCHIP.
    public func createSplitInterruptController(pins: Int = IOAPICState.pinCount) throws(KVMError) {
        try enable(.splitIRQChip, arguments: SIMD4(UInt64(bitPattern: Int64(pins)), 0, 0, 0))
    }

    /// Replaces where interrupt lines go, all of them: a line that is not in the list goes nowhere.
    ///
    /// - Throws: EINVAL without interrupt controllers in the kernel, for more routes or a higher line than
    ///   KVM_CAP_IRQ_ROUTING says, for an input that there is not, or a line that goes to one chip twice or to a message
    ///   and elsewhere. The routes are then as they were.
    ///
    /// Corresponds to `KVM_SET_GSI_ROUTING`; needs KVM_CAP_IRQ_ROUTING.
    public func setGSIRouting(_ routes: [GSIRoute]) throws(KVMError) {
        let entrySize = MemoryLayout<kvm_irq_routing_entry>.size
        var bytes = [UInt8](repeating: 0, count: 8 + routes.count * entrySize)
        bytes.store(UInt32(truncatingIfNeeded: routes.count), at: 0)
        // SAFETY: entry `index` ends at 8 + (index + 1) * entrySize, which is within the bytes made for all of them.
        bytes.withUnsafeMutableBytes { buffer in
            for (index, route) in routes.enumerated() {
                buffer.storeBytes(
                    of: route.encoded, toByteOffset: 8 + index * entrySize, as: kvm_irq_routing_entry.self)
            }
        }
        let limit = check(.irqRouting)
        try handle.call(.setGSIRouting, bytes: &bytes) { errno in
            guard errno == .invalidArgument else { return nil }
            if let high = routes.first(where: { $0.gsi >= UInt32(limit) }) {
                return
                    "line \(high.gsi) is out of range; this KVM takes 0 to \(limit - 1) (KVM_CAP_IRQ_ROUTING)"
            }
            return
                "there are no interrupt controllers in the kernel (KVM_CREATE_IRQCHIP makes them), an input that is "
                + "not there, or a line that goes to one chip twice or to a message and elsewhere"
        }
    }

    // MARK: Events in place of calls and exits

    /// Makes each signal of `event` an interrupt on a line, which is raised and lowered: for devices whose interrupts
    /// are edges, or messages. The guest need not exit for it, and no call is made.
    ///
    /// - Throws: EBUSY if the event is assigned already; EINVAL or EAGAIN without interrupt controllers in the kernel;
    ///   ENOTSUP for a VM of another process.
    ///
    /// Corresponds to `KVM_IRQFD`; needs KVM_CAP_IRQFD.
    public func assignIRQFD(_ event: borrowing EventFD, gsi: UInt32) throws(KVMError) {
        try irqfd(event.descriptor, gsi: gsi, flags: 0)
    }

    /// The same for a level-triggered line: a signal of `event` raises it, and the guest's EOI lowers it and signals
    /// `resample`, whereupon the device signals again if it still wants to interrupt.
    ///
    /// - Throws: as ``assignIRQFD(_:gsi:)``; EINVAL with local APICs alone in the kernel.
    ///
    /// Corresponds to `KVM_IRQFD` with KVM_IRQFD_FLAG_RESAMPLE; needs KVM_CAP_IRQFD_RESAMPLE.
    public func assignIRQFD(
        _ event: borrowing EventFD, gsi: UInt32, resample: borrowing EventFD
    ) throws(KVMError) {
        try irqfd(
            event.descriptor, gsi: gsi, flags: UInt32(KVM_IRQFD_FLAG_RESAMPLE), resample: resample.descriptor)
    }

    /// Takes an event from a line again; nothing happens where it was not assigned.
    ///
    /// Corresponds to `KVM_IRQFD` with KVM_IRQFD_FLAG_DEASSIGN; needs KVM_CAP_IRQFD.
    public func deassignIRQFD(_ event: borrowing EventFD, gsi: UInt32) throws(KVMError) {
        try irqfd(event.descriptor, gsi: gsi, flags: UInt32(KVM_IRQFD_FLAG_DEASSIGN))
    }

    private func irqfd(_ event: Int32, gsi: UInt32, flags: UInt32, resample: Int32 = 0) throws(KVMError) {
        try requireOurs(.irqfd)
        var argument = kvm_irqfd()
        argument.fd = UInt32(bitPattern: event)
        argument.gsi = gsi
        argument.flags = flags
        argument.resamplefd = UInt32(bitPattern: resample)
        try handle.call(.irqfd, &argument) { errno in
            switch errno {
            case .resourceBusy: "the event is assigned to a line already"
            case .invalidArgument, .resourceTemporarilyUnavailable:
                "the VM has no such interrupt controllers in the kernel (KVM_CREATE_IRQCHIP makes them)"
            default: nil
            }
        }
    }

    /// Makes each write of the guest that matches add 1 to `event`, without an exit.
    ///
    /// - Throws: EEXIST where another event has the same writes; EINVAL for a length that is none, or an address at which
    ///   the access would wrap; ENOTSUP for a VM of another process.
    ///
    /// Corresponds to `KVM_IOEVENTFD`; needs KVM_CAP_IOEVENTFD.
    public func assignIOEventFD(_ event: borrowing EventFD, _ writes: IOEvent) throws(KVMError) {
        try ioeventfd(event.descriptor, writes, flags: 0)
    }

    /// Lets these writes exit again.
    ///
    /// - Throws: ENOENT where `event` was not assigned to just these writes.
    ///
    /// Corresponds to `KVM_IOEVENTFD` with KVM_IOEVENTFD_FLAG_DEASSIGN; needs KVM_CAP_IOEVENTFD.
    public func deassignIOEventFD(_ event: borrowing EventFD, _ writes: IOEvent) throws(KVMError) {
        // 1 << kvm_ioeventfd_flag_nr_deassign.
        try ioeventfd(event.descriptor, writes, flags: 1 << 2)
    }

    private func ioeventfd(_ event: Int32, _ writes: IOEvent, flags: UInt32) throws(KVMError) {
        try requireOurs(.ioeventfd)
        var argument = kvm_ioeventfd()
        argument.fd = event
        argument.len = writes.length
        argument.flags = flags
        switch writes.address {
        case .port(let port):
            argument.addr = UInt64(port)
            // 1 << kvm_ioeventfd_flag_nr_pio.
            argument.flags |= 1 << 1
        case .mmio(let gpa): argument.addr = gpa
        }
        if let value = writes.value {
            argument.datamatch = value
            // 1 << kvm_ioeventfd_flag_nr_datamatch.
            argument.flags |= 1 << 0
        }
        try handle.call(.ioeventfd, &argument) { errno in
            switch errno {
            case .fileExists: "another event has these writes"
            case .noSuchFileOrDirectory: "the event is not assigned to these writes"
            case .invalidArgument: "the length must be 1, 2, 4 or 8, or 0 for any, and then without a value"
            default: nil
            }
        }
    }

    /// Descriptors of this process mean nothing to a VM of another one.
    func requireOurs(_ request: Request) throws(KVMError) {
        guard case .direct = handle.channel else {
            throw KVMError(
                request.name, .notSupported,
                advice: "the VM belongs to another process, which has to do this itself")
        }
    }
}
