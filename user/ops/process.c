#include "ops/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define NS_PER_S 1000000000ull

/* Open for the life of the process. */
static int stat_fd = -1;
static DIR *fd_dir;

/* Fields of /proc/self/stat (proc(5)), counted from 1. */
enum { STAT_THREADS = 20, STAT_START = 22, STAT_VSIZE = 23, STAT_RSS = 24 };

static size_t read_stat(char *out, size_t size)
{
	ssize_t n = stat_fd < 0 ? -1 : pread(stat_fd, out, size - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* The name of the program, which may hold anything, ends at the last bracket: field 3 follows. */
static uint64_t stat_field(const char *text, int field)
{
	const char *p = strrchr(text, ')');

	for (int i = 2; p && i < field; i++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

uint64_t process_start(void)
{
	long ticks = sysconf(_SC_CLK_TCK);
	char text[1024];
	uint64_t start, boot_ns;
	struct timespec ts;

	if (stat_fd < 0)
		stat_fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (!fd_dir)
		fd_dir = opendir("/proc/self/fd");
	if (ticks <= 0 || !read_stat(text, sizeof(text)) || clock_gettime(CLOCK_BOOTTIME, &ts))
		return 0;
	start = stat_field(text, STAT_START) * (NS_PER_S / (uint64_t)ticks);
	boot_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	return start <= boot_ns ? clock_wall_ns() - (boot_ns - start) : 0;
}

static uint64_t count_fds(void)
{
	uint64_t n = 0;

	if (!fd_dir)
		return 0;
	rewinddir(fd_dir);
	for (struct dirent *d = readdir(fd_dir); d; d = readdir(fd_dir))
		n += d->d_name[0] != '.';
	return n;
}

static uint64_t timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * NS_PER_S + (uint64_t)t->tv_usec * 1000;
}

uint64_t process_cpu_ns(void)
{
	struct timespec ts;

	return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) ? 0 : (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void process_read(struct process_facts *ret)
{
	struct rusage usage;
	struct rlimit files;
	char text[1024];

	memset(ret, 0, sizeof(*ret));
	if (!getrusage(RUSAGE_SELF, &usage)) {
		ret->cpu_ns = timeval_ns(&usage.ru_utime) + timeval_ns(&usage.ru_stime);
		ret->resident_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	}
	if (!getrlimit(RLIMIT_NOFILE, &files))
		ret->max_fds = files.rlim_cur;
	ret->open_fds = count_fds();
	if (!read_stat(text, sizeof(text)))
		return;
	ret->threads = stat_field(text, STAT_THREADS);
	ret->virtual_bytes = stat_field(text, STAT_VSIZE);
	ret->resident_bytes = stat_field(text, STAT_RSS) * (uint64_t)sysconf(_SC_PAGESIZE);
}
