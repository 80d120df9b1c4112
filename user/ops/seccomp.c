#include "ops/seccomp.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL(name) SCMP_SYS(name)

/* What the agent, its C library, its threads and libcurl were seen to make, and the calls that do the same in other
 * versions of those libraries. */
static const int allowed[] = {
	/* memory */
	CALL(brk),
	CALL(munmap),
	CALL(mremap),
	CALL(madvise),
	CALL(membarrier),
	/* threads, signals, the end */
	CALL(futex),
	CALL(set_robust_list),
	CALL(rseq),
	CALL(gettid),
	CALL(sched_yield),
	CALL(sched_getaffinity),
	CALL(rt_sigaction),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(sigreturn),
	CALL(sigaltstack),
	CALL(restart_syscall),
	CALL(exit),
	CALL(exit_group),
	/* files: which ones is a matter of what the user may open */
	CALL(open),
	CALL(openat),
	CALL(openat2),
	CALL(close),
	CALL(close_range),
	CALL(read),
	CALL(readv),
	CALL(pread64),
	CALL(preadv),
	CALL(preadv2),
	CALL(write),
	CALL(writev),
	CALL(pwrite64),
	CALL(pwritev),
	CALL(pwritev2),
	CALL(sync_file_range),
	CALL(copy_file_range),
	CALL(lseek),
	CALL(_llseek),
	CALL(stat),
	CALL(lstat),
	CALL(fstat),
	CALL(newfstatat),
	CALL(fstatat64),
	CALL(statx),
	CALL(access),
	CALL(faccessat),
	CALL(faccessat2),
	CALL(readlink),
	CALL(readlinkat),
	CALL(getdents),
	CALL(getdents64),
	CALL(fcntl),
	CALL(fcntl64),
	CALL(dup),
	CALL(dup2),
	CALL(dup3),
	CALL(ftruncate),
	CALL(ftruncate64),
	CALL(fallocate),
	CALL(fsync),
	CALL(fdatasync),
	CALL(fadvise64),
	CALL(rename),
	CALL(renameat),
	CALL(renameat2),
	CALL(unlink),
	CALL(unlinkat),
	CALL(mkdir),
	CALL(mkdirat),
	CALL(rmdir),
	CALL(flock),
	CALL(getcwd),
	CALL(statfs),
	CALL(fstatfs),
	CALL(umask),
	CALL(fchmod),
	CALL(pipe2),
	CALL(eventfd2),
	/* waiting */
	CALL(poll),
	CALL(ppoll),
	CALL(select),
	CALL(pselect6),
	CALL(epoll_create1),
	CALL(epoll_ctl),
	CALL(epoll_wait),
	CALL(epoll_pwait),
	CALL(epoll_pwait2),
	CALL(signalfd4),
	CALL(timerfd_create),
	CALL(timerfd_settime),
	CALL(timerfd_gettime),
	CALL(nanosleep),
	CALL(clock_nanosleep),
	/* connections; which families may be made is ruled below */
	CALL(connect),
	CALL(bind),
	CALL(listen),
	CALL(accept),
	CALL(accept4),
	CALL(shutdown),
	CALL(getsockname),
	CALL(getpeername),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(sendto),
	CALL(sendmsg),
	CALL(sendmmsg),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(recvmmsg),
	CALL(sendfile),
	/* facts */
	CALL(clock_gettime),
	CALL(clock_getres),
	CALL(gettimeofday),
	CALL(time),
	CALL(times),
	CALL(getpid),
	CALL(getppid),
	CALL(getuid),
	CALL(geteuid),
	CALL(getgid),
	CALL(getegid),
	CALL(getrandom),
	CALL(uname),
	CALL(sysinfo),
	CALL(getrusage),
	CALL(getrlimit),
	CALL(getcpu),
	/* attaching to libraries that turn up later; bpf is ruled below */
	CALL(perf_event_open),
};

/* Nothing here has a reason to make them. */
static const int forbidden[] = {
	CALL(execve),
	CALL(execveat),
	CALL(fork),
	CALL(vfork),
	CALL(ptrace),
	CALL(process_vm_readv),
	CALL(process_vm_writev),
	CALL(kill),
	CALL(tkill),
	CALL(pidfd_send_signal),
	CALL(pidfd_getfd),
	CALL(mount),
	CALL(umount2),
	CALL(move_mount),
	CALL(fsopen),
	CALL(open_tree),
	CALL(pivot_root),
	CALL(chroot),
	CALL(unshare),
	CALL(setns),
	CALL(setuid),
	CALL(setgid),
	CALL(setreuid),
	CALL(setregid),
	CALL(setresuid),
	CALL(setresgid),
	CALL(setgroups),
	CALL(capset),
	CALL(personality),
	CALL(init_module),
	CALL(finit_module),
	CALL(delete_module),
	CALL(kexec_load),
	CALL(kexec_file_load),
	CALL(reboot),
	CALL(swapon),
	CALL(swapoff),
	CALL(sethostname),
	CALL(settimeofday),
	CALL(clock_settime),
	CALL(adjtimex),
	CALL(iopl),
	CALL(ioperm),
	CALL(mknod),
	CALL(mknodat),
	CALL(chown),
	CALL(fchown),
	CALL(lchown),
	CALL(fchownat),
	CALL(chmod),
	CALL(fchmodat),
	CALL(symlink),
	CALL(symlinkat),
	CALL(link),
	CALL(linkat),
	CALL(keyctl),
	CALL(add_key),
	CALL(request_key),
	CALL(userfaultfd),
	CALL(io_uring_setup),
	CALL(open_by_handle_at),
	CALL(quotactl),
	CALL(acct),
	CALL(syslog),
};

