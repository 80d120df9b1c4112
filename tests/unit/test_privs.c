/* privs: each test gives its rights up in a child process and reports from there. */
#include "kt_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/tracefs.h"
#include "in_child.h"
#include "ops/privs.h"
#include "ops/seccomp.h"

#define CAPS_KEPT ((1ull << 2) | (1ull << 19) | (1ull << 38) | (1ull << 39) | (1ull << 40))
#define CAP_ADMIN (1ull << 21)

/* A hexadecimal or decimal field of /proc/thread-self/status. */
static unsigned long long field(const char *name)
{
	char line[256];
	unsigned long long v = ~0ull;
	FILE *f = fopen("/proc/thread-self/status", "r");

	WANT(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			v = strtoull(line + strlen(name) + 1, NULL, 16);
	fclose(f);
	return v;
}

static void drop(bool admin, bool no_filter)
{
	struct privs_options o = {.keep_admin = admin, .no_filter = no_filter};

	WANT(privs_drop(&o) == 0);
}

static void child_start(void)
{
	struct rlimit r;

	privs_start();
	WANT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	WANT(getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_cur == 0 && r.rlim_max == 0);
}

static void child_drop(void)
{
	unsigned long long before = field("CapPrm");

	drop(false, true);
	WANT(field("CapPrm") == (before & CAPS_KEPT));
	WANT(field("CapEff") == (before & CAPS_KEPT));
	WANT(field("CapInh") == 0);
	WANT(field("CapAmb") == 0);
	WANT(!(before & (1ull << 8)) || field("CapBnd") == 0);
	WANT(field("NoNewPrivs") == 1);
	WANT(field("Seccomp") == 0);
}

static void child_drop_keeps_admin(void)
{
	unsigned long long before = field("CapPrm");

	drop(true, false);
	WANT(field("CapPrm") == (before & (CAPS_KEPT | CAP_ADMIN)));
	WANT(field("Seccomp") == 2);
}

static void child_drop_twice(void)
{
	drop(false, false);
	/* The filter does not let go of it again; nothing breaks. */
	struct privs_options o = {.no_filter = true};
	privs_drop(&o);
	WANT(field("Seccomp") == 2);
}

static void *report_caps(void *arg)
{
	*(unsigned long long *)arg = field("CapPrm") | field("CapEff");
	return NULL;
}

static int start_thread(void *ctx)
{
	pthread_t t;
	unsigned long long *caps = ctx;

	caps[0] = field("CapPrm") | field("CapEff");
	if (pthread_create(&t, NULL, report_caps, &caps[1]))
		return -1;
	pthread_join(t, NULL);
	return -42;
}

static void child_without(void)
{
	unsigned long long caps[2] = {1, 1}, before = field("CapPrm");

	WANT(privs_without(start_thread, caps) == -42);
	WANT(caps[0] == 0 && caps[1] == 0);
	WANT(field("CapPrm") == before);
}

static volatile int stage;
static long other_thread_mount = 99;

/* Starts before the filter, which must bind it all the same. */
static void *older_thread(void *arg)
{
	(void)arg;
	while (__atomic_load_n(&stage, __ATOMIC_ACQUIRE) == 0)
		usleep(1000);
	errno = 0;
	other_thread_mount = mount("none", "/nowhere", "tmpfs", 0, NULL) ? errno : 0;
	return NULL;
}

static void child_all_threads(void)
{
	pthread_t t;

	WANT(!pthread_create(&t, NULL, older_thread, NULL));
	WANT(seccomp_confine() == 0);
	__atomic_store_n(&stage, 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	WANT(other_thread_mount == EPERM);
}

static void refused(long got, int wanted)
{
	if (got != -1 || errno != wanted) {
		fprintf(stderr, "got %ld, %s\n", got, strerror(errno));
		_exit(1);
	}
}

static void child_forbidden(void)
{
	char *argv[] = {"/bin/true", NULL};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	WANT(seccomp_confine() == 0);
	refused(execve(argv[0], argv, argv), EPERM);
	refused(syscall(SYS_execveat, AT_FDCWD, argv[0], argv, argv, 0), EPERM);
	refused(fork(), ENOSYS);
	refused(ptrace(PTRACE_ATTACH, getppid(), 0, 0), EPERM);
	refused(kill(getppid(), 0), EPERM);
	refused(syscall(SYS_tgkill, getppid(), getppid(), 0), ENOSYS);
	refused(mount("none", "/nowhere", "tmpfs", 0, NULL), EPERM);
	refused(setuid(0), EPERM);
	refused(syscall(SYS_init_module, 0, 0, ""), EPERM);
	refused(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)), ENOSYS);
	refused(syscall(SYS_bpf, BPF_OBJ_PIN, &attr, sizeof(attr)), ENOSYS);
	refused(socket(AF_PACKET, SOCK_RAW, 0), ENOSYS);
	refused(ioctl(0, TIOCSTI, ""), ENOSYS);
	refused(mprotect(page, 4096, PROT_READ | PROT_EXEC), ENOSYS);
	refused((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOSYS);
	refused(syscall(SYS_prctl, PR_SET_SECCOMP, 0, 0, 0, 0), ENOSYS);
	refused(setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024}), ENOSYS);
	refused(syscall(SYS_io_uring_setup, 1, NULL), EPERM);
	refused(syscall(SYS_unshare, 0), EPERM);
}

