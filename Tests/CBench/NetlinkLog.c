// Stands in front of sendmsg(2) and sendto(2), by which libnl and libmnl send, and of recvmmsg(2), as
// CLab stands in front of malloc: the requests of a thread are counted and can be sent again.
#define _GNU_SOURCE
#include "CBench.h"

#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_LOGS = 8192, MOST_IFBS = 2, FIRST_IFB = 1 << 20 };

struct log {
    unsigned char *bytes;
    size_t count;
    int changes;
    // The ifbs' indexes, as the messages say, in the order in which they were made.
    int32_t ifbs[MOST_IFBS];
    // The program of an eBPF classifier, held open; 0 where there is none.
    int program;
};

static _Thread_local uint64_t changes, questions, datagrams, receptions;
static _Thread_local struct log *logs;
static _Thread_local int log_count, current = -1;

// Types above RTM_MAX are netfilter's, which is only asked here.
static bool is_change(const struct nlmsghdr *message) {
    return message->nlmsg_type <= RTM_MAX && (message->nlmsg_type & 3) != 2;
}

static struct nlattr *attribute(void *first, size_t count, uint16_t type) {
    for (size_t at = 0; at + NLA_HDRLEN <= count;) {
        struct nlattr *found = (struct nlattr *)((char *)first + at);
        if (found->nla_len < NLA_HDRLEN || found->nla_len > count - at) return NULL;
        if ((found->nla_type & NLA_TYPE_MASK) == type) return found;
        at += NLA_ALIGN(found->nla_len);
    }
    return NULL;
}

// The message names its program by a descriptor that is closed when it was sent.
static void keep_program(struct nlmsghdr *message, struct log *log) {
    if (message->nlmsg_type != RTM_NEWTFILTER) return;
    size_t head = NLMSG_LENGTH(sizeof(struct tcmsg));
    if (message->nlmsg_len < head) return;
    struct nlattr *options =
        attribute((char *)message + head, message->nlmsg_len - head, TCA_OPTIONS);
    if (!options) return;
    struct nlattr *program = attribute((char *)options + NLA_HDRLEN,
                                       options->nla_len - (size_t)NLA_HDRLEN, TCA_BPF_FD);
    if (!program) return;
    int descriptor;
    memcpy(&descriptor, (char *)program + NLA_HDRLEN, sizeof descriptor);
    log->program = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    memcpy((char *)program + NLA_HDRLEN, &log->program, sizeof log->program);
}

static void note_message(const struct nlmsghdr *message) {
    if (message->nlmsg_type < RTM_BASE) return;
    if (!is_change(message)) {
        questions++;
        return;
    }
    changes++;
    if (current < 0) return;
    struct log *log = &logs[current];
    size_t length = NLMSG_ALIGN(message->nlmsg_len);
    unsigned char *grown = realloc(log->bytes, log->count + length);
    if (!grown) return;
    log->bytes = grown;
    memcpy(grown + log->count, message, message->nlmsg_len);
    // Whoever looks at nothing needs no echo.
    ((struct nlmsghdr *)(grown + log->count))->nlmsg_flags &= (uint16_t)~NLM_F_ECHO;
    keep_program((struct nlmsghdr *)(grown + log->count), log);
    log->count += length;
    log->changes++;
}

// A datagram holds one request or several.
static void note(const void *name, size_t name_length, const void *bytes, size_t count) {
    const struct sockaddr *address = name;
    if (!address || name_length < sizeof address->sa_family || address->sa_family != AF_NETLINK) return;
    datagrams++;
    for (size_t at = 0; at + sizeof(struct nlmsghdr) <= count;) {
        const struct nlmsghdr *message = (const void *)((const char *)bytes + at);
        if (message->nlmsg_len < sizeof *message || message->nlmsg_len > count - at) return;
        note_message(message);
        at += NLMSG_ALIGN(message->nlmsg_len);
    }
}

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    if (message && message->msg_iovlen == 1)
        note(message->msg_name, message->msg_namelen, message->msg_iov[0].iov_base,
             message->msg_iov[0].iov_len);
    return syscall(SYS_sendmsg, descriptor, message, flags);
}

ssize_t sendto(int descriptor, const void *bytes, size_t count, int flags,
               const struct sockaddr *address, socklen_t length) {
    note(address, length, bytes, count);
    return syscall(SYS_sendto, descriptor, bytes, count, flags, address, length);
}

int recvmmsg(int descriptor, struct mmsghdr *messages, unsigned count, int flags,
             struct timespec *timeout) {
    receptions++;
    return (int)syscall(SYS_recvmmsg, descriptor, messages, count, flags, timeout);
}
#endif

