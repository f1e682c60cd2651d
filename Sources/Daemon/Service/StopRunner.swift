// Stops a virtual machine by the operator's programs: gently, then, after a wait, hard. Beside the
// turn: a program that hangs delays nobody, and is killed.
internal import LinuxSystem
internal import Mitigation
package import Settings
internal import Subprocess
internal import Synchronization
internal import SystemPackage

/// Runs the stop programs of the configuration.
package final class StopRunner: Sendable {
    private let tell: @Sendable (AlertLine) -> Void
    /// Ports for which a stop is under way.
    private let running = Mutex<Set<String>>([])

    /// - Parameter tell: gets what became of each step of a stop, on another thread.
    init(tell: @escaping @Sendable (AlertLine) -> Void) { self.tell = tell }

    /// Begins to stop a virtual machine. Returns at once; a stop that is under way for the same port
    /// is not begun again. `isStillDown` is asked between gentle and hard: a port that was released
    /// in the meantime, or is gone with its machine, is not stopped hard.
    package func stop(
        _ order: StopOrder, _ settings: ShutdownSettings,
        isStillDown: @escaping @Sendable () -> Bool
    ) {
        let name = order.match.name.description
        guard running.withLock({ $0.insert(name).inserted }) else { return }
        Task.detached { [self] in
            await run(order, settings.hook, isStillDown)
            running.withLock { _ = $0.remove(name) }
        }
    }

    private func run(
        _ order: StopOrder, _ hook: ShutdownHook, _ isStillDown: @Sendable () -> Bool
    ) async {
        await run(hook.gentle, "gentle", order, hook)
        guard !hook.hard.isEmpty else { return }
        try? await Task.sleep(for: hook.wait)
        guard isStillDown() else { return }
        await run(hook.hard, "hard", order, hook)
    }

    private func run(
        _ template: [String], _ step: String, _ order: StopOrder, _ hook: ShutdownHook
    ) async {
        let command: [[UInt8]]
        do throws(ShutdownHook.ExpansionError) {
            command = try hook.command(template, for: order.match)
        } catch {
            tell(order, step, "error", "\(error)")
            return
        }
        guard let program = command.first.map({ String(decoding: $0, as: UTF8.self) }) else {
            return
        }
        do {
            let status = try await execute(program, Array(command.dropFirst()), hook.timeout)
            tell(order, step, status == nil ? "killed" : "exit", status ?? "after \(hook.timeout)")
        } catch {
            tell(order, step, "error", "\(program): \(error)")
        }
    }

    /// The program's end, or nil where it had to be killed. Its environment holds a PATH and nothing
    /// else; its process group goes with it.
    private func execute(
        _ program: String, _ arguments: [[UInt8]], _ timeout: Duration
    ) async throws -> String? {
        var options = PlatformOptions()
        options.processGroupID = 0
        options.teardownSequence = [
            .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: .seconds(1))
        ]
        let platform = options
        return try await withThrowingTaskGroup(of: String?.self) { group in
            group.addTask {
                let executable: Executable =
                    program.hasPrefix("/") ? .path(FilePath(program)) : .name(program)
                let result = try await Subprocess.run(
                    // Raw arguments bring their own NUL (swift-subprocess calls strdup(3)).
                    executable, arguments: Arguments(arguments.map { $0 + [0] }),
                    environment: .custom(["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]),
                    platformOptions: platform, output: .discarded, error: .discarded)
                return "\(result.terminationStatus)"
            }
            group.addTask {
                try await Task.sleep(for: timeout)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    private func tell(_ order: StopOrder, _ step: String, _ result: String, _ detail: String) {
        tell(
            AlertLine(
                result == "exit" && detail == "exited(0)" ? .notice : .error,
                [
                    ("event", "stop"), ("incident", "\(order.incident)"),
                    ("port", "\(order.match.name)"), ("step", step), ("result", result),
                    ("detail", detail),
                ]))
    }
}
