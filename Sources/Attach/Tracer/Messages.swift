import DebugTarget
import Host

/// One vCPU as the tracer knows it.
struct TracedVCPU: Sendable, Hashable {
    var id: Int32
    /// In the VMM.
    var descriptor: Int32
    /// 0 where none has run it yet.
    var thread: Int32
    /// What a tracer that was killed has left in it.
    var legacy: Legacy?

    struct Legacy: Sendable, Hashable {
        /// `kvm_valid_regs` as the VMM had it.
        var validRegisters: UInt64
        /// Guest debug is on.
        var isArmed: Bool
        /// What has to be put back in the thread; nil for nothing.
        var record: ThreadRecord?
    }
}

/// How a vCPU is resumed.
enum GoMode: UInt8, Sendable {
    /// The guest runs; the tracer sees to it that debug exits come here.
    case run = 0
    /// The same, and each exit that the VMM has handled is completed and reported.
    case runReportingHandled = 1
}

/// What the front end asks of the tracer.
enum TracerRequest: Sendable, Hashable {
    /// Takes a guest on: maps the shared pages and makes registers come with each exit. Stops nothing. Answered by
    /// `.attached`.
    case attach(process: Int32, mappingSize: UInt32, syncMask: UInt64, vcpus: [TracedVCPU])
    /// Stops all vCPUs. Answered by `.stopped`.
    case stop
    /// Lets the vCPUs with these indices go. Not answered.
    case go([Go])
    /// An ioctl whose argument is a number, in the VMM.
    case callValue(descriptor: Int32, request: UInt64, value: UInt64)
    /// An ioctl whose argument is memory.
    case callBytes(descriptor: Int32, request: UInt64, argument: [UInt8])
    /// An ioctl whose argument holds the address of more memory at `offset`.
    case callIndirect(
        descriptor: Int32, request: UInt64, argument: [UInt8], offset: UInt32, indirect: [UInt8])
    /// close() in the VMM, of a descriptor that a call of ours made there.
    case close(descriptor: Int32)
    /// Answered by `.nudged`: wakes who waits for events.
    case nudge
    /// Answered by `.standstills`.
    case standstills
    /// Takes on vCPUs that have come since `.attach`, after those that are there. Answered by `.attached`.
    case add(vcpus: [TracedVCPU])
    /// Where the guest's memory is. Not answered.
    case memory([MemoryRegion])
    /// Which of these threads of a process run which vCPU: each is stopped for a moment. Of an attached guest, what is
    /// known. Answered by `.found`.
    case find(process: Int32, threads: [Int32])
    /// Starts a program and follows it: first of all, in place of an attached guest.
    case launch(arguments: [String], input: String, output: String)
    /// From now on the calls of the launched VMM's vCPU threads are watched, and `.progress` tells the memory map as
    /// they have left it. Not answered.
    case watchCalls
    /// Keeps a VMM from running whose tracer is about to end: until `.detach`, or the front end's end. These threads are
    /// traced by it. Answered by `.done`.
    case pause(process: Int32, threads: [Int32])
    /// Where the launched program stands. Answered by `.progress`.
    case progress
    /// These bytes of guest memory are about to be overwritten with `patch`, each of them: they are to be put back
    /// in the end. Not answered.
    case patch(gpa: UInt64, patch: UInt8, hidden: [UInt8])
    /// They are the guest's own again. Not answered.
    case unpatch(gpa: UInt64, count: UInt16)
    /// What a `.changed` told was looked at. `isPending`: there is something that is not there yet, so that it is to be
    /// told of again. Not answered.
    case noticed(isPending: Bool)
    /// Registers are to come with each exit: KVM_SYNC_X86_*. Not answered.
    case synchronise(mask: UInt64)
    /// Puts everything back and detaches. Answered by `.released`.
    case detach

    var isAboutPatches: Bool {
        switch self {
        case .patch, .unpatch: true
        default: false
        }
    }

    /// They are to be as they were left.
    var isAboutVCPUs: Bool {
        switch self {
        case .stop, .go, .callValue, .callBytes, .callIndirect, .close: true
        default: false
        }
    }

    struct Go: Sendable, Hashable {
        var index: UInt16
        var mode: GoMode
        /// Debug exits that need not be told of.
        var plan: UnattendedSteps?
    }
}

/// What the tracer says.
enum TracerReply: Sendable, Hashable {
    case done
    /// What the VMM itself has in each `kvm_valid_regs`.
    case attached([UInt64])
    case refused(HostGuestError)
    /// How each vCPU stands, by index; and the nanoseconds from the first one held to the last, 0 if they did not come to
    /// stop together for this.
    case stopped([Standing], spread: UInt64)
    /// What an ioctl returned (or -errno), and its argument as the kernel left it.
    case called(result: Int32, argument: [UInt8], indirect: [UInt8])
    case nudged
    /// How often the guest was stopped, for how long the last time, and in all; nanoseconds.
    case standstills(count: UInt64, last: UInt64, total: UInt64)
    case progress(LaunchedMachine.Progress)
    /// Threads that were in KVM_RUN, and the descriptors of their vCPUs.
    case found([ThreadLook.Found])
    /// What detaching put back: threads that were traced, vCPUs whose guest debug was on, shared pages, patched bytes;
    /// and how long
    /// the guest had was stopped, if it did.
    case released(threads: UInt16, guestDebug: UInt16, pages: UInt16, patches: UInt32, stood: UInt64)
    /// A vCPU that was resumed is stopped again.
    case event(Event)
    /// The VMM has other threads or descriptors than before, and so perhaps vCPUs, or a patch is overwritten. Told once
    /// until the next request.
    case changed

    /// How a vCPU stands.
    enum Standing: UInt8, Sendable {
        /// After a KVM_RUN that ended with a debug exit.
        case debug = 0
        /// In KVM_RUN, interrupted by us; pending I/O is completed.
        case interrupted = 1
        /// After an exit that the VMM has handled and that is completed.
        case handled = 2
        /// Elsewhere in the VMM: its guest is paused, or the VMM is busy with it.
        case elsewhere = 3
        /// The thread has ended.
        case gone = 4
        /// It runs.
        case running = 5
        /// On a patch, which it came to.
        case patch = 6
        /// No thread has run it yet; all threads of the VMM are stopped.
        case absent = 7
        /// After an exit that the guest cannot go on from by itself, which the VMM has not seen yet.
        case fatal = 8
    }

    struct Event: Sendable, Hashable {
        var index: UInt16
        var standing: Standing
        /// How long the guest was stopped, if that ended since the last thing told; nanoseconds, or 0.
        var stood: UInt64
        /// Of `.handled` and `.fatal`: `struct kvm_run` as it was at the exit, its I/O data after it. The same of `.debug`, where
        /// completing that exit was the end of a step; otherwise empty.
        var page: [UInt8]
        /// Debug exits that the plan covered, since the vCPU was resumed.
        var passed = Passed()
    }

    /// What went on unseen.
    struct Passed: Sendable, Hashable {
        var count: UInt64 = 0
        /// When the last of them was; monotonic nanoseconds.
        var last: UInt64 = 0
        /// The registers then, as ``SyncedRegisters/range`` has them; empty if there were none.
        var registers: [UInt8] = []
    }
}
