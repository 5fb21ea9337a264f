public import DebugTarget
import KVMCore
import Locking

extension OwnedMachine: Restarting {
    /// A vCPU that was created since starts where it was created to start, and one that was made to wait waits.
    public func restart() throws {
        guard !isRunning else {
            throw MachineError(.running, "the guest runs", remedy: "stop it first")
        }
        // What can fail of the image fails here, where nothing is lost yet.
        var next = loaded.withLock { $0 }
        if let source = configuration.source {
            next = try source.load(configuration)
            var changed = configuration
            changed.image = next
            _ = try changed.check()
        }
        let image = next
        try parts.memory.clear()
        try VCPUStartState.drainCode.withUnsafeBytes {
            try parts.memory.write(VCPUStartState.drainAddress, $0)
        }
        parts.board.reset()
        parts.powerOff.withLock { $0 = nil }
        try kernelChips?.restore(vm.vm)
        for member in members.withLock({ $0 }) {
            let runner = member.runner
            // Where an image was read anew, it may start elsewhere.
            let entry = member.startsAtEntry ? image?.entry : nil
            let start = member.start
            _ = try withVCPU(member.thread.id) { access in
                guard let vcpu = access as? VCPU else { return }
                try start.restore(vcpu)
                if let entry {
                    let (general, special) = VCPUSetup.registers(entry, reset: start.reset)
                    try vcpu.setSpecialRegisters(special)
                    try vcpu.setRegisters(general)
                }
                runner.restart()
            }
        }
        // Once no vCPU runs any more.
        try parts.memory.clear()
        if let image { try Self.load(image, into: parts.memory) }
        if let bios = parts.bios {
            try bios.setUp(parts.memory)
            try Self.initialiseAsBIOS(parts.chips, vm)
            if bootsDrive { try boot(bios) }
        }
        loaded.withLock { $0 = image }
    }

    static func load(_ image: GuestImage, into memory: MachineMemory) throws {
        for part in image.parts {
            try part.bytes.withUnsafeBytes { try memory.write(part.address, $0) }
        }
    }
}
