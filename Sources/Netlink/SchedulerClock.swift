// The scheduler's clock: the kernel takes bursts and delays as ticks of it, not as bytes.
// Invariants: 128-bit integers, no rounding on the way; what we ask for is rounded up, so that a
// burst never comes out smaller than a frame it must hold; results saturate.
internal import CNetlink

/// Ticks in a microsecond, as /proc/net/psched has them: 15.625 (64 ns a tick) on every kernel
/// since 2.6.31.
public struct SchedulerClock: Hashable, Sendable {
    /// Ticks are `numerator / denominator` of a microsecond.
    private let numerator: UInt64
    private let denominator: UInt64

    /// 15.625 ticks a microsecond.
    public static let standard = SchedulerClock(
        numerator: 1_000_000_000, denominator: 64_000_000)

    private init(numerator: UInt64, denominator: UInt64) {
        self.numerator = numerator
        self.denominator = denominator
    }

    /// Reads the text of /proc/net/psched: nanoseconds in 1,000 ns, nanoseconds in a tick, and the
    /// clock's units in a second, in hexadecimal. Nil where it is none.
    public init?(psched text: [UInt8]) {
        let words = text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
        let numbers = words.prefix(3).map { word in
            UInt64(word.map { String(Unicode.Scalar($0)) }.joined(), radix: 16) ?? 0
        }
        guard numbers.count == 3, numbers.allSatisfy({ $0 > 0 && $0 <= 0xffff_ffff }) else {
            return nil
        }
        // A resolution of 10^9 says that the first two numbers are one (iproute2, tc_core_init).
        let ticks = numbers[2] == 1_000_000_000 ? numbers[1] : numbers[0]
        numerator = ticks * numbers[2]
        denominator = numbers[1] * 1_000_000
    }

    /// The clock of this kernel; `standard` where /proc/net/psched cannot be read, as in a service
    /// with ProcSubset=pid. No environment variable changes it.
    public static func current() -> SchedulerClock {
        var text = [UInt8](repeating: 0, count: 128)
        let length = unsafe text.withUnsafeMutableBytes { buffer in
            unsafe sluice_read_file("/proc/net/psched", buffer.baseAddress, buffer.count)
        }
        guard length > 0 else { return standard }
        return SchedulerClock(psched: Array(text.prefix(length))) ?? standard
    }

    /// The ticks that `amount` bytes (or packets) take at `perSecond` bytes (or packets) a second,
    /// rounded up; 0 without a rate. `tc_calc_xmittime`, which rounds down to microseconds first.
    public func ticks(amount: UInt64, perSecond: UInt64) -> UInt64 {
        guard perSecond > 0 else { return 0 }
        // Saturated before it could exceed 128 bits.
        let scale = UInt128(numerator) * 1_000_000
        let product = UInt128(amount).multipliedReportingOverflow(by: scale)
        let divisor = UInt128(perSecond) * UInt128(denominator)
        guard !product.overflow else { return .max }
        let (whole, rest) = product.partialValue.quotientAndRemainder(dividingBy: divisor)
        return UInt64(clamping: rest > 0 ? whole + 1 : whole)
    }

    /// What passes in `ticks` at `perSecond`, rounded down: undoes `ticks(amount:perSecond:)`
    /// exactly up to 15,625,000 a second, beyond that by at most one tick's worth.
    public func amount(ticks: UInt64, perSecond: UInt64) -> UInt64 {
        amount(ticks: ticks, perSecond: perSecond, roundingUp: false)
    }

    func amount(ticks: UInt64, perSecond: UInt64, roundingUp: Bool) -> UInt64 {
        let product = UInt128(ticks).multipliedFullWidth(
            by: UInt128(perSecond) * UInt128(denominator))
        let divisor = UInt128(numerator) * 1_000_000
        guard product.high < divisor else { return .max }
        let (whole, rest) = divisor.dividingFullWidth(product)
        return UInt64(clamping: roundingUp && rest > 0 ? whole + 1 : whole)
    }

    /// Nanoseconds as ticks, rounded down.
    public func ticks(nanoseconds: UInt64) -> UInt64 {
        let product = UInt128(nanoseconds) * UInt128(numerator)
        return UInt64(clamping: product / (UInt128(denominator) * 1000))
    }

    /// Ticks as nanoseconds.
    public func nanoseconds(ticks: UInt64) -> UInt64 {
        let product = UInt128(ticks) * UInt128(denominator) * 1000
        return UInt64(clamping: product / UInt128(numerator))
    }
}

/// The environment that libnl obeys.
public enum NetlinkEnvironment {
    /// Variables that would change its units or formats behind our back: to be forgotten before the
    /// first socket.
    public static let obeyed = [
        "TICKS_PER_USEC", "HZ", "PROC_NET_PSCHED", "PROC_ROOT", "NLCB", "NLDBG",
    ]
}