/* What goes on once the filter is there: threads, files, name resolution, sockets, BPF maps. */
static void child_allowed(void)
{
	struct addrinfo *found = NULL;
	union bpf_attr attr;
	struct rlimit limit;
	pthread_t t;
	unsigned long long caps;
	char path[] = "/tmp/kt-privs-XXXXXX";
	int fd, pair[2];

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (unsigned)-1;
	WANT(seccomp_confine() == 0);
	WANT(!pthread_create(&t, NULL, report_caps, &caps));
	WANT(!pthread_join(t, NULL));
	fd = mkstemp(path);
	WANT(fd >= 0 && write(fd, "x", 1) == 1 && !fsync(fd) && !fchmod(fd, 0600));
	WANT(!unlink(path) && !close(fd));
	/* Loads the name service's libraries now, and asks the kernel for its addresses. */
	getaddrinfo("localhost", "80", NULL, &found);
	if (found)
		freeaddrinfo(found);
	WANT((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 && !close(fd));
	WANT((fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) >= 0 || errno == EAFNOSUPPORT);
	WANT(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	WANT(syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) == -1 && errno != ENOSYS);
	WANT(!getrlimit(RLIMIT_NOFILE, &limit));
	WANT(popen("true", "r") == NULL);
	errno = 0;
	WANT(isatty(pair[0]) == 0 && errno == ENOTTY);
}

static void child_check(void)
{
	char text[4096] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	WANT(f);
	int all = privs_check(f);
	fflush(f);
	WANT(strstr(text, "CAP_BPF") && strstr(text, "CAP_CHECKPOINT_RESTORE"));
	WANT((all == 0) == (strstr(text, "MISSING") == NULL));
	WANT((all == 0) == ((field("CapEff") & CAPS_KEPT) == CAPS_KEPT));
	fclose(f);
}

static int check_lacks(void *ctx)
{
	FILE *f = fopen("/dev/null", "w");

	(void)ctx;
	WANT(f && privs_check(f) == 1);
	fclose(f);
	return 0;
}

static void child_check_lacks(void)
{
	WANT(privs_without(check_lacks, NULL) == 0);
}

static void child_want_admin(void)
{
	unsigned long long before = field("CapPrm");

	privs_uprobes_want_admin();
	WANT(field("CapPrm") == before);
}

/* tracefs at either of its places, or not at all. */
static void child_tracepoints(void)
{
	bool older = access("/sys/kernel/debug/tracing/events/syscalls", F_OK) == 0;

	if (geteuid()) {
		WANT(tracefs_try() < 0);
		return;
	}
	WANT(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	WANT(mount("none", TRACEFS, "tmpfs", 0, NULL) == 0);
	WANT(tracefs_try() == (older ? 0 : -ENOENT));
	WANT(mount("none", "/sys/kernel/debug", "tmpfs", 0, NULL) == 0);
	WANT(tracefs_try() == -ENOENT);
	WANT(mount("none", TRACEFS, "tracefs", 0, NULL) == 0);
	WANT(tracefs_try() == 0);
}

#define CHILD(name)                                                                                                    \
	static void test_##name(void **state)                                                                          \
	{                                                                                                              \
		(void)state;                                                                                           \
		in_child(child_##name, 20);                                                                            \
	}

CHILD(start)
CHILD(drop)
CHILD(drop_keeps_admin)
CHILD(drop_twice)
CHILD(without)
CHILD(all_threads)
CHILD(forbidden)
CHILD(allowed)
CHILD(check)
CHILD(check_lacks)
CHILD(want_admin)
CHILD(tracepoints)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_drop_keeps_admin),
		cmocka_unit_test(test_drop_twice),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_all_threads),
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_lacks),
		cmocka_unit_test(test_want_admin),
		cmocka_unit_test(test_tracepoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
