import CKVM
import SystemPackage

/// One attribute of a device, a vCPU or KVM itself. Source: api.rst, 4.80; Documentation/virt/kvm/devices.
public struct DeviceAttribute: Sendable, Hashable {
    /// What the owner calls a group: KVM_DEV_VFIO_GROUP, KVM_VCPU_TSC_CTRL.
    public var group: UInt32
    /// Its number in the group.
    public var number: UInt64

    /// - Parameters:
    ///   - group: the owner's number of the group.
    ///   - number: the attribute's in the group.
    public init(group: UInt32, number: UInt64) {
        self.group = group
        self.number = number
    }

    /// KVM_VCPU_TSC_OFFSET of a vCPU: what is added to the host's TSC, scaled, to give the guest's; 8 bytes.
    /// Since Linux 5.16; a KVM that gives guests the host's TSC takes it and keeps 0, and one whose
    /// host's TSC is not stable keeps moving it. Source: Documentation/virt/kvm/devices/vcpu.rst, 4.1.
    public static let tscOffset = DeviceAttribute(group: 0, number: 0)
    /// KVM_DEV_VFIO_GROUP_ADD of a ``KVMDevice/Kind/vfio`` device: a descriptor of a VFIO group or device that the VM uses.
    public static let vfioAdd = DeviceAttribute(group: 1, number: 1)
    /// KVM_DEV_VFIO_GROUP_DEL: the same descriptor, no longer used.
    public static let vfioRemove = DeviceAttribute(group: 1, number: 2)
}

/// A device of a VM that the kernel emulates or knows of: what `KVM_CREATE_DEVICE` makes. Its descriptor is closed with
/// this value; the device is there as long as its VM. All calls may be made from any thread.
public struct KVMDevice: ~Copyable, Sendable {
    /// `enum kvm_device_type`. x86 has VFIO alone (and TDX's none).
    public struct Kind: RawRepresentable, Sendable, Hashable {
        /// The kernel's number.
        public var rawValue: UInt32
        /// - Parameter rawValue: the kernel's number.
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// KVM_DEV_TYPE_VFIO: makes devices that VFIO has given to the guest known to its VM.
        public static let vfio = Kind(rawValue: 4)
    }

    private let handle: Handle

    init(_ handle: consuming Handle) { self.handle = handle }

    /// The device's descriptor.
    public var descriptor: Int32 { handle.descriptor }

    /// Whether the device has an attribute. Corresponds to `KVM_HAS_DEVICE_ATTR`.
    public func has(_ attribute: DeviceAttribute) -> Bool { handle.has(attribute) }

    /// Sets an attribute.
    ///
    /// - Parameters:
    ///   - attribute: which.
    ///   - words: its value, as long as the attribute is; a descriptor is in the low half of the first.
    /// - Throws: ENXIO for an attribute that there is not; others as the device has them.
    ///
    /// Corresponds to `KVM_SET_DEVICE_ATTR`.
    public func set(_ attribute: DeviceAttribute, _ words: [UInt64]) throws(KVMError) {
        try handle.set(attribute, words)
    }

    /// Reads an attribute.
    ///
    /// - Parameters:
    ///   - attribute: which.
    ///   - words: how many words of 8 bytes to give of its value.
    /// - Throws: ENXIO for an attribute that there is not or that cannot be read.
    ///
    /// Corresponds to `KVM_GET_DEVICE_ATTR`.
    public func get(_ attribute: DeviceAttribute, words: Int) throws(KVMError) -> [UInt64] {
        try handle.get(attribute, words: words)
    }
}

extension Handle {
    func has(_ attribute: DeviceAttribute) -> Bool {
        var argument = kvm_device_attr(flags: 0, group: attribute.group, attr: attribute.number, addr: 0)
        do {
            try call(.hasDeviceAttr, &argument)
            return true
        } catch {
            return false
        }
    }

    func set(_ attribute: DeviceAttribute, _ words: [UInt64]) throws(KVMError) {
        _ = try exchange(.setDeviceAttr, attribute, words)
    }

    func get(_ attribute: DeviceAttribute, words: Int) throws(KVMError) -> [UInt64] {
        Array(try exchange(.getDeviceAttr, attribute, []).prefix(max(0, words)))
    }

    /// The call takes no length: the kernel reads or writes as many bytes as the attribute has. The buffer has a page,
    /// and no attribute of x86 more than 8 bytes.
    private func exchange(
        _ request: Request, _ attribute: DeviceAttribute, _ words: [UInt64]
    ) throws(KVMError) -> [UInt64] {
        var argument = kvm_device_attr(flags: 0, group: attribute.group, attr: attribute.number, addr: 0)
        var value = words + [UInt64](repeating: 0, count: max(0, 512 - words.count))
        try call(request, &argument, offset: 16, indirect: &value) { errno in
            errno == .noSuchAddressOrDevice
                ? "there is no attribute \(attribute.number) in group \(attribute.group)" : nil
        }
        return value
    }
}

extension VirtualMachine {
    /// Makes a device.
    ///
    /// - Throws: ENODEV for a kind that this KVM does not have; EEXIST or EBUSY for a second where there can be one;
    ///   ENOTSUP for a VM of another process.
    ///
    /// Corresponds to `KVM_CREATE_DEVICE`; needs KVM_CAP_DEVICE_CTRL.
    public func createDevice(_ kind: KVMDevice.Kind) throws(KVMError) -> KVMDevice {
        try requireOurs(.createDevice)
        var argument = kvm_create_device(type: kind.rawValue, fd: 0, flags: 0)
        try handle.call(.createDevice, &argument) { errno in
            switch errno {
            case .operationNotSupportedByDevice: "this KVM has no device of type \(kind.rawValue)"
            case .fileExists, .resourceBusy: "the VM has such a device already"
            default: nil
            }
        }
        return KVMDevice(Handle(owning: Int32(bitPattern: argument.fd)))
    }

    /// Whether ``createDevice(_:)`` has a kind; none is made.
    ///
    /// Corresponds to `KVM_CREATE_DEVICE` with KVM_CREATE_DEVICE_TEST; needs KVM_CAP_DEVICE_CTRL.
    public func canCreateDevice(_ kind: KVMDevice.Kind) -> Bool {
        var argument = kvm_create_device(
            type: kind.rawValue, fd: 0, flags: UInt32(KVM_CREATE_DEVICE_TEST))
        do {
            try handle.call(.createDevice, &argument)
            return true
        } catch {
            return false
        }
    }
}

extension VCPU {
    /// Whether the vCPU has an attribute. Corresponds to `KVM_HAS_DEVICE_ATTR`; needs KVM_CAP_VCPU_ATTRIBUTES.
    public func hasAttribute(_ attribute: DeviceAttribute) -> Bool { handle.has(attribute) }

    /// Reads an attribute of 8 bytes, as ``DeviceAttribute/tscOffset``.
    ///
    /// - Throws: ENXIO for an attribute that there is not.
    ///
    /// Corresponds to `KVM_GET_DEVICE_ATTR`; needs KVM_CAP_VCPU_ATTRIBUTES.
    public func attribute(_ attribute: DeviceAttribute) throws(KVMError) -> UInt64 {
        try handle.get(attribute, words: 1)[0]
    }

    /// Sets an attribute of 8 bytes.
    ///
    /// - Throws: ENXIO for an attribute that there is not.
    ///
    /// Corresponds to `KVM_SET_DEVICE_ATTR`; needs KVM_CAP_VCPU_ATTRIBUTES.
    public func setAttribute(_ attribute: DeviceAttribute, _ value: UInt64) throws(KVMError) {
        try handle.set(attribute, [value])
    }
}
