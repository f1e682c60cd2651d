#define _GNU_SOURCE
#include "CRehearsal.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KINDS = 3, TOLD = 64 };

struct page {
    atomic_bool armed;
    int kind;
    uint64_t step;
    _Atomic uint64_t count[KINDS];
    uint64_t clock;
    uint64_t noted;
    int told;
    struct {
        uint64_t sequence;
        int rung;
    } events[TOLD];
};

static struct page *page;

int rehearsal_share(void) {
    void *memory = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                        0);
    if (memory == MAP_FAILED) return -1;
    page = memory;
    return 0;
}

pid_t rehearsal_fork(void) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(30);
    }
    return child;
}

int rehearsal_wait(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void rehearsal_exit(int status) { _exit(status); }

void rehearsal_arm(int kind, uint64_t step) {
    page->kind = kind;
    page->step = step;
    page->told = 0;
    for (int each = 0; each < KINDS; each++) page->count[each] = 0;
    page->armed = true;
}

void rehearsal_disarm(void) { page->armed = false; }

uint64_t rehearsal_count(int kind) { return page->count[kind]; }
uint64_t rehearsal_clock(void) { return page->clock; }
void rehearsal_set_clock(uint64_t nanoseconds) { page->clock = nanoseconds; }

void rehearsal_note(void) { page->noted++; }
uint64_t rehearsal_noted(void) { return page->noted; }

void rehearsal_tell(uint64_t sequence, int rung) {
    if (page->told == TOLD) return;
    page->events[page->told].sequence = sequence;
    page->events[page->told].rung = rung;
    page->told++;
}

int rehearsal_told(int rung) {
    int different = 0;
    for (int each = 0; each < page->told; each++) {
        if (page->events[each].rung != rung) continue;
        bool isNew = true;
        for (int other = 0; other < each; other++)
            if (page->events[other].rung == rung &&
                page->events[other].sequence == page->events[each].sequence)
                isNew = false;
        different += isNew;
    }
    return different;
}

// One more step: whether it is the one to die at.
static bool is_last(int kind) {
    if (page == NULL || kind < 0 || !page->armed) return false;
    uint64_t number = atomic_fetch_add(&page->count[kind], 1) + 1;
    return kind == page->kind && number == page->step;
}

static void die(void) {
    page->armed = false;
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int kind_of_path(const char *path) {
    if (strstr(path, "/state") != NULL) return REHEARSAL_DURABLE;
    return strstr(path, "/run/journal") != NULL ? REHEARSAL_RUNTIME : -1;
}

static int kind_of(int fd) {
    if (page == NULL || !page->armed) return -1;
    char name[64], path[256];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    return kind_of_path(path);
}

// A datagram whose first request changes something; the kernel works through all of it before it lets
// the sender die.
static bool changes_something(const struct sockaddr_nl *to, size_t name_length, const void *bytes,
                              size_t count) {
    if (to == NULL || name_length < sizeof *to || to->nl_family != AF_NETLINK) return false;
    if (count < sizeof(struct nlmsghdr)) return false;
    const struct nlmsghdr *header = bytes;
    // RTM_NEW, RTM_DEL, RTM_GET and RTM_SET of each object follow each other.
    return header->nlmsg_type >= RTM_BASE && header->nlmsg_type < RTM_MAX &&
           (header->nlmsg_type & 3) != 2;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);
    if (sent >= 0 && message->msg_iovlen > 0 &&
        changes_something(message->msg_name, message->msg_namelen, message->msg_iov[0].iov_base,
                          message->msg_iov[0].iov_len) &&
        is_last(REHEARSAL_NETLINK))
        die();
    return sent;
}

ssize_t sendto(int fd, const void *bytes, size_t count, int flags, const struct sockaddr *to,
               socklen_t length) {
    ssize_t sent = syscall(SYS_sendto, fd, bytes, count, flags, to, length);
    if (sent >= 0 && changes_something((const void *)to, length, bytes, count) &&
        is_last(REHEARSAL_NETLINK))
        die();
    return sent;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    int kind = kind_of(fd);
    if (is_last(kind)) {
        syscall(SYS_write, fd, bytes, count / 2);
        die();
    }
    ssize_t written = syscall(SYS_write, fd, bytes, count);
    if (is_last(kind)) die();
    return written;
}

int fsync(int fd) {
    int kind = kind_of(fd);
    int result = (int)syscall(SYS_fsync, fd);
    if (is_last(kind)) die();
    return result;
}

int rename(const char *from, const char *to) {
    int kind = kind_of_path(to);
    int result = (int)syscall(SYS_rename, from, to);
    if (is_last(kind)) die();
    return result;
}
