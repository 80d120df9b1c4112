/* uprobe: attaches a loaded program to places in a file: all of them with one link where the kernel can, else one each.
 * The former also spares a right (CAP_SYS_ADMIN) that newer kernels ask for the latter.
 */
#ifndef KT_CAPTURE_UPROBE_H
#define KT_CAPTURE_UPROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What programs for uprobe_multi must declare when they are loaded. */
#define UPROBE_MULTI_ATTACH_TYPE 48

/* 0: this kernel has uprobe_multi; negative errno. */
int uprobe_try_multi(void);
/* pid 0: every process. At return instead of on the instruction: `ret`. Descriptor of the link; negative errno. */
int uprobe_attach_multi(int prog_fd, const char *path, uint32_t pid, const uint64_t *offsets, size_t n, bool ret);
int uprobe_attach_one(int prog_fd, const char *path, uint32_t pid, uint64_t offset, bool ret);

#endif
