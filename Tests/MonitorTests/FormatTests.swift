import RecordedHosts
import Testing

@testable import Monitor

@Suite struct FormatTests {
    @Test func aFormatFileGivesPlacesAndTheID() throws {
        let format = try TracepointFormat(#require(KernelFormats.v618.text("kvm_exit")))
        #expect(format.name == "kvm_exit")
        #expect(format.id == 103)
        #expect(
            format.field("guest_rip")
                == TracepointFormat.Field(
                    name: "guest_rip", type: "unsigned long", offset: 16, size: 8, isSigned: false))
        #expect(format.field("requests")?.offset == 64)
        #expect(
            try TracepointFormat(#require(KernelFormats.v61.text("kvm_exit"))).field("requests") == nil)
    }

    @Test(arguments: KernelFormats.allCases)
    func everyEventOfEachKernelHasItsFields(_ kernel: KernelFormats) {
        let events = KVMEvents { kernel.text($0) }
        #expect(events.problems == [:])
        #expect(events.layouts.map(\.rule.event) == EventRule.all.map(\.event))
    }

    @Test func namesComeFromTheKernelForBothInstructionSets() {
        for kernel in KernelFormats.allCases {
            let names = Records(kernel).events.names
            #expect(names.hardwareExit(isa: 1, reason: 12) == "HLT")
            #expect(names.hardwareExit(isa: 1, reason: 0x8000_001E) == "IO_INSTRUCTION (failed entry)")
            #expect(names.hardwareExit(isa: 2, reason: 0x78) == "hlt")
            #expect(names.hardwareExit(isa: 2, reason: 0x40 + 14) == "PF excp")
            #expect(names.hardwareExit(isa: 2, reason: 0xFFFF_FFFF) == "invalid_guest_state")
            // SVM's 12 is no HLT, and neither is another hypervisor's.
            #expect(names.hardwareExit(isa: 2, reason: 12) == "reason 0xc")
            #expect(names.hardwareExit(isa: 3, reason: 12) == "reason 0xc")
            #expect(names.hardwareExit(isa: 1, reason: 999) == "reason 0x3e7")
            #expect(names.userspaceExit(reason: 2) == "IO")
            #expect(names.userspaceExit(reason: 77) == "reason 77")
        }
    }

    @Test func listsAreReadWhateverStandsAroundThem() {
        let lists = SymbolicList.lists(
            in:
                #""%s %s", foo(REC->a, (1 + 2)) ? __print_symbolic((REC->a) & f(1, 2), { 0x1UL, "A\"B" }, { SOME_ENUM, "lost" }, { 3 + 4 - 0, "odd" }, { -2, "C" "D" }, { 5, unknown("}") }, { 6, "E" }) : x, __print_symbolic(REC->b)"#
        )
        #expect(lists.count == 2)
        #expect(lists[0].expression == "(REC->a) & f(1, 2)")
        // What is written in no way that is known is left out, and nothing else.
        #expect(lists[0].names == [1: "A\"B", UInt64(bitPattern: -2): "CD", 6: "E"])
        #expect(lists[1].names == [:])
    }

    @Test(arguments: [
        "", "name: x", "ID: 1", "name: x\nID: many",
        "name: x\nID: 1\n\tfield:int a;\toffset:-4;\tsize:4;\tsigned:1;",
        "name: x\nID: 1\n\tfield:int a;\toffset:8190;\tsize:4;\tsigned:1;",
        "name: x\nID: 1\n\tfield:int;\toffset:8;\tsize:4;\tsigned:1;",
        "name: x\nID: 1\n\tfield:int a;\toffset:99999999999999999999;\tsize:4;\tsigned:1;",
    ])
    func whatIsNoFormatIsRefused(_ text: String) {
        #expect(throws: TracepointFormat.Problem.self) { try TracepointFormat(text) }
    }

    @Test func aFieldThatIsGoneOrNoNumberIsNamed() throws {
        let events = KVMEvents { event in
            guard let text = KernelFormats.v618.text(event) else { return nil }
            return switch event {
            case "kvm_exit":
                text.split(separator: "\n").filter { !$0.contains(" isa;") }.joined(separator: "\n")
            case "kvm_pio": text.replacing("port;\toffset:12;", with: "port;\toffset:13;")
            case "kvm_msr": nil
            default: text
            }
        }
        #expect(events.problems["kvm_exit"] == "kvm_exit: kvm_exit of this kernel has no field isa")
        #expect(events.problems["kvm_pio"] == "kvm_pio: kvm_pio has its field port as 4 bytes at 13")
        #expect(events.problems["kvm_msr"] == "this kernel has no event kvm_msr")
        #expect(events.layout("kvm_exit") == nil)
        #expect(events.layout("kvm_mmio") != nil)
    }

    @Test func fieldsThatMovedAreReadWhereTheyAre() throws {
        let moved = KVMEvents { event in
            let text = KernelFormats.v618.text(event)
            return event == "kvm_pio"
                ? text?.replacing("rw;\toffset:8;", with: "rw;\toffset:12;").replacing(
                    "port;\toffset:12;", with: "port;\toffset:8;")
                : text
        }
        let record = try Records(.v618).bytes("kvm_pio", ["rw": 0x60, "port": 1])
        #expect(
            RecordReader(moved).event(record, time: 0, thread: 1)?.content
                == .count(kind: .port, code: CounterKey.write | 0x60, emulation: .begins))
    }
}
