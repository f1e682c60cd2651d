/* Everything of C that the Netlink module sees: the kernel's headers, libmnl, libnl, and shims for
 * what Swift's importer leaves out. Nothing here keeps state. */
#ifndef SLUICE_CNETLINK_H
#define SLUICE_CNETLINK_H

#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/filter.h>
#include <linux/gen_stats.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_bpf.h>
#include <linux/tc_act/tc_ct.h>
#include <linux/tc_act/tc_gact.h>
#include <linux/tc_act/tc_mirred.h>

#include <libmnl/libmnl.h>

#include <netlink/attr.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/socket.h>

/* A datagram that was received: its length, its sender's port id (0: the kernel), and whether it
 * was longer than its place. */
struct sluice_datagram {
    size_t length;
    uint32_t sender;
    bool is_cut;
};

/* Takes the datagrams that wait at a netlink socket, at most `most` (and 8) of them, each into `size`
 * bytes of `buffer` of its own. Gives how many, or a negative errno: -EAGAIN where there is none.
 * EINTR is retried. */
int sluice_netlink_receive(int descriptor, void *buffer, size_t size,
                           struct sluice_datagram *datagrams, int most);

/* Waits until there is something to receive: 1, 0 after `milliseconds`, or a negative errno.
 * EINTR counts as something. */
int sluice_netlink_wait(int descriptor, int milliseconds);

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t sluice_monotonic_milliseconds(void);

/* Sets a receive buffer of `bytes`: SO_RCVBUFFORCE, and where that is not allowed SO_RCVBUF, which
 * net.core.rmem_max limits. 0 or a negative errno. */
int sluice_netlink_receive_buffer(int descriptor, int bytes);

/* Asks for extended acks (NETLINK_EXT_ACK) that carry only the header of the request
 * (NETLINK_CAP_ACK). 0 or a negative errno. */
int sluice_netlink_extended_ack(int descriptor);

/* The text of an errno in English, NULL for an unknown one (strerrordesc_np: safe on any thread,
 * unlike strerror). */
const char *sluice_error_text(int code);

/* Reads a small file whole into `buffer`: its length (at most `size`), or a negative errno. */
ssize_t sluice_read_file(const char *path, void *buffer, size_t size);

/* Numbers of <linux/netfilter.h>, which cannot stand beside the C library's <netinet/in.h>; and the
 * attribute of a wildcard device (NFTA_DEVICE_PREFIX, Linux 6.18), which older headers lack. Those
 * that the headers have are checked against them in CNetlink.c. */
enum {
    SLUICE_NFPROTO_INET = 1,
    SLUICE_NFPROTO_NETDEV = 5,
    SLUICE_NF_NETDEV_INGRESS = 0,
    SLUICE_NF_INET_INGRESS = 5,
    SLUICE_NFTA_DEVICE_PREFIX = 2,
};

/* errno, which Swift may only read through its own overlay. */
static inline int sluice_errno(void) { return errno; }

#endif
