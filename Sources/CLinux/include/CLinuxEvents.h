// What Swift cannot see of Linux's event, signal and clock calls, with plain integer signatures.
// Every function returns 0 or a value, or a negative errno; none sets errno for the caller.
#pragma once
#include <stdint.h>

// epoll(7): level-triggered input only; `tag` comes back from the wait.
int sluice_epoll_create(void);
int sluice_epoll_add(int epoll, int descriptor, uint64_t tag);
// Waits at most `timeout_ms` (-1: for ever); writes up to `capacity` tags; gives their number. An
// interrupting signal counts as no event.
int sluice_epoll_wait(int epoll, uint64_t *tags, int capacity, int timeout_ms);

// timerfd_create(2) on CLOCK_MONOTONIC.
int sluice_timer_create(void);
int sluice_timer_start(int timer, uint64_t first_ns_absolute, uint64_t interval_ns);
// Expirations since the last read; 0 where there are none.
int64_t sluice_timer_read(int timer);

// eventfd(2), non-blocking.
int sluice_event_create(void);
int sluice_event_signal(int event);
int64_t sluice_event_read(int event);

// inotify(7), non-blocking.
int sluice_watch_create(void);
// Files that are written, renamed or removed in `path`, and the folder's own end: inotify_add_watch(2).
int sluice_watch_add(int watch, const char *path);
// Throws away what it has to say: 1 where the folder itself is gone, 0 where not.
int sluice_watch_drain(int watch);

// A non-blocking pipe to which a sigaction(2) handler writes each listed signal's number. (signalfd
// loses signals to libdispatch's threads, whose masks are empty.) One for each process.
int sluice_signals_open(const int *signals, int count);
// The next signal's number, or 0.
int sluice_signals_read(int pipe);
// SIGPIPE is ignored: a peer that leaves is an EPIPE.
void sluice_ignore_sigpipe(void);

// clock_gettime(CLOCK_MONOTONIC), in nanoseconds.
uint64_t sluice_monotonic_ns(void);
