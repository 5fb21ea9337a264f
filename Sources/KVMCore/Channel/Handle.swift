import CKVM
import SystemPackage

/// A KVM descriptor with the channel that its calls go through. Closed once, if it is ours.
struct Handle: ~Copyable, Sendable {
    let descriptor: Int32
    let channel: Channel
    private let isOwned: Bool
    #if DEBUG
        /// Whether a thread is in KVM_RUN: what the contract of ``VCPU`` forbids would wait for its end, unseen.
        let use = RunUse()
    #endif

    /// Takes over a descriptor of this process.
    init(owning descriptor: Int32) {
        self.descriptor = descriptor
        channel = .direct
        isOwned = true
    }

    /// Refers to a descriptor that someone else closes.
    init(borrowing descriptor: Int32, channel: Channel) {
        self.descriptor = descriptor
        self.channel = channel
        isOwned = false
    }

    deinit {
        if isOwned { ckvm_close(descriptor) }
    }

    /// The bare call: its result, or `-errno`.
    @inline(__always)
    func raw(_ request: Request, value: UInt) -> Int32 {
        switch channel {
        case .direct: ckvm_ioctl_value(descriptor, request.number, value)
        case .remote(let remote): remote.call(descriptor, request.number, value: value)
        }
    }

    /// KVM_RUN: its result, or `-errno`.
    @inline(__always)
    func run() -> Int32 {
        #if DEBUG
            use.begin()
            defer { use.end() }
        #endif
        return raw(.run, value: 0)
    }

    /// The bare call on bytes that the caller keeps alive.
    func raw(_ request: Request, _ argument: UnsafeMutableRawBufferPointer) -> Int32 {
        switch channel {
        case .direct:
            // SAFETY: the request's structure fits `argument`, which outlives the call; see `call`.
            ckvm_ioctl_pointer(descriptor, request.number, argument.baseAddress)
        case .remote(let remote): remote.call(descriptor, request.number, argument)
        }
    }

    /// A call whose argument is a number.
    @discardableResult
    func call(_ request: Request, value: UInt = 0, advice: (Errno) -> String? = { _ in nil })
        throws(KVMError) -> Int32
    {
        try settled(request, advice) { raw(request, value: value) }
    }

    /// A call whose argument is one structure, which the kernel reads, fills or both.
    @discardableResult
    func call<Argument>(
        _ request: Request, _ argument: inout Argument, advice: (Errno) -> String? = { _ in nil }
    ) throws(KVMError) -> Int32 {
        try settled(request, advice) {
            // SAFETY: `Argument` is the structure that the request is defined for.
            withUnsafeMutableBytes(of: &argument) { raw(request, $0) }
        }
    }

    /// A call whose argument has a variable length: a header that says how long, and entries.
    @discardableResult
    func call(_ request: Request, bytes: inout [UInt8], advice: (Errno) -> String? = { _ in nil })
        throws(KVMError) -> Int32
    {
        try settled(request, advice) {
            // SAFETY: the count in the header was written from the number of entries in `bytes`.
            bytes.withUnsafeMutableBytes { raw(request, $0) }
        }
    }

    /// A call whose argument holds, at `offset`, the address of `words`.
    @discardableResult
    func call<Argument>(
        _ request: Request, _ argument: inout Argument, offset: Int, indirect words: inout [UInt64],
        advice: (Errno) -> String? = { _ in nil }
    ) throws(KVMError) -> Int32 {
        precondition(offset >= 0 && offset + MemoryLayout<UInt>.size <= MemoryLayout<Argument>.size)
        return try settled(request, advice) {
            // SAFETY: `offset` lies inside the structure, and `words` has the length that it announces.
            withUnsafeMutableBytes(of: &argument) { argument in
                words.withUnsafeMutableBytes { words in
                    switch channel {
                    case .direct:
                        ckvm_ioctl_indirect(
                            descriptor, request.number, argument.baseAddress, offset, words.baseAddress)
                    case .remote(let remote):
                        remote.call(descriptor, request.number, argument, offset: offset, indirect: words)
                    }
                }
            }
        }
    }

    /// The one place where a failed call becomes an error.
    ///
    /// A call that a signal interrupted is made again: only KVM_RUN gives EINTR a meaning, and it does not
    /// come here. (KVM_CREATE_VM starts a kernel thread and does give EINTR when a signal is pending.)
    @inline(__always)
    private func settled(_ request: Request, _ advice: (Errno) -> String?, _ body: () -> Int32)
        throws(KVMError) -> Int32
    {
        #if DEBUG
            use.requireIdle(request.name)
        #endif
        while true {
            let result = body()
            if result >= 0 { return result }
            if result == -Errno.interrupted.rawValue { continue }
            throw KVMError(request, result) { trouble ?? advice($0) }
        }
    }

    /// What the channel knows of a call that failed.
    private var trouble: String? {
        switch channel {
        case .direct: nil
        case .remote(let remote): remote.trouble
        }
    }
}

extension KVMError {
    /// - Parameter result: `-errno`.
    init(_ request: Request, _ result: Int32, advice: (Errno) -> String? = { _ in nil }) {
        let errno = Errno(rawValue: result == .min ? .max : -result)
        self.init(request.name, errno, advice: advice(errno) ?? Self.generalAdvice(errno))
    }

    /// What an errno means whichever the call.
    static func generalAdvice(_ errno: Errno) -> String? {
        switch errno {
        case .ioError: "the VM belongs to another process, or the kernel has given it up as broken"
        case .inappropriateIOCTLForDevice: "this kernel's KVM does not have the call"
        case .noMemory: "the host is out of memory"
        case .tooManyOpenFiles: "this process has too many open descriptors; raise `ulimit -n`"
        case .tooManyOpenFilesInSystem: "the host has too many open files; raise fs.file-max"
        default: nil
        }
    }
}
