import DebugTarget
import Debugger
import Foundation
import KVMCore
import Testing

@testable import Machine

/// A machine that nobody has any more leaves nothing: no thread, no descriptor.
@Suite(.serialized, .enabled(if: KVM.isAvailable, "needs /dev/kvm"))
struct MachineEndTests {
    private func configuration(_ chips: MachineConfiguration.InterruptController, bios: Bool)
        -> MachineConfiguration
    {
        var configuration = MachineConfiguration()
        configuration.interruptController = chips
        configuration.hasBIOS = bios
        configuration.image = try? GuestImage(
            name: "halt", bytes: [0xFA, 0xF4], at: 0x7C00, entry: 0x7C00)
        return configuration
    }

    @Test(arguments: [
        (MachineConfiguration.InterruptController.none, false), (.user, false), (.kernel, false),
        (.user, true),
        (.kernel, true),
    ])
    func oneThatIsReleasedIsGone(_ chips: MachineConfiguration.InterruptController, _ bios: Bool) throws {
        weak var machine: OwnedMachine?
        try {
            let made = try OwnedMachine(configuration(chips, bios: bios))
            machine = made
        }()
        #expect(machine == nil)
    }

    @Test(arguments: [
        (MachineConfiguration.InterruptController.none, false), (.user, false), (.kernel, false),
        (.user, true),
    ])
    func oneThatWasDebuggedIsGone(_ chips: MachineConfiguration.InterruptController, _ bios: Bool) throws {
        weak var machine: OwnedMachine?
        weak var debugger: Debugger?
        try {
            let made = try OwnedMachine(configuration(chips, bios: bios))
            machine = made
            let debugging = try Debugger(target: made)
            debugger = debugging
            try debugging.startContinue()
            let stop = try debugging.collectStop(timeout: .seconds(20))
            #expect(stop?.reason == .hlt)
        }()
        #expect(debugger == nil)
        #expect(machine == nil)
    }
}
