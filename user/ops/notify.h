/* notify: tells the service manager how the agent is doing, in systemd's protocol: datagrams of lines "NAME=value" on
 * the socket that NOTIFY_SOCKET names. Without that variable every call does nothing, so that callers need not ask.
 */
#ifndef KT_OPS_NOTIFY_H
#define KT_OPS_NOTIFY_H

#include <stdint.h>

struct notify;

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment. NULL and errno ENOMEM; a socket that
 * cannot be used is logged, and then nothing is told. */
struct notify *notify__open(void);
/* Ready to capture; `status` is what `systemctl status` shows. */
void notify__ready(struct notify *n, const char *status);
/* The configuration is read again; notify__ready ends it. */
void notify__reloading(struct notify *n);
void notify__stopping(struct notify *n, const char *status);
/* Only sent when the text differs from the last one. */
void notify__status(struct notify *n, const char *status);
/* From the main loop, so that a loop that hangs is found out: pings the watchdog when half of its time has passed. */
void notify__alive(struct notify *n, uint64_t now_ns);
void notify__free(struct notify *n); /* NULL is fine */

#endif
