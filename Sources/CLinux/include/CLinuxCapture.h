// The first bytes of packets that pass an interface: packet(7) with a ring that the kernel fills.
// Every function returns 0 or a value, or a negative errno.
#pragma once
#include <stddef.h>
#include <stdint.h>

// A sample under way.
struct sluice_capture {
    int descriptor;
    // Frames of `frame_bytes`, as many as were asked for or some more.
    void *ring;
    size_t ring_bytes;
    size_t frame_bytes;
    uint32_t packets;
};

// A packet of it; `bytes` is within the ring, and good until the sample ends.
struct sluice_captured {
    const uint8_t *bytes;
    uint32_t held;
    // On the wire, without the tag that was taken out of it.
    uint32_t length;
    uint64_t nanoseconds;
    int has_tag;
    uint16_t tag;
    uint16_t tag_type;
};

// Begins to sample the interface with this index: what leaves through it (outgoing), or what comes in
// by it, before any ingress filter. Needs CAP_NET_RAW.
int sluice_capture_begin(
    struct sluice_capture *capture, int index, int outgoing, uint32_t snap_length,
    uint32_t packets);
// The Ethernet address of the interface that is sampled, at most `capacity` bytes; its length.
// -EPROTOTYPE where it is no Ethernet interface.
int sluice_capture_address(const struct sluice_capture *capture, uint8_t *bytes, size_t capacity);
// Waits until there are as many packets as were asked for (0), the time is over (-ETIME), or the
// interface is down or gone (-ENETDOWN).
int sluice_capture_wait(const struct sluice_capture *capture, uint32_t milliseconds);
// The packet at `index` in the order of their coming: 1, or 0 behind the last.
int sluice_capture_packet(
    const struct sluice_capture *capture, uint32_t index, struct sluice_captured *packet);
// Packets for which there was no room; once.
uint32_t sluice_capture_unseen(const struct sluice_capture *capture);
// Ends it.
void sluice_capture_end(struct sluice_capture *capture);
