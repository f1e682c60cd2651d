// A terminal: its size, and keys as they are pressed.
internal import CLinux
public import SystemPackage

/// The terminal behind a descriptor.
public struct TerminalDevice: Sendable {
    private let descriptor: Int32

    /// The terminal behind this descriptor, if it is one.
    public init(_ descriptor: FileDescriptor) { self.descriptor = descriptor.rawValue }

    /// Columns and rows; nil where it is no terminal, or does not say. Calls ioctl(TIOCGWINSZ).
    public var size: (columns: Int, rows: Int)? {
        var (columns, rows): (UInt16, UInt16) = (0, 0)
        guard unsafe sluice_terminal_size(descriptor, &columns, &rows) == 0, columns > 0, rows > 0
        else { return nil }
        return (Int(columns), Int(rows))
    }

    /// Keys come one by one and unseen, control-C as 3, until `restore`. Calls tcsetattr(3).
    public func takeKeys() throws(Errno) { _ = try checked(sluice_terminal_take_keys(descriptor)) }

    /// As it was before `takeKeys`.
    public func restore() { sluice_terminal_restore(descriptor) }

    /// The next key, a byte; nil where none came in this time.
    public func key(within milliseconds: Int32) throws(Errno) -> UInt8? {
        do throws(Errno) {
            return UInt8(
                truncatingIfNeeded: try checked(sluice_terminal_key(descriptor, milliseconds)))
        } catch .timedOut, .interrupted {
            return nil
        }
    }
}
