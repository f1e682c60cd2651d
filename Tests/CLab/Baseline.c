// The floor that the daemon's polling is measured against: the same dump, received and not read.
#define _GNU_SOURCE
#include "CLabBaseline.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_SIZE = 32768 };

int clab_stats_open(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return descriptor < 0 ? -errno : descriptor;
}

int64_t clab_stats_receive(int descriptor) {
    static _Thread_local char buffer[BUFFER_SIZE];
    static _Thread_local uint32_t sequence;
    struct {
        struct nlmsghdr header;
        struct if_stats_msg body;
    } request = {
        .header = {
            .nlmsg_len = sizeof request,
            .nlmsg_type = RTM_GETSTATS,
            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
            .nlmsg_seq = ++sequence,
        },
        .body = {.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)},
    };
    if (send(descriptor, &request, sizeof request, 0) < 0) return -errno;
    int64_t total = 0;
    for (;;) {
        ssize_t count = recv(descriptor, buffer, sizeof buffer, 0);
        if (count < (ssize_t)sizeof(struct nlmsghdr)) return count < 0 ? -errno : -EBADMSG;
        total += count;
        // NLMSG_DONE comes last, in a datagram of its own or behind the last links.
        const struct nlmsghdr *first = (const struct nlmsghdr *)buffer;
        const struct nlmsghdr *last =
            (const struct nlmsghdr *)(buffer + count - NLMSG_ALIGN(NLMSG_LENGTH(sizeof(int))));
        if (first->nlmsg_type == NLMSG_ERROR) return -EIO;
        if (first->nlmsg_type == NLMSG_DONE || last->nlmsg_type == NLMSG_DONE) return total;
    }
}

// Allocations of the calling thread, counted by standing in front of glibc's allocator; a sanitizer
// stands there itself.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
bool clab_is_sanitized(void) { return true; }
uint64_t clab_allocations(void) { return 0; }
#else
bool clab_is_sanitized(void) { return false; }

static _Thread_local uint64_t allocations;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    allocations++;
    return __libc_realloc(block, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    allocations++;
    *block = __libc_memalign(alignment, size);
    return *block == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

uint64_t clab_allocations(void) { return allocations; }
#endif

uint64_t clab_thread_cpu_step_ns(void) {
    uint64_t begin = clab_thread_cpu_ns(), now;
    do { now = clab_thread_cpu_ns(); } while (now == begin);
    return now - begin;
}

uint64_t clab_thread_cpu_ns(void) {
    struct timespec now = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