/* Programs and types are loaded by the time the filter comes; afterwards maps are used, links are made, and one of our
 * programs is run. */
static const int bpf_allowed[] = {
	BPF_PROG_TEST_RUN,
	BPF_MAP_LOOKUP_ELEM,
	BPF_MAP_UPDATE_ELEM,
	BPF_MAP_DELETE_ELEM,
	BPF_MAP_GET_NEXT_KEY,
	BPF_MAP_LOOKUP_AND_DELETE_ELEM,
	BPF_MAP_LOOKUP_BATCH,
	BPF_MAP_LOOKUP_AND_DELETE_BATCH,
	BPF_MAP_UPDATE_BATCH,
	BPF_MAP_DELETE_BATCH,
	BPF_OBJ_GET_INFO_BY_FD,
	BPF_LINK_CREATE,
	BPF_LINK_DETACH,
	BPF_RAW_TRACEPOINT_OPEN,
	BPF_ENABLE_STATS,
};

/* Terminals, sockets, perf events: nothing that types into a terminal (TIOCSTI) or configures a device. */
static const unsigned long ioctls_allowed[] = {
	TCGETS,
	TIOCGWINSZ,
	FIONREAD,
	FIONBIO,
	FIOCLEX,
	PERF_EVENT_IOC_ENABLE,
	PERF_EVENT_IOC_DISABLE,
	PERF_EVENT_IOC_SET_BPF,
	PERF_EVENT_IOC_ID,
};

/* AF_NETLINK is how the C library's resolver learns which addresses this machine has. */
static const int families_allowed[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

static const int prctls_allowed[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_SET_VMA, PR_GET_DUMPABLE};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A call that this machine's architecture does not have is nothing to rule on. */
static int rule(scmp_filter_ctx f, uint32_t action, int call)
{
	int err = seccomp_rule_add(f, action, call, 0);

	return err == -EDOM || err == -EINVAL ? 0 : err;
}

static int rule_if(scmp_filter_ctx f, int call, struct scmp_arg_cmp cond)
{
	return seccomp_rule_add_array(f, SCMP_ACT_ALLOW, call, 1, &cond);
}

static int add_lists(scmp_filter_ctx f)
{
	int err = 0;

	for (size_t i = 0; i < COUNT(allowed) && !err; i++)
		err = rule(f, SCMP_ACT_ALLOW, allowed[i]);
	for (size_t i = 0; i < COUNT(forbidden) && !err; i++)
		err = rule(f, SCMP_ACT_ERRNO(EPERM), forbidden[i]);
	for (size_t i = 0; i < COUNT(bpf_allowed) && !err; i++)
		err = rule_if(f, CALL(bpf), SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)bpf_allowed[i]));
	for (size_t i = 0; i < COUNT(ioctls_allowed) && !err; i++)
		err = rule_if(f, CALL(ioctl), SCMP_A1_32(SCMP_CMP_EQ, (uint32_t)ioctls_allowed[i]));
	for (size_t i = 0; i < COUNT(families_allowed) && !err; i++)
		err = rule_if(f, CALL(socket), SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)families_allowed[i]));
	for (size_t i = 0; i < COUNT(prctls_allowed) && !err; i++)
		err = rule_if(f, CALL(prctl), SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)prctls_allowed[i]));
	return err;
}

/* No memory that can be written and executed; what was written cannot be made executable. Libraries that the C library
 * loads while it runs (name services) are mapped from their files and stay possible. */
static int add_memory(scmp_filter_ctx f)
{
	static const unsigned good[] = {0, PROT_WRITE, PROT_EXEC};
	int err = 0;

	for (size_t i = 0; i < COUNT(good) && !err; i++)
		err = rule_if(f, CALL(mmap), SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, good[i]));
	if (!err)
		err = rule_if(f, CALL(mprotect), SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return err;
}

/* Threads, but no processes; signals to itself; limits are read, not set. */
static int add_processes(scmp_filter_ctx f)
{
	struct scmp_arg_cmp own_limits[] = {SCMP_A0_32(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)};
	int err = rule_if(f, CALL(clone), SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (!err)
		err = rule_if(f, CALL(tgkill), SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)getpid()));
	if (!err)
		err = rule_if(f, CALL(socketpair), SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX));
	if (!err)
		err = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, CALL(prlimit64), COUNT(own_limits), own_limits);
	return err;
}

int seccomp_confine(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int err;

	if (!f)
		return -ENOMEM;
	/* A call through another architecture's entry is an attack, and no library falls back from it. */
	err = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	/* No guard against speculative reads, which older kernels add to every filtered process at a price: what it
	 * guards against is foreign code inside of the process, and there is none. */
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	/* Decided by halves rather than one after the other: the filter stands in the way of every call. */
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = add_lists(f);
	if (!err)
		err = add_memory(f);
	if (!err)
		err = add_processes(f);
	if (!err)
		err = seccomp_load(f);
	seccomp_release(f);
	return err;
}
