public import Debugger
public import X86

/// One instruction in one state, and the exception that it raises by the manual.
public struct FaultRow: Sendable, CustomStringConvertible {
    /// How the cause is told.
    public enum Cause: Sendable {
        case exactly(FaultCause)
        /// Of the page that the walk is about.
        case page(FaultCause.PageDenial)
    }

    public let name: String
    public let mode: FaultStage.Mode
    /// The instruction; a HLT follows.
    public let code: [UInt8]
    /// Nil where it raises nothing.
    public let vector: UInt8?
    /// Nil where none is pushed.
    public let errorCode: UInt32?
    public let cause: Cause?
    /// It is about state that is not put into a VM here, or about processors that differ.
    public let isMadeUpOnly: Bool
    /// Another vector with the same error code, which the manual gives elsewhere: a processor may raise either.
    public let otherVector: UInt8?
    /// The exception cannot be delivered for what raised it: a processor shuts down.
    public let endsInShutdown: Bool
    private let change: @Sendable (inout FaultStage) -> Void

    public var description: String { name }

    public init(
        _ name: String, _ mode: FaultStage.Mode, _ code: [UInt8], _ vector: UInt8?,
        _ errorCode: UInt32? = nil,
        _ cause: FaultCause? = nil, page: FaultCause.PageDenial? = nil, isMadeUpOnly: Bool = false,
        otherVector: UInt8? = nil, endsInShutdown: Bool = false,
        _ change: @escaping @Sendable (inout FaultStage) -> Void = { _ in }
    ) {
        self.name = name
        self.mode = mode
        self.code = code
        self.vector = vector
        self.errorCode = errorCode
        self.cause = cause.map { .exactly($0) } ?? page.map { .page($0) }
        self.isMadeUpOnly = isMadeUpOnly
        self.otherVector = otherVector
        self.endsInShutdown = endsInShutdown
        self.change = change
    }

    /// - Parameter special: those of a new vCPU.
    public func stage(special: SpecialRegisters = SpecialRegisters()) -> FaultStage {
        var stage = FaultStage(mode, special: special)
        for (place, byte) in (code + [0xF4]).enumerated() {
            stage.put(FaultStage.code + UInt64(place), UInt64(byte), size: 1)
        }
        change(&stage)
        return stage
    }

    public static let all: [FaultRow] =
        decoding + units + privileges + memory + pages + arithmetic + selectors + transfers + returns + system
        + traps
}
