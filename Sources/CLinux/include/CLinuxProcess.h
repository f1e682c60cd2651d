// What Swift cannot see of Linux's scheduling, memory locking, capability, syslog and notify calls.
// Every function returns 0, or a negative errno.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The calling thread at SCHED_FIFO `priority`; threads and children it makes do not inherit it.
int sluice_schedule_fifo(int priority);
// mlockall(2) of what is and will be touched (MCL_ONFAULT: no page is brought in for it).
int sluice_lock_memory(void);
// Allocations of 64 KiB and more go back to the kernel as they are freed (mallopt(3), M_MMAP_THRESHOLD).
void sluice_return_large_memory(void);
// Pages of programs and libraries count as memory again when they are needed, and then alone (6.7 on).
void sluice_forget_read_pages(void);
// No program that the process starts from now on has its capabilities; before threads are made.
int sluice_clear_ambient_capabilities(void);

// syslog(3) with a message that is never a format. `facility` is LOG_DAEMON and the like.
void sluice_syslog_open(const char *identity, int facility);
void sluice_syslog_write(int priority, const char *message);
// The number of a facility by its name ("daemon", "local0"); -1 where there is none.
int sluice_syslog_facility(const char *name);

// Sends one datagram to a Unix socket by its path ('@' first: an abstract one).
int sluice_send_datagram(const char *path, const void *bytes, size_t count);

// uname(2)'s release, at most `capacity` bytes with its NUL.
int sluice_kernel_release(char *buffer, size_t capacity);

// Forgets an environment variable; before threads are made.
void sluice_forget_environment(const char *name);

// getpid(2)
int sluice_process_id(void);

// The environment's entry at `index`, `NAME=value`; NULL behind the last.
const char *sluice_environment(int index);
