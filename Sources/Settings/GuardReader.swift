// Reads guards: a section of the configuration, and the file of a single port, which holds the keys
// of such a section.
// Invariants: all mistakes are reported at once, each with its place; guards come out only where there
// is none.
import Mitigation
import TOML
package import TrafficControl

extension Guards {
    /// The guards of a port's own file.
    ///
    /// - Parameters:
    ///   - bytes: TOML, at most 1 MiB.
    ///   - file: its name, for the errors.
    /// - Throws: `ConfigurationError` with every mistake.
    package init(parsing bytes: [UInt8], file: String) throws(ConfigurationError) {
        let problems = ProblemList(file: file)
        do throws(SyntaxError) {
            let entries = try TOML.parse(bytes)
            let table = TableReader(path: "", entries: entries, problems: problems)
            self = GuardReader(table: table, problems: problems, position: .start).read()
            table.finish()
        } catch {
            throw ConfigurationError(error, file: file)
        }
        if let error = problems.error { throw error }
    }
}

extension ConfigurationReader {
    /// `[guards]`, then `[guard."NAME"]` and `[guard."PATTERN"]`.
    func readGuards(_ root: TableReader, _ configuration: inout Configuration) {
        let settings = root.table("guards")
        folder(settings, "directory", into: &configuration.guardFolder)
        let enforcers = GuardEnforcer.allCases.map { ($0.rawValue, GuardEnforcer?.some($0)) }
        settings.word(
            "engine", into: &configuration.enforcement.guardEnforcer,
            of: [("auto", nil)] + enforcers)
        for (key, position, table) in root.table("guard").allTables() {
            let reader = GuardReader(table: table, problems: problems, position: position)
            let guards = reader.read()
            guard key.contains(where: { $0 == "*" || $0 == "<" }) else {
                if let match = claim(
                    "guard", key, orElse: ", or a pattern", configuration.names, at: position)
                {
                    configuration.guards.named[match.name] = guards
                }
                continue
            }
            do throws(NamePattern.Refusal) {
                let pattern = GuardBook.Pattern(names: try NamePattern(key), guards: guards)
                configuration.guards.patterns.append(pattern)
            } catch {
                problems.report(
                    "guard.\"\(key)\": \(error.sentence)", cure: error.cure, at: position)
            }
        }
    }
}

/// Reads one section's keys.
struct GuardReader {
    private enum Profile: String, CaseIterable {
        case none, tenant, management
        case publicRouter = "public-router"
    }

    let table: TableReader
    let problems: ProblemList
    /// Where the section begins.
    let position: Position

    func read() -> Guards {
        let before = problems.problems.count
        var guards = Guards()
        var profile = Profile.none
        table.word("profile", into: &profile)
        table.word("mode", into: &guards.mode)
        guards.switches = switches()
        let macs: [HardwareAddress] = list(
            "mac", "an Ethernet address", example: "52:54:00:12:34:56")
        let prefixes4: [AddressPrefix4] = list(
            "ipv4", "an IPv4 address or prefix", example: "192.0.2.5", "192.0.2.0/24")
        let prefixes6: [AddressPrefix6] = list(
            "ipv6", "an IPv6 address or prefix", example: "2001:db8::5", "2001:db8::/64")
        let pairs = self.pairs()
        let linkLocal: [AddressPrefix6] = list(
            "link_local", "an IPv6 address", example: "fe80::1")
        let networks: [AddressPrefix4] = list(
            "network", "an IPv4 prefix", example: "10.199.0.0/22")
        switch profile {
        case .none:
            refuse(["mac", "ipv4", "ipv6", "allow", "link_local", "network"], of: "no profile")
        case .tenant:
            refuse(["link_local", "network"], of: "\"tenant\"")
            guards.profile = .tenant(
                TenantGuard(
                    macs: macs, prefixes4: prefixes4, prefixes6: prefixes6, pairs: pairs))
        case .publicRouter:
            refuse(["allow", "network"], of: "\"public-router\"")
            single("link_local", linkLocal)
            guards.profile = mac(macs).map {
                .publicRouter(
                    PublicRouterGuard(
                        mac: $0, prefixes4: prefixes4, prefixes6: prefixes6,
                        linkLocal: linkLocal.first))
            }
        case .management:
            refuse(["ipv6", "allow", "link_local"], of: "\"management\"")
            guards.profile = mac(macs).map {
                .management(ManagementGuard(mac: $0, addresses: prefixes4, networks: networks))
            }
        }
        // An address that could not be read is missed once.
        if problems.problems.count == before { report(guards) }
        return guards
    }

