import X86

/// A type that a feature of the target description defines.
struct RegisterType: Sendable {
    var xml: String

    static func vector(_ id: String, of type: String, _ count: Int) -> RegisterType {
        RegisterType(xml: "<vector id=\"\(id)\" type=\"\(type)\" count=\"\(count)\"/>\n")
    }

    static func union(_ id: String, _ fields: [(name: String, type: String)]) -> RegisterType {
        let lines = fields.map { "<field name=\"\($0.name)\" type=\"\($0.type)\"/>\n" }
        return RegisterType(xml: "<union id=\"\(id)\">\n\(lines.joined())</union>\n")
    }

    /// Bits by name, as GDB shows them; wider fields have no place in such a type.
    /// - Parameter size: in bytes.
    static func flags(_ id: String, _ size: Int, _ fields: [FlagField]) -> RegisterType {
        let lines = fields.filter { $0.width == 1 && $0.shift < size * 8 }.map {
            "<field name=\"\($0.name.uppercased())\" start=\"\($0.shift)\" end=\"\($0.shift)\"/>\n"
        }
        return RegisterType(xml: "<flags id=\"\(id)\" size=\"\(size)\">\n\(lines.joined())</flags>\n")
    }
}

extension RegisterLayout {
    /// The target description, which tells a client the registers and their numbers.
    var targetDescription: String {
        var xml = """
            <?xml version="1.0"?>
            <!DOCTYPE target SYSTEM "gdb-target.dtd">
            <target version="1.0">
            <architecture>\(architecture.rawValue)</architecture>

            """
        for feature in features {
            xml += "<feature name=\"\(feature.name)\">\n"
            for type in feature.types { xml += type.xml }
            for register in registers[feature.registers] {
                xml += "<reg name=\"\(register.name)\" bitsize=\"\(register.bits)\" type=\"\(register.type)\""
                xml += " regnum=\"\(register.number)\" group=\"\(register.group.rawValue)\"/>\n"
            }
            xml += "</feature>\n"
        }
        return xml + "</target>\n"
    }
}
