// `sluicectl top`: the ports as they are, over and over.

import ArgumentParser
import ControlAPI
import LinuxSystem
import SystemPackage

struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract:
            "The ports as they are, live: what they send, what passes, and how they are held.",
        discussion: """
            As wide and as high as the terminal. Keys: q quits; p, b, t, r and n sort by packets sent, \
            bits sent, packets received, rung and name. Where standard output is no terminal, one screen \
            of --columns and of every port. Colours on a terminal only, and not with NO_COLOR set. Exit \
            status: 0 done, 1 the daemon says no, 2 it cannot be reached.
            """)

    @Option(help: "Sorted by packets, bits, received, rung or name.")
    var sort = TopOrder.packets

    @Option(help: ArgumentHelp("Seconds between two looks, 1 to 3600.", valueName: "seconds"))
    var interval = 1

    @Option(
        name: [.customShort("n"), .customLong("count")],
        help: ArgumentHelp(
            "So many looks, then the end; without a terminal only with --json.",
            valueName: "number"))
    var count: Int?

    @Option(
        help: ArgumentHelp(
            "In place of the terminal's width, or of 200 without one; 20 or more.",
            valueName: "number"))
    var columns: Int?

    @Flag(help: "Each look as the daemon's answer: a line of JSON. Goes on until --count.")
    var json = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if !(1...3_600).contains(interval) { throw ValidationError("--interval is 1 to 3600") }
        if let count, count < 1 { throw ValidationError("--count is 1 or more") }
        if let columns, columns < 20 { throw ValidationError("--columns is 20 or more") }
    }

    func run() throws {
        if json { return try printLooks() }
        let screen = TerminalDevice(.standardOutput)
        guard let size = screen.size else {
            try reporting { () throws(ControlClientError) in
                let status = try connection.client.status()
                let report = TopReport(
                    columns: columns ?? 200, rows: status.ports.count + 4, order: sort)
                Terminal.print(report.screen(status).dropLast())
            }
            return
        }
        // The first answer decides whether there is anything to look at.
        var first: Status?
        try reporting { () throws(ControlClientError) in first = try connection.client.status() }
        guard let first else { return }
        watch(screen, size, first)
    }

    private func printLooks() throws {
        try reporting { () throws(ControlClientError) in
            var looks = 0
            while true {
                Terminal.write(try connection.client.get("/v1/status"))
                looks += 1
                if let count, looks >= count { return }
                Terminal.sleep(milliseconds: UInt32(interval) * 1_000)
            }
        }
    }

    private func watch(
        _ screen: TerminalDevice, _ size: (columns: Int, rows: Int), _ first: Status
    ) {
        let keys = TerminalDevice(.standardInput)
        let hasKeys = (try? keys.takeKeys()) != nil
        Terminal.write(Array("\u{1b}[?1049h\u{1b}[?25l".utf8))
        defer {
            Terminal.write(Array("\u{1b}[?25h\u{1b}[?1049l".utf8))
            if hasKeys { keys.restore() }
        }
        var order = sort
        var status = first
        var problem: String?
        var looks = 1
        while true {
            let size = screen.size ?? size
            let report = TopReport(
                columns: columns ?? size.columns, rows: size.rows, order: order,
                hasColour: Terminal.wantsColour)
            draw(report.screen(status, problem: problem))
            guard let answer = wait(hasKeys ? keys : nil, &order) else { return }
            if answer == .key { continue }
            if let count, looks >= count { return }
            looks += 1
            do throws(ControlClientError) {
                status = try connection.client.status()
                problem = nil
            } catch {
                problem = "\(error)"
            }
        }
    }

    private enum Answer { case key, time }

    /// Waits for the next look, or a key; nil: to quit.
    private func wait(_ keys: TerminalDevice?, _ order: inout TopOrder) -> Answer? {
        guard let keys else {
            Terminal.sleep(milliseconds: UInt32(interval) * 1_000)
            return .time
        }
        let pressed: UInt8?
        do throws(Errno) {
            pressed = try keys.key(within: Int32(interval) * 1_000)
        } catch {
            // The terminal is gone, and would be at once each time.
            return nil
        }
        guard let key = pressed else { return .time }
        switch key {
        case UInt8(ascii: "q"), 3, 4: return nil
        default:
            let character = Character(Unicode.Scalar(key))
            order = TopOrder.allCases.first { $0.key == character } ?? order
            return .key
        }
    }

    private func draw(_ lines: [String]) {
        let text = lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n")
        Terminal.write(Array(("\u{1b}[H" + text + "\u{1b}[J").utf8))
    }
}

extension TopOrder: ExpressibleByArgument {}
