#define _GNU_SOURCE
#include "CLab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

// Closes `fd` and keeps the errno of what failed before.
static int fail(int fd) {
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool put_name(struct ifreq *request, const char *name) {
    memset(request, 0, sizeof *request);
    if (strlen(name) >= IFNAMSIZ) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(request->ifr_name, name);
    return true;
}

// One ioctl on a throw-away socket of the calling thread's namespace.
static int link_ioctl(unsigned long what, struct ifreq *request) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (ioctl(fd, what, request) < 0) return fail(fd);
    return close(fd);
}

int clab_unshare_network(void) {
    if (unshare(CLONE_NEWNET) < 0) return -1;
    return clab_link_set_up("lo", true);
}

int clab_unshare_network_and_sysfs(void) {
    if (unshare(CLONE_NEWNS) < 0) return -1;
    // In a chroot the root is no mount of its own: then /sys, which is one, is made private alone.
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 &&
        (errno != EINVAL || mount(NULL, "/sys", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return -1;
    if (clab_unshare_network() < 0) return -1;
    if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return -1;
    // Absent where the kernel has no bpf(2): then nobody asks for it either.
    if (mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700") < 0 && errno != ENODEV &&
        errno != ENOENT)
        return -1;
    return 0;
}

int clab_open_network_namespace(void) {
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

int clab_enter_network_namespace(int fd) { return setns(fd, CLONE_NEWNET); }

int clab_tap_open(const char *name) {
    struct ifreq request;
    if (!put_name(&request, name)) return -1;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
    if (ioctl(fd, TUNSETIFF, &request) < 0) return fail(fd);
    return fd;
}

int clab_tap_join(const char *name) {
    struct ifreq request;
    // TUNSETIFF makes an interface where there is none.
    if (if_nametoindex(name) == 0 || !put_name(&request, name)) return -1;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
    if (ioctl(fd, TUNSETIFF, &request) < 0) return fail(fd);
    int header = sizeof(struct virtio_net_hdr);
    if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) return fail(fd);
    return fd;
}

int clab_tap_set_offload(int fd, bool on) {
    unsigned int features = on ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
    return ioctl(fd, TUNSETOFFLOAD, features);
}

int clab_link_set_up(const char *name, bool up) {
    struct ifreq request;
    if (!put_name(&request, name)) return -1;
    if (link_ioctl(SIOCGIFFLAGS, &request) < 0) return -1;
    if (up)
        request.ifr_flags |= IFF_UP;
    else
        request.ifr_flags &= ~IFF_UP;
    return link_ioctl(SIOCSIFFLAGS, &request);
}

int clab_link_is_up(const char *name) {
    struct ifreq request;
    if (!put_name(&request, name)) return -1;
    if (link_ioctl(SIOCGIFFLAGS, &request) < 0) return -1;
    return (request.ifr_flags & IFF_UP) != 0;
}

int clab_link_set_mac(const char *name, const uint8_t mac[6]) {
    struct ifreq request;
    if (!put_name(&request, name)) return -1;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, mac, 6);
    return link_ioctl(SIOCSIFHWADDR, &request);
}

int clab_link_set_queue_length(const char *name, int packets) {
    struct ifreq request;
    if (!put_name(&request, name)) return -1;
    request.ifr_qlen = packets;
    return link_ioctl(SIOCSIFTXQLEN, &request);
}

int clab_bridge_add_port(const char *bridge, const char *port) {
    struct ifreq request;
    if (!put_name(&request, bridge)) return -1;
    request.ifr_ifindex = (int)if_nametoindex(port);
    if (request.ifr_ifindex == 0) return -1;
    return link_ioctl(SIOCBRADDIF, &request);
}

int clab_eventfd(bool semaphore) {
    return eventfd(0, EFD_CLOEXEC | (semaphore ? EFD_SEMAPHORE : EFD_NONBLOCK));
}

void clab_eventfd_add(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void clab_eventfd_take(int fd) {
    uint64_t value;
    while (read(fd, &value, sizeof value) < 0 && errno == EINTR) {
    }
}

static struct sockaddr_in internet(const uint8_t address[4], uint16_t port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (address) memcpy(&name.sin_addr, address, 4);
    return name;
}

static int bound(int type, uint16_t port) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int on = 1;
    struct sockaddr_in name = internet(NULL, port);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&name, sizeof name) < 0)
        return fail(fd);
    return fd;
}

int clab_tcp_listen(uint16_t port) {
    int fd = bound(SOCK_STREAM, port);
    if (fd < 0) return -1;
    return listen(fd, 16) < 0 ? fail(fd) : fd;
}

int clab_tcp_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int clab_tcp_connect(const uint8_t address[4], uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    struct sockaddr_in name = internet(address, port);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) < 0 && errno != EINPROGRESS)
        return fail(fd);
    return fd;
}

