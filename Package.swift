// swift-tools-version: 6.2
import PackageDescription

/// libFuzzer's targets are there only when they are asked for: they need flags that a package which others depend
/// on may not have.
let isFuzzing = Context.environment["KVMSCOPE_FUZZ"] != nil
let fuzzed: [SwiftSetting] = isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer"])] : []

/// Locks that the thread sanitizer understands, in a build with `--sanitize=thread`: there alone, as it has to be said.
let isThreadSanitized = Context.environment["KVMSCOPE_THREAD_SANITIZER"] != nil

let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + fuzzed + (isThreadSanitized ? [.define("SANITIZE_THREAD")] : [])

let fence: [CSetting] = [.enableWarning("all"), .enableWarning("extra"), .treatAllWarnings(as: .error)]

let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let nio: [Target.Dependency] = ["NIOCore", "NIOPosix", "NIOHTTP1"].map {
    .product(name: $0, package: "swift-nio")
}
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

/// The debugging cases that every kind of target passes, and a target without KVM.
let conformance: Target.Dependency = "TargetConformance"

/// One library target with its tests beside it in `Tests/<name>Tests`.
func module(
    _ name: String, _ dependencies: [Target.Dependency], tests: [Target.Dependency] = [],
    recorded: [String] = []
) -> [Target] {
    [
        .target(name: name, dependencies: dependencies, swiftSettings: strict),
        .testTarget(
            name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies + tests,
            exclude: recorded, swiftSettings: strict),
    ]
}

