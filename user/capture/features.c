#include "capture/features.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/span.h"
#include "base/tracefs.h"
#include "capture/uprobe.h"

/* Of the initial PID namespace, fixed by the kernel. */
#define INIT_PID_NS 0xEFFFFFFCul

/* By the rights in force: plain access(2) disregards the capabilities of a user that is not root. */
static int readable(const char *path)
{
	return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) ? -errno : 0;
}

static int try_btf(void)
{
	return readable("/sys/kernel/btf/vmlinux");
}

static int try_bpf(void)
{
	const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "kt_probe", "GPL", nothing, 2, NULL);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int try_ringbuf(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "kt_probe", 0, 0, 4096, NULL);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* An empty directory is there on every kernel with tracing; many hosts mount it only when somebody asks. */
static int try_tracefs(void)
{
	int err = tracefs_try();

	if (err != -ENOENT)
		return err;
	if (mount("tracefs", TRACEFS, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return -errno;
	return tracefs_try();
}

static int try_helper(enum bpf_prog_type type, enum bpf_func_id id)
{
	int r = libbpf_probe_bpf_helper(type, id, NULL);

	return r > 0 ? 0 : r < 0 ? r : -ENOTSUP;
}

static int try_pt_regs(void)
{
	return try_helper(BPF_PROG_TYPE_TRACEPOINT, BPF_FUNC_task_pt_regs);
}

static int try_loop(void)
{
	return try_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_loop);
}

static bool names_function(const struct btf *btf, const char *name)
{
	return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) > 0;
}

static int has_function(const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool has;

	if (!btf)
		return -errno;
	has = names_function(btf, name);
	btf__free(btf);
	return has ? 0 : -ENOTSUP;
}

static int try_guard(void)
{
	return has_function("bpf_preempt_disable");
}

static int try_exact(void)
{
	return has_function("bpf_probe_read_user_dynptr");
}

/* What kernels run such programs with where they preempt them, and only they. */
#define UNSTEADY "trace_call_bpf_faultable"

static int try_steady(void)
{
	int err = has_function(UNSTEADY);

	return err == 0 ? -ENOTSUP : err == -ENOTSUP ? 0 : err;
}

static int try_tell(void)
{
	int r = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SYSCALL, NULL);

	return r > 0 ? 0 : r < 0 ? r : -ENOTSUP;
}

static int try_uprobes(void)
{
	return readable("/sys/bus/event_source/devices/uprobe/type");
}

static int try_map_files(void)
{
	/* A name that cannot exist: refused by the file system's own check, or by the missing right to look. */
	int err = readable("/proc/self/map_files/0-1");

	return err == -ENOENT ? 0 : err;
}

static int try_placement(void)
{
#if defined(__x86_64__)
	return 0;
#else
	return -ENOTSUP;
#endif
}

static const struct {
	const char *name, *text;
	bool needed;
	int (*try)(void);
} table[FEATURE_COUNT_] = {
	[FEATURE_BTF] = {"btf", "types of the running kernel", true, try_btf},
	[FEATURE_BPF] = {"bpf", "BPF programs may be loaded", true, try_bpf},
	[FEATURE_RINGBUF] = {"ringbuf", "BPF ring buffer", true, try_ringbuf},
	[FEATURE_TRACEFS] = {"tracefs", "tracepoints of single system calls", false, try_tracefs},
	[FEATURE_PT_REGS] = {"task_pt_regs", "arguments at the exit of a system call", false, try_pt_regs},
	[FEATURE_LOOP] = {"loop", "loops in programs: vectored calls in one record", false, try_loop},
	[FEATURE_GUARD] = {"preempt_guard", "programs in user functions safe from preemption", false, try_guard},
	[FEATURE_EXACT] = {"exact_room", "records in the ring take no more room than their bytes", false, try_exact},
	[FEATURE_STEADY] = {"steady_calls", "programs at system calls are not preempted", false, try_steady},
	[FEATURE_TELL] = {"tell", "what is told of connections holds no program up", false, try_tell},
	[FEATURE_UPROBES] = {"uprobes", "probes in user programs, for TLS", false, try_uprobes},
	[FEATURE_MULTI] = {"multi_uprobe", "many probes with one link", false, uprobe_try_multi},
	[FEATURE_MAP_FILES] = {"map_files", "mapped files opened as they are mapped", false, try_map_files},
	[FEATURE_PLACEMENT] = {"placement", "probes on cheap instructions (x86-64)", false, try_placement},
};

static enum feature by_name(struct span name)
{
	for (int f = 0; f < FEATURE_COUNT_; f++)
		if (span_eq(name, span_str(table[f].name)))
			return (enum feature)f;
	return FEATURE_COUNT_;
}

static int apply_force(const char *force, struct features *f)
{
	struct span rest = span_str(force);

	while (rest.n) {
		const char *comma = memchr(rest.p, ',', rest.n);
		struct span name = {rest.p, comma ? (size_t)(comma - rest.p) : rest.n};
		enum feature which = by_name(span_trim(name));

		if (which == FEATURE_COUNT_) {
			log_err("capture", "there is no feature '%.*s' to do without", (int)name.n, name.p);
			return -EINVAL;
		}
		f->forced[which] = true;
		rest = span_skip(rest, name.n + (comma ? 1 : 0));
	}
	return 0;
}

static int types_of_file(const char *path, struct btf **ret)
{
	struct btf *btf = btf__parse(path, NULL);
	int err = errno;

	if (!btf)
		return err == ENOENT || err == EACCES || err == EPERM || err == ENOMEM ? -err : -EBADMSG;
	if (btf__find_by_name_kind(btf, "task_struct", BTF_KIND_STRUCT) <= 0) {
		btf__free(btf);
		return -EBADMSG;
	}
	*ret = btf;
	return 0;
}

static void lose(struct features *f, enum feature which, int why)
{
	if (!f->has[which])
		return;
	f->has[which] = false;
	f->why[which] = why;
}

/* The types are those of the file. Whether the kernel has its own beside them decides what it lets programs do. */
static void apply_file(const char *path, struct features *f)
{
	struct btf *types = NULL;
	int err = types_of_file(path, &types);

	f->untyped = !f->has[FEATURE_BTF];
	f->has[FEATURE_BTF] = err == 0;
	f->why[FEATURE_BTF] = -err;
	if (err)
		return;
	if (f->untyped) {
		lose(f, FEATURE_PT_REGS, ENOTSUP);
		lose(f, FEATURE_GUARD, ENOTSUP);
		lose(f, FEATURE_EXACT, ENOTSUP);
		f->has[FEATURE_STEADY] = !f->forced[FEATURE_STEADY] && !names_function(types, UNSTEADY);
	}
	btf__free(types);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
	return 0;
}

int features_probe(const char *force, const char *btf, struct features *ret)
{
	struct features f = {0};
	libbpf_print_fn_t before;
	int err = apply_force(force, &f);

	if (err)
		return err;
	/* Attempts are expected to fail: their complaints are no news. */
	before = libbpf_set_print(quiet);
	for (int i = 0; i < FEATURE_COUNT_; i++) {
		int r = f.forced[i] ? -ECANCELED : table[i].try();

		f.has[i] = r == 0;
		f.why[i] = -r;
	}
	if (btf)
		apply_file(btf, &f);
	libbpf_set_print(before);
	*ret = f;
	return 0;
}

const char *feature_name(enum feature f)
{
	return table[f].name;
}

const char *feature_text(enum feature f)
{
	return table[f].text;
}

bool feature_needed(enum feature f)
{
	return table[f].needed;
}

bool features_host_pids(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) || st.st_ino == INIT_PID_NS;
}
