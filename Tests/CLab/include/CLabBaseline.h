// The floor of polling, and counters of what the calling thread costs.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// A netlink socket for `clab_stats_receive`; a negative errno where there is none.
int clab_stats_open(void);
// One RTM_GETSTATS dump of IFLA_STATS_LINK_64, received in 32 KB pieces and not parsed: its bytes,
// or a negative errno.
int64_t clab_stats_receive(int descriptor);

// Calls of malloc, calloc, realloc, posix_memalign and aligned_alloc by this thread.
uint64_t clab_allocations(void);
// Built with a sanitizer: no allocation is counted, and costs say nothing.
bool clab_is_sanitized(void);
// CPU time of this thread in nanoseconds.
uint64_t clab_thread_cpu_ns(void);
// The smallest step of that clock: some kernels count whole ticks.
uint64_t clab_thread_cpu_step_ns(void);