let fuzzer: [Target] =
    isFuzzing
    ? [
        .executableTarget(
            name: "kvmscope-fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Entry", cSettings: fence,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
    ] : []

let package = Package(
    name: "kvmscope",
    products: [
        .library(name: "KVMCore", targets: ["KVMCore", "X86"]),
        .executable(name: "kvmscope", targets: ["kvmscope"]),
        .executable(name: "kvmscope-bench", targets: ["kvmscope-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    ],
    targets: [
        // C fences: what Swift cannot import, and nothing else.
        .target(name: "CKVM", cSettings: fence),
        .target(name: "CLinux", cSettings: fence),
        .target(name: "CNcurses", cSettings: fence, linkerSettings: [.linkedLibrary("ncursesw")]),
        .target(name: "CReadline", cSettings: fence, linkerSettings: [.linkedLibrary("readline")]),
        .target(name: "CZydis", cSettings: fence, linkerSettings: [.linkedLibrary("Zydis")]),
        .target(
            name: "CElf", cSettings: fence, linkerSettings: [.linkedLibrary("dw"), .linkedLibrary("elf")]),
        // The bare C loop that the bench holds everything against.
        .target(name: "CBench", cSettings: fence),
        // The example guests: assembly, assembled and embedded by the package itself.
        .target(
            name: "Examples", path: "examples", exclude: ["grafana-dashboard.json", "launch.json"],
            cSettings: fence),

        .executableTarget(
            name: "kvmscope",
            dependencies: [
                "KVMCore", "X86", "DebugTarget", "Symbols", "Host", "Machine", "Attach", "Debugger",
                "Monitor", "Commands", "GuestView", "Interface", "Terminal", "GDBRemote", "DAP", "Examples",
                "CLinux", "Locking",
                arguments, system,
            ] + nio,
            swiftSettings: strict),
        .executableTarget(
            name: "kvmscope-bench",
            dependencies: [
                "KVMCore", "X86", "DebugTarget", "Host", "Machine", "Attach", "Debugger", "Commands",
                "GuestView", "Monitor", "RecordedHosts",
                "Interface", "Terminal", "Expressions", "CBench", "TinyVMM", "kvmscope", arguments, system,
            ],
            swiftSettings: strict),
        // A VMM of the tests' own, to be attached to.
        .executableTarget(name: "TinyVMM", path: "Tests/TinyVMM", cSettings: fence),
        // Kernels for the loaders to load: assembly.
        .target(name: "Kernels", path: "Tests/Guests", cSettings: fence),
        // Symbols and source lines for tests to read.
        .executableTarget(name: "SymbolFixture", path: "Tests/SymbolFixture", cSettings: fence),
        .target(
            name: "TargetConformance",
            dependencies: ["Debugger", "DebugTarget", "Expressions", "Locking", "KVMCore", "X86", system],
            path: "Tests/TargetConformance", swiftSettings: strict),
        // Hosts with guests as they were, for the monitor.
        .target(
            name: "RecordedHosts", dependencies: ["Monitor", "Host"], path: "Tests/RecordedHosts",
            swiftSettings: strict),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Commands", "DAP", "Debugger", "DebugTarget", "GDBRemote", "Monitor", "Symbols",
                "Expressions",
                "Machine",
                conformance,
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: strict),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: strict),
        .testTarget(
            name: "kvmscopeTests",
            dependencies: [
                "kvmscope", "Commands", "Debugger", "Monitor", "Terminal", "TargetConformance", arguments,
                system,
            ], swiftSettings: strict),
        .testTarget(
            name: "EndToEndTests", dependencies: ["Kernels"],
            exclude: ["Recorded", "RemoteScripts", "Support/gdb-trace.py"],
            swiftSettings: strict),
    ]
        + module("X86", [])
        + module("Locking", [])
        + module("KVMCore", ["CKVM", "X86", "Locking", system])
        + module("Disassembler", ["CZydis", "X86"])
        + module("Host", ["Locking", "CLinux", "KVMCore", system])
        + module("PreciseTimes", [.product(name: "Histogram", package: "hdrhistogram-swift")])
        + module(
            "Monitor", ["Host", "KVMCore", "PreciseTimes", "Locking", "CLinux"],
            tests: [conformance, "RecordedHosts", "TinyVMM"])
        + module("Symbols", ["CElf", "CLinux", "Expressions", "X86", system])
        + module("Expressions", ["Locking", "X86"])
        + module("DebugTarget", ["Locking", "KVMCore", "X86", system])
        + module(
            "Debugger",
            [
                "DebugTarget", "KVMCore", "X86", "Disassembler", "Symbols", "Expressions", "Locking",
                "CLinux",
            ],
            tests: [conformance, "SymbolFixture"])
        // Neither imports the engine that it serves: they meet in DebugTarget.
        + module(
            "Machine", ["DebugTarget", "Locking", "Host", "KVMCore", "X86", "CLinux", deque, system],
            tests: ["Debugger", "Examples", "Kernels", conformance])
        + module(
            "Attach", ["DebugTarget", "Locking", "Host", "KVMCore", "X86", "CLinux", system],
            tests: ["Debugger", conformance, "TinyVMM"])
        + module(
            "Commands",
            [
                "Debugger", "DebugTarget", "Monitor", "Symbols", "Expressions", "Host", "KVMCore", "X86",
                "CLinux", system,
            ],
            tests: [conformance, "Disassembler", "Locking", "RecordedHosts"])
        + module(
            "GuestView",
            [
                "Commands", "Debugger", "DebugTarget", "Monitor", "Symbols", "Host", "KVMCore", "X86",
                "Disassembler",
            ],
            tests: [conformance])
        + module(
            "Interface", ["GuestView", "Commands", "Monitor", "Debugger", "DebugTarget", "X86"],
            tests: [conformance, "RecordedHosts"], recorded: ["Recorded"])
        + module("Terminal", ["Interface", "CNcurses", "CReadline", system])
        // Front ends: they speak to programs, and give commands as people do.
        + module(
            "DAP", ["Commands", "Debugger", "DebugTarget", "Expressions", "Symbols", "X86"],
            tests: [conformance])
        + module(
            "GDBRemote", ["Commands", "Debugger", "DebugTarget", "X86", "CLinux", system],
            tests: [conformance, "Examples", "Machine"])
        + fuzzer
)
