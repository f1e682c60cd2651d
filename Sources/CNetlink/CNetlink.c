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

ssize_t sluice_netlink_receive(int descriptor, void *buffer, size_t size, uint32_t *sender,
                               int *flags) {
    struct sockaddr_nl address;
    struct iovec vector = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_name = &address,
                             .msg_namelen = sizeof address,
                             .msg_iov = &vector,
                             .msg_iovlen = 1};
    ssize_t length;
    do {
        length = recvmsg(descriptor, &message, MSG_DONTWAIT);
    } while (length < 0 && errno == EINTR);
    if (length < 0) return -errno;
    *flags = message.msg_flags & MSG_TRUNC;
    /* An address of another size or family is no kernel's. */
    *sender = message.msg_namelen == sizeof address && address.nl_family == AF_NETLINK
                  ? address.nl_pid
                  : UINT32_MAX;
    return length;
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
