public import DebugTarget

extension Advice {
    /// What to do, by the commands and options of kvmscope.
    public var remedy: String {
        switch self {
        case .giveLinearAddress: "give a linear address, without `p:`"
        case .watchWrites: "watch writes: `watch w`"
        case .watchMemory: "`watch` stops at accesses to memory"
        case .catchDeviceAccesses: "`catch mmio` stops at accesses to devices"
        case .catchHalt: "`catch hlt` finds it by stepping"
        case .breakAtCode: "`break` at the code that does it"
        case .breakWithoutRegister: "`break` takes another way"
        case .causedByDebugger: "`break`, `watch` or `step` cause them"
        case .stopGuest: "`stop` stops the guest"
        case .stepPastHalt: "`step` goes on after the HLT; so does `continue` once a register was set"
        case .stepToReturn:
            "`step-until ret` or `step-until iret` goes to the next one, whatever it returns to"
        case .continueAll: "`continue` resumes all"
        case .selectOrContinue: "select another one, or `continue` all"
        case .changeByCommands: "compare with `==`; `commands` can change registers and memory"
        case .showFPUByCommands:
            "compare general registers or memory; `commands` with `print $mxcsr` shows it at each stop"
        case .listCPUID: "`info cpuid` lists those there are"
        case .listExtendedState: "`info xsave` lists what there is; `set xcr0 = ...` enables more"
        case .showHost: "`info host` shows what this host honours"
        case .endInsteadOfDetaching:
            "`quit` ends it; `kvmscope attach` and `kvmscope launch` debug guests that can be detached"
        case .endToPutBack: "`quit` puts back what can be"
        case .attachAgain: "`quit`, and attach again to go on debugging it"
        case .detach: "`detach`; what can still be put back is"
        case .detachOrRetry: "try again, or `detach`"
        case .detachThere: "`detach` or `quit` there first"
        case .withoutKernelChips: "without `--irqchip kernel` they do"
        case .catchInterrupt: "`catch int` stops at any INT, by stepping"
        case .withoutBIOS: "give more with -m, or start it with `--bios none`"
        case .chipsForBIOS: "`--irqchip user` (one vCPU) and `--irqchip kernel` have them"
        case .kernelChips: "`--irqchip kernel` is for any number, and `--irqchip none` has no controllers"
        case .loadFlat: "load it as a flat binary instead, with --flat 0x7c00"
        case .chooseKind:
            "`--kind` says that it is something else; `--flat ADDR` loads its bytes as they are"
        case .chooseEntry: "leave `--entry` out, or give another mode: real, prot or long"
        case .startAgain: "`run` starts the guest again"
        case .restartThere:
            "end it there, and start it again there or with `kvmscope launch`"
        case .giveVCPUs: "give 1 or more with --vcpus"
        case .giveServerAddress:
            "give `HOST:PORT`, `:PORT` for this host alone, `unix:PATH`, or as an option `stdio`"
        case .listGuests: "`kvmscope list` shows the guests"
        case .listVCPUs: "`vcpu list` shows those there are"
        case .returnToPresent(let stop): "`revisit now` goes back to stop \(stop)"
        }
    }
}

extension AdvisedError {
    /// What holds in every front end, and what kvmscope's commands do about it.
    public var words: String? {
        let all = [remedy, advice?.remedy].compactMap { $0 }
        return all.isEmpty ? nil : all.joined(separator: "; ")
    }
}

/// A failure below the commands on one line: what was wrong, and what to do by kvmscope's commands and options.
public func explained(_ error: any Error) -> String {
    guard let advised = error as? any AdvisedError else { return "\(error)" }
    return advised.words.map { "\(advised.message); \($0)" } ?? advised.message
}
