// What the laboratory needs of Linux and Swift's Glibc module cannot see: namespaces, taps, the old
// link ioctls, sockets bound in one call, and a spawn that dies with its parent.
//
// Every function returns a descriptor or 0, and -1 with errno. Every descriptor is close-on-exec.
#ifndef CLAB_H
#define CLAB_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// unshare(CLONE_NEWNET) for the calling thread, with its loopback up.
int clab_unshare_network(void);
// The same, with a mount namespace of its own in which /sys shows the new namespace's devices and
// /sys/fs/bpf, where the kernel has it, is empty.
int clab_unshare_network_and_sysfs(void);
// Takes these capabilities (bit n: CAP_n) out of the calling thread's effective ones, or puts them
// back as far as they are permitted (capset(2)).
int clab_set_capabilities(uint64_t mask, bool on);
// A descriptor of the calling thread's network namespace.
int clab_open_network_namespace(void);
// setns(2) of the calling thread.
int clab_enter_network_namespace(int fd);

// A tap with IFF_NO_PI and IFF_VNET_HDR that lives as long as its descriptor; non-blocking.
int clab_tap_open(const char *name);
// One more queue of a tap with IFF_MULTI_QUEUE that is there, whose headers become virtio_net_hdr.
int clab_tap_join(const char *name);
// TUNSETOFFLOAD: whether the reader takes frames without checksum and larger than the MTU.
int clab_tap_set_offload(int fd, bool on);
int clab_link_set_up(const char *name, bool up);
// 1 where IFF_UP is set, 0 where not.
int clab_link_is_up(const char *name);
// SIOCSIFNAME; the link is up after it.
int clab_link_rename(const char *name, const char *new_name);
int clab_link_set_mac(const char *name, const uint8_t mac[6]);
int clab_link_set_queue_length(const char *name, int packets);
int clab_bridge_add_port(const char *bridge, const char *port);

// eventfd(2), non-blocking; with `semaphore`, each read takes one.
int clab_eventfd(bool semaphore);
void clab_eventfd_add(int fd);
void clab_eventfd_take(int fd);

// IPv4 sockets, non-blocking; addresses as four bytes, nil for any.
int clab_tcp_listen(uint16_t port);
int clab_tcp_accept(int fd);
int clab_tcp_connect(const uint8_t address[4], uint16_t port);
int clab_tcp_set_nodelay(int fd);
int clab_udp_bind(uint16_t port);
// Sends to address:port.
ssize_t clab_udp_send(int fd, const void *bytes, size_t count, const uint8_t address[4],
                      uint16_t port);
// Receives one datagram and answers with the same bytes, the first one replaced.
ssize_t clab_udp_answer(int fd, void *bytes, size_t capacity, uint8_t first);

// Unix sockets by path: a bound datagram socket (non-blocking), and a connected stream (blocking,
// with time limits for each send and receive).
int clab_unix_bind_datagram(const char *path);
int clab_unix_connect_stream(const char *path, int timeout_milliseconds);

// vfork and execve with these descriptors as 0, 1 and 2, an empty signal mask and default handlers;
// the child gets SIGKILL when the calling thread ends. errno of a failed execve is passed on.
pid_t clab_spawn(const char *path, char *const argv[], char *const envp[], int in, int out,
                 int err);

// The calling thread alone becomes another user: setgroups, setresgid and setresuid by syscall(2),
// where the C library's functions would change every thread of the process.
int clab_become(uid_t user, gid_t group, const gid_t *groups, size_t count);
// Raises RLIMIT_NOFILE to at least this many.
int clab_allow_descriptors(uint64_t count);

// pidfd_open(2): readable when the child has ended.
int clab_pidfd_open(pid_t pid);
// memfd_create(2): a file for a child's output that no pipe's size can hold up.
int clab_memory_file(const char *name);
// userfaultfd(2) that notes writes to any mapping (UFFD_FEATURE_WP_ASYNC).
int clab_track_writes(void);
// An answer whose writing waits in the kernel: at *answer the first four bytes can be written, the
// ones after them not before the descriptor is closed (userfaultfd(2)). It is readable as soon as
// somebody waits.
int clab_stall_begin(uintptr_t *answer);
// Gives the memory back when nobody writes there any more.
void clab_stall_free(uintptr_t answer);
// ETHTOOL_GLINK, whose answer of eight bytes the kernel writes while it holds RTNL (dev_ethtool in
// net/ethtool/ioctl.c).
int clab_link_state(const char *name, uintptr_t answer);
int clab_pipe(int ends[2]);
int clab_open_null(void);
int clab_open_read(const char *path);

// From now on SIGINT, SIGTERM and SIGHUP are written down instead of ending the process: the number
// of the first one, 0 before.
int clab_catch_signals(void);
int clab_caught_signal(void);

void clab_name_thread(const char *name);
// SCHED_BATCH for the calling thread: being woken does not preempt who runs.
void clab_do_not_preempt(void);

#endif