uint64_t cbench_netlink_changes(void) { return changes; }
uint64_t cbench_netlink_questions(void) { return questions; }
uint64_t cbench_netlink_datagrams(void) { return datagrams; }
uint64_t cbench_netlink_receptions(void) { return receptions; }

int cbench_netlink_log(void) {
    if (!logs) logs = calloc(MOST_LOGS, sizeof *logs);
    if (!logs || log_count == MOST_LOGS) return -ENOMEM;
    current = log_count++;
    return current;
}

int cbench_netlink_log_end(void) {
    if (current < 0) return 0;
    int count = logs[current].changes;
    current = -1;
    return count;
}

void cbench_netlink_forget(void) {
    for (int number = 0; number < log_count; number++) {
        free(logs[number].bytes);
        if (logs[number].program > 0) close(logs[number].program);
    }
    free(logs);
    logs = NULL;
    log_count = 0;
    current = -1;
}

int cbench_netlink_open(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    return descriptor < 0 ? -errno : descriptor;
}

// The new index of an ifb; an index that is neither the port's nor known is the next ifb's.
static int32_t translated(struct log *made, int number, int port, int32_t index) {
    if (index == port || index == 0) return index;
    for (int place = 0; place < MOST_IFBS; place++) {
        if (made->ifbs[place] == 0) made->ifbs[place] = index;
        if (made->ifbs[place] == index) return FIRST_IFB + number * MOST_IFBS + place;
    }
    return index;
}

// A redirect's parameters are the one place other than the header in which an index stands.
static void translate_redirects(unsigned char *bytes, size_t count, struct log *made, int number,
                                int port) {
    const struct nlattr head = {.nla_len = NLA_HDRLEN + sizeof(struct tc_mirred),
                                .nla_type = TCA_MIRRED_PARMS};
    for (size_t at = 0; at + head.nla_len <= count; at += 4) {
        struct tc_mirred redirect;
        if (memcmp(bytes + at, &head, sizeof head) != 0) continue;
        memcpy(&redirect, bytes + at + NLA_HDRLEN, sizeof redirect);
        if (redirect.eaction != TCA_EGRESS_REDIR) continue;
        redirect.ifindex = (uint32_t)translated(made, number, port, (int32_t)redirect.ifindex);
        memcpy(bytes + at + NLA_HDRLEN, &redirect, sizeof redirect);
    }
}

static int acknowledged(int descriptor, uint32_t sequence) {
    static _Thread_local char buffer[32768];
    for (;;) {
        ssize_t count = recv(descriptor, buffer, sizeof buffer, 0);
        if (count < 0) return -errno;
        const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
        for (; NLMSG_OK(message, count); message = NLMSG_NEXT(message, count)) {
            if (message->nlmsg_seq != sequence || message->nlmsg_type != NLMSG_ERROR) continue;
            return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
        }
    }
}

int cbench_netlink_replay(int descriptor, int number, int made_number, int port) {
    static _Thread_local unsigned char bytes[65536];
    static _Thread_local uint32_t sequence;
    if (number < 0 || number >= log_count || made_number < 0 || made_number >= log_count)
        return -EINVAL;
    struct log *log = &logs[number], *made = &logs[made_number];
    int refused = 0, created = 0;
    for (size_t at = 0; at < log->count;) {
        struct nlmsghdr *message = (struct nlmsghdr *)bytes;
        size_t length = ((const struct nlmsghdr *)(log->bytes + at))->nlmsg_len;
        if (length < NLMSG_LENGTH(sizeof(struct ifinfomsg))) return -EINVAL;
        if (length > sizeof bytes) return -EMSGSIZE;
        memcpy(bytes, log->bytes + at, length);
        message->nlmsg_seq = ++sequence;
        message->nlmsg_pid = 0;
        message->nlmsg_flags |= NLM_F_ACK;
        // tcm_ifindex and ifi_index stand at the same place.
        int32_t *index = (int32_t *)(bytes + NLMSG_HDRLEN + 4);
        bool makes_link = message->nlmsg_type == RTM_NEWLINK && *index == 0 &&
                          (message->nlmsg_flags & NLM_F_CREATE) != 0;
        if (makes_link)
            *index = FIRST_IFB + made_number * MOST_IFBS + created++;
        else
            *index = translated(made, made_number, port, *index);
        translate_redirects(bytes + NLMSG_HDRLEN, length - NLMSG_HDRLEN, made, made_number, port);
        if (send(descriptor, bytes, length, 0) < 0) return -errno;
        if (acknowledged(descriptor, sequence) != 0) refused++;
        at += NLMSG_ALIGN(length);
    }
    return refused;
}

uint64_t cbench_children_cpu_ns(void) {
    struct rusage usage = {0};
    getrusage(RUSAGE_CHILDREN, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
}
