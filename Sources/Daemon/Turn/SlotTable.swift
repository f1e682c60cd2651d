// Values by slot of the engine, where most slots have one: a place for each, in a row.
//
// A dictionary of ten thousand ports takes twice as much, since a third of it stands empty and every page
// of it is touched.
package import Mitigation

/// What is kept of ports, by slot.
package struct SlotTable<Value: Sendable>: Sendable {
    private var places: [Value?] = []
    /// How many slots have a value.
    package private(set) var count = 0

    /// No values.
    package init() {}

    /// Whether no slot has a value.
    package var isEmpty: Bool { count == 0 }

    /// The value of a slot; nil where it has none.
    package subscript(slot: Engine.Slot) -> Value? {
        get { places.indices.contains(slot) ? places[slot] : nil }
        _modify {
            if slot >= places.count {
                places += repeatElement(nil, count: slot + 1 - places.count)
            }
            if places[slot] != nil { count -= 1 }
            defer { if places[slot] != nil { count += 1 } }
            yield &places[slot]
        }
    }

    /// The slots that have a value, in ascending order.
    package var slots: [Engine.Slot] { places.indices.filter { places[$0] != nil } }

    /// The values, by slot.
    package var values: [Value] { map(\.value) }
}

extension SlotTable: Sequence {
    /// How many slots have a value: what is made of all of them finds room at once.
    package var underestimatedCount: Int { count }

    /// Each slot that has a value, and the value, by slot.
    package func makeIterator() -> some IteratorProtocol<(slot: Engine.Slot, value: Value)> {
        places.indices.lazy.compactMap { slot in places[slot].map { (slot: slot, value: $0) } }
            .makeIterator()
    }
}
