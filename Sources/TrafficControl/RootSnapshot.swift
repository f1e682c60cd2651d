// The root qdisc that another owner has on a port, with all below it: what is held while ours stands
// in its place, and from which it is put back.
//
// Invariant: the objects stand in the order in which they are put, each behind what it hangs on;
// what has been put back in part is therefore a beginning of the list, and is known by that.
internal import FoundationEssentials
internal import Netlink

/// A root qdisc, its classes, the qdiscs below and the filters.
public struct RootSnapshot: Hashable, Sendable {
    /// Larger trees are not held: each object is one request while the port is half without.
    static let most = 256

    /// The root first.
    var objects: [Replica]

    /// The tree of these listings of one interface.
    /// - Throws: the object that a listing does not say in full.
    init(
        qdiscs: [QdiscRecord], classes: [ClassRecord], filters: [FilterRecord]
    ) throws(Unrestorable) {
        guard qdiscs.count + classes.count + filters.count <= Self.most else {
            throw Unrestorable("a tree of more than \(Self.most) objects")
        }
        objects = []
        let roots = qdiscs.filter { $0.parent == .root }
        for root in roots { try add(root, qdiscs, classes) }
        let queues = qdiscs.filter { $0.parent != .ingress }
        guard roots.count == 1, objects.count(where: { $0.sort == .qdisc }) == queues.count else {
            throw Unrestorable("a tree that is not listed in full")
        }
        for filter in filters { try add(filter, filters) }
    }

    /// A qdisc, its classes, and what hangs on them.
    private mutating func add(
        _ qdisc: QdiscRecord, _ qdiscs: [QdiscRecord], _ classes: [ClassRecord]
    ) throws(Unrestorable) {
        guard let replica = Replica(qdisc), qdisc.handle.major != 0 else {
            throw Unrestorable("qdisc \(qdisc.kind) \(qdisc.handle)")
        }
        objects.append(replica)
        if Replica.classfulKinds.contains(qdisc.kind) { try add(classesOf: qdisc, classes) }
        let children = qdiscs.filter {
            $0.parent.major == qdisc.handle.major && $0.parent != .root
                && $0.handle.major != qdisc.handle.major
        }
        for child in children.sorted(by: { $0.parent.rawValue < $1.parent.rawValue }) {
            try add(child, qdiscs, classes)
        }
    }

    /// Parents before their children.
    private mutating func add(
        classesOf qdisc: QdiscRecord, _ classes: [ClassRecord]
    ) throws(Unrestorable) {
        // An hfsc lists itself as its first class.
        var waiting = classes.filter {
            $0.classID.major == qdisc.handle.major && $0.classID != qdisc.handle
        }.sorted { $0.classID.rawValue < $1.classID.rawValue }
        var placed: Set<Handle> = [.root, qdisc.handle]
        while let next = waiting.firstIndex(where: { placed.contains($0.parent) }) {
            let record = waiting.remove(at: next)
            guard let replica = Replica(record) else {
                throw Unrestorable("class \(record.kind) \(record.classID)")
            }
            placed.insert(record.classID)
            objects.append(replica)
        }
        if let orphan = waiting.first {
            throw Unrestorable("class \(orphan.kind) \(orphan.classID)")
        }
    }

    /// A filter; a head only says that there are filters behind it.
    private mutating func add(
        _ filter: FilterRecord, _ all: [FilterRecord]
    ) throws(Unrestorable) {
        guard filter.isHead else {
            guard let replica = Replica(filter) else { throw Unrestorable(filter.told) }
            objects.append(replica)
            return
        }
        let isHeadOfSome = all.contains {
            !$0.isHead && $0.preference == filter.preference && $0.parent == filter.parent
        }
        guard isHeadOfSome else { throw Unrestorable(filter.told) }
    }

    /// What has to be put so that this stands, where `standing` does: nothing where it does not begin
    /// like this.
    func missing(from standing: RootSnapshot?) -> [Replica] {
        guard let standing, objects.starts(with: standing.objects) else { return [] }
        return Array(objects.dropFirst(standing.objects.count))
    }

    /// The first object that is there and not here, or here and another one there; nil where all is
    /// the same.
    func difference(to there: RootSnapshot?) -> String? {
        let others = there?.objects ?? []
        for position in 0..<max(objects.count, others.count) {
            guard position < objects.count else { return others[position].description }
            guard position < others.count, objects[position] == others[position] else {
                return objects[position].description
            }
        }
        return nil
    }
}

/// An object of another owner that could not be put back as it is: which.
struct Unrestorable: Error, Hashable {
    var what: String

    init(_ what: String) { self.what = what }
}

extension FilterRecord {
    fileprivate var told: String { "filter \(kind) pref \(preference) of \(parent)" }
}

extension RouteSocket {
    /// The root of an interface that is another owner's, with all below it. `qdiscs` are those of the
    /// interface.
    mutating func foreignRoot(
        of index: Int32, _ qdiscs: [QdiscRecord]
    ) throws(NetlinkError) -> Result<RootSnapshot, Unrestorable> {
        let queues = qdiscs.filter { $0.parent != .ingress }
        guard queues.count <= RootSnapshot.most else {
            return .failure(Unrestorable("a tree of more than \(RootSnapshot.most) objects"))
        }
        let classes = try classes(of: index)
        let parents =
            (queues.map(\.handle)
            + classes.filter { Replica.classfulKinds.contains($0.kind) }.map(\.classID))
            .sorted { $0.rawValue < $1.rawValue }
        var filters: [FilterRecord] = []
        for parent in parents.prefix(RootSnapshot.most) {
            do throws(NetlinkError) {
                for var filter in try self.filters(of: index, parent: parent) {
                    // It is told by the block that it was asked for in.
                    filter.parent = parent
                    filters.append(filter)
                }
            } catch {
                guard error.isTooLong else { throw error }
                return .failure(Unrestorable("filters of \(parent)"))
            }
        }
        do throws(Unrestorable) {
            return .success(
                try RootSnapshot(
                    qdiscs: queues, classes: classes.filter { $0.classID.minor != 0 },
                    filters: filters))
        } catch {
            return .failure(error)
        }
    }
}

// MARK: In the journal

extension RootSnapshot: Codable {
    /// A list of objects.
    public init(from decoder: any Decoder) throws {
        objects = try [Written](from: decoder).map { written in
            guard let replica = written.replica else {
                throw DecodingError.dataCorrupted(
                    DecodingError.Context(
                        codingPath: decoder.codingPath,
                        debugDescription: "has options that are no base64"))
            }
            return replica
        }
    }

    /// A list of objects, their options in base64.
    public func encode(to encoder: any Encoder) throws {
        try objects.map(Written.init).encode(to: encoder)
    }

    private struct Written: Codable {
        var sort: Replica.Sort
        var kind: String
        var handle: UInt32
        var parent: UInt32
        var info: UInt32
        var chain: UInt32
        /// In base64.
        var options: String

        init(_ replica: Replica) {
            sort = replica.sort
            kind = replica.kind
            handle = replica.handle.rawValue
            parent = replica.parent.rawValue
            info = replica.info
            chain = replica.chain
            options = Data(replica.options).base64EncodedString()
        }

        /// Nil where the options are none.
        var replica: Replica? {
            Data(base64Encoded: options).map { options in
                Replica(
                    sort, kind: kind, handle: Handle(rawValue: handle),
                    parent: Handle(rawValue: parent), info: info, chain: chain,
                    options: Array(options))
            }
        }
    }
}
