#define _GNU_SOURCE
#define SYSLOG_NAMES
#include "CLinuxProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <syslog.h>
#include <unistd.h>

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

int sluice_schedule_fifo(int priority) {
    // A service manager may have done it, and left no right to do it again.
    int policy = sched_getscheduler(0);
    if (policy >= 0 && (policy & ~SCHED_RESET_ON_FORK) == SCHED_FIFO) return 0;
    struct sched_param parameters = {.sched_priority = priority};
    return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameters) < 0 ? -errno : 0;
}

// What is only read can be read again from its file: the kernel forgets that these pages were used,
// and maps each by itself from now on where there is a `tracker`.
static int forget_object(struct dl_phdr_info *object, size_t size, void *tracker) {
    (void)size;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int index = 0; index < object->dlpi_phnum; index++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[index];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W) != 0) continue;
        uintptr_t begin = ((uintptr_t)object->dlpi_addr + part->p_vaddr) & ~(page - 1);
        uintptr_t end = (uintptr_t)object->dlpi_addr + part->p_vaddr + part->p_filesz;
        struct uffdio_register mapping = {
            .range = {.start = begin, .len = (end - begin + page - 1) & ~(page - 1)},
            .mode = UFFDIO_REGISTER_MODE_WP};
        if (*(const int *)tracker >= 0) ioctl(*(const int *)tracker, UFFDIO_REGISTER, &mapping);
        madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

// A fault brings the fifteen pages around it, too, but where userfaultfd(2) tracks writes to the mapping
// (mm/memory.c, uffd_disable_fault_around): here only to note them (6.7 on, for any mapping), and there
// are none. The descriptor stays open, since the tracking ends with it. Negative: not to be had.
static int open_write_tracker(void) {
    int tracker = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC};
    if (tracker < 0 || ioctl(tracker, UFFDIO_API, &api) == 0) return tracker;
    close(tracker);
    return -1;
}

void sluice_forget_read_pages(void) {
    static int tracker = -1;
    if (tracker < 0) tracker = open_write_tracker();
    dl_iterate_phdr(forget_object, &tracker);
}

void sluice_return_large_memory(void) {
    // To set it keeps it: else each one that is freed raises it, up to 32 MiB.
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

int sluice_lock_memory(void) {
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0 ? -errno : 0;
}

int sluice_clear_ambient_capabilities(void) {
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : 0;
}

void sluice_syslog_open(const char *identity, int facility) {
    // openlog(3) keeps the pointer.
    static char kept[64];
    snprintf(kept, sizeof kept, "%s", identity);
    openlog(kept, LOG_PID | LOG_NDELAY, facility);
}

void sluice_syslog_write(int priority, const char *message) { syslog(priority, "%s", message); }

int sluice_syslog_facility(const char *name) {
    for (const CODE *code = facilitynames; code->c_name != NULL; code++)
        if (strcmp(code->c_name, name) == 0) return code->c_val;
    return -1;
}

int sluice_send_datagram(const char *path, const void *bytes, size_t count) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) return -EINVAL;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = '\0';
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '@' ? 0 : 1));
    ssize_t sent = sendto(
        descriptor, bytes, count, MSG_NOSIGNAL, (const struct sockaddr *)&address, size);
    int result = sent < 0 ? -errno : 0;
    close(descriptor);
    return result;
}

int sluice_kernel_release(char *buffer, size_t capacity) {
    struct utsname names;
    if (uname(&names) < 0) return -errno;
    snprintf(buffer, capacity, "%s", names.release);
    return 0;
}

void sluice_forget_environment(const char *name) { unsetenv(name); }

int sluice_process_id(void) { return getpid(); }

const char *sluice_environment(int index) { return environ == NULL ? NULL : environ[index]; }
