#include "ops/privs.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/tracefs.h"
#include "ops/seccomp.h"

static const struct need {
	unsigned cap;
	const char *name;
	const char *why;
} needs[] = {
	{CAP_BPF, "CAP_BPF", "load BPF programs and maps"},
	{CAP_PERFMON, "CAP_PERFMON", "attach them to tracepoints and libraries, read the workers' memory"},
	{CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "look into /proc of other users' processes"},
	{CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "read tracefs and Kong's generated configuration"},
	{CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE", "open the very library file that a worker has mapped"},
};

#define NEEDS (sizeof(needs) / sizeof(needs[0]))

/* Some workers take six descriptors each, and the limit that a shell or a container gives is often 1024, with more to
 * be had for the asking. As many as the service has. */
#define FILES_MAX 65536

static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= FILES_MAX)
		return;
	files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
	if (setrlimit(RLIMIT_NOFILE, &files))
		log_debug("privs", "RLIMIT_NOFILE: %s", strerror(errno));
}

void privs_start(void)
{
	struct rlimit none = {0, 0};

	/* A core file, and the memory itself, hold the application id and customers' traffic. */
	if (setrlimit(RLIMIT_CORE, &none))
		log_debug("privs", "RLIMIT_CORE: %s", strerror(errno));
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		log_debug("privs", "PR_SET_DUMPABLE: %s", strerror(errno));
	raise_files();
}

/* What the threads of a resolver and of allocators that keep apart for each thread may take besides. */
#define BESIDES (64ull << 20)

int privs_bound_memory(uint64_t more)
{
	unsigned long data = 0;
	struct rlimit l;
	char text[256];
	ssize_t n;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* proc(5): size resident shared text lib data … in pages */
	if (sscanf(text, "%*u %*u %*u %*u %*u %lu", &data) != 1)
		return -EBADMSG;
	l.rlim_cur = l.rlim_max = data * (unsigned long)sysconf(_SC_PAGESIZE) + more + BESIDES;
	return setrlimit(RLIMIT_DATA, &l) ? -errno : 0;
}

/* Leaves this thread with the capabilities of `keep` that it has. */
static int keep_only(const unsigned *keep, size_t n)
{
	bool have[8] = {false}, bounding;

	if (capng_get_caps_process())
		return -EPERM;
	/* The bounding set can be narrowed by CAP_SETPCAP only, and does not matter without exec. */
	bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	for (size_t i = 0; i < n; i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, keep[i]);
	capng_clear(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < n; i++)
		if (have[i] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, keep[i]))
			return -EINVAL;
	/* Before the permitted set: narrowing the bounding set takes a capability that goes away there. The kernel
	 * takes out of the ambient set by itself what is permitted no longer. */
	if (bounding && capng_apply(CAPNG_SELECT_BOUNDS))
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

struct without {
	int (*fn)(void *ctx);
	void *ctx;
	int ret;
};

static void *run_without(void *arg)
{
	struct without *w = arg;
	int err = keep_only(NULL, 0);

	if (err)
		log_err("privs", "a thread cannot give up its privileges: %s; sandbox: false goes without",
			strerror(-err));
	w->ret = err ? err : w->fn(w->ctx);
	return NULL;
}

int privs_without(int (*fn)(void *ctx), void *ctx)
{
	struct without w = {.fn = fn, .ctx = ctx};
	pthread_t thread;
	int err = pthread_create(&thread, NULL, run_without, &w);

	if (err) {
		log_err("privs", "no thread can be started: %s; see the limits on processes (pids, ulimit -u)",
			strerror(err));
		return -err;
	}
	pthread_join(thread, NULL);
	return w.ret;
}

int privs_drop(const struct privs_options *o)
{
	unsigned keep[NEEDS + 1];
	size_t n = 0;
	int err;

	for (size_t i = 0; i < NEEDS; i++)
		keep[n++] = needs[i].cap;
	if (o->keep_admin)
		keep[n++] = CAP_SYS_ADMIN;
	err = keep_only(keep, n);
	if (err)
		return err;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (o->no_filter)
		return 0;
	err = seccomp_confine();
	if (err)
		log_warn("privs", "no system call filter: %s; capture goes on without it", strerror(-err));
	return 0;
}

/* -1 when the kernel has no such events at all. */
static int uprobe_event_type(void)
{
	char text[16] = "";
	int fd = open("/sys/bus/event_source/devices/uprobe/type", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	long type;

	if (fd >= 0)
		close(fd);
	type = n > 0 ? strtol(text, NULL, 10) : 0;
	return type > 0 && type < INT_MAX ? (int)type : -1;
}

/* An event on the first bytes of this program, which are no code that is ever run, so that nothing is patched. */
static int open_uprobe(int type)
{
	static const char self[] = "/proc/self/exe";
	struct perf_event_attr attr = {.type = (unsigned)type, .size = sizeof(attr)};
	long fd;

	attr.config1 = (uintptr_t)self;
	fd = syscall(SYS_perf_event_open, &attr, getpid(), -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

static int open_any_uprobe(void)
{
	int type = uprobe_event_type();

	return type < 0 ? -ENOENT : open_uprobe(type);
}

struct attempt {
	int (*open)(void);
	int ret;
};

/* Runs in a thread of its own, whose capabilities may be spent. */
static void *try_as_usual(void *ctx)
{
	struct attempt *a = ctx;
	unsigned usual[NEEDS];

	for (size_t i = 0; i < NEEDS; i++)
		usual[i] = needs[i].cap;
	a->ret = keep_only(usual, NEEDS);
	if (!a->ret)
		a->ret = a->open();
	return NULL;
}

static bool wants_admin(int (*open)(void))
{
	struct attempt a = {.open = open};
	pthread_t thread;

	if (pthread_create(&thread, NULL, try_as_usual, &a))
		return true;
	pthread_join(thread, NULL);
	return a.ret == -EACCES || a.ret == -EPERM;
}

bool privs_uprobes_want_admin(void)
{
	return wants_admin(open_any_uprobe);
}

bool privs_tracepoints_want_admin(void)
{
	return wants_admin(tracefs_try);
}

static const char *admin(void)
{
	return capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) ? "ok" : "not there";
}

int privs_check(FILE *out)
{
	int lacking = 0;

	if (capng_get_caps_process()) {
		fputs("privileges: capabilities of this process cannot be read\n", out);
		return 1;
	}
	for (size_t i = 0; i < NEEDS; i++) {
		bool have = capng_have_capability(CAPNG_EFFECTIVE, needs[i].cap);

		fprintf(out, "privileges: %-24s %s: %s\n", needs[i].name, have ? "ok" : "MISSING", needs[i].why);
		lacking |= !have;
	}
	if (privs_uprobes_want_admin())
		fprintf(out,
			"privileges: %-24s %s: this kernel wants it for uprobes, unless multi_uprobe (below) is ok\n",
			"CAP_SYS_ADMIN", admin());
	if (privs_tracepoints_want_admin())
		fprintf(out,
			"privileges: %-24s %s: this kernel wants it for tracepoints; without it all system calls of "
			"the host pass one hook, which costs more\n",
			"CAP_SYS_ADMIN", admin());
	if (lacking)
		fputs("privileges: run as root, or give the service exactly these capabilities\n", out);
	return lacking;
}
