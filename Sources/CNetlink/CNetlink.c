/* System calls whose structures Swift does not see (sockaddr_nl inside msghdr, SO_RCVBUFFORCE). */
#define _GNU_SOURCE
#include "CNetlink.h"

#include <fcntl.h>
#include <linux/netfilter.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

_Static_assert(SLUICE_NFPROTO_INET == NFPROTO_INET, "a protocol family of the kernel's");
_Static_assert(SLUICE_NFPROTO_NETDEV == NFPROTO_NETDEV, "a protocol family of the kernel's");
_Static_assert(SLUICE_NF_NETDEV_INGRESS == NF_NETDEV_INGRESS, "a hook of the kernel's");
_Static_assert(SLUICE_NF_INET_INGRESS == NF_INET_INGRESS, "a hook of the kernel's");

int sluice_netlink_receive(int descriptor, void *buffer, size_t size,
                           struct sluice_datagram *datagrams, int most) {
    enum { MOST = 8 };
    struct sockaddr_nl addresses[MOST];
    struct iovec vectors[MOST];
    struct mmsghdr messages[MOST];
    if (most > MOST) most = MOST;
    for (int place = 0; place < most; place++) {
        vectors[place] =
            (struct iovec){.iov_base = (char *)buffer + (size_t)place * size, .iov_len = size};
        messages[place] = (struct mmsghdr){.msg_hdr = {.msg_name = &addresses[place],
                                                       .msg_namelen = sizeof addresses[place],
                                                       .msg_iov = &vectors[place],
                                                       .msg_iovlen = 1}};
    }
    int count;
    do {
        count = recvmmsg(descriptor, messages, (unsigned)most, MSG_DONTWAIT, NULL);
    } while (count < 0 && errno == EINTR);
    if (count < 0) return -errno;
    for (int place = 0; place < count; place++) {
        const struct msghdr *message = &messages[place].msg_hdr;
        /* An address of another size or family is no kernel's. */
        bool has_sender = message->msg_namelen == sizeof addresses[place] &&
                          addresses[place].nl_family == AF_NETLINK;
        datagrams[place] = (struct sluice_datagram){
            .length = messages[place].msg_len,
            .sender = has_sender ? addresses[place].nl_pid : UINT32_MAX,
            .is_cut = (message->msg_flags & MSG_TRUNC) != 0};
    }
    return count;
}

int sluice_netlink_wait(int descriptor, int milliseconds) {
    struct pollfd watched = {.fd = descriptor, .events = POLLIN};
    int count = poll(&watched, 1, milliseconds);
    if (count < 0) return errno == EINTR ? 1 : -errno;
    return count;
}

int64_t sluice_monotonic_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int sluice_netlink_receive_buffer(int descriptor, int bytes) {
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == 0) return 0;
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0) return 0;
    return -errno;
}

int sluice_netlink_extended_ack(int descriptor) {
    int on = 1;
    if (setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) != 0) return -errno;
    if (setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on) != 0) return -errno;
    return 0;
}

const char *sluice_error_text(int code) { return strerrordesc_np(code); }

ssize_t sluice_read_file(const char *path, void *buffer, size_t size) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    ssize_t length;
    do {
        length = read(descriptor, buffer, size);
    } while (length < 0 && errno == EINTR);
    int code = errno;
    close(descriptor);
    return length < 0 ? -code : length;
}
