#include "base/tracefs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define A_TRACEPOINT "/events/syscalls/sys_exit_read/id"

static int open_id(void)
{
	int fd = open(TRACEFS A_TRACEPOINT, O_RDONLY | O_CLOEXEC), err = errno, other;

	if (fd >= 0)
		return fd;
	other = open("/sys/kernel/debug/tracing" A_TRACEPOINT, O_RDONLY | O_CLOEXEC);
	return other >= 0 ? other : -err;
}

int tracefs_try(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr)};
	char text[16] = "";
	int file = open_id();
	ssize_t n;
	long fd;

	if (file < 0)
		return file;
	n = read(file, text, sizeof(text) - 1);
	close(file);
	if (n <= 0)
		return -EIO;
	attr.config = strtoul(text, NULL, 10);
	fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}
