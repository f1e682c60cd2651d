#define _GNU_SOURCE
#include "CLinuxCapture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// How often it is looked for new packets. Nobody waits in poll(2), so that a packet wakes no one.
enum { STEP_MILLISECONDS = 5 };

static struct tpacket2_hdr *header(const struct sluice_capture *capture, uint32_t index) {
    return (struct tpacket2_hdr *)((uint8_t *)capture->ring + index * capture->frame_bytes);
}

static int is_filled(const struct sluice_capture *capture, uint32_t index) {
    return (__atomic_load_n(&header(capture, index)->tp_status, __ATOMIC_ACQUIRE) &
            TP_STATUS_USER) != 0;
}

// One direction only, and no more of a packet than is kept: decided before anything is copied.
static int set_filter(int descriptor, int outgoing, uint32_t snap_length) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, outgoing ? 0 : 1, outgoing ? 1 : 0),
        BPF_STMT(BPF_RET | BPF_K, snap_length),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

// The ring's frames hold the kernel's header, an alignment of 16 bytes at most, and the snapshot.
static int set_ring(struct sluice_capture *capture, uint32_t snap_length, uint32_t packets) {
    int version = TPACKET_V2;
    if (setsockopt(
            capture->descriptor, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0)
        return -1;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t frame = 128;
    // Room for the link layer's header in front of the network's (tpacket_rcv, net/packet).
    while (frame < TPACKET_ALIGN(TPACKET2_HDRLEN + 16) + TPACKET_ALIGNMENT + snap_length)
        frame *= 2;
    if (frame > page) {
        errno = EINVAL;
        return -1;
    }
    size_t in_block = page / frame;
    size_t blocks = (packets + in_block - 1) / in_block;
    struct tpacket_req request = {
        .tp_block_size = (unsigned)page,
        .tp_block_nr = (unsigned)blocks,
        .tp_frame_size = (unsigned)frame,
        .tp_frame_nr = (unsigned)(blocks * in_block),
    };
    if (setsockopt(
            capture->descriptor, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0)
        return -1;
    void *ring = mmap(
        NULL, blocks * page, PROT_READ | PROT_WRITE, MAP_SHARED, capture->descriptor, 0);
    if (ring == MAP_FAILED) return -1;
    capture->ring = ring;
    capture->ring_bytes = blocks * page;
    capture->frame_bytes = frame;
    capture->packets = packets;
    return 0;
}

static int start(struct sluice_capture *capture, int index, int outgoing, uint32_t snap_length) {
    // Before 4.20 there is no such option, and the filter alone leaves those out.
    int ignores = !outgoing;
    setsockopt(
        capture->descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignores, sizeof ignores);
    if (set_filter(capture->descriptor, outgoing, snap_length) < 0) return -1;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = index,
    };
    return bind(capture->descriptor, (struct sockaddr *)&address, sizeof address);
}

int sluice_capture_begin(
    struct sluice_capture *capture, int index, int outgoing, uint32_t snap_length,
    uint32_t packets) {
    memset(capture, 0, sizeof *capture);
    // Without a protocol it gets nothing before it is bound. (An index of 0 would be every interface.)
    if (index <= 0 || packets == 0) return -ENODEV;
    capture->descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (capture->descriptor < 0) return -errno;
    if (set_ring(capture, snap_length, packets) < 0 ||
        start(capture, index, outgoing, snap_length) < 0) {
        int code = errno;
        sluice_capture_end(capture);
        return -code;
    }
    return 0;
}

int sluice_capture_address(const struct sluice_capture *capture, uint8_t *bytes, size_t capacity) {
    struct sockaddr_ll address;
    socklen_t length = sizeof address;
    if (getsockname(capture->descriptor, (struct sockaddr *)&address, &length) < 0) return -errno;
    // The interface went between bind(2) and here.
    if (address.sll_ifindex <= 0) return -ENODEV;
    if (address.sll_hatype != ARPHRD_ETHER) return -EPROTOTYPE;
    size_t count = address.sll_halen < sizeof address.sll_addr ? address.sll_halen
                                                               : sizeof address.sll_addr;
    if (count > capacity) count = capacity;
    memcpy(bytes, address.sll_addr, count);
    return (int)count;
}

int sluice_capture_wait(const struct sluice_capture *capture, uint32_t milliseconds) {
    struct timespec step = {.tv_nsec = STEP_MILLISECONDS * 1000000L};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + milliseconds;
    for (;;) {
        if (is_filled(capture, capture->packets - 1)) return 0;
        int code = 0;
        socklen_t length = sizeof code;
        if (getsockopt(capture->descriptor, SOL_SOCKET, SO_ERROR, &code, &length) < 0)
            return -errno;
        if (code != 0) return -code;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec * 1000LL + now.tv_nsec / 1000000 >= end) return -ETIME;
        nanosleep(&step, NULL);
    }
}

int sluice_capture_packet(
    const struct sluice_capture *capture, uint32_t index, struct sluice_captured *packet) {
    if (index >= capture->packets || !is_filled(capture, index)) return 0;
    const struct tpacket2_hdr *frame = header(capture, index);
    if (frame->tp_mac > capture->frame_bytes ||
        frame->tp_snaplen > capture->frame_bytes - frame->tp_mac)
        return 0;
    packet->bytes = (const uint8_t *)frame + frame->tp_mac;
    packet->held = frame->tp_snaplen;
    packet->length = frame->tp_len;
    packet->nanoseconds = (uint64_t)frame->tp_sec * 1000000000u + frame->tp_nsec;
    packet->has_tag = (frame->tp_status & TP_STATUS_VLAN_VALID) != 0;
    packet->tag = frame->tp_vlan_tci;
    packet->tag_type =
        (frame->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? frame->tp_vlan_tpid : ETH_P_8021Q;
    return 1;
}

uint32_t sluice_capture_unseen(const struct sluice_capture *capture) {
    struct tpacket_stats statistics = {0};
    socklen_t length = sizeof statistics;
    if (getsockopt(
            capture->descriptor, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) < 0)
        return 0;
    return statistics.tp_drops;
}

void sluice_capture_end(struct sluice_capture *capture) {
    if (capture->ring != NULL) munmap(capture->ring, capture->ring_bytes);
    if (capture->descriptor >= 0) close(capture->descriptor);
    capture->ring = NULL;
    capture->descriptor = -1;
}
