// What is read of strangers' text: metrics, command lines, sysfs; and a self-test's frames and verdicts.
import Lab
import Mitigation
import Testing

@testable import Doctor

@Suite struct LookTests {
    /// Guards against: a metric that is read as another, and a trap on any text.
    @Test func metrics() {
        let metrics = Metrics(FindingTests.metrics + "\nbad\nbad x\nlabel{a=\"b } c\"} 7\n")
        #expect(metrics["sluice_turn_seconds_count"] == 1_000)
        #expect(metrics["label{a=\"b } c\"}"] == 7)
        #expect(metrics["bad"] == nil)
        #expect(metrics.bound("sluice_turn_seconds", share: 0.5) == 0.0001)
        #expect(metrics.bound("sluice_turn_seconds", share: 0.99) == 0.001)
        #expect(metrics.bound("sluice_turn_seconds", share: 1) == .infinity)
        #expect(metrics.bound("nothing", share: 0.5) == nil)
        #expect(metrics.nonZero("sluice_netlink_errors_total").isEmpty)
        #expect(metrics.nonZero("sluice_breaker_limit").map(\.label) == ["share"])
    }

    /// Guards against: a machine on vhost-user that is not found, and a disk on vhost-user, or another
    /// program, that is taken for one.
    @Test func commandLines() {
        func machine(_ words: String...) -> VhostUserMachine? {
            VhostUserMachine(pid: 7, commandLine: Array(words.joined(separator: "\0").utf8) + [0])
        }
        let qemu = "/usr/bin/qemu-system-x86_64"
        #expect(
            machine(
                qemu, "-name", "guest=db,debug-threads=on", "-chardev", "socket,id=c,path=/run/vu",
                "-netdev", "vhost-user,chardev=c,id=n", "-netdev", "tap,id=t")
                == VhostUserMachine(pid: 7, name: "db", interfaces: 1))
        #expect(
            machine(
                "/usr/bin/kvm", "-name", "db", "-netdev",
                #"{"type": "vhost-user", "chardev": "c", "id": "n"}"#, "-netdev",
                "type=vhost-user,id=m,chardev=d")
                == VhostUserMachine(pid: 7, name: "db", interfaces: 2))
        #expect(machine(qemu, "-device", "vhost-user-blk-pci,chardev=c") == nil)
        #expect(machine("/usr/bin/vim", "-netdev", "vhost-user,id=n") == nil)
        #expect(machine("") == nil)
        #expect(VhostUserMachine(pid: 7, commandLine: []) == nil)
        #expect(VhostUserMachine(pid: 7, commandLine: Array(qemu.utf8)) == nil)
    }

    /// Guards against: virtual functions that are not counted, or not known as handed to VMs.
    @Test func virtualFunctions() throws {
        let folder = try ScratchFolder()
        for (name, count) in [("eth0", "4"), ("eth1", "0")] {
            try Tool.run("mkdir", "-p", folder.file("\(name)/device/virtfn0"))
            try Tool.run("mkdir", "-p", folder.file("\(name)/device/virtfn1"))
            try folder.write("\(count)\n", to: "\(name)/device/sriov_numvfs")
            for (number, driver) in [(0, "vfio-pci"), (1, "iavf")] {
                try Tool.run(
                    "ln", "-s", "../../../bus/pci/drivers/\(driver)",
                    folder.file("\(name)/device/virtfn\(number)/driver"))
            }
        }
        try Tool.run("mkdir", folder.file("lo"))
        #expect(
            DeviceTree.virtualFunctions(under: folder.path)
                == [VirtualFunctions(device: "eth0", count: 4, passedThrough: 1)])
        #expect(DeviceTree.virtualFunctions(under: "/nonexistent").isEmpty)
    }

    /// Guards against: a frame of the flood that is counted as the lane's, a stranger's that is counted
    /// as ours, and one of another length than was asked.
    @Test func frames() {
        for isFromVM in [true, false] {
            for (frame, protocolNumber) in [(TestFrame.flood, 17), (.lane, 6)]
                as [(TestFrame, UInt8)]
            {
                let bytes = frame.bytes(22, isFromVM: isFromVM, count: 74)
                #expect(bytes.count == 74)
                #expect(TestFrame(head: Array(bytes.prefix(64))) == frame)
                #expect(Array(bytes[12...14]) == [8, 0, 0x45] && bytes[23] == protocolNumber)
                #expect(Int(bytes[16]) << 8 | Int(bytes[17]) == 60)
                let server = Int(bytes[isFromVM ? 34 : 36]) << 8 | Int(bytes[isFromVM ? 35 : 37])
                #expect((server == 22) == (frame == .lane))
            }
        }
        var strange = TestFrame.flood.bytes(22, isFromVM: true, count: 60)
        strange[26] = 10
        #expect(TestFrame(head: strange) == nil)
        #expect(TestFrame(head: []) == nil)
    }

    /// Guards against: a rung that is passed for what it did not hold.
    @Test func verdicts() {
        func verdict(
            _ measured: Double, bits: Double? = nil, small: Double = 1_000, offered: Double = 4_000,
            lane: Int = 75
        ) -> TestVerdict {
            var result = RungResult(rung: .police, direction: .from, verdict: .unsure)
            result.asked = TestLoad(packetsPerSecond: 1_000, bitsPerSecond: 2_000_000)
            result.offered = TestLoad(packetsPerSecond: offered, bitsPerSecond: offered * 2_000)
            result.measured = TestLoad(
                packetsPerSecond: measured, bitsPerSecond: bits ?? measured * 2_000)
            result.smallFrames = TestLoad(packetsPerSecond: small, bitsPerSecond: small * 480)
            (result.laneSent, result.lanePassed) = (76, lane)
            result.judge()
            #expect((result.verdict == .holds) == (result.problem == nil))
            return result.verdict
        }
        #expect(verdict(1_000) == .holds && verdict(1_090) == .holds && verdict(910) == .holds)
        #expect(verdict(1_110) == .leaks && verdict(1_000, bits: 2_300_000) == .leaks)
        #expect(verdict(1_000, small: 1_200) == .leaks)
        #expect(verdict(1_000, small: 100) == .holds)
        #expect(verdict(880) == .starves && verdict(1_000, lane: 60) == .starves)
        #expect(verdict(1_000, offered: 1_200) == .unsure)
        var report = SelfTestReport(kernel: "6.1", kernelNotes: [])
        #expect(!report.isPassed)
        report.rungs = [RungResult(rung: .police, direction: .from, verdict: .holds)]
        #expect(report.isPassed)
        report.left = ["+qdisc"]
        #expect(!report.isPassed)
        report.left = []
        report.rungs.append(RungResult(rung: .shape, direction: .from, verdict: .refused))
        #expect(!report.isPassed)
    }
}
