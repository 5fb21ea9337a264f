import Foundation

/// What is known of the shape of JSON values from those that were seen, as JSON Schema 2020-12.
indirect enum Shape {
    case unknown
    case null, boolean, integer, number, string
    case array(Shape)
    /// With how often each key was there, of how many objects.
    case object([String: (shape: Shape, count: Int)], objects: Int)
    case any([Shape])

    init(_ value: Any) {
        switch value {
        case is NSNull: self = .null
        case let number as NSNumber:
            // A Bool is bridged to a number that says so.
            if CFBoolean.isBoolean(number) {
                self = .boolean
            } else {
                self = number.doubleValue == number.doubleValue.rounded() ? .integer : .number
            }
        case is String: self = .string
        case let list as [Any]: self = .array(list.map(Shape.init).reduce(.unknown) { $0.merged($1) })
        case let object as [String: Any]: self = .object(object.mapValues { (Shape($0), 1) }, objects: 1)
        default: self = .unknown
        }
    }

    func merged(_ other: Shape) -> Shape {
        switch (self, other) {
        case (.unknown, let shape), (let shape, .unknown): return shape
        case (.null, .null), (.boolean, .boolean), (.integer, .integer), (.number, .number),
            (.string, .string):
            return self
        case (.integer, .number), (.number, .integer): return .number
        case (.array(let a), .array(let b)): return .array(a.merged(b))
        case (.object(let a, let some), .object(let b, let others)):
            return .object(
                a.merging(b) { ($0.shape.merged($1.shape), $0.count + $1.count) }, objects: some + others)
        case (.any(let shapes), let shape): return shape.inserted(into: shapes)
        case (let shape, .any(let shapes)): return shape.inserted(into: shapes)
        default: return other.inserted(into: [self])
        }
    }

    private func inserted(into shapes: [Shape]) -> Shape {
        if case .any(let more) = self { return more.reduce(.any(shapes)) { $0.merged($1) } }
        var shapes = shapes
        if let index = shapes.firstIndex(where: { $0.name == name || $0.isNumber && isNumber }) {
            shapes[index] = shapes[index].merged(self)
        } else {
            shapes.append(self)
        }
        return .any(shapes)
    }

    private var isNumber: Bool { name == "integer" || name == "number" }

    private var name: String {
        switch self {
        case .unknown, .any: ""
        case .null: "null"
        case .boolean: "boolean"
        case .integer: "integer"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    /// A key that was always there is required where `requires`.
    var schema: [String: Any] {
        switch self {
        case .unknown: return [:]
        case .null, .boolean, .integer, .number, .string: return ["type": name]
        case .array(let element):
            let items = element.schema
            return items.isEmpty ? ["type": "array"] : ["type": "array", "items": items]
        case .object(let keys, _):
            return ["type": "object", "properties": keys.mapValues { $0.shape.schema }]
        case .any(let shapes):
            return ["anyOf": shapes.sorted { $0.name < $1.name }.map(\.schema)]
        }
    }
}

private enum CFBoolean {
    static func isBoolean(_ number: NSNumber) -> Bool {
        String(cString: number.objCType) == "c" || number === (true as NSNumber)
            || number === (false as NSNumber)
    }
}

/// As much of JSON Schema as this package's schema uses.
struct SchemaValidator {
    let root: [String: Any]

    /// What is wrong with a value, with where it is; empty where it is valid.
    func problems(_ value: Any, _ schema: [String: Any], at place: String = "$") -> [String] {
        if let reference = schema["$ref"] as? String {
            return problems(value, resolved(reference), at: place)
        }
        var found: [String] = []
        if let type = schema["type"] as? String, !has(value, type) {
            return ["\(place) is no \(type): \(value)"]
        }
        if let constant = schema["const"], "\(constant)" != "\(value)" {
            found.append("\(place) is not \(constant): \(value)")
        }
        if let any = schema["anyOf"] as? [[String: Any]] {
            let each = any.map { problems(value, $0, at: place) }
            if !each.contains([]) {
                found.append("\(place) is none of what it may be: \(each.min { $0.count < $1.count } ?? [])")
            }
        }
        if let object = value as? [String: Any] {
            for name in schema["required"] as? [String] ?? [] where object[name] == nil {
                found.append("\(place) has no \(name)")
            }
            for (name, rule) in schema["properties"] as? [String: [String: Any]] ?? [:] {
                if let inside = object[name] { found += problems(inside, rule, at: "\(place).\(name)") }
            }
        }
        if let list = value as? [Any], let rule = schema["items"] as? [String: Any] {
            for (index, element) in list.enumerated() {
                found += problems(element, rule, at: "\(place)[\(index)]")
            }
        }
        return found
    }

    private func resolved(_ reference: String) -> [String: Any] {
        var value: Any = root
        for part in reference.split(separator: "/").dropFirst() {
            value = (value as? [String: Any])?[String(part)] ?? [String: Any]()
        }
        return value as? [String: Any] ?? [:]
    }

    private func has(_ value: Any, _ type: String) -> Bool {
        let shape = Shape(value)
        switch (type, shape) {
        case ("null", .null), ("boolean", .boolean), ("integer", .integer), ("number", .integer),
            ("number", .number), ("string", .string), ("array", .array), ("object", .object):
            return true
        default: return false
        }
    }
}