int clab_tcp_set_nodelay(int fd) {
    int on = 1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int clab_udp_bind(uint16_t port) { return bound(SOCK_DGRAM, port); }

ssize_t clab_udp_send(int fd, const void *bytes, size_t count, const uint8_t address[4],
                      uint16_t port) {
    struct sockaddr_in name = internet(address, port);
    return sendto(fd, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&name, sizeof name);
}

ssize_t clab_udp_answer(int fd, void *bytes, size_t capacity, uint8_t first) {
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t count = recvfrom(fd, bytes, capacity, 0, (struct sockaddr *)&from, &length);
    if (count <= 0) return count;
    ((uint8_t *)bytes)[0] = first;
    return sendto(fd, bytes, (size_t)count, MSG_NOSIGNAL, (struct sockaddr *)&from, length);
}

static bool unix_name(struct sockaddr_un *name, const char *path) {
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof name->sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(name->sun_path, path);
    return true;
}

int clab_unix_bind_datagram(const char *path) {
    struct sockaddr_un name;
    if (!unix_name(&name, path)) return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    return bind(fd, (struct sockaddr *)&name, sizeof name) < 0 ? fail(fd) : fd;
}

int clab_unix_connect_stream(const char *path, int timeout_milliseconds) {
    struct sockaddr_un name;
    if (!unix_name(&name, path)) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct timeval limit = {.tv_sec = timeout_milliseconds / 1000,
                            .tv_usec = timeout_milliseconds % 1000 * 1000};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
        connect(fd, (struct sockaddr *)&name, sizeof name) < 0)
        return fail(fd);
    return fd;
}

// What the child does between vfork and execve: only async-signal-safe calls, since it runs in the
// parent's memory and other threads may hold any lock. Never returns.
static void become(const char *path, char *const argv[], char *const envp[], const int stdio[3],
                   int report, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // First out of the way of 0, 1 and 2, so that no dup2 overwrites one still needed.
    int safe[3];
    for (int i = 0; i < 3; i++) safe[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i < 3; i++) dup2(safe[i], i);
    execve(path, argv, envp);
    int code = errno;
    (void)!write(report, &code, sizeof code);
    _exit(127);
}

pid_t clab_spawn(const char *path, char *const argv[], char *const envp[], int in, int out,
                 int err) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return -1;
    const int stdio[3] = {in, out, err};
    pid_t parent = getpid();
    // Not fork: it would copy the page tables of a process that may hold large ledgers.
    pid_t child = vfork();
    if (child == 0) become(path, argv, envp, stdio, report[1], parent);
    close(report[1]);
    int code = 0;
    if (child > 0 && read(report[0], &code, sizeof code) == sizeof code) {
        close(report[0]);
        errno = code;
        return -1;
    }
    if (child < 0) return fail(report[0]);
    close(report[0]);
    return child;
}

int clab_become(uid_t user, gid_t group, const gid_t *groups, size_t count) {
    if (syscall(SYS_setgroups, count, groups) < 0) return -1;
    if (syscall(SYS_setresgid, group, group, group) < 0) return -1;
    return (int)syscall(SYS_setresuid, user, user, user);
}

int clab_set_capabilities(uint64_t mask, bool on) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0) return -1;
    for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
        uint32_t bits = (uint32_t)(mask >> (32 * word));
        if (on) data[word].effective |= bits & data[word].permitted;
        else data[word].effective &= ~bits;
    }
    return (int)syscall(SYS_capset, &header, data);
}

int clab_allow_descriptors(uint64_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -1;
    if (limit.rlim_cur >= count) return 0;
    limit.rlim_cur = count;
    if (limit.rlim_max < count) limit.rlim_max = count;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

int clab_link_rename(const char *name, const char *new_name) {
    struct ifreq request;
    // Kernels before 6.2 rename only what is down.
    if (clab_link_set_up(name, false) < 0) return -1;
    if (!put_name(&request, name)) return -1;
    if (strlen(new_name) >= IFNAMSIZ) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(request.ifr_newname, new_name);
    if (link_ioctl(SIOCSIFNAME, &request) < 0) return -1;
    return clab_link_set_up(new_name, true);
}

int clab_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int clab_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

static int open_userfault(int flags, uint64_t features) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    return fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0 ? fd : fail(fd);
}

int clab_track_writes(void) {
    return open_userfault(UFFD_USER_MODE_ONLY, UFFD_FEATURE_WP_ASYNC);
}

int clab_stall_begin(uintptr_t *answer) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return -1;
    int stall = open_userfault(0, 0);
    struct uffdio_register range = {.range = {.start = (uintptr_t)(pages + page), .len = page},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (stall >= 0 && ioctl(stall, UFFDIO_REGISTER, &range) == 0) {
        *answer = range.range.start - 4;
        return stall;
    }
    int saved = errno;
    munmap(pages, 2 * page);
    if (stall >= 0) close(stall);
    errno = saved;
    return -1;
}

void clab_stall_free(uintptr_t answer) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap((void *)(answer + 4 - page), 2 * page);
}

int clab_link_state(const char *name, uintptr_t answer) {
    struct ifreq request;
    if (!put_name(&request, name)) return -1;
    *(uint32_t *)answer = ETHTOOL_GLINK;
    request.ifr_data = (void *)answer;
    return link_ioctl(SIOCETHTOOL, &request);
}

int clab_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK); }

int clab_open_null(void) { return open("/dev/null", O_RDWR | O_CLOEXEC); }

int clab_open_read(const char *path) { return open(path, O_RDONLY | O_CLOEXEC); }

static volatile sig_atomic_t caught;

static void catch_signal(int number) {
    if (!caught) caught = number;
}

int clab_catch_signals(void) {
    struct sigaction action = {.sa_handler = catch_signal, .sa_flags = SA_RESTART};
    if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0) return -1;
    return sigaction(SIGHUP, &action, NULL);
}

int clab_caught_signal(void) { return caught; }

void clab_do_not_preempt(void) {
    const struct sched_param none = {0};
    sched_setscheduler(0, SCHED_BATCH, &none);
}

void clab_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