    private func switches() -> Set<Guards.Switch> {
        let texts = table.texts("switches", example: #"["no-ra", "no-dhcp-server"]"#) ?? []
        let words = Guards.Switch.allCases.map { ($0.rawValue, $0) }
        return Set(
            texts.compactMap { table.word("switches", $0.text, at: $0.position, of: words) })
    }

    /// One text, or a list of them.
    private func list<Address: LosslessStringConvertible>(
        _ key: String, _ noun: String, example: String...
    ) -> [Address] {
        let texts =
            table.isText(key)
            ? table.text(key).map { [$0] }
            : table.texts(key, example: "[\"\(example.joined(separator: "\", \""))\"]")
        return (texts ?? []).compactMap { address(key, noun, example[0], $0.text, $0.position) }
    }

    private func address<Address: LosslessStringConvertible>(
        _ key: String, _ noun: String, _ example: String, _ text: String, _ position: Position
    ) -> Address? {
        if let address = Address(text) { return address }
        let cure =
            "as in \"\(example)\"" + (text.contains("/") ? ", without bits behind its length" : "")
        table.report(key, "\"\(text)\" is not \(noun)", cure: "write one \(cure)", at: position)
        return nil
    }

    /// `allow = ["192.0.2.9", { ip = "192.0.2.0/24", mac = "00:00:5e:00:01:01" }]`
    private func pairs() -> [TenantGuard.Pair] {
        let example = #"["192.0.2.9", { ip = "192.0.2.9", mac = "00:00:5e:00:01:01" }]"#
        guard let value = table.take("allow") else { return [] }
        guard case .array(let values) = value.content else {
            table.report(
                "allow", "is \(value.kind)", cure: "write a list, as in \(example)",
                at: value.position)
            return []
        }
        return values.enumerated().compactMap { index, value in
            switch value.content {
            case .string(let text):
                let prefix: AddressPrefix? = address(
                    "allow", "an address or prefix", "192.0.2.9", text, value.position)
                return prefix.map { TenantGuard.Pair(prefix: $0) }
            case .table(let entries):
                let reader = TableReader(
                    path: "\(table.path("allow"))[\(index)]", entries: entries, problems: problems)
                defer { reader.finish() }
                return pair(reader, value.position)
            default:
                table.report(
                    "allow", "holds \(value.kind)", cure: "write a list, as in \(example)",
                    at: value.position)
                return nil
            }
        }
    }

    private func pair(_ reader: TableReader, _ position: Position) -> TenantGuard.Pair? {
        let parts = GuardReader(table: reader, problems: problems, position: position)
        let prefixes: [AddressPrefix] = parts.list(
            "ip", "an address or prefix", example: "192.0.2.9")
        let macs: [HardwareAddress] = parts.list(
            "mac", "an Ethernet address", example: "00:00:5e:00:01:01")
        parts.single("ip", prefixes)
        parts.single("mac", macs)
        guard let prefix = prefixes.first else {
            if problems.places[reader.path("ip")] == nil {
                table.report("allow", "has no ip", cure: "write ip = \"192.0.2.9\"", at: position)
            }
            return nil
        }
        return TenantGuard.Pair(mac: macs.first, prefix: prefix)
    }

    /// Keys that this profile has no use for.
    private func refuse(_ keys: [String], of profile: String) {
        for key in keys {
            guard let place = problems.places[table.path(key)] else { continue }
            table.report(
                key, "has no meaning with \(profile)",
                cure: "take it out, or name the profile that it is for", at: place)
        }
    }

    /// A router's one Ethernet address.
    private func mac(_ macs: [HardwareAddress]) -> HardwareAddress? {
        single("mac", macs)
        if problems.places[table.path("mac")] == nil {
            table.report("mac", "is missing", cure: "write the port's own", at: position)
        }
        return macs.first
    }

    private func single<Value>(_ key: String, _ values: [Value]) {
        guard values.count > 1 else { return }
        table.report(
            key, "holds \(values.count) addresses", cure: "write one",
            at: problems.places[table.path(key)] ?? position)
    }

    /// What no key alone can say.
    private func report(_ guards: Guards) {
        for problem in guards.problems {
            let place = problems.places[table.path(problem.key)] ?? position
            let cure =
                problem.sentence == "is missing"
                ? "write the port's own" : "write the port's own addresses"
            table.report(problem.key, problem.sentence, cure: cure, at: place)
        }
        if guards.isEmpty, problems.places[table.path("switches")] == nil,
            problems.places[table.path("profile")] == nil, !table.path("").isEmpty
        {
            problems.report(
                "\(table.path("").dropLast()) forbids nothing",
                cure: "write profile = \"tenant\", or switches = [\"no-ra\"]", at: position)
        }
    }
}
