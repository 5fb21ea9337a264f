import Disassembler
import X86

/// #UD, #NM and #MF: instructions that control registers, or the state of the x87, keep from being executed.
extension FaultScene {
    /// What must be so for an instruction, by its mnemonic. Source: SDM volume 2, the instructions' tables of
    /// exceptions.
    private static let rules: [(mnemonics: Set<String>, find: @Sendable (FaultScene) -> First?)] = [
        (["ud0", "ud1", "ud2"], { $0.first(6, nil, .undefinedInstruction) }),
        (["rsm"], { $0.first(6, nil, .wrongMode(.systemManagement)) }),
        (
            ["syscall", "sysret"],
            { $0.special.efer.contains(.sce) ? nil : $0.first(6, nil, .disabled(.systemCall)) }
        ),
        (
            ["rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase"],
            { $0.special.cr4.contains(.fsgsbase) ? nil : $0.first(6, nil, .disabled(.fsgsbase)) }
        ),
        (
            ["rdpkru", "wrpkru"],
            { $0.special.cr4.contains(.pke) ? nil : $0.first(6, nil, .disabled(.protectionKeys)) }
        ),
        (
            [
                "vmxoff", "vmclear", "vmptrld", "vmptrst", "vmread", "vmwrite", "vmlaunch", "vmresume",
                "vmcall",
                "invept", "invvpid", "vmxon",
            ],
            // VMCALL is KVM's hypercall, in any state.
            { scene in
                scene.special.cr4.contains(.vmxe) || scene.instruction?.mnemonic == "vmcall"
                    ? nil : scene.first(6, nil, .disabled(.vmxe))
            }
        ),
        (
            ["vmrun", "vmload", "vmsave", "clgi", "stgi", "invlpga"],
            { $0.special.efer.contains(.svme) ? nil : $0.first(6, nil, .disabled(.svme)) }
        ),
        (["clac", "stac"], { $0.cpl == 0 ? nil : $0.first(6, nil, .privilege(cpl: $0.cpl)) }),
    ]

    func availabilityFault(_ instruction: Instruction) -> First? {
        if let fault = endBranchFault(instruction) { return fault }
        for rule in Self.rules where rule.mnemonics.contains(instruction.mnemonic) {
            if let fault = rule.find(self) { return fault }
        }
        let opcode = FaultOpcode(instruction)
        // MOV of DR4 and DR5.
        if opcode.matches([0x0F, 0x21]) || opcode.matches([0x0F, 0x23]), special.cr4.contains(.de),
            opcode.register.map({ $0 == 4 || $0 == 5 }) ?? false
        {
            return first(6, nil, .disabled(.debugExtensions))
        }
        return unitFault(instruction)
    }

    /// By the unit that executes it. Source: SDM volume 3A, tables 2-3 and 13-1; volume 2A, 2.4.
    private func unitFault(_ instruction: Instruction) -> First? {
        let (cr0, cr4) = (special.cr0, special.cr4)
        let isSwitched = cr0.contains(.ts) ? first(7, nil, .disabled(.taskSwitched)) : nil
        switch instruction.unit {
        case .general: return nil
        case .x87:
            if ["fwait", "wait"].contains(instruction.mnemonic) {
                if cr0.isSuperset(of: [.mp, .ts]) { return first(7, nil, .disabled(.monitoredTaskSwitched)) }
                return pendingX87(instruction)
            }
            if cr0.contains(.em) { return first(7, nil, .disabled(.emulation)) }
            return isSwitched ?? pendingX87(instruction)
        case .mmx:
            if cr0.contains(.em) { return first(6, nil, .disabled(.emulation)) }
            return isSwitched ?? pendingX87(instruction)
        case .sse:
            if cr0.contains(.em) { return first(6, nil, .disabled(.emulation)) }
            if !cr4.contains(.osfxsr) { return first(6, nil, .disabled(.osfxsr)) }
            return isSwitched
        case .fxsave:
            if cr0.contains(.em) { return first(7, nil, .disabled(.emulation)) }
            return isSwitched
        case .xcr: return cr4.contains(.osxsave) ? nil : first(6, nil, .disabled(.osxsave))
        case .xsave:
            return cr4.contains(.osxsave) ? isSwitched : first(6, nil, .disabled(.osxsave))
        case .avx, .avx512, .vex:
            if mode == .real || mode == .virtual8086 { return first(6, nil, .wrongMode(.protectedOnly)) }
            guard instruction.unit != .vex else { return nil }
            if !cr4.contains(.osxsave) { return first(6, nil, .disabled(.osxsave)) }
            let needed: UInt64 = instruction.unit == .avx ? 0x6 : 0xE6
            if let xcr0 = facts.xcr0, xcr0 & needed != needed {
                return first(6, nil, .disabled(.vectorState(xcr0: xcr0, needed: needed)))
            }
            return isSwitched
        }
    }

    /// Instructions without "wait" take no exception that is pending. Source: SDM volume 1, 8.3.12 and 8.6.
    private static let nonWaiting: Set<String> = [
        "fninit", "fnclex", "fnstcw", "fnstsw", "fnstenv", "fnsave", "fneni", "fndisi", "fnsetpm",
    ]

    private func pendingX87(_ instruction: Instruction) -> First? {
        guard let fpu = facts.fpu, special.cr0.contains(.ne), fpu.statusWord & 0x80 != 0,
            !Self.nonWaiting.contains(instruction.mnemonic)
        else { return nil }
        return first(16, nil, .pendingX87(statusWord: fpu.statusWord))
    }

    /// #CP: an indirect branch was done, and IBT waits for an ENDBR. Source: SDM volume 1, 17.3; volume 3A, 6.15.
    private func endBranchFault(_ instruction: Instruction) -> First? {
        guard special.cr4.contains(.cet),
            let control = facts.msrs[cpl == 3 ? FaultFacts.userCET : FaultFacts.supervisorCET],
            // ENDBR_EN and TRACKER; SUPPRESS is clear.
            control >> 2 & 1 == 1, control >> 10 & 3 == 2
        else { return nil }
        let wanted = mode == .long64 ? "endbr64" : "endbr32"
        return instruction.mnemonic == wanted || instruction.mnemonic == "int3"
            ? nil : first(21, 3, .noEndBranch)
    }
}
