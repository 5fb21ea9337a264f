extension ModelSpecificRegister {
    /// What a value means, in a few words; nil where the number says all there is.
    /// Source: SDM volume 4 and volume 3A, 11.11 and 11.12.
    public static func meaning(of index: UInt32, _ value: UInt64) -> String? {
        switch index {
        case 0x1B: apicBase(value)
        case 0x3A: flags(value, featureControl)
        case 0x48: flags(value, [(0, "IBRS"), (1, "STIBP"), (2, "SSBD"), (7, "PSFD")])
        case 0xFE:
            "\(value & 0xFF) variable" + (value >> 8 & 1 == 1 ? ", fixed" : "")
                + (value >> 10 & 1 == 1 ? ", write-combining" : "")
        case 0x1A0: flags(value, miscellaneous)
        case 0x1D9: flags(value, debugControl)
        case 0x200...0x213: index & 1 == 0 ? memoryType(value) : value >> 11 & 1 == 1 ? "valid" : "off"
        case 0x277: (0..<8).map { memoryType(value >> UInt64($0 * 8)) }.joined(separator: " ")
        case 0x2FF:
            memoryType(value) + (value >> 11 & 1 == 1 ? ", on" : ", off")
                + (value >> 10 & 1 == 1 ? ", fixed on" : "")
        case 0xC000_0080:
            EFER(rawValue: value).setNames.isEmpty
                ? nil : EFER(rawValue: value).setNames.map { $0.uppercased() }.joined(separator: " ")
        case 0xC000_0081:
            "SYSCALL CS \(hexDigits(value >> 32 & 0xFFFF, digits: 4)), "
                + "SYSRET CS \(hexDigits(value >> 48, digits: 4))"
        case 0xC000_0084:
            RFlags(rawValue: value).setNames.isEmpty
                ? nil : "clears " + RFlags(rawValue: value).setNames.joined(separator: " ")
        case 0xDA0: flags(value, XCR0.fields.map { ($0.shift, $0.name) })
        case 0x12, 0x4B56_4D01, 0x4B56_4D02, 0x4B56_4D03, 0x4B56_4D04: value & 1 == 1 ? "on" : "off"
        default: nil
        }
    }

    private static func apicBase(_ value: UInt64) -> String {
        let state =
            switch value >> 10 & 3 {
            case 0: "off"
            case 2: "on"
            case 3: "x2APIC"
            default: "invalid"
            }
        return state + ", at \(hexadecimal(value & 0xF_FFFF_FFFF_F000))"
            + (value >> 8 & 1 == 1 ? ", boot processor" : "")
    }

    private static func memoryType(_ value: UInt64) -> String {
        switch value & 0xFF {
        case 0: "UC"
        case 1: "WC"
        case 4: "WT"
        case 5: "WP"
        case 6: "WB"
        case 7: "UC-"
        default: "type \(value & 0xFF)"
        }
    }

    private static func flags(_ value: UInt64, _ names: [(Int, String)]) -> String? {
        let set = names.filter { value >> UInt64($0.0) & 1 == 1 }.map(\.1)
        return set.isEmpty ? nil : set.joined(separator: " ")
    }

    private static let featureControl = [
        (0, "locked"), (1, "VMX-in-SMX"), (2, "VMX"), (17, "SGX-launch"), (18, "SGX"), (20, "LMCE"),
    ]
    private static let miscellaneous = [
        (0, "fast-strings"), (3, "thermal-control"), (7, "perfmon"), (11, "no-BTS"), (12, "no-PEBS"),
        (16, "EIST"), (18, "MWAIT"), (22, "limit-CPUID"), (23, "no-xTPR"), (34, "no-XD"),
    ]
    private static let debugControl = [
        (0, "LBR"), (1, "BTF"), (2, "bus-lock"), (6, "TR"), (7, "BTS"), (8, "BTINT"), (11, "freeze-LBR"),
        (12, "freeze-perfmon"), (14, "freeze-in-SMM"), (15, "RTM"),
    ]
}
