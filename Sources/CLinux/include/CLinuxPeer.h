/* Unix stream sockets: what Swift's Glibc module cannot say (sockaddr_un by path, SO_PEERCRED,
 * SO_PEERGROUPS). Every function returns a value of 0 or more, or a negative errno. */
#ifndef SLUICE_CLINUX_PEER_H
#define SLUICE_CLINUX_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The most bytes of a path that `sluice_peer_bind` and `sluice_peer_connect` take, without NUL. */
#define SLUICE_PEER_PATH_MAX 107

/* socket(2), fchmod(2) to `mode`, bind(2): a descriptor that does not yet listen. The mode is set
 * before the name exists, so that there is no moment with a wider one.
 * Close on exec, non-blocking. */
int sluice_peer_bind(const char *path, mode_t mode);

/* socket(2) and connect(2) with this time-out for connecting and for each later send and receive
 * (SO_SNDTIMEO, SO_RCVTIMEO). Close on exec, blocking. */
int sluice_peer_connect(const char *path, uint32_t timeout_milliseconds);

/* getsockopt(2), SO_PEERCRED: who connected, as the kernel saw it at connect(2). */
int sluice_peer_credentials(int descriptor, pid_t *pid, uid_t *uid, gid_t *gid);

/* getsockopt(2), SO_PEERGROUPS: the peer's supplementary groups at connect(2); how many of `groups`
 * were filled in. -ERANGE where there are more than `capacity`. */
int sluice_peer_groups(int descriptor, gid_t *groups, size_t capacity);

/* getgrnam_r(3): the number of a group; -ENOENT where there is none of this name. */
int sluice_group_id(const char *name, gid_t *gid);

#endif
