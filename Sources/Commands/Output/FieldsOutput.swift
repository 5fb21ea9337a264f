/// State that is made of named values: what `info cpuid`, `info msr`, `info events` and their siblings show.
public struct FieldsOutput: CommandOutput, Hashable {
    /// One named value.
    public struct Field: Sendable, Hashable, Encodable {
        public var name: String
        /// Absent where there is none to be had.
        public var value: Hex?
        /// What it means.
        public var meaning: String?
        /// Digits that the value is padded to.
        var digits: Int

        private enum CodingKeys: String, CodingKey { case name, value, meaning }

        init(_ name: String, _ value: Hex?, digits: Int = 1, _ meaning: String? = nil) {
            self.name = name
            self.value = value
            self.digits = digits
            self.meaning = meaning
        }
    }

    /// Values that belong together.
    public struct Section: Sendable, Hashable, Encodable {
        /// Absent where there is one section only.
        public var title: String?
        public var fields: [Field]
    }

    /// What it is of, as `CPUID of vCPU 0`.
    public var title: String
    /// Absent for what is not a vCPU's.
    public var vcpu: Int?
    public var sections: [Section]

    init(_ title: String, vcpu: Int? = nil, _ sections: [Section]) {
        self.title = title
        self.vcpu = vcpu
        self.sections = sections
    }

    init(_ title: String, vcpu: Int? = nil, fields: [Field]) {
        self.init(title, vcpu: vcpu, [Section(title: nil, fields: fields)])
    }

    public func lines(width: Int) -> [StyledLine] {
        var result = [StyledLine(title, .heading)]
        for section in sections {
            if let title = section.title { result.append(StyledLine(title, .heading)) }
            let names = section.fields.map(\.name.count).max() ?? 0
            let values = section.fields.map(text).map(\.count).max() ?? 0
            for field in section.fields {
                var line = StyledLine(" " + field.name.padded(names) + "  ", .dim)
                line.append(text(field).padded(field.meaning == nil ? 0 : values), .value)
                guard let meaning = field.meaning else {
                    result.append(line)
                    continue
                }
                // A long list goes on below its own beginning, or stands below it all where there is little room.
                let room = width - (names + values + 5)
                let isBelow = room < 24 && meaning.columns > room
                let indent = isBelow ? 3 : names + values + 5
                for (index, part) in folded(meaning, width: max(16, width - indent)).enumerated() {
                    if index == 0, !isBelow {
                        line.append("  " + part)
                    } else {
                        result.append(line)
                        line = StyledLine(String(repeating: " ", count: indent) + part)
                    }
                }
                result.append(line)
            }
        }
        return result
    }

    private func text(_ field: Field) -> String {
        field.value.map { Hex.digits($0.value, width: field.digits) } ?? ""
    }

    /// The text in parts that fit, cut between words.
    private func folded(_ text: String, width: Int) -> [String] {
        var parts: [String] = []
        var part = ""
        for word in text.split(separator: " ") {
            if !part.isEmpty, part.count + 1 + word.count > width {
                parts.append(part)
                part = ""
            }
            part += (part.isEmpty ? "" : " ") + word
        }
        return parts + (part.isEmpty && !parts.isEmpty ? [] : [part])
    }
}
