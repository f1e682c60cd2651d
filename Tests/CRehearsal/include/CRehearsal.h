// What the rehearsal of crashes needs below Swift: each thing that the process does to the kernel or
// to the journal is a step that is counted, and the process can be told to die after any of them.
//
// How: this target defines sendmsg, write, fsync and rename in place of the C library's, for libnl
// too. The counters stand in a page that outlives the process, shared with whoever forked it.
#ifndef CREHEARSAL_H
#define CREHEARSAL_H

#include <stdint.h>
#include <sys/types.h>

// The kinds of steps, each counted on its own: their order among each other is not the same in each
// run, since the durable copy of the journal is written beside the turn.
enum {
    // A request that makes, changes or deletes an object of NETLINK_ROUTE, done by the kernel.
    REHEARSAL_NETLINK = 0,
    // The journal in memory (a path with /run/): half of a write, all of it, a rename.
    REHEARSAL_RUNTIME = 1,
    // The durable copy (a path with /state/): the same, and each fsync of the file and its folder.
    REHEARSAL_DURABLE = 2,
};

// Makes the page; once, before the first fork.
int rehearsal_share(void);
// fork(2), which Swift does not show. The child dies with its parent, and after 30 seconds.
pid_t rehearsal_fork(void);
// waitpid(2): the exit status, or 128 and the signal's number.
int rehearsal_wait(pid_t child);
// _exit(2).
_Noreturn void rehearsal_exit(int status);

// From here on steps are counted, from 0; SIGKILL after the `step`-th of a kind, where it is not 0.
void rehearsal_arm(int kind, uint64_t step);
// Steps are no longer counted.
void rehearsal_disarm(void);
// Steps of a kind since `rehearsal_arm`.
uint64_t rehearsal_count(int kind);

// A number that the next process goes on with: the played clock.
uint64_t rehearsal_clock(void);
void rehearsal_set_clock(uint64_t nanoseconds);

// An event's number and rung were told. Forgotten by `rehearsal_arm`.
void rehearsal_tell(uint64_t sequence, int rung);
// With how many different numbers a rung was told.
int rehearsal_told(int rung);

// Counts something over all processes.
void rehearsal_note(void);
uint64_t rehearsal_noted(void);

#endif
