#include "capture/procfs.h"

#include <linux/magic.h>
#include <linux/openat2.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* Of the initial UTS namespace, fixed by the kernel. */
#define INIT_UTS_NS 0xEFFFFFFEul

static int proc_open(uint32_t pid, const char *name)
{
	char path[128];
	int n = snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);

	if (n < 0 || (size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* Up to n bytes. Length or negative errno. */
static ssize_t read_some(int fd, char *p, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = read(fd, p + got, n - got);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

ssize_t proc_read(uint32_t pid, const char *name, char *ret, size_t size)
{
	int fd = proc_open(pid, name);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read_some(fd, ret, size - 1);
	close(fd);
	if (n >= 0)
		ret[n] = '\0';
	return n;
}

int proc_each_line(uint32_t pid, const char *name, bool (*fn)(void *ctx, const char *line), void *ctx)
{
	int fd = proc_open(pid, name);
	char text[8192], *line, *end;
	bool more = true;
	size_t have = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (more && (n = read_some(fd, text + have, sizeof(text) - have)) > 0) {
		have += (size_t)n;
		for (line = text; more && (end = memchr(line, '\n', have - (size_t)(line - text))); line = end + 1) {
			*end = '\0';
			more = fn(ctx, line);
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
	close(fd);
	return n < 0 ? (int)n : 0;
}

/* Everything up to max; -EFBIG beyond. Closes the descriptor. */
static char *read_all(int fd, size_t max, size_t *ret_len)
{
	size_t cap = max < 16384 ? max : 16384, len = 0;
	char *p = malloc(cap + 1);
	ssize_t n;

	while (p) {
		n = read_some(fd, p + len, cap - len);
		if (n < 0) {
			errno = (int)-n;
			break;
		}
		len += (size_t)n;
		if (len < cap) {
			p[len] = '\0';
			*ret_len = len;
			close(fd);
			return p;
		}
		if (cap >= max) {
			errno = EFBIG;
			break;
		}
		cap = 2 * cap < max ? 2 * cap : max;

		char *bigger = realloc(p, cap + 1);

		if (!bigger)
			break;
		p = bigger;
	}
	n = errno;
	free(p);
	close(fd);
	errno = (int)n;
	return NULL;
}

char *proc_read_all(uint32_t pid, const char *name, size_t max, size_t *ret_len)
{
	int fd = proc_open(pid, name);

	return fd < 0 ? NULL : read_all(fd, max, ret_len);
}

int proc_stat(uint32_t pid, struct proc_stat *ret)
{
	char text[1024], *open, *close_;
	unsigned long long start, code, stack;
	size_t n;
	ssize_t len = proc_read(pid, "stat", text, sizeof(text));

	if (len < 0)
		return (int)len;
	/* The name may hold anything, parentheses too. */
	open = strchr(text, '(');
	close_ = strrchr(text, ')');
	if (!open || !close_ || close_ < open)
		return -EBADMSG;
	if (sscanf(close_ + 1,
		    " %c %u %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu "
		    "%*u %*d %*u %llu %*u %llu",
		    &ret->state, &ret->ppid, &start, &code, &stack) != 5)
		return -EBADMSG;
	ret->start = start;
	ret->code = code;
	ret->stack = stack;
	n = (size_t)(close_ - open - 1);
	if (n >= sizeof(ret->comm))
		n = sizeof(ret->comm) - 1;
	memcpy(ret->comm, open + 1, n);
	ret->comm[n] = '\0';
	return 0;
}

uint64_t proc_age(const struct proc_stat *st)
{
	long ticks = sysconf(_SC_CLK_TCK);
	struct timespec now;
	uint64_t start = ticks > 0 ? st->start / (uint64_t)ticks : 0;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec > start ? (uint64_t)now.tv_sec - start : 0;
}

ssize_t proc_title(uint32_t pid, char *ret, size_t size)
{
	ssize_t n = proc_read(pid, "cmdline", ret, size);

	if (n < 0)
		return n;
	while (n > 0 && (ret[n - 1] == '\0' || ret[n - 1] == ' '))
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (ret[i] == '\0')
			ret[i] = ' ';
	ret[n] = '\0';
	return n;
}

bool proc_has_hosts_name(uint32_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u/ns/uts", pid);
	return stat(path, &st) == 0 && st.st_ino == INIT_UTS_NS;
}

/* Reading some of these has effects, or never ends. */
static bool is_made_up(int fd)
{
	static const unsigned kinds[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return true;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if ((unsigned)fs.f_type == kinds[i])
			return true;
	return false;
}

int proc_open_file(uint32_t pid, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	char root[64];
	struct stat st;
	int dir, fd, err;

	snprintf(root, sizeof(root), "/proc/%u/root", pid);
	dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	err = errno;
	close(dir);
	if (fd < 0)
		return -err;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || is_made_up(fd)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

char *proc_file(uint32_t pid, const char *path, size_t max, size_t *ret_len)
{
	int fd = proc_open_file(pid, path);

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	return read_all(fd, max, ret_len);
}

int proc_each(bool (*fn)(void *ctx, uint32_t pid), void *ctx)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		char *end;
		unsigned long pid;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		pid = strtoul(e->d_name, &end, 10);
		if (!*end && pid <= UINT32_MAX && !fn(ctx, (uint32_t)pid))
			break;
	}
	closedir(d);
	return 0;
}
