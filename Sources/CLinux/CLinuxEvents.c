#define _GNU_SOURCE
#include "CLinuxEvents.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

int sluice_epoll_create(void) {
    int descriptor = epoll_create1(EPOLL_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int sluice_epoll_add(int epoll, int descriptor, uint64_t tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

int sluice_epoll_wait(int epoll, uint64_t *tags, int capacity, int timeout_ms) {
    struct epoll_event events[16];
    int most = capacity < 16 ? capacity : 16;
    int count = epoll_wait(epoll, events, most, timeout_ms);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) tags[i] = events[i].data.u64;
    return count;
}

int sluice_timer_create(void) {
    int descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

int sluice_timer_start(int timer, uint64_t first_ns_absolute, uint64_t interval_ns) {
    struct itimerspec spec = {
        .it_value = timespec_of(first_ns_absolute), .it_interval = timespec_of(interval_ns)};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL) < 0 ? -errno : 0;
}

static int64_t read_counter(int descriptor) {
    uint64_t value = 0;
    ssize_t count;
    do { count = read(descriptor, &value, sizeof value); } while (count < 0 && errno == EINTR);
    if (count == sizeof value) return (int64_t)value;
    return errno == EAGAIN ? 0 : -errno;
}

int64_t sluice_timer_read(int timer) { return read_counter(timer); }

int sluice_watch_create(void) {
    int descriptor = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int sluice_watch_add(int watch, const char *path) {
    const uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF |
                            IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;
    int number = inotify_add_watch(watch, path, events);
    return number < 0 ? -errno : number;
}

int sluice_watch_drain(int watch) {
    _Alignas(struct inotify_event) char buffer[4096];
    int is_gone = 0;
    for (;;) {
        ssize_t count = read(watch, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return is_gone;
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= count;) {
            const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
            if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) is_gone = 1;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
}

int sluice_event_create(void) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int sluice_event_signal(int event) {
    uint64_t one = 1;
    ssize_t count;
    do { count = write(event, &one, sizeof one); } while (count < 0 && errno == EINTR);
    // A full counter still wakes its reader.
    return count < 0 && errno != EAGAIN ? -errno : 0;
}

int64_t sluice_event_read(int event) { return read_counter(event); }

static int signal_pipe[2] = {-1, -1};

static void note_signal(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe already holds what wakes the reader.
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
    errno = saved;
}

int sluice_signals_open(const int *signals, int count) {
    if (signal_pipe[0] < 0 && pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    for (int i = 0; i < count; i++) {
        struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
        sigemptyset(&action.sa_mask);
        if (sigaction(signals[i], &action, NULL) < 0) return -errno;
    }
    return signal_pipe[0];
}

int sluice_signals_read(int pipe) {
    unsigned char byte = 0;
    ssize_t count;
    do { count = read(pipe, &byte, 1); } while (count < 0 && errno == EINTR);
    return count == 1 ? byte : 0;
}

void sluice_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

uint64_t sluice_monotonic_ns(void) {
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
