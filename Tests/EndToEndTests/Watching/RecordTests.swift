import Foundation
import Testing

/// `kvmscope record`, `report` and `export`, as they are built.
@Suite(
    .serialized, .enabled(if: Host.runsKVM && geteuid() == 0, "needs /dev/kvm and root"),
    .enabled(if: Host.has("qemu-system-x86_64"), "needs qemu-system-x86"))
struct RecordTests {
    private struct Line: Decodable {
        struct Detail: Decodable {
            var name: String
            var count: UInt64
        }
        struct Reason: Decodable {
            var exit: String
            var count: UInt64
        }
        struct Guest: Decodable {
            var process: Int32
            var name: String
            var reasons: [Reason]
            var details: [Detail]
        }
        struct Result: Decodable {
            var source: String
            var missing: [String]
            var losses: [String: UInt64]
            var guests: [Guest]
        }
        var result: Result
    }

    private func report(_ file: URL) throws -> (line: Line, done: Finished) {
        let done = try run(Built.kvmscope, ["report", file.path, "--json"])
        return (try JSONDecoder().decode(Line.self, from: Data(done.output.utf8)), done)
    }

    @Test("a whole guest: every exit is in the recording, its report and its trace")
    func whole() throws {
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "exits.rec")
        let qemu = try WaitingQEMU(
            "recorded", image: try kernelFile("burst", in: folder),
            options: ["-device", "isa-debug-exit,iobase=0xf4"], in: folder)
        let recorder = try Running(Built.kvmscope, ["record", file.path, "\(qemu.pid)"], in: folder)
        while (try? Data(contentsOf: file))?.isEmpty ?? true { usleep(10_000) }
        // The rings count from before the file is there.
        try qemu.go()
        qemu.running.waitForEnd()
        recorder.interrupt()
        #expect(recorder.text.contains("recorded "), "\(recorder.text)")
        let (line, done) = try report(file)
        #expect(done.status == 0 && done.errors.isEmpty, "\(done.errors)")
        #expect(line.result.source == "recording")
        #expect(line.result.guests.map(\.process) == [qemu.pid])
        if recorder.text.contains("nothing lost") {
            let details = Dictionary(
                uniqueKeysWithValues: line.result.guests[0].details.map { ($0.name, $0.count) })
            // SeaBIOS writes port 80h, too.
            #expect(details["port 0x80 out", default: 0] >= 20_000)
            #expect(details["port 0x80 in", default: 0] >= 5_000)
        }
        let text = try run(Built.kvmscope, ["report", file.path])
        #expect(text.output.contains("source recording") && text.output.contains("port 0x80 out"))

        let trace = folder.url.appending(path: "exits.pftrace")
        let exported = try run(Built.kvmscope, ["export", file.path, "--perfetto", trace.path])
        #expect(exported.status == 0 && exported.errors.isEmpty, "\(exported.errors)")
        #expect(try Data(contentsOf: trace).count > 25_000 * 20)
        try parsesInPerfetto(trace)
    }

    /// By Perfetto's own definitions, where they are installed (PyPI's `perfetto`).
    private func parsesInPerfetto(_ trace: URL) throws {
        let script = """
            import sys, collections
            try:
                from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as p
            except ImportError:
                print("no perfetto"); sys.exit(0)
            t = p.Trace(); t.ParseFromString(open(sys.argv[1], "rb").read())
            n = collections.Counter(); names = {}; depth = collections.Counter(); seen = set(); last = 0
            for k in t.packet:
                for e in k.interned_data.event_names: names[e.iid] = e.name
                if k.HasField("track_descriptor"): seen.add(k.track_descriptor.uuid)
                if not k.HasField("track_event"): continue
                e = k.track_event
                assert e.track_uuid in seen and k.timestamp >= last and k.timestamp_clock_id == 3
                last = k.timestamp
                n[p.TrackEvent.Type.Name(e.type)] += 1
                if e.type == p.TrackEvent.TYPE_SLICE_BEGIN: depth[e.track_uuid] += 1
                if e.type == p.TrackEvent.TYPE_SLICE_END: depth[e.track_uuid] -= 1
                assert depth[e.track_uuid] in (0, 1)
                if e.type != p.TrackEvent.TYPE_SLICE_END: assert names[e.name_iid]
            assert n["TYPE_SLICE_BEGIN"] == n["TYPE_SLICE_END"] >= 20000, n
            print("parsed", dict(n))
            """
        guard Host.path(of: "python3") != nil else { try Test.cancel("needs python3") }
        let done = try run("python3", ["-c", script, trace.path])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.hasPrefix("parsed") || done.output.hasPrefix("no perfetto"))
    }

    @Test("a recorder that is killed leaves all that it had written")
    func killed() throws {
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "exits.rec")
        let qemu = try WaitingQEMU("killedrec", image: try kernelFile("chatter", in: folder), in: folder)
        try qemu.go()
        let recorder = try Running(Built.kvmscope, ["record", file.path, "\(qemu.pid)"], in: folder)
        let end = Date(timeIntervalSinceNow: 60)
        while ((try? Data(contentsOf: file))?.count ?? 0) < 200_000 {
            try #require(recorder.isRunning && Date() < end, "nothing is recorded: \(recorder.text)")
            usleep(5_000)
        }
        kill(recorder.pid, SIGKILL)
        recorder.waitForEnd()
        let (line, done) = try report(file)
        #expect(done.status == 0)
        #expect(done.errors.contains("ends without an end: its recorder was killed"), "\(done.errors)")
        let guest = try #require(line.result.guests.first { $0.process == qemu.pid })
        #expect(guest.details.reduce(0) { $0 + $1.count } > 5_000)

        // A frame that is not what was written is an error, and what was before it is shown.
        var bytes = try Data(contentsOf: file)
        bytes[bytes.count / 2] ^= 0x55
        try bytes.write(to: file)
        let damaged = try run(Built.kvmscope, ["report", file.path])
        #expect(damaged.status == 1)
        #expect(damaged.errors.contains("is damaged (its checksum is wrong)"), "\(damaged.errors)")
        #expect(damaged.output.contains("source recording"))
    }

    @Test func whatCannotBeDone() throws {
        let folder = try TemporaryFolder()
        let there = folder.url.appending(path: "there").path
        try Data("a text".utf8).write(to: URL(filePath: there))
        for (arguments, status, says) in [
            (["record"], 64, "<file>"),
            (["record", there], 2, "is there already; give another file, or --force"),
            (["record", "/nowhere/x"], 2, "cannot write /nowhere/x"),
            (["record", "\(there)2", "nobody"], 2, "nobody"),
            (["record", "x", "--seconds", "0"], 64, "--seconds"),
            (["report", "/nowhere/x"], 2, "cannot read /nowhere/x"),
            (["report", there], 2, "this is no recording of kvmscope's"),
            (["report", "/"], 2, "cannot read /"), (["export", there], 64, "--perfetto"),
            (["export", there, "--perfetto", "/nowhere/x"], 2, "no recording"),
        ] as [([String], Int32, String)] {
            let done = try run(Built.kvmscope, arguments)
            #expect(done.status == status, "\(arguments): \(done.errors)")
            #expect(done.errors.contains(says), "\(arguments): \(done.errors)")
        }
        // Nothing is left of a recording that could not begin.
        #expect(!FileManager.default.fileExists(atPath: there + "2"))
    }
}
