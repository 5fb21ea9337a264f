import Foundation
import Testing

/// This package's sources, where the tests were built from them.
private enum Package {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let isHere = FileManager.default.fileExists(atPath: root.appending(path: "Sources/KVMCore").path)

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    static func swiftFiles(of target: String) throws -> [String] {
        let base = root.appending(path: "Sources/\(target)")
        return try FileManager.default.subpathsOfDirectory(atPath: base.path).filter {
            $0.hasSuffix(".swift")
        }
        .sorted().map { "Sources/\(target)/\($0)" }
    }
}

/// What a client sees of the product without its sources.
@Suite(.enabled(if: Package.isHere, "needs the sources that the tests were built from"))
struct DocumentationTests {
    @Test(arguments: ["KVMCore", "X86"])
    func everyPublicDeclarationIsDocumented(target: String) throws {
        let files = try Package.swiftFiles(of: target)
        #expect(files.count > 20)
        for file in files {
            let undocumented = Declarations(try Package.text(file)).undocumented
            #expect(undocumented.isEmpty, "\(file): \(undocumented.joined(separator: "; "))")
        }
    }

    @Test func theArticleHasTheCodeThatIsCompiled() throws {
        let article = try Package.text("Sources/KVMCore/KVMCore.docc/FortyLineVMM.md")
        let blocks = article.components(separatedBy: "```swift\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        let code = try Package.text("Tests/KVMCoreTests/FortyLineVMM.swift")
        #expect(blocks == [code])
        #expect(
            code.split(separator: "\n", omittingEmptySubsequences: false).count <= 41,
            "forty lines, and the last newline")
        #expect(code.components(separatedBy: "\n").filter { $0.contains("import ") } == ["import KVMCore"])
    }

    /// Request numbers come from the kernel's header, through KVMCore; nobody else writes one down.
    @Test func requestNumbersAreWrittenNowhere() throws {
        // _IO, _IOW, _IOR and _IOWR of KVMIO, which is 0xAE.
        let number = /0x(AE[0-9A-F]{2}|[48C][0-9A-F]{3}_?AE[0-9A-F]{2})\b/.ignoresCase()
        #expect(
            "0xAE80".contains(number) && "0x4090_AE82".contains(number)
                && !"0x0F, 0xAE, 0x1E".contains(number))
        let targets = try FileManager.default.contentsOfDirectory(
            atPath: Package.root.appending(path: "Sources").path)
        #expect(targets.contains("Attach") || targets.contains("KVMCore"))
        for target in targets {
            for file in try Package.swiftFiles(of: target) {
                let text = try Package.text(file)
                #expect(text.firstMatch(of: number) == nil, "\(file) has a request number of its own")
            }
        }
    }

    /// A call that the kernel's documentation names has one method here, which says so.
    @Test func everyCallHasAMethodThatNamesIt() throws {
        let sources = try Package.swiftFiles(of: "KVMCore").map(Package.text).joined()
        let requests = try Package.text("Sources/KVMCore/Channel/Request.swift")
        let names = requests.components(separatedBy: "Request(\"").dropFirst().compactMap {
            $0.components(separatedBy: "\"").first
        }
        #expect(names.count > 60)
        // What only a tracer of another process looks for.
        for name in Set(names).subtracting(["KVM_SET_USER_MEMORY_REGION2", "KVM_CHECK_EXTENSION"]) {
            #expect(sources.contains("`\(name)`"), "no documentation says: Corresponds to `\(name)`")
        }
    }
}

@Suite(.enabled(if: liveTestsRun, "needs /dev/kvm"))
struct ArticleTests {
    @Test func theVMMOfTheArticleRuns() throws {
        #expect(try greetingOfAGuest() == "hello\n")
    }
}

/// What a Swift file declares for others, read line by line: enough for files that swift-format has laid out.
struct Declarations {
    /// Declarations without a documentation comment, each as its line has it.
    private(set) var undocumented: [String] = []

    private enum Scope { case publicEnum, publicProtocol, other }

    init(_ source: String) {
        var scopes: [Scope] = []
        var isDocumented = false
        for raw in source.split(separator: "\n", omittingEmptySubsequences: false) {
            let line = raw.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("///") {
                isDocumented = true
                continue
            }
            // Attributes and remarks may stand between a declaration and its documentation.
            let isAttribute = line.hasPrefix("@") && !line.contains(" ")
            if line.hasPrefix("//") || isAttribute { continue }
            let code = Self.withoutLiterals(line)
            let words = code.split(whereSeparator: { !$0.isLetter && $0 != "_" }).map(String.init)
            let scope = scopes.last
            if Self.isDeclaration(code, words, in: scope), !isDocumented { undocumented.append(line) }
            isDocumented = false
            for character in code {
                if character == "{" {
                    let isPublic = words.contains("public")
                    scopes.append(
                        isPublic && words.contains("enum")
                            ? .publicEnum : isPublic && words.contains("protocol") ? .publicProtocol : .other)
                } else if character == "}" {
                    _ = scopes.popLast()
                }
            }
        }
    }

    private static func isDeclaration(_ code: String, _ words: [String], in scope: Scope?) -> Bool {
        switch scope {
        case .publicEnum where words.first == "case": return true
        case .publicProtocol:
            return ["func", "var", "init", "subscript", "associatedtype"].contains(words.first)
        default: break
        }
        let leading = words.drop { $0 == "exclusivity" || $0 == "unchecked" || $0 == "discardableResult" }
        guard leading.first == "public", let next = leading.dropFirst().first else { return false }
        return next != "import" && next != "extension"
    }

    /// The line without what is in quotes or a comment, where braces count for nothing.
    private static func withoutLiterals(_ line: String) -> String {
        var code = ""
        var isQuoted = false
        var previous: Character = " "
        for character in line {
            if character == "\"", previous != "\\" { isQuoted.toggle() }
            if !isQuoted, character == "/", previous == "/" { break }
            if !isQuoted { code.append(character) }
            previous = character
        }
        return code
    }
}

@Suite struct DeclarationsTests {
    @Test func whatIsNotDocumentedIsFound() {
        let source = """
            /// A type.
            public struct Some {
                public var bare: Int
                /// Documented.
                @exclusivity(unchecked) public var documented = "public var { nothing"
                // SAFETY: a remark.
                public init() {}
                func hidden() {}
                /// An enum.
                public enum Kind {
                    case one
                    /// Two.
                    case two
                    /// What it is.
                    public var text: String {
                        switch self {
                        case .one: "1"
                        case .two: "2"
                        }
                    }
                }
            }
            /// A protocol.
            public protocol Able {
                func can()
                /// Documented.
                var does: Bool { get }
            }
            /// Remark between.
            // SAFETY: true.
            public final class Other {}
            public extension Other {}
            """
        #expect(
            Declarations(source).undocumented == [
                "public var bare: Int", "public init() {}", "case one", "func can()",
            ])
    }
}
