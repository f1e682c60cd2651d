// swift-tools-version: 6.2
// Sluice: a host-resident flood mitigation daemon for hypervisors.
//
// The walls of the house: an arrow may only point downwards in this file, and C and `unsafe` stand
// only in Netlink, LinuxSystem and TOML, each over one C target of its own.
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
]

// One build serves users and tests, so that what is measured is what runs: release, with the names
// that the tests of these modules look at.
let testable = strict + [.unsafeFlags(["-enable-testing"], .when(configuration: .release))]

// Of tests that wait for the kernel or ask for a value: they are compiled in a third of the time.
let unhurried = strict + [.unsafeFlags(["-Onone"], .when(configuration: .release))]

// Of the two programs: half the resident memory, and no Swift runtime to install on a hypervisor. And of
// the one that measures what they do.
let standalone: [LinkerSetting] = [
    .unsafeFlags(
        ["-static-stdlib", "-l_FoundationCollections", "-l_FoundationCShims"],
        .when(configuration: .release))
]

let package = Package(
    name: "sluice",
    products: [
        .executable(name: "sluiced", targets: ["sluiced"]),
        .executable(name: "sluicectl", targets: ["OperatorProgram"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        // The decision and the words of the socket: pure, nothing below them.
        .target(name: "Mitigation", swiftSettings: strict),
        .target(name: "ControlAPI", swiftSettings: strict),

        // What the decision was told, written down, and the decision run over it again: pure too.
        .target(name: "Recording", dependencies: ["Mitigation"], swiftSettings: testable),

        // The packet sample of a trip, and what it says: pure.
        .target(name: "Evidence", dependencies: ["ControlAPI"], swiftSettings: testable),

        // The kernel's netlink.
        .systemLibrary(
            name: "LibNL", pkgConfig: "libnl-route-3.0", providers: [.apt(["libnl-route-3-dev"])]),
        .systemLibrary(name: "LibMNL", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
        .target(name: "CNetlink", dependencies: ["LibNL", "LibMNL"]),
        .target(name: "Netlink", dependencies: ["CNetlink"], swiftSettings: testable),

        // The rest of Linux: epoll, timers, signals, scheduling, bpf(2), sd_notify, syslog.
        .target(name: "CLinux"),
        .target(
            name: "LinuxSystem",
            dependencies: ["CLinux", .product(name: "SystemPackage", package: "swift-system")],
            swiftSettings: testable),

        // Every interface's counters, by a program in the kernel where that is allowed, or by netlink.
        .target(
            name: "LinkCounters",
            dependencies: [
                "LinuxSystem", "Netlink",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: testable),

        // Configuration files with a line and a column for every value.
        .target(name: "CTOML"),
        .target(name: "TOML", dependencies: ["CTOML"], swiftSettings: strict),

        // Wanted state against observed state.
        .target(
            name: "TrafficControl", dependencies: ["Mitigation", "Netlink", "LinuxSystem"],
            swiftSettings: testable),

        // What operators write, for the daemon and for whoever asks what it would do.
        .target(
            name: "Settings", dependencies: ["ControlAPI", "Mitigation", "TOML", "TrafficControl"],
            swiftSettings: testable),

        // What is well on a hypervisor and what is not, and the ladder tried on a throw-away port.
        .target(
            name: "Doctor",
            dependencies: [
                "ControlAPI", "LinuxSystem", "Mitigation", "Netlink", "Recording", "Settings",
                "TOML",
                "TrafficControl",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: testable),

        // The turn, and what lives beside it.
        .target(
            name: "Daemon",
            dependencies: [
                "ControlAPI", "Evidence", "LinkCounters", "LinuxSystem", "Mitigation", "Netlink",
                "Recording", "Settings", "TrafficControl",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: testable),
        .executableTarget(
            name: "sluiced",
            dependencies: [
                "ControlAPI", "Daemon", "LinuxSystem", "Settings",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict,
            linkerSettings: standalone),
        .executableTarget(
            name: "OperatorProgram", dependencies: ["sluicectl"], swiftSettings: strict,
            linkerSettings: standalone),
        // No program itself, since tests contain it, and cannot be linked as the programs are.
        .target(
            name: "sluicectl",
            dependencies: [
                "ControlAPI", "Doctor", "Evidence", "LinuxSystem", "Mitigation", "Netlink",
                "Recording", "Settings",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: testable),

        // The laboratory: virtual machines on taps, in namespaces that the tests made.
        .target(name: "CLab", path: "Tests/CLab"),
        .target(
            name: "Lab", dependencies: ["CLab", "ControlAPI"], path: "Tests/Lab",
            swiftSettings: strict),
        .target(
            name: "LabTesting", dependencies: ["Lab"], path: "Tests/LabTesting",
            swiftSettings: strict),
        .executableTarget(
            name: "sluice-demo", dependencies: ["ControlAPI", "Lab"], path: "Tests/Demo",
            exclude: ["demo.svg"], swiftSettings: strict),

        // `make bench`: what all of it costs, against its floors and its peers.
        .target(name: "CBench", dependencies: ["LibNL"], path: "Tests/CBench"),
        .executableTarget(
            name: "sluice-bench",
            dependencies: [
                "CBench", "CLab", "ControlAPI", "Daemon", "Doctor", "Lab", "LinkCounters",
                "LinuxSystem", "Mitigation", "Netlink", "Settings", "TrafficControl",
            ],
            path: "Tests/Bench", exclude: ["peers"], swiftSettings: strict,
            linkerSettings: standalone),

        // Readers of strangers' bytes, for the pure lane and for `make fuzz`.
        .target(
            name: "Fuzz",
            dependencies: [
                "CNetlink", "ControlAPI", "Daemon", "Evidence", "LinkCounters", "LinuxSystem",
                "Mitigation",
                "Netlink", "Recording", "Seeded", "Settings", "TOML", "TrafficControl",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            path: "Tests/Fuzz", swiftSettings: strict),

        // The daemon's turn on the real kernel and files, killed after each step that it takes.
        .target(name: "CRehearsal", path: "Tests/CRehearsal"),
        .executableTarget(
            name: "sluice-rehearsal",
            dependencies: [
                "CRehearsal", "ControlAPI", "Daemon", "Lab", "LinkCounters", "Mitigation",
                "Netlink",
                "Recording", "Settings", "TrafficControl",
            ],
            path: "Tests/Rehearsal", swiftSettings: strict),

        // The pure lane.
        .testTarget(name: "FuzzTests", dependencies: ["Fuzz", "Seeded"], swiftSettings: strict),
        .target(name: "Seeded", path: "Tests/Seeded", swiftSettings: strict),
        .testTarget(
            name: "MitigationTests", dependencies: ["Mitigation", "Seeded"], swiftSettings: strict),
        .testTarget(
            name: "EvidenceTests", dependencies: ["ControlAPI", "Evidence"], swiftSettings: strict),
        .testTarget(
            name: "RecordingTests", dependencies: ["CLab", "Mitigation", "Recording", "Seeded"],
            swiftSettings: strict),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "ControlAPI", "Daemon", "LinkCounters", "Mitigation", "Netlink", "Recording",
                "Seeded", "Settings", "TrafficControl",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ControlAPITests",
            dependencies: [
                "ControlAPI", "Daemon", "Evidence", "LinuxSystem", "Mitigation", "Recording",
                "Seeded", "Settings", "sluicectl",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "DoctorTests",
            dependencies: [
                "ControlAPI", "Doctor", "Lab", "Mitigation", "Settings", "TrafficControl",
                "sluicectl",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "CLab", "ControlAPI", "Daemon", "Evidence", "Lab", "LinuxSystem", "Mitigation",
                "Netlink", "Recording", "Seeded", "Settings", "TOML", "TrafficControl",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            exclude: ["ConfigurationFixtures"], swiftSettings: strict),

        .testTarget(
            name: "LinkCountersTests", dependencies: ["LinkCounters", "Netlink", "Seeded"],
            swiftSettings: strict),

        // The kernel lanes: on this kernel, and in User-Mode Linux.
        .testTarget(
            name: "NetlinkTests",
            dependencies: [
                "CLab", "CLinux", "CNetlink", "Lab", "LabTesting", "LinkCounters", "Netlink",
            ],
            swiftSettings: unhurried),
        .testTarget(
            name: "TrafficControlTests",
            dependencies: [
                "CBench", "Lab", "LabTesting", "LinuxSystem", "Mitigation", "Netlink",
                "TrafficControl",
            ],
            swiftSettings: unhurried),
        .testTarget(
            name: "KernelTests",
            dependencies: [
                "CBench", "CLab", "ControlAPI", "Daemon", "Doctor", "Evidence", "Lab", "LabTesting",
                "LinkCounters", "LinuxSystem", "Mitigation", "Recording", "Settings",
                "TrafficControl",
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: unhurried),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17,
    cxxLanguageStandard: .cxx17
)

// `make fuzz` alone builds this: libFuzzer brings the program's beginning.
if Context.environment["SLUICE_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "sluice-fuzz", dependencies: ["Fuzz"], path: "Tests/FuzzDriver",
            exclude: ["run"], swiftSettings: strict))
}
