// Who may read and who may act, by the peer's credentials.
// Invariant: whoever is not named has no access; the daemon's own user and root always have.

import Glibc
import LinuxSystem
package import Settings
import SystemPackage

/// What a peer may do.
package enum ControlAccess: UInt8, Hashable, Comparable, Sendable {
    /// Nothing.
    case none
    /// Ask.
    case read
    /// Ask, and change.
    case act

    /// The narrower right comes first.
    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

extension ControlSettings {
    /// A peer with this right gets a connection while fewer than this are open: whoever may only
    /// read cannot shut out who acts.
    func mostConnections(for access: ControlAccess) -> Int {
        access == .act ? maximumConnections : maximumConnections - maximumConnections / 4
    }

    /// So many may listen: whoever listens cannot shut out who asks.
    var mostListening: Int { max(1, maximumConnections / 2) }
}

extension ConfigurationSource {
    /// Reads and checks a configuration, and holds it against this machine, whose groups it names.
    ///
    /// - Throws: as `load`; a group that is not there is a mistake without a place.
    package static func loadHere(path: String) throws(ConfigurationError) -> ConfigurationSource {
        let source = try load(path: path)
        let problems = ControlAuthorizer.problems(of: source.configuration.control)
        guard problems.isEmpty else {
            throw ConfigurationError(
                problems: problems.map {
                    ConfigurationProblem(
                        file: path, position: nil, sentence: "\($0)", cure: nil)
                })
        }
        return source
    }
}

/// Who may do what, with the configuration's groups looked up.
struct ControlAuthorizer: Sendable {
    private let readers: UInt32?
    private let operators: UInt32?
    private let user = geteuid()

    /// Looks the groups up.
    init(settings: ControlSettings) throws(ControlServerError) {
        readers = try Self.lookUp(settings.readers, key: "control.group")
        operators = try Self.lookUp(settings.operators, key: "control.operators")
    }

    private static func lookUp(
        _ name: String?, key: String
    ) throws(ControlServerError) -> UInt32? {
        guard let name else { return nil }
        do throws(Errno) {
            return try PeerCredentials.group(named: name)
        } catch {
            throw .group(key: key, name: name, reason: "\(error)")
        }
    }

    /// The groups of the configuration that this machine does not have.
    static func problems(of settings: ControlSettings) -> [ControlServerError] {
        [("control.group", settings.readers), ("control.operators", settings.operators)]
            .compactMap { key, name in
                do throws(ControlServerError) {
                    _ = try lookUp(name, key: key)
                    return nil
                } catch {
                    return error
                }
            }
    }

    /// The group of the socket's file: connecting needs write permission on it. Operators must be
    /// members of the readers' group where both are set, as the file can have but one.
    var fileGroup: UInt32? { readers ?? operators }

    /// What this peer may do.
    func access(of peer: PeerCredentials) -> ControlAccess {
        if peer.user == 0 || peer.user == user { return .act }
        if let operators, peer.isMember(of: operators) { return .act }
        if let readers, peer.isMember(of: readers) { return .read }
        return .none
    }
}
