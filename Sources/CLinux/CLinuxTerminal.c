#include "CLinuxTerminal.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios former;

int sluice_terminal_size(int descriptor, uint16_t *columns, uint16_t *rows) {
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) < 0) return -errno;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}

int sluice_terminal_take_keys(int descriptor) {
    if (tcgetattr(descriptor, &former) < 0) return -errno;
    struct termios raw = former;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return tcsetattr(descriptor, TCSANOW, &raw) < 0 ? -errno : 0;
}

void sluice_terminal_restore(int descriptor) { tcsetattr(descriptor, TCSANOW, &former); }

int sluice_terminal_key(int descriptor, int timeout_milliseconds) {
    struct pollfd waited = {.fd = descriptor, .events = POLLIN};
    int ready = poll(&waited, 1, timeout_milliseconds);
    if (ready < 0) return -errno;
    if (ready == 0) return -ETIMEDOUT;
    unsigned char byte;
    ssize_t count = read(descriptor, &byte, 1);
    if (count < 0) return -errno;
    return count == 0 ? -EPIPE : byte;
}
