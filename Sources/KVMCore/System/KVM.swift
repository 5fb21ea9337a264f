import CKVM
import SystemPackage

/// The host's KVM: an open `/dev/kvm`.
///
/// The root of the core: it makes VMs, and says what this kernel and processor can do. All calls may be made
/// from any thread.
public struct KVM: ~Copyable, Sendable {
    private let handle: Handle

    /// The only version of the API that there has been since 2007.
    public static let expectedAPIVersion: Int32 = 12

    /// True if `/dev/kvm` can be opened and has the expected API version.
    public static var isAvailable: Bool {
        do {
            _ = try open()
            return true
        } catch {
            return false
        }
    }

    /// Opens the device, and checks that its API is the one that this code speaks.
    ///
    /// - Throws: ENOENT, ENODEV or ENXIO where the host has no KVM; EACCES where the user may not use it;
    ///   ENOTSUP for another API version. The advice says what to do.
    public static func open(path: String = "/dev/kvm") throws(KVMError) -> KVM {
        let descriptor = ckvm_open(path)
        guard descriptor >= 0 else {
            let errno = Errno(rawValue: -descriptor)
            throw KVMError(
                "open \(path)", errno, advice: openAdvice(errno, hasExtensions: hostHasVirtualization()))
        }
        let kvm = KVM(handle: Handle(owning: descriptor))
        let version = try kvm.apiVersion()
        guard version == expectedAPIVersion else {
            throw KVMError(
                Request.getAPIVersion.name, .notSupported,
                advice:
                    "\(path) speaks version \(version) of the KVM API, and only \(expectedAPIVersion) is known"
            )
        }
        return kvm
    }

    private init(handle: consuming Handle) {
        self.handle = handle
    }

    /// 12. Corresponds to `KVM_GET_API_VERSION`.
    public func apiVersion() throws(KVMError) -> Int32 {
        try handle.call(.getAPIVersion) { _ in "is this the KVM device?" }
    }

    /// What the kernel says of a capability: 0 without it, and 1 or a number with a meaning of its own with it.
    /// ``VirtualMachine/check(_:)`` may answer otherwise for one VM. Corresponds to `KVM_CHECK_EXTENSION`.
    public func check(_ capability: Capability) -> Int32 {
        // An unknown capability gives 0, not an error.
        max(0, handle.raw(.checkExtension, value: UInt(bitPattern: Int(capability.rawValue))))
    }

    /// The bytes of a vCPU's `kvm_run` area. Corresponds to `KVM_GET_VCPU_MMAP_SIZE`.
    public func runMappingSize() throws(KVMError) -> Int {
        Int(try handle.call(.getVCPUMmapSize))
    }

    /// The CPUID leaves that a vCPU here can have at most, ready for ``VCPU/setCPUID(_:)``; without them a
    /// guest has no 64-bit mode and no SSE. Corresponds to `KVM_GET_SUPPORTED_CPUID`; needs KVM_CAP_EXT_CPUID.
    public func supportedCPUID() throws(KVMError) -> [CPUIDEntry] {
        try handle.cpuidEntries(.getSupportedCPUID)
    }

    /// The MSRs that a vCPU here has and that can be saved and restored.
    /// Corresponds to `KVM_GET_MSR_INDEX_LIST`.
    public func msrIndexList() throws(KVMError) -> [UInt32] {
        // E2BIG tells the number that there are.
        var bytes = [UInt8](repeating: 0, count: 4)
        // SAFETY: the header announces no entries, so the kernel writes the header alone.
        let result = bytes.withUnsafeMutableBytes { handle.raw(.getMSRIndexList, $0) }
        if result < 0, result != -Errno.argListTooLong.rawValue { throw KVMError(.getMSRIndexList, result) }
        let count = Int(bytes.load(0, as: UInt32.self))
        bytes = [UInt8](repeating: 0, count: 4 + count * 4)
        bytes.store(UInt32(count), at: 0)
        try handle.call(.getMSRIndexList, bytes: &bytes)
        return (0..<min(count, Int(bytes.load(0, as: UInt32.self)))).map { bytes.load(4 + $0 * 4) }
    }

    /// A VM with no memory and no vCPU.
    ///
    /// - Parameter type: the machine type; 0 for an ordinary VM.
    /// - Throws: ENOMEM; EINVAL for a type that the kernel does not know.
    ///
    /// Corresponds to `KVM_CREATE_VM`.
    public func createVM(type: UInt = 0) throws(KVMError) -> VirtualMachine {
        let runSize = try runMappingSize()
        let descriptor = try handle.call(.createVM, value: type) { errno in
            errno == .invalidArgument ? "machine type \(type) is not known; 0 is an ordinary VM" : nil
        }
        return VirtualMachine(handle: Handle(owning: descriptor), runMappingSize: runSize)
    }

