import DebugTarget
import Debugger

extension CommandTable {
    /// About what a guest of kvmscope's own is started from.
    static let imageCommands: [Command] = [
        Command(
            "info image", [], "", .other,
            "what the guest was loaded from, what it was found to be, and where it went",
            details: """
                What a file is (a boot sector, a disk, a kernel) is found from its bytes; `--kind` on the command line \
                overrides that.
                """,
            examples: [.init("info image", "its kind, its parts and its entry")], whileRunning: true,
            action: ImageActions.image)
    ]
}

enum ImageActions {
    static func image(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let target = session.debugger.target as? any ImageProviding else {
            throw call.error(
                "\(session.debugger.target.name) was loaded by the program that runs it",
                remedy: "`info sources` has what is known of it")
        }
        guard let image = target.loadedImage else {
            return .done(Message("Nothing was loaded: the processor starts at its reset vector."))
        }
        return .done(ImageOutput(image))
    }
}
