#define _GNU_SOURCE
#include "CLinuxSender.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

int sluice_enter_private_network(void) { return unshare(CLONE_NEWNET) < 0 ? -errno : 0; }

int sluice_packet_open(int interface, uint16_t type) {
    // Of no type until it is bound: it would be given frames of every interface.
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    // A queue on the way holds frames on the sender's account.
    int bytes = 8 << 20;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(type), .sll_ifindex = interface};
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0 ||
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0 ||
        bind(descriptor, (const struct sockaddr *)&address, sizeof address) < 0) {
        int code = errno;
        close(descriptor);
        return -code;
    }
    return descriptor;
}

int sluice_packet_send(int descriptor, const void *frame, size_t length) {
    ssize_t sent;
    do {
        sent = send(descriptor, frame, length, MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int sluice_packet_receive(int descriptor, void *head, size_t capacity) {
    ssize_t length;
    do {
        length = recv(descriptor, head, capacity, MSG_DONTWAIT | MSG_TRUNC);
    } while (length < 0 && errno == EINTR);
    return length < 0 ? -errno : (int)length;
}
