/* tracefs: where the kernel lists its tracepoints: at TRACEFS, and on older hosts under debugfs. */
#ifndef KT_BASE_TRACEFS_H
#define KT_BASE_TRACEFS_H

#define TRACEFS "/sys/kernel/tracing"

/* May this thread open a tracepoint, as the hooks of system calls are opened? Some kernels want more for that than for
 * the programs that run there. Opens one and closes it again. 0; -ENOENT: it is mounted at neither place; -EACCES,
 * -EPERM: it may not be read, or the tracepoint not be opened; other negative errno. */
int tracefs_try(void);

#endif
