// The root qdisc of another owner, where the settings say that ours may take its place.
//
// Invariants: it is replaced only where a snapshot of it is kept outside of this process, where it
// still is what it was then, and where it was put up on a throw-away ifb and read back the same; the
// replacement is one request, and so is the way back. Ours says in the kernel that it stands in
// another's place (Ownership.replacingQuantum): what was there is put back where that mark is, and
// nowhere else. Whoever takes ours out has his own way: what he leaves or puts there stays.
//
//   origin, hold --> held --rehearsal--> rehearsed --> replaced --release--> (put back)
//                      |                                  ^   |
//   after a start: remembered ----------------------------+   |
//                      |                                      |
//                      +-- another one; not to be put back ---+--> kept
internal import LinuxSystem
internal import Mitigation
internal import Netlink

/// A root of another owner.
enum ForeignRoot {
    /// A former process kept the snapshot: ours stands in its place, or does not yet, or it was being
    /// put back.
    case remembered(RootSnapshot)
    /// The snapshot is kept.
    case held(RootSnapshot)
    /// The snapshot has been put up elsewhere, and is the same.
    case rehearsed(RootSnapshot)
    /// Ours stands in its place.
    case replaced(RootSnapshot)
    /// It stays whatever happens in this incident, and why.
    case kept(String)
}

/// What may stand at a port's root.
struct RootSite: Hashable, Sendable {
    /// Whether ours may.
    var isOurs: Bool
    /// What has to be there again without ours.
    var theirs: RootSnapshot?
    /// Why not ours, for a sentence.
    var objection = ""
}

extension KernelTrafficControl {
    /// What is on a port on which nothing of ours stands.
    public mutating func origin(
        of port: ControlledPort
    ) throws(TrafficControlError) -> PortOrigin {
        do throws(StepFailure) {
            roots[port.index] = nil
            let observed = try socket.observe(
                port,
                Known(
                    readsRoot: settings.replacesForeignRoot,
                    places: Known.Places(root: false, ifbs: [])))
            // A hook that stands for our guards is no other owner's.
            var origin = PortOrigin(hadHook: observed.hook != nil && !observed.ownsHook)
            guard hook(of: port, observed) == .ingress else { return origin }
            switch observed.foreignRoot {
            case nil: break
            case .success(let snapshot):
                origin.root = snapshot
                roots[port.index] = .kept("what it is could not be written to the journal")
            case .failure(let error):
                roots[port.index] = .kept("\(error.what) could not be put back as it is")
            }
            return origin
        } catch {
            throw error.told
        }
    }

    /// Remembers what was there before ours.
    public mutating func hold(_ origin: PortOrigin, for port: ControlledPort) {
        origins[port.index] = origin
        guard let root = origin.root else { return }
        // Before a restart `origin` was another process's.
        roots[port.index] = roots[port.index] == nil ? .remembered(root) : .held(root)
    }

    /// What may stand at the port's root now.
    mutating func rootSite(
        of port: ControlledPort, _ observed: ObservedTree, isWanted: Bool
    ) -> RootSite {
        let seeSettings =
            settings.replacesForeignRoot
            ? "no snapshot of it is kept" : "see replace_foreign_root in [tc]"
        guard let root = roots[port.index] else {
            return RootSite(isOurs: observed.ownsRoot, objection: seeSettings)
        }
        let standing = try? observed.foreignRoot?.get()
        switch root {
        case .kept(let why): return RootSite(isOurs: observed.ownsRoot, objection: why)
        case .remembered(let theirs), .held(let theirs), .rehearsed(let theirs),
            .replaced(let theirs):
            if observed.port.ourRoot?.isInPlaceOfAnother == true {
                roots[port.index] = .replaced(theirs)
                return RootSite(isOurs: true, theirs: theirs)
            }
            let isBegun = !theirs.missing(from: standing).isEmpty
            if isBegun, root.mayBePutBack { return RootSite(isOurs: true, theirs: theirs) }
            guard standing == theirs, !root.isReplaced else {
                let why =
                    root.isReplaced
                    ? "it was put there while ours stood"
                    : "it has been changed since the flood began"
                roots[port.index] = .kept(why)
                return RootSite(isOurs: observed.ownsRoot, objection: why)
            }
            guard isWanted else { return RootSite(isOurs: false, theirs: theirs) }
            guard settings.replacesForeignRoot else {
                return RootSite(isOurs: false, theirs: theirs, objection: seeSettings)
            }
            let objection = rehearse(root, theirs, for: port)
            return RootSite(
                isOurs: objection == nil, theirs: theirs, objection: objection ?? "")
        }
    }

