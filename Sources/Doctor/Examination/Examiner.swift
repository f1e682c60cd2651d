// Looks at a host: interfaces, processes, files, the daemon, and last the kernel's parts.
// Invariants: nothing of the host is changed: parts are tried in a network namespace of this process;
// what cannot be looked at is said, and hinders nothing else.
internal import ControlAPI
internal import LinuxSystem
internal import Mitigation
internal import Netlink
internal import Recording
internal import Settings
internal import SystemPackage
internal import TOML
internal import TrafficControl

/// Looks at the host that it runs on.
package struct Examiner {
    private let config: String
    private let socket: String?
    private let ask: (_ socket: String) -> DaemonLook

    /// An examiner of this host.
    ///
    /// - Parameters:
    ///   - config: the daemon's configuration file.
    ///   - socket: the daemon's socket; nil: where the configuration says.
    ///   - ask: asks the daemon at a socket.
    package init(config: String, socket: String?, ask: @escaping (_ socket: String) -> DaemonLook) {
        self.config = config
        self.socket = socket
        self.ask = ask
    }

    /// What is seen. The calling thread is in an empty network namespace afterwards: nothing else of
    /// this process may use the network then.
    package func facts() -> HostFacts {
        var facts = HostFacts()
        facts.release = RunningKernel.release
        let text = readConfiguration(into: &facts)
        facts.socketPath = socket ?? facts.configuration.control.socket
        facts.daemon = ask(facts.socketPath)
        facts.clockSource = Self.line(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource")
        lookAtLinks(into: &facts)
        let machines = ProcessList.vhostUser()
        facts.vhostUser = machines.found
        facts.hiddenProcesses = machines.hidden
        facts.virtualFunctions = DeviceTree.virtualFunctions()
        lookAtFiles(into: &facts)
        if let text { facts.runningText = runningText(text, facts) }
        facts.kernel = kernel()
        return facts
    }

    /// The first line of a small file of the kernel's; nil where there is none.
    static func line(_ path: String) -> String? {
        guard let bytes = try? WholeInput.read(path: path, limit: 65_536) else { return nil }
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    // MARK: The kernel

    private func kernel() -> Looked<KernelParts> {
        do throws(Errno) {
            try PrivateNetwork.enter()
        } catch {
            return .hidden("they are tried in a network of this command's own, and: \(error)")
        }
        do throws(TrafficControlError) {
            return .seen(try KernelParts.probed())
        } catch {
            return .hidden("\(error)")
        }
    }

    // MARK: Interfaces

    private func lookAtLinks(into facts: inout HostFacts) {
        let links: [Link]
        do throws(NetlinkError) {
            links = try Self.links()
        } catch {
            facts.ports = .hidden("\(error)")
            return
        }
        var claimed: [(port: ControlledPort, portClass: PortClass)] = []
        for link in links {
            let name = PortName(bytes: link.name)
            if let match = facts.configuration.names.match(name) {
                let port = ControlledPort(index: link.index, name: name, mtu: link.mtu)
                claimed.append((port, match.portClass))
                continue
            }
            if let kind = Self.unclaimedKind(link) {
                facts.unclaimed.append(UnclaimedLink(name: name, kind: kind))
            }
            // Hardware has no kind.
            if link.kind == nil, Self.offloads(name) { facts.offloadingDevices.append(name) }
        }
        let owners: [Int32: Result<PortOwners, TrafficControlError>]
        do throws(TrafficControlError) {
            owners = try PortOwners.look(at: claimed.map(\.port))
        } catch {
            facts.ports = .hidden("\(error)")
            return
        }
        facts.ports = .seen(
            claimed.compactMap { port, portClass in
                // One that is gone by now is none.
                guard let looked = owners[port.index] else { return nil }
                return PortFacts(
                    name: port.name, portClass: portClass, owners: Looked(looked),
                    isOffloading: Self.offloads(port.name))
            })
    }

    private static func links() throws(NetlinkError) -> [Link] {
        var socket = try RouteSocket.open()
        return try socket.links().sorted { $0.index < $1.index }
    }

    /// A tun device without Ethernet (a VPN's) is no VM's.
    private static func unclaimedKind(_ link: Link) -> UnclaimedLink.Kind? {
        switch link.kind {
        case "tun" where link.hardwareType == 1: .tap
        case "macvtap": .macvtap
        case "ipvtap": .ipvtap
        default: nil
        }
    }

    private static func offloads(_ name: PortName) -> Bool {
        let text = String(decoding: name.bytes, as: UTF8.self)
        return (try? LinkFeature.trafficControlOffload.isOn(text)) ?? false
    }

    // MARK: The configuration

    /// Gives the file's text where it can be read.
    private func readConfiguration(into facts: inout HostFacts) -> [UInt8]? {
        facts.configurationPath = config
        var text: [UInt8]?
        do throws(Errno) {
            text = try WholeInput.read(path: config, limit: 1 << 20)
        } catch {
            facts.isConfigurationReadable = error != .permissionDenied
        }
        do throws(ConfigurationError) {
            facts.configuration = try Configuration.load(path: config)
        } catch {
            facts.mistakes = error.problems.map(Mistake.init)
        }
        let folder = facts.configuration.guardFolder
        let files = try? FolderEntry.list(folder, suffix: GuardBook.fileSuffix, most: 16_384)
        for file in files ?? [] {
            let path = "\(folder)/\(file.name)"
            do throws(ConfigurationError) {
                let bytes = try Settings.readConfiguration(
                    path, cure: "make it readable, or remove it")
                _ = try Guards(parsing: bytes, file: path)
            } catch {
                facts.mistakes += error.problems.map(Mistake.init)
            }
        }
        return text
    }

    /// By the newest file of the recording, which holds the text that the daemon runs, if it is this
    /// daemon's.
    private func runningText(_ text: [UInt8], _ facts: HostFacts) -> RunningText {
        guard case .answers(let status, _) = facts.daemon, facts.configuration.recording.isEnabled,
            let running = Self.recordedText(
                facts.configuration.recording.directory,
                after: WallClock.exactSeconds - status.uptimeSeconds - 5)
        else { return .unknown }
        return running == text ? .same : .other
    }

    /// The text that was in force last, by the newest file; nil where there is none that was begun after
    /// this moment, in seconds since 1970.
    static func recordedText(_ folder: String, after start: Double) -> [UInt8]? {
        let files = try? FolderEntry.list(folder, suffix: RecordFormat.suffix, most: 65_536)
        guard let newest = files?.last,
            let bytes = try? WholeInput.read(path: "\(folder)/\(newest.name)", limit: 300_000_000),
            var reader = try? RecordingReader(bytes)
        else { return nil }
        var text: [UInt8]?
        while let item = reader.next() {
            switch item {
            case .start(let begun):
                let isOwn = Double(begun.wallNanoseconds) / 1e9 >= start
                text = isOwn ? begun.configuration : nil
            case .input(.replace(let other, modes: _), at: _) where text != nil: text = other
            default: break
            }
        }
        return text
    }
}

extension Looked {
    fileprivate init(_ result: Result<Value, some Error>) {
        switch result {
        case .success(let value): self = .seen(value)
        case .failure(let error): self = .hidden("\(error)")
        }
    }
}
