import DebugTarget
import Debugger
import KVMCore
import X86

extension CommandTable {
    static let vcpuCommands: [Command] = [
        Command(
            "vcpu create", ["vcpu add"], "[ID] [at ADDR]", .vcpus, "create a vCPU",
            details: """
                KVM_CREATE_VCPU with the ID given or the lowest that is free, its registers and a thread for it; \
                says what each part cost. `at ADDR` makes it start there; without, it is as at reset and waits for \
                INIT and SIPI.
                """,
            examples: [
                .init("vcpu create", "the next id"), .init("vcpu create 3 at 0x8000", "starts there"),
            ],
            completion: [.none, .none, .expression], whileRunning: true, action: VCPUActions.create),
        Command(
            "vcpu list", ["info vcpus", "info threads"], "", .vcpus,
            "list the vCPUs: state, place, thread and use of time", whileRunning: true,
            action: VCPUActions.list),
        Command(
            "vcpu info", ["info vcpu"], "[ID]", .vcpus, "show one vCPU: thread, switches, use of time, exits",
            details: """
                The shares of guest, kernel and user mode are of the time since this vCPU was last shown or, at \
                first, since the session began.
                """,
            completion: [.vcpu], whileRunning: true, action: VCPUActions.info),
        Command(
            "vcpu select", ["cpu", "thread", "vcpu"], "ID", .vcpus,
            "select the vCPU that commands are about",
            examples: [.init("cpu 1", "registers, steps and memory are now vCPU 1's")],
            completion: [.vcpu], whileRunning: true, action: VCPUActions.select),
    ]
}

enum VCPUActions {
    static func create(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard let target = session.debugger.target as? any VCPUCreating else {
            throw call.error(
                "vCPUs cannot be added to \(session.debugger.target.name)",
                remedy: "only a guest that kvmscope itself runs can be given more")
        }
        var arguments = call.arguments[...]
        var id: Int?
        if let first = arguments.first, first.text != "at" {
            let value = try session.number(first, call)
            guard let number = Int(exactly: value), number <= Int(Int32.max) else {
                throw call.error(
                    "\(session.signed(value)) cannot be the id of a vCPU", at: first,
                    remedy: "ids count from 0")
            }
            id = number
            arguments = arguments.dropFirst()
        }
        var entry: UInt64?
        if let word = arguments.first {
            guard word.text == "at" else { throw call.usageError("`at` is missing", at: word) }
            guard let place = arguments.dropFirst().first else {
                throw call.usageError("there is no address after `at`", at: word)
            }
            let address = try session.address(place, call)
            entry = try call.perform(at: place) { () throws(DebuggerError) in
                try session.debugger.linear(address)
            }
            if let extra = arguments.dropFirst(2).first {
                throw call.usageError("nothing follows the address", at: extra)
            }
        }
        let creation: VCPUCreation
        do {
            creation = try target.createVCPU(id: id, at: entry)
        } catch let error as KVMError {
            throw call.error(
                "the vCPU was not created: \(error.operation): \(error.errno)", remedy: error.advice)
        } catch {
            throw call.error("the vCPU was not created: \(error)")
        }
        try call.perform { () throws(DebuggerError) in try session.debugger.refreshVCPUs() }
        return .done(VCPUCreatedOutput(creation))
    }

    static func list(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        var rows: [VCPUOutput] = []
        for identity in session.debugger.target.vcpus { rows.append(try facts(session, call, identity)) }
        return .done(VCPUListOutput(selected: session.debugger.selectedVCPU, vcpus: rows))
    }

    static func info(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(1)
        var id = session.debugger.selectedVCPU
        if let argument = call.arguments.first { id = try session.vcpuID(argument, call) }
        guard let identity = session.debugger.target.vcpus.first(where: { $0.id == id }) else {
            throw call.error("there is no vCPU \(id) any more")
        }
        return .done(try facts(session, call, identity))
    }

    static func select(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        guard let argument = call.arguments.first else {
            throw call.usageError("`cpu` needs the id of a vCPU")
        }
        try call.checkCount(1)
        let id = try session.vcpuID(argument, call)
        try call.perform(at: argument) { () throws(DebuggerError) in try session.debugger.select(vcpu: id) }
        // `x` and `u` went on in the other vCPU's address space.
        session.examine.next = nil
        session.examine.nextCode = nil
        guard !session.isRunning else { return .done(Message("vCPU \(id) is selected.")) }
        let line = try call.perform { () throws(DebuggerError) in try session.debugger.stopLine(vcpu: id) }
        return .done(
            VCPUSelected(
                vcpu: id, line,
                digits: session.debugger.selected.mode.offsetDigits))
    }

    private static func facts(
        _ session: Session, _ call: Invocation, _ identity: VCPUIdentity
    ) throws(CommandError) -> VCPUOutput {
        let snapshot: VCPUSnapshot?
        if session.isRunning {
            snapshot = try call.perform { () throws(DebuggerError) in
                try session.debugger.liveSnapshot(vcpu: identity.id)
            }
        } else {
            snapshot = session.debugger.stop[identity.id]
        }
        return session.vcpuOutput(identity, snapshot, session.debugger.target.exits.statistics())
    }
}