    /// Puts it up on an ifb that is down, and reads it back; nil where it is the same.
    private mutating func rehearse(
        _ root: ForeignRoot, _ theirs: RootSnapshot, for port: ControlledPort
    ) -> String? {
        if case .rehearsed = root { return nil }
        let objection: String?
        do throws(NetlinkError) {
            let index = try KernelProbe.makeIFB(mtu: port.mtu, &socket)
            defer { try? socket.deleteLink(index) }
            objection = try theirs.objection(on: index, &socket)
        } catch {
            // That says nothing about the root: the next look tries again.
            return "it could not be tried whether it can be put back: \(error)"
        }
        guard let objection else {
            roots[port.index] = .rehearsed(theirs)
            return nil
        }
        let why = "\(objection) could not be put back as it is"
        roots[port.index] = .kept(why)
        return why
    }

    /// What was put back reads back as it was.
    func confirmPutBack(
        _ steps: [Step], _ after: ObservedTree, site: Site, port: ControlledPort
    ) throws(StepFailure) {
        guard let theirs = site.root.theirs, steps.contains(where: \.putsBack),
            let what = theirs.difference(to: try? after.foreignRoot?.get())
        else { return }
        throw .mismatch("\(what) of another owner on \(port.name) is not as it was")
    }

    /// What a change left at the root.
    mutating func noteRoot(_ site: RootSite, of port: ControlledPort, isOurs: Bool) {
        guard let theirs = site.theirs else { return }
        if isOurs {
            roots[port.index] = .replaced(theirs)
        } else if roots[port.index]?.mayBePutBack == true {
            roots[port.index] = .held(theirs)
        }
    }

    /// Whether the port's root has to be looked at closely.
    func readsRoot(of port: ControlledPort) -> Bool {
        switch roots[port.index] {
        case nil, .kept: false
        default: true
        }
    }
}

extension ForeignRoot {
    fileprivate var isReplaced: Bool {
        if case .replaced = self { true } else { false }
    }

    /// Whether what stands may be what was put back in part.
    fileprivate var mayBePutBack: Bool {
        if case .remembered = self { true } else { isReplaced }
    }
}

extension ObservedTree {
    /// What is missing of the root that was there before ours, where ours is not to stand there.
    func missing(at site: RootSite) -> [Replica] {
        guard let theirs = site.theirs else { return [] }
        guard port.ourRoot == nil else { return theirs.objects }
        return theirs.missing(from: try? foreignRoot?.get())
    }

    /// Whether ours stands in the place of a root that nobody remembers.
    func hasForgottenRoot(_ site: RootSite) -> Bool {
        port.ourRoot?.isInPlaceOfAnother == true && site.theirs == nil
    }
}

extension RootSnapshot {
    /// Puts all of it on an interface, and gives the first object that is refused or reads back as
    /// another.
    fileprivate func objection(
        on index: Int32, _ socket: inout RouteSocket
    ) throws(NetlinkError) -> String? {
        for object in objects {
            do throws(NetlinkError) {
                try socket.put(object, on: index)
            } catch {
                guard error.isAnswer else { throw error }
                return "\(object) (\(error.kernelSentence ?? error.description))"
            }
        }
        switch try socket.foreignRoot(of: index, try socket.qdiscs(of: index)) {
        case .success(let again): return difference(to: again)
        case .failure(let error): return error.what
        }
    }
}

extension QdiscRecord {
    /// Whether this root of ours took the place of another owner's.
    var isInPlaceOfAnother: Bool { htbRateToQuantum == Ownership.replacingQuantum }
}
