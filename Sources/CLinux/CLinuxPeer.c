#define _GNU_SOURCE
#include "CLinuxPeer.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int fill(struct sockaddr_un *address, const char *path) {
    size_t length = strlen(path);
    if (length == 0) return -ENOENT;
    if (length > SLUICE_PEER_PATH_MAX) return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

static int give_up(int descriptor) {
    int code = errno;
    close(descriptor);
    return -code;
}

int sluice_peer_bind(const char *path, mode_t mode) {
    struct sockaddr_un address;
    int code = fill(&address, path);
    if (code < 0) return code;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    /* unix_bind() gives the file the socket inode's mode, less the umask. */
    if (fchmod(descriptor, mode) < 0) return give_up(descriptor);
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        return give_up(descriptor);
    return descriptor;
}

int sluice_peer_connect(const char *path, uint32_t timeout_milliseconds) {
    struct sockaddr_un address;
    int code = fill(&address, path);
    if (code < 0) return code;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    struct timeval timeout = {
        .tv_sec = timeout_milliseconds / 1000,
        .tv_usec = (timeout_milliseconds % 1000) * 1000,
    };
    /* A Unix connect(2) waits for a full backlog as long as SO_SNDTIMEO says. */
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0 ||
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0)
        return give_up(descriptor);
    do {
        code = connect(descriptor, (struct sockaddr *)&address, sizeof address);
    } while (code < 0 && errno == EINTR);
    if (code < 0) return give_up(descriptor);
    return descriptor;
}

int sluice_peer_credentials(int descriptor, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
    /* Not a connected Unix socket: the kernel says "nobody" as -1, which is no user. */
    if (length != sizeof credentials || credentials.uid == (uid_t)-1) return -ENOTCONN;
    *pid = credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

int sluice_peer_groups(int descriptor, gid_t *groups, size_t capacity) {
    socklen_t length = (socklen_t)(capacity * sizeof *groups);
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0) {
        /* Before 4.13, and for a peer without groups, there is nothing to say. */
        return errno == ENOPROTOOPT || errno == ENODATA ? 0 : -errno;
    }
    return (int)(length / sizeof *groups);
}

int sluice_group_id(const char *name, gid_t *gid) {
    size_t size = 1024;
    for (;;) {
        char *buffer = malloc(size);
        if (buffer == NULL) return -ENOMEM;
        struct group entry, *found = NULL;
        int code = getgrnam_r(name, &entry, buffer, size, &found);
        if (code == 0 && found != NULL) *gid = found->gr_gid;
        free(buffer);
        if (code == ERANGE && size < (1u << 20)) {
            size *= 2;
            continue;
        }
        if (code != 0) return -code;
        return found != NULL ? 0 : -ENOENT;
    }
}
