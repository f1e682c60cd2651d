// Stands before ptrace(2) in linux.uml, on processors whose register state is larger than it has room
// for (AMX). The kernel takes a process's state only as a whole (xstateregs_set: -EFAULT), and
// User-Mode Linux before 6.13 writes the 2,696 bytes of AVX-512: what it lacks stays as it is.
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

long ptrace(enum __ptrace_request request, ...) {
    va_list arguments;
    va_start(arguments, request);
    pid_t process = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    // The kernel's stacks in linux.uml are small, and one thread of it calls this.
    static char state[65536] __attribute__((aligned(64)));
    struct iovec whole = {state, sizeof state};
    if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE) {
        const struct iovec *given = data;
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, process, address, &whole) < 0) return -1;
        if (given->iov_len < whole.iov_len) {
            memcpy(state, given->iov_base, given->iov_len);
            data = &whole;
        }
    }
    // The C library's own peeks return what they read.
    long word;
    if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, process, address, &word) < 0 ? -1 : word;
    return syscall(SYS_ptrace, request, process, address, data);
}
