// What netlink costs: requests counted, written down and sent again as they were, and libnl's own way
// of reading links.
#pragma once
#include <stdint.h>

// Requests by this thread that asked for a change (RTM_NEW*, RTM_DEL*, RTM_SET*), and those that asked
// for an answer (RTM_GET*).
uint64_t cbench_netlink_changes(void);
uint64_t cbench_netlink_questions(void);
// The datagrams by which this thread sent them, one request or several in each.
uint64_t cbench_netlink_datagrams(void);
// How often this thread took datagrams that waited, or found none (recvmmsg(2)).
uint64_t cbench_netlink_receptions(void);

// From now on this thread's changes are written down, as one more log: its number, or -ENOMEM.
int cbench_netlink_log(void);
// Ends the log: how many changes are in it.
int cbench_netlink_log_end(void);
// Forgets all logs.
void cbench_netlink_forget(void);

// A socket for `cbench_netlink_replay`; a negative errno where there is none.
int cbench_netlink_open(void);
// Sends a log's changes again, each as it was, and waits for each acknowledgement: a tree made and
// taken down by the least that the kernel asks for. `port` is the interface the log is about; an ifb
// that it made is made again with an index of its own. `made` is the log that made what this one is
// about (itself, where this one makes it). How many the kernel refused, or a negative errno.
int cbench_netlink_replay(int descriptor, int log, int made, int port);

// libnl's cache of all links, allocated once by this thread and filled anew (nl_cache_refill): how many
// links are in it, or a negative NLE_*.
int cbench_link_cache_refill(void);

// CPU time, in nanoseconds, of this process's children that have ended and were waited for.
uint64_t cbench_children_cpu_ns(void);
