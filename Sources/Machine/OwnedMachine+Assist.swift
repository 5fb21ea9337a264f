public import DebugTarget
import Synchronization

extension OwnedMachine: Assisting {
    public var assists: Bool {
        get { parts.assist.isOn.load(ordering: .relaxed) }
        set { parts.assist.isOn.store(newValue, ordering: .relaxed) }
    }

    public var assisted: [AssistedInstruction] { parts.assist.list }
}
