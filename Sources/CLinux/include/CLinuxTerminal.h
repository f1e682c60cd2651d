#ifndef SLUICE_CLINUX_TERMINAL_H
#define SLUICE_CLINUX_TERMINAL_H

#include <stdint.h>

/* Columns and rows of a terminal (TIOCGWINSZ); 0 or a negative errno. */
int sluice_terminal_size(int descriptor, uint16_t *columns, uint16_t *rows);

/* Keys come one by one, unseen, control-C among them; what was set before is kept for
 * sluice_terminal_restore. 0 or a negative errno. One terminal at a time. */
int sluice_terminal_take_keys(int descriptor);
void sluice_terminal_restore(int descriptor);

/* Waits for a key: its byte, -ETIMEDOUT, or another negative errno. */
int sluice_terminal_key(int descriptor, int timeout_milliseconds);

#endif
