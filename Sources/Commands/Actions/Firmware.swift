import DebugTarget
import Debugger
import X86

extension CommandTable {
    /// About the BIOS of a machine of our own, its drives, screen and keyboard.
    static let firmwareCommands: [Command] = [
        Command(
            "info bios", [], "[N]", .exits, "the guest's calls of the BIOS: how many of each, and the last N",
            details: """
                Each call with what it means and what it gave; calls that came again and again as they were are one line. \
                What the BIOS does not have is listed, too. `catch bios` stops at calls.
                """,
            examples: [.init("info bios", "the counts"), .init("info bios 20", "and the last twenty")],
            completion: [.expression], whileRunning: true, action: FirmwareActions.calls),
        Command(
            "info disks", ["info drives"], "", .exits, "the guest's drives, and what it has written",
            details: """
                Images are never written: what the guest writes is kept beside them until the session ends, and `disk save` \
                puts it into a file.
                """,
            examples: [.init("info disks", "all drives")], whileRunning: true, action: FirmwareActions.drives),
        Command(
            "disk save", [], "DRIVE FILE", .exits,
            "write a drive's contents with the guest's changes to a new file",
            details: "DRIVE is a number of INT 13h, as 0x80. The file must not exist.",
            examples: [.init("disk save 0x80 changed.img", "the first hard disk")],
            completion: [.expression, .file], whileRunning: true, action: FirmwareActions.save),
        Command(
            "info screen", ["screen"], "", .exits, "show the guest's text screen",
            details:
                "As the guest's memory at B8000h has it now: characters alone; JSON has the attributes and the cursor.",
            examples: [.init("info screen", "the text")], whileRunning: true, action: FirmwareActions.screen),
    ]
}

enum FirmwareActions {
    static func log(_ session: Session, _ call: Invocation) throws(CommandError) -> FirmwareLog {
        guard let log = (session.debugger.target as? any FirmwareProviding)?.firmware else {
            throw call.error(
                "\(session.debugger.target.name) has no BIOS of kvmscope's",
                remedy:
                    "a guest of kvmscope's own has one unless it is started with `--bios none`; `catch int` stops at any INT"
            )
        }
        return log
    }

    static func calls(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        var limit = 0
        if !call.rest.text.isEmpty { limit = min(try session.count(call), FirmwareLog.capacity) }
        let log = try log(session, call)
        return .done(FirmwareOutput(log, recent: limit))
    }

    private static func target(
        _ session: Session, _ call: Invocation
    ) throws(CommandError) -> any DiskProviding {
        guard let target = session.debugger.target as? any DiskProviding, !target.drives.isEmpty else {
            throw call.error(
                "\(session.debugger.target.name) has no drives of kvmscope's",
                remedy: "start a guest with a disk image, or with --disk, --floppy or --cdrom")
        }
        return target
    }

    static func drives(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        return .done(DrivesOutput(try target(session, call).drives))
    }

    static func save(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        let words = call.arguments
        guard words.count == 2 else { throw call.usageError("`disk save` takes a drive and a file") }
        let target = try target(session, call)
        let number = try session.number(words[0], call)
        guard let drive = target.drives.first(where: { UInt64($0.number) == number }) else {
            throw call.error(
                "there is no drive \(Hex(number))", at: words[0],
                remedy: "drives: " + target.drives.map { "\(Hex($0.number))" }.joined(separator: ", "))
        }
        let path = words[1].text
        do {
            try target.saveDrive(drive.number, to: path)
        } catch {
            throw call.error("drive \(Hex(number)) is not saved: \(explained(error))", at: words[1])
        }
        return .done(
            Message(
                "Drive \(Hex(number)) is in \(path): \(grouped(drive.sectors * UInt64(drive.sectorSize))) bytes, "
                    + "\(grouped(drive.changed)) of them in blocks that the guest has written."))
    }

    static func screen(_ session: Session, _ call: Invocation) throws(CommandError) -> Outcome {
        try call.checkCount(0)
        guard let screen = (session.debugger.target as? any ScreenProviding)?.textScreen else {
            throw call.error(
                "\(session.debugger.target.name) has no text screen of kvmscope's",
                remedy: "`info console` shows what the guest printed; a guest with a BIOS has a screen")
        }
        return .done(ScreenOutput(screen))
    }
}
