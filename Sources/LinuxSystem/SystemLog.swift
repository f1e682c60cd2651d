// Lines for syslog(3) and for the service manager. Messages are data, never formats.
internal import CLinux
public import SystemPackage

/// The system's log.
public struct SystemLog: Sendable {
    /// RFC 5424's severities, as <syslog.h> numbers them.
    public enum Severity: Int32, Codable, Sendable, Comparable {
        /// Someone must act at once.
        case alert = 1
        /// A part of the daemon does not work.
        case error = 3
        /// Something needs an operator's eye.
        case warning = 4
        /// Normal, and worth telling.
        case notice = 5
        /// Normal.
        case info = 6
        /// For whoever mends the daemon.
        case debug = 7

        /// The graver comes first.
        public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    /// Opens the log under this identity (openlog(3)); one for each process. Nil where `facility`
    /// ("daemon", "local0" …) is no facility of <syslog.h>.
    public init?(identity: String, facility: String) {
        let number = unsafe sluice_syslog_facility(facility)
        guard number >= 0 else { return nil }
        unsafe sluice_syslog_open(identity, number)
    }

    /// Writes one line. A missing log daemon loses the line and delays nothing (syslog(3) sends a
    /// datagram without waiting for an answer).
    public func write(_ severity: Severity, _ message: String) {
        unsafe sluice_syslog_write(severity.rawValue, message)
    }
}

/// The service manager's notification socket, as sd_notify(3) speaks to it.
public struct ServiceManager: Sendable {
    private let path: String
    /// The time within which `WATCHDOG=1` is awaited; nil where there is no watchdog.
    public let watchdogMicroseconds: UInt64?

    /// The service manager that started this process: nil where none did (no NOTIFY_SOCKET).
    public init?(environment: [String: String]) {
        guard let path = environment["NOTIFY_SOCKET"], !path.isEmpty else { return nil }
        self.path = path
        watchdogMicroseconds = environment["WATCHDOG_USEC"].flatMap { UInt64($0) }
    }

    /// Sends assignments such as `READY=1`, each on a line of its own.
    public func notify(_ state: String) throws(Errno) {
        let bytes = Array(state.utf8)
        _ = try unsafe checked(
            bytes.withUnsafeBytes { buffer in
                unsafe sluice_send_datagram(path, buffer.baseAddress, buffer.count)
            })
    }
}