    /// Why `/dev/kvm` could not be opened, and what to do.
    static func openAdvice(_ errno: Errno, hasExtensions: Bool?) -> String? {
        switch errno {
        case .noSuchFileOrDirectory, .operationNotSupportedByDevice, .noSuchAddressOrDevice:
            switch hasExtensions {
            case true?:
                "the KVM module is not loaded; `modprobe kvm_intel` or `modprobe kvm_amd`"
            case false?:
                "the processor shows neither vmx nor svm in /proc/cpuinfo; turn virtualization on in the "
                    + "firmware, or, in a virtual machine, nested virtualization in its host"
            case nil:
                "load the module with `modprobe kvm_intel` or `modprobe kvm_amd`; if that fails, see whether "
                    + "/proc/cpuinfo has vmx or svm (in a virtual machine: nested virtualization)"
            }
        case .permissionDenied, .notPermitted:
            "join the group of the device with `usermod -aG kvm $USER` and log in again, or run as root"
        default: KVMError.generalAdvice(errno)
        }
    }

    /// Whether the processor shows VMX or SVM; nil where that cannot be read.
    private static func hostHasVirtualization() -> Bool? {
        guard let file = try? FileDescriptor.open("/proc/cpuinfo", .readOnly) else { return nil }
        defer { try? file.close() }
        // The flags of the first processor are within its first few KiB.
        var bytes = [UInt8](repeating: 0, count: 16384)
        var filled = 0
        while filled < bytes.count {
            // SAFETY: `filled` bytes are in the buffer, and the rest of it is lent.
            let count = bytes.withUnsafeMutableBytes { buffer in
                try? file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
            }
            guard let count, count > 0 else { break }
            filled += count
        }
        return flagsShowVirtualization(String(decoding: bytes[..<filled], as: UTF8.self))
    }

    /// Whether the first `flags` line of /proc/cpuinfo has vmx or svm; nil without such a line.
    static func flagsShowVirtualization(_ cpuinfo: String) -> Bool? {
        for line in cpuinfo.split(separator: "\n") where line.hasPrefix("flags") {
            return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).contains {
                $0 == "vmx" || $0 == "svm"
            }
        }
        return nil
    }
}

extension Handle {
    /// Fetches CPUID leaves with a buffer that grows until they fit.
    func cpuidEntries(_ request: Request) throws(KVMError) -> [CPUIDEntry] {
        var capacity = 128
        while true {
            guard let bytes = try cpuidBytes(request, capacity: capacity) else {
                guard capacity < 65536 else { throw KVMError(request, -Errno.argListTooLong.rawValue) }
                capacity *= 2
                continue
            }
            let entries = ByteCoding.decodeCPUID(bytes)
            guard entries.count == capacity else { return entries }
            return Array(entries.prefix(try cpuidCount(request, bytes)))
        }
    }

    /// How many entries of a full answer the kernel wrote.
    ///
    /// Before Linux 6.5 KVM_GET_CPUID2 leaves the count as it was asked for and writes the entries that there are
    /// (kvm_vcpu_ioctl_get_cpuid2 in arch/x86/kvm/cpuid.c). Those after them still have the filling. An entry could
    /// look like it, so the count is tried: the call gives E2BIG for fewer than there are.
    private func cpuidCount(_ request: Request, _ bytes: [UInt8]) throws(KVMError) -> Int {
        let capacity = ByteCoding.cpuidCapacity(bytes)
        var count = ByteCoding.filledCPUIDEntries(bytes)
        while count < capacity {
            if try cpuidBytes(request, capacity: count) != nil { return count }
            count += 1
        }
        return capacity
    }

    /// The answer for a buffer of `capacity` entries; nil where that is too few.
    private func cpuidBytes(_ request: Request, capacity: Int) throws(KVMError) -> [UInt8]? {
        while true {
            var bytes = ByteCoding.cpuidBuffer(capacity: capacity)
            // SAFETY: the header announces `capacity` entries, and the buffer has room for them.
            let result = bytes.withUnsafeMutableBytes { raw(request, $0) }
            if result >= 0 { return bytes }
            if result == -Errno.interrupted.rawValue { continue }
            if result == -Errno.argListTooLong.rawValue { return nil }
            throw KVMError(request, result)
        }
    }
}
