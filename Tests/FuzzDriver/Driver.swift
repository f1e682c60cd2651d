// libFuzzer over one target: `sluice-fuzz TARGET OPTION...`; `sluice-fuzz --list` names the targets,
// `sluice-fuzz --seeds TARGET FOLDER` writes a target's seeds to files. `main` is libFuzzer's.
import Fuzz
import Glibc

/// Set once, before the first input.
nonisolated(unsafe) private var chosen: FuzzTarget?

/// Called by libFuzzer with the command line; what is left there is for itself.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>>>
) -> CInt {
    let words = CommandLine.arguments.dropFirst()
    switch words.first {
    case "--list":
        FuzzTarget.all.forEach { print($0.name) }
        exit(0)
    case "--seeds" where words.count == 3:
        writeSeeds(of: target(named: words[2]), to: words[3])
        exit(0)
    case let name? where !name.hasPrefix("-"): unsafe chosen = target(named: name)
    default: fail("name a target: \(FuzzTarget.all.map(\.name).joined(separator: ", "))")
    }
    // The target's name is taken out: its place goes to the program's.
    unsafe arguments.pointee[1] = arguments.pointee[0]
    unsafe arguments.pointee += 1
    unsafe count.pointee -= 1
    return 0
}

/// Called by libFuzzer with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func readOne(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    do {
        let input = unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: count))
        _ = try unsafe chosen?.read(input)
    } catch {
        // libFuzzer says where it keeps the input.
        fatalError("\(error)")
    }
    return 0
}

private func writeSeeds(of target: FuzzTarget, to folder: String) {
    do {
        for (number, seed) in try target.seeds().enumerated() {
            guard let file = unsafe fopen("\(folder)/seed-\(number)", "w") else {
                fail("cannot write to \(folder)")
            }
            _ = unsafe fwrite(seed, 1, seed.count, file)
            unsafe fclose(file)
        }
    } catch {
        fail("\(error)")
    }
}

private func target(named name: String) -> FuzzTarget {
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        fail("there is no target \(name)")
    }
    return target
}

private func fail(_ sentence: String) -> Never {
    let line = Array("sluice-fuzz: \(sentence)\n".utf8)
    _ = unsafe write(STDERR_FILENO, line, line.count)
    exit(64)
}
