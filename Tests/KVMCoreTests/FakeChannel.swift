import CKVM
import Glibc
import KVMCore
import Locking

/// A kernel of another process that is not there: what a SET brings, the matching GET gives back.
final class FakeChannel: RemoteChannel {
    struct Call: Sendable, Equatable {
        var descriptor: Int32
        var request: UInt
        var value: UInt = 0
        var size = 0
    }
    private struct Contents {
        var calls: [Call] = []
        /// Entries of 40 bytes that KVM_GET_CPUID2 gives, as kernels before 6.5 do.
        var cpuidEntries: [UInt8]?
        /// Calls that answer E2BIG, with the header, where the buffer is too short.
        var sized: Set<UInt> = []
        var stored: [UInt: [UInt8]] = [:]
        var results: [UInt: [Int32]] = [:]
    }
    private let contents = Lock(Contents())

    /// The request that stores for each that loads.
    private static let pairs: [UInt: UInt] = [
        ckvm_get_regs: ckvm_set_regs, ckvm_get_sregs: ckvm_set_sregs, ckvm_get_fpu: ckvm_set_fpu,
        ckvm_get_xsave: ckvm_set_xsave, ckvm_get_xsave2: ckvm_set_xsave, ckvm_get_xcrs: ckvm_set_xcrs,
        ckvm_get_debugregs: ckvm_set_debugregs, ckvm_get_cpuid2: ckvm_set_cpuid2,
        ckvm_get_lapic: ckvm_set_lapic, ckvm_get_mp_state: ckvm_set_mp_state,
        ckvm_get_vcpu_events: ckvm_set_vcpu_events, ckvm_get_irqchip: ckvm_set_irqchip,
        ckvm_get_pit2: ckvm_set_pit2, ckvm_get_clock: ckvm_set_clock,
        ckvm_get_dirty_log: ckvm_clear_dirty_log,
        ckvm_get_msrs: ckvm_set_msrs, ckvm_get_nested_state: ckvm_set_nested_state,
    ]

    var calls: [Call] { contents.withLock { $0.calls } }

    /// What calls of a kind return, one after the other; 0 after the last.
    func answer(_ request: UInt, with results: [Int32]) {
        contents.withLock { $0.results[request] = results }
    }

    /// Stores what a GET gives, as if a SET had brought it.
    func put(_ get: UInt, _ bytes: [UInt8]) {
        contents.withLock { $0.stored[Self.pairs[get] ?? get] = bytes }
    }

    /// From now on KVM_GET_CPUID2 is that of Linux 5.10 to 6.4: E2BIG where the buffer is too short, and else the
    /// entries, with the count left as it was asked for.
    func kernelLeavesCPUIDCount(entries: [UInt8]) {
        contents.withLock { $0.cpuidEntries = entries }
    }

    /// From now on a call answers E2BIG where the buffer is too short, with a header that says how long it has to be.
    func kernelTellsSizes(of request: UInt) {
        contents.withLock { _ = $0.sized.insert(request) }
    }

    private func result(_ contents: inout Contents, _ call: Call) -> Int32 {
        contents.calls.append(call)
        guard var results = contents.results[call.request], !results.isEmpty else { return 0 }
        let result = results.removeFirst()
        contents.results[call.request] = results
        return result
    }

    func call(_ descriptor: Int32, _ request: UInt, value: UInt) -> Int32 {
        contents.withLock { contents in
            result(&contents, Call(descriptor: descriptor, request: request, value: value))
        }
    }

    func call(_ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawBufferPointer) -> Int32 {
        let bytes = Array(argument)
        let (result, answer) = contents.withLock { contents -> (Int32, [UInt8]?) in
            let result = self.result(
                &contents, Call(descriptor: descriptor, request: request, size: bytes.count))
            guard result >= 0 else { return (result, nil) }
            if request == ckvm_get_cpuid2, let entries = contents.cpuidEntries {
                return entries.count <= bytes.count - 8 ? (0, bytes.prefix(8) + entries) : (-E2BIG, nil)
            }
            if let set = Self.pairs[request] {
                let stored = contents.stored[set]
                let isShort =
                    contents.sized.contains(request) && stored.map { $0.count > bytes.count } == true
                return (isShort ? -E2BIG : result, stored)
            }
            contents.stored[request] = bytes
            return (result, nil)
        }
        if let answer { argument.copyBytes(from: answer.prefix(argument.count)) }
        return result
    }

    func call(
        _ descriptor: Int32, _ request: UInt, _ argument: UnsafeMutableRawBufferPointer, offset: Int,
        indirect: UnsafeMutableRawBufferPointer
    ) -> Int32 {
        call(descriptor, request, indirect)
    }

    func fetch(_ descriptor: Int32) -> Int32 { dup(descriptor) }
}

/// A descriptor of a file of `size` zeroes, to be mapped in place of a vCPU's.
struct ScratchFile: ~Copyable {
    let descriptor: Int32
    init(size: Int) {
        var path = Array("/tmp/kvm_run.XXXXXX".utf8CString)
        descriptor = mkstemp(&path)
        unlink(path)
        ftruncate(descriptor, size)
    }
    deinit { close(descriptor) }
}
