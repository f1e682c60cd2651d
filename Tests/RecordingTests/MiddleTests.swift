// A recording whose beginning is gone: the oldest files are deleted over the quota.
import Mitigation
import Testing

@testable import Recording

@Suite struct MiddleTests {
    /// Guards against: a file that is of no use without those before it. Where nothing was under way
    /// at its beginning, what comes is told as it was; else most of what was told is.
    @Test func laterFilesStandAlone() throws {
        var (same, all, quiet, exact) = (0, 0, 0, 0)
        for seed in 1...200 as ClosedRange<UInt64> {
            var settings = RecorderSettings()
            settings.fileBytes = 3_000
            let history = RecordedHistory(seed: seed, settings: settings)
            history.hasFaults = seed > 100
            history.run(polls: 300)
            for first in 1..<max(history.files.count, 1) {
                let replay = try replayed(history, Array(history.files.dropFirst(first)))
                guard replay.gaps == 0 else { continue }
                func moments(_ events: [Event]) -> [String] {
                    events.map { "\($0.at) \($0.port) \($0.kind)" }
                }
                let recorded = moments(replay.recorded)
                all += recorded.count
                same += Set(recorded).intersection(moments(replay.told)).count
                guard replay.inherited == 0 else { continue }
                quiet += 1
                exact += replay.recorded == replay.told ? 1 : 0
            }
        }
        print("from the middle: \(same) of \(all) again; \(exact) of \(quiet) quiet ones exact")
        #expect(all > 1_000 && quiet > 20)
        #expect(same * 10 >= all * 6 && exact * 10 >= quiet * 8)
    }
}
