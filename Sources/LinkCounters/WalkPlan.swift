// What a walk's program is built of, read once: neither changes while the machine runs.
internal import LinuxSystem
internal import SystemPackage

/// Where the kernel keeps things.
struct WalkPlan: Hashable, Sendable {
    var layout: DeviceLayout
    /// How far each possible processor's variables lie from their common address.
    var processors: [UInt64]

    private static let typesFile = "/sys/kernel/btf/vmlinux"
    private static let processorsFile = "/sys/devices/system/cpu/possible"
    private static let largestFile = 64 << 20
    /// Jumps over the code for more would be too long.
    private static let mostProcessors = 1_024

    /// Reads the kernel's description of itself (some 5 MB, for a moment). Needs CAP_BPF and
    /// CAP_PERFMON.
    static func read() throws(WalkRefusal) -> WalkPlan {
        // Whoever may make no map is told so before the file is read.
        do throws(BPFError) {
            _ = try BPFPerCPUArray(name: "sluice_probe", wordCount: 1)
        } catch {
            throw WalkRefusal(error.description)
        }
        guard let types = TypeInformation(try bytes(typesFile)) else {
            throw WalkRefusal("\(typesFile) is not what it should be")
        }
        let layout = try DeviceLayout(types)
        let list = String(decoding: try bytes(processorsFile).prefix { $0 != 0x0a }, as: UTF8.self)
        guard let numbers = ProcessorOffsets.parse(list), numbers.count <= mostProcessors else {
            throw WalkRefusal("of processors \(list) there are too many, or none")
        }
        return WalkPlan(
            layout: layout, processors: try ProcessorOffsets.read(layout, processors: numbers))
    }

    private static func bytes(_ path: String) throws(WalkRefusal) -> [UInt8] {
        do throws(Errno) {
            return try WholeInput.read(path: path, limit: largestFile)
        } catch {
            throw WalkRefusal("\(path): \(error.description)")
        }
    }
}
