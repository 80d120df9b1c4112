#include "capture/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stats.h"
#include "capture.h"
#include "capture/loopless.h"
#include "capture/uprobe.h"
#include "kongtap.skel.h"
#include "untyped.skel.h"

#define LINKS_MAX 32
#define RING_MIN (64u << 10)
#define RING_MAX (1ull << 30)
/* The reader is woken when this part of the ring is full; until then its timer does. */
#define WAKE_PART 16

struct kernel {
	struct kongtap_bpf *skel;
	struct bpf_link *links[LINKS_MAX];
	size_t nlinks, nprocess; /* the first of them follow processes */
	bool multi;
	uint64_t counted[KT_STAT_COUNT]; /* so far, into the agent's counters */
	uint64_t counted_skipped;
};

/* One line of libbpf is rarely the whole story, and most of them are none: they are for debugging. What went wrong is
 * said by us, with what to do. */
static int bridge(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char text[512];
	size_t n;

	(void)level;
	if (!log_enabled(LOG_LVL_DEBUG))
		return 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(text, sizeof(text), fmt, args);
#pragma GCC diagnostic pop
	n = strlen(text);
	if (n && text[n - 1] == '\n')
		text[n - 1] = '\0';
	log_debug("libbpf", "%s", text);
	return 0;
}

static uint32_t ring_size(uint64_t wanted)
{
	uint64_t size = RING_MIN;

	while (size < wanted && size < RING_MAX)
		size *= 2;
	return (uint32_t)size;
}

static bool is_tls(const struct bpf_program *p)
{
	return strncmp(bpf_program__name(p), "tls_", 4) == 0;
}

static bool is_spare(const struct bpf_program *p)
{
	return strncmp(bpf_program__name(p), "spare_", 6) == 0;
}

/* On all system calls. */
static bool is_any(const struct bpf_program *p)
{
	return strcmp(bpf_program__name(p), "sys_any") == 0 || strcmp(bpf_program__name(p), "spare_any") == 0;
}

/* On one system call, or on all of them. */
static bool is_call(const struct bpf_program *p)
{
	return strncmp(bpf_program__name(p), "sys_", 4) == 0 || is_spare(p);
}

static bool is_syscall(const struct bpf_program *p)
{
	return is_call(p) && !is_any(p);
}

static void choose_programs(struct kernel *k, const struct features *f)
{
	bool one_each = f->has[FEATURE_TRACEFS] && f->has[FEATURE_PT_REGS];
	struct bpf_program *p;

	bpf_object__for_each_program(p, k->skel->obj)
	{
		if (is_tls(p)) {
			bpf_program__set_autoload(p, f->has[FEATURE_UPROBES]);
			if (k->multi)
				bpf_program__set_expected_attach_type(
					p, (enum bpf_attach_type)UPROBE_MULTI_ATTACH_TYPE);
		} else if (is_call(p)) {
			bpf_program__set_autoload(
				p, one_each == is_syscall(p) && (!is_spare(p) || !f->has[FEATURE_STEADY]));
		}
	}
}

static int configure(struct kernel *k, const struct features *f, const struct kernel_options *o)
{
	uint32_t size = ring_size(o->ring_bytes);

	k->multi = f->has[FEATURE_MULTI];
	k->skel->rodata->use_loop = f->has[FEATURE_LOOP];
	k->skel->rodata->use_guard = f->has[FEATURE_GUARD];
	k->skel->rodata->use_exact = f->has[FEATURE_EXACT];
	k->skel->rodata->use_spares = !f->has[FEATURE_STEADY];
	k->skel->rodata->call_bytes = o->call_bytes;
	k->skel->rodata->wake_bytes = size / WAKE_PART;
	choose_programs(k, f);
	bpf_program__set_autoload(k->skel->progs.fit, o->btf != NULL);
	bpf_program__set_autoload(k->skel->progs.tell, f->has[FEATURE_TELL]);
	bpf_program__set_autoload(k->skel->progs.owed, f->has[FEATURE_TELL]);
	return bpf_map__set_max_entries(k->skel->maps.data, size);
}

static void explain_load(int err)
{
	switch (-err) {
	case EPERM:
	case EACCES:
		log_err("capture",
			"the kernel refuses to load the BPF programs (%s): run as root or with CAP_BPF and "
			"CAP_PERFMON, and see whether lockdown or seccomp is in the way; log_level: debug shows "
			"details",
			strerror(-err));
		break;
	case ENOMEM:
		log_err("capture", "no memory for the BPF maps: a smaller ring buffer may help");
		break;
	case EMFILE:
		log_err("capture", "too few files may be open for the BPF programs: raise the limit (ulimit -n)");
		break;
	default:
		log_err("capture", "the BPF programs do not load in this kernel: %s; log_level: debug shows details",
			strerror(-err));
		break;
	}
}

static int attach(struct kernel *k, struct bpf_program *p, struct bpf_link *link)
{
	int err = errno;

	if (!link) {
		log_err("capture", "cannot attach %s: %s", bpf_program__name(p), strerror(err));
		return -err;
	}
	if (k->nlinks == LINKS_MAX) {
		bpf_link__destroy(link);
		return -E2BIG;
	}
	k->links[k->nlinks++] = link;
	return 0;
}

/* Attached to nothing: run by the agent. */
static bool is_ours(const struct kernel *k, const struct bpf_program *p)
{
	return p == k->skel->progs.fit || p == k->skel->progs.tell || p == k->skel->progs.owed;
}

/* The system calls of a program, whose names come with commas between, the first `*most` of them. */
static int attach_names(struct kernel *k, struct bpf_program *p, const char *names, size_t *most)
{
	char event[64];
	int err = 0;

	while (*names && *most && !err) {
		int n = (int)strcspn(names, ",");

		snprintf(event, sizeof(event), "sys_exit_%.*s", n, names);
		err = attach(k, p, bpf_program__attach_tracepoint(p, "syscalls", event));
		names += n + (names[n] == ',');
		(*most)--;
	}
	return err;
}

/* Programs of the host as a whole, on system calls or on processes, the first `most` of them. The TLS ones wait for a
 * library. */
static int attach_these(struct kernel *k, bool calls, size_t most)
{
	struct bpf_program *p;
	int err = 0;

	bpf_object__for_each_program(p, k->skel->obj)
	{
		const char *what = strrchr(bpf_program__section_name(p), '/') + 1;

		if (!bpf_program__autoload(p) || is_tls(p) || is_call(p) != calls || is_ours(k, p))
			continue;
		if (is_syscall(p))
			err = attach_names(k, p, what, &most);
		else if (most && most--)
			err = attach(k, p, bpf_program__attach_raw_tracepoint(p, what));
		if (err)
			return err;
	}
	return 0;
}

static void detach_calls(struct kernel *k)
{
	while (k->nlinks > k->nprocess)
		bpf_link__destroy(k->links[--k->nlinks]);
}

/* System calls wait for somebody to be watched. One is tried, though: what cannot be done is to be known now. */
static int attach_first(struct kernel *k)
{
	int err = attach_these(k, false, LINKS_MAX);

	k->nprocess = k->nlinks;
	if (!err)
		err = attach_these(k, true, 1);
	detach_calls(k);
	return err;
}

int kernel__tap(struct kernel *k, bool on)
{
	int err;

	if (on && k->nlinks > k->nprocess)
		return 0;
	err = on ? attach_these(k, true, LINKS_MAX) : -ECANCELED;
	if (err)
		detach_calls(k);
	return on ? err : 0;
}

/* The same skeleton for both objects: they have the same programs and maps. */
static int open_skeleton(struct kernel *k, bool untyped, const char *btf)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = btf);
	int err;

	k->skel = calloc(1, sizeof(*k->skel));
	if (!k->skel)
		return -ENOMEM;
	err = kongtap_bpf__create_skeleton(k->skel);
	if (err)
		return err;
	if (untyped)
		k->skel->skeleton->data = untyped_bpf__elf_bytes(&k->skel->skeleton->data_sz);
	return bpf_object__open_skeleton(k->skel->skeleton, &opts);
}

static int explain_types(const char *btf)
{
	struct utsname u;

	log_err("capture", "%s is not of the running kernel (btf): the types of exactly %s are wanted", btf,
		uname(&u) ? "this build" : u.release);
	return -EBADMSG;
}

/* With the types of another kernel the programs would look in wrong places. On a kernel that cannot run one to try
 * (before 5.10) that shows as nothing being captured. */
static int try_types(const struct kernel *k, const char *btf)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;
	uint64_t args[2];
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = args, .ctx_size_in = sizeof(args));

	if (fd < 0)
		return -errno;
	err = listen(fd, 1) || getsockname(fd, (struct sockaddr *)&a, &n) ? -errno : 0;
	if (!err) {
		args[0] = (uint64_t)fd;
		args[1] = ntohs(a.sin_port);
		if (bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.fit), &run) == 0 && !run.retval)
			err = explain_types(btf);
	}
	close(fd);
	return err;
}

static int open_and_load(struct kernel *k, const struct features *f, const struct kernel_options *o)
{
	int err = open_skeleton(k, f->untyped, o->btf);

	if (!err)
		err = configure(k, f, o);
	if (!err)
		err = kongtap_bpf__load(k->skel);
	if (err && o->btf && err != -EPERM && err != -EACCES && err != -ENOMEM)
		return explain_types(o->btf);
	if (err)
		explain_load(err);
	return err || !o->btf ? err : try_types(k, o->btf);
}

struct kernel *kernel__open(const struct features *f, const struct kernel_options *o)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct kernel *k = calloc(1, sizeof(*k));
	int err = -ENOMEM;

	if (!k)
		goto fail;
	libbpf_set_print(bridge);
	/* Kernels before 5.11 charge maps to this limit; newer ones do not, and raising it may be refused. */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	err = f->has[FEATURE_LOOP] ? 0 : loopless_begin();
	if (!err)
		err = open_and_load(k, f, o);
	if (!f->has[FEATURE_LOOP])
		loopless_end();
	if (!err)
		err = attach_first(k);
	if (err)
		goto fail;
	return k;
fail:
	kernel__close(k);
	errno = -err;
	return NULL;
}

void kernel__go(struct kernel *k)
{
	__atomic_store_n(&k->skel->bss->ready, 1, __ATOMIC_RELEASE);
}

int kernel__data_fd(const struct kernel *k)
{
	return bpf_map__fd(k->skel->maps.data);
}

int kernel__control_fd(const struct kernel *k)
{
	return bpf_map__fd(k->skel->maps.ctl);
}

size_t kernel__data_size(const struct kernel *k)
{
	return bpf_map__max_entries(k->skel->maps.data);
}

size_t kernel__control_size(const struct kernel *k)
{
	return bpf_map__max_entries(k->skel->maps.ctl);
}

int kernel__watch(struct kernel *k, uint32_t pid, bool traffic, bool forks)
{
	struct kt_watch w = {.flags = (traffic ? KT_WATCH_TRAFFIC : 0) | (forks ? KT_WATCH_FORKS : 0)}, old;
	int fd = bpf_map__fd(k->skel->maps.watched);

	/* Writing it again would forget a call that the process is in. */
	if (bpf_map_lookup_elem(fd, &pid, &old) == 0 && old.flags == w.flags)
		return 0;
	return bpf_map_update_elem(fd, &pid, &w, BPF_ANY) ? -errno : 0;
}

void kernel__unwatch(struct kernel *k, uint32_t pid)
{
	bpf_map_delete_elem(bpf_map__fd(k->skel->maps.watched), &pid);
}

bool kernel__captures(const struct kernel *k, uint32_t pid)
{
	struct kt_watch w;

	return bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.watched), &pid, &w) == 0 && (w.flags & KT_WATCH_TRAFFIC);
}

static void sweep(int fd, size_t max, uint32_t pid)
{
	struct kt_conn_key key, next, *at = NULL;
	size_t steps = 0;

	/* A key that was deleted sends the walk back to its start: so the next one is fetched first. The bound is for a
	 * map that others keep changing. */
	while (bpf_map_get_next_key(fd, at, &next) == 0 && steps++ < 4 * max) {
		if (at && key.pid == pid)
			bpf_map_delete_elem(fd, &key);
		key = next;
		at = &key;
	}
	if (at && key.pid == pid)
		bpf_map_delete_elem(fd, &key);
}

void kernel__sweep(struct kernel *k, uint32_t pid)
{
	sweep(bpf_map__fd(k->skel->maps.conns), bpf_map__max_entries(k->skel->maps.conns), pid);
	sweep(bpf_map__fd(k->skel->maps.h2conns), bpf_map__max_entries(k->skel->maps.h2conns), pid);
}

static struct kt_conn_key name_of(const struct conn_key *key)
{
	return (struct kt_conn_key){.obj = key->obj, .pid = key->pid, .tls = key->tls};
}

/* 0 or negative errno. */
static int tell(struct kernel *k, struct kt_told *told)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = told, .ctx_size_in = sizeof(*told));
	int map = bpf_map__fd(k->skel->maps.skips), err;

	if (bpf_program__autoload(k->skel->progs.tell)) {
		err = bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.tell), &run);
		return err ? err : (int)run.retval;
	}
	err = told->over ? bpf_map_delete_elem(map, &told->key)
			 : bpf_map_update_elem(map, &told->key, &told->skip, BPF_ANY);
	return err ? -errno : 0;
}

int kernel__skip(struct kernel *k, const struct conn_key *key, const struct byte_range useless[2])
{
	struct kt_told told = {
		.key = name_of(key),
		.skip =
			{
				.gen = key->gen,
				.from = {[KT_IN] = useless[DIR_IN].from, [KT_OUT] = useless[DIR_OUT].from},
				.until = {[KT_IN] = useless[DIR_IN].until, [KT_OUT] = useless[DIR_OUT].until},
			},
	};
	int err = tell(k, &told);

	/* The programs look there only when this has changed. */
	if (!err)
		__atomic_add_fetch(&k->skel->bss->skips_epoch, 1, __ATOMIC_RELEASE);
	return err;
}

void kernel__bodies(struct kernel *k, uint32_t request, uint32_t response)
{
	__atomic_store_n(&k->skel->bss->body_keep[KT_IN], request, __ATOMIC_RELAXED);
	__atomic_store_n(&k->skel->bss->body_keep[KT_OUT], response, __ATOMIC_RELAXED);
	__atomic_store_n(&k->skel->bss->body_limits, 1, __ATOMIC_RELEASE);
}

/* False: it does not fit, and so must not match what only begins like it. */
static bool fill_type(struct kt_type *t, struct span name)
{
	bool star = name.n && name.p[name.n - 1] == '*';
	size_t n = star ? name.n - 1 : name.n;

	if (n > KT_TYPE_LEN - 1)
		return false;
	*t = (struct kt_type){0};
	memset(t->mask, 0xff, star ? n : KT_TYPE_LEN);
	for (size_t i = 0; i < n; i++)
		((char *)t->type)[i] = (char)ascii_lower((unsigned char)name.p[i]);
	return true;
}

void kernel__exclude(struct kernel *k, char *const *types, size_t n)
{
	struct kt_type list[KT_TYPES] = {0};
	uint32_t count = 0;

	for (size_t i = 0; i < n && count < KT_TYPES; i++)
		count += fill_type(&list[count], span_str(types[i]));
	if (k->skel->bss->excluded_types == count && memcmp(k->skel->bss->excluded, list, sizeof(list)) == 0)
		return;
	__atomic_store_n(&k->skel->bss->excluded_types, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(k->skel->bss->excluded, list, sizeof(list));
	__atomic_store_n(&k->skel->bss->excluded_types, count, __ATOMIC_RELEASE);
}

int kernel__owed(const struct kernel *k, const struct conn_key *key, enum direction dir, struct kernel_owed *ret)
{
	struct kt_owed o = {
		.key = name_of(key),
		.gen = key->gen,
		.dir = dir == DIR_IN ? KT_IN : KT_OUT,
	};
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &o, .ctx_size_in = sizeof(o));
	struct kt_conn c;
	int err;

	if (bpf_program__autoload(k->skel->progs.owed)) {
		err = bpf_prog_test_run_opts(bpf_program__fd(k->skel->progs.owed), &run);
		if (err || !o.found)
			return err ? err : -ENOENT;
		*ret = (struct kernel_owed){.pos = o.pos, .owed = o.owed, .t_ns = o.t_ns};
		return 0;
	}
	if (bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.conns), &o.key, &c) || c.gen != key->gen)
		return -ENOENT;
	*ret = (struct kernel_owed){.pos = c.pos[o.dir], .owed = c.owed[o.dir], .t_ns = c.owed_ns};
	return 0;
}

/* By number and not by life: a later life under the same number is told of after the end of this one. */
void kernel__over(struct kernel *k, const struct conn_key *key)
{
	struct kt_told told = {.key = name_of(key), .over = 1};

	tell(k, &told);
}

/* Whether a run of it that the kernel left out may have been the last chance to see the call. */
static bool is_last(const struct kernel *k, const struct bpf_program *p)
{
	return !k->skel->rodata->use_spares || !is_call(p) || is_spare(p);
}

/* A worker's call that no program was run for is a hole in its streams that nobody knows of. The kernel counts such
 * runs of a program whoever made the call, so this is a bound and mostly about others. */
static void count_skipped(struct kernel *k)
{
	struct bpf_program *p;
	uint64_t sum = 0;

	bpf_object__for_each_program(p, k->skel->obj)
	{
		struct bpf_prog_info info = {0};
		unsigned len = sizeof(info);

		if (bpf_program__autoload(p) && is_last(k, p) &&
			bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len) == 0)
			sum += info.recursion_misses;
	}
	stats_add(STAT_capture_skipped_runs, sum - k->counted_skipped);
	k->counted_skipped = sum;
}

void kernel__sample(struct kernel *k, uint32_t mask)
{
	__atomic_store_n(&k->skel->bss->sample_mask, mask, __ATOMIC_RELEASE);
}

static void clear(int fd, size_t max)
{
	struct kt_conn_key key;

	/* The bound is for a map that others keep changing. */
	for (size_t i = 0; i < 2 * max && bpf_map_get_next_key(fd, NULL, &key) == 0; i++)
		bpf_map_delete_elem(fd, &key);
}

/* A call that a process was in when its end was no longer looked at. */
static void forget_calls(struct kernel *k)
{
	int fd = bpf_map__fd(k->skel->maps.watched);
	size_t max = bpf_map__max_entries(k->skel->maps.watched), n = 0;
	uint32_t pid, *at = NULL;
	struct kt_watch w;

	while (bpf_map_get_next_key(fd, at, &pid) == 0 && n++ < 2 * max) {
		at = &pid;
		if (bpf_map_lookup_elem(fd, &pid, &w))
			continue;
		w.call.active = 0;
		bpf_map_update_elem(fd, &pid, &w, BPF_EXIST);
	}
}

void kernel__pause(struct kernel *k)
{
	__atomic_store_n(&k->skel->bss->ready, 0, __ATOMIC_RELEASE);
	detach_calls(k);
	/* A connection that ends now, and whose number another takes, is not seen. */
	clear(bpf_map__fd(k->skel->maps.conns), bpf_map__max_entries(k->skel->maps.conns));
	clear(bpf_map__fd(k->skel->maps.h2conns), bpf_map__max_entries(k->skel->maps.h2conns));
}

int kernel__resume(struct kernel *k)
{
	int err;

	forget_calls(k);
	err = attach_these(k, true, LINKS_MAX);
	if (err)
		detach_calls(k);
	else
		kernel__go(k);
	return err;
}

static uint64_t counted_by_all(const struct kernel *k, enum kt_stat which)
{
	uint64_t sum = 0;

	for (int cpu = 0; cpu < KT_CPUS; cpu++)
		sum += __atomic_load_n(&k->skel->bss->counts[cpu][which], __ATOMIC_RELAXED);
	return sum;
}

uint64_t kernel__lost(const struct kernel *k)
{
	return counted_by_all(k, KT_STAT_LOST_DATA) + counted_by_all(k, KT_STAT_LOST_CTL);
}

void kernel__counters(struct kernel *k)
{
	static const enum counter names[KT_STAT_COUNT] = {
		[KT_STAT_LOST_DATA] = STAT_capture_lost_data,
		[KT_STAT_LOST_CTL] = STAT_capture_lost_control,
		[KT_STAT_FAULT] = STAT_capture_faults,
		[KT_STAT_MAP_FULL] = STAT_capture_map_full,
		[KT_STAT_LEFT_OUT] = STAT_capture_left_out,
		[KT_STAT_CALLS] = STAT_capture_calls,
		[KT_STAT_TLS_CALLS] = STAT_capture_tls_calls,
	};

	count_skipped(k);
	for (uint32_t i = 0; i < KT_STAT_COUNT; i++) {
		uint64_t sum = counted_by_all(k, i);

		stats_add(names[i], sum - k->counted[i]);
		k->counted[i] = sum;
	}
}

struct tls_links {
	size_t n;
	int fds[];
};

static int tls_prog_fd(const struct kernel *k, enum tls_prog prog)
{
	const struct bpf_program *p[TLS_PROG_COUNT_] = {
		[TLS_RETURN] = k->skel->progs.tls_return,
		[TLS_READ] = k->skel->progs.tls_read,
		[TLS_READ_COUNTED] = k->skel->progs.tls_read_counted,
		[TLS_WRITE] = k->skel->progs.tls_write,
		[TLS_WRITE_COUNTED] = k->skel->progs.tls_write_counted,
		[TLS_SET_FD] = k->skel->progs.tls_set_fd,
		[TLS_FREE] = k->skel->progs.tls_free,
	};

	return bpf_program__fd(p[prog]);
}

/* The sites of one program that are alike. Number of descriptors put into l, or negative errno. */
static int attach_alike(struct kernel *k, const char *path, uint32_t pid, const struct tls_site *sites, size_t n,
	enum tls_prog prog, bool ret, struct tls_links *l)
{
	uint64_t offsets[LINKS_MAX];
	size_t count = 0;
	int fd;

	for (size_t i = 0; i < n && count < LINKS_MAX; i++)
		if (sites[i].prog == prog && sites[i].at_return == ret)
			offsets[count++] = sites[i].offset;
	if (count && k->multi) {
		fd = uprobe_attach_multi(tls_prog_fd(k, prog), path, pid, offsets, count, ret);
		if (fd < 0)
			return fd;
		l->fds[l->n++] = fd;
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		fd = uprobe_attach_one(tls_prog_fd(k, prog), path, pid, offsets[i], ret);
		if (fd < 0)
			return fd;
		l->fds[l->n++] = fd;
	}
	return 0;
}

struct tls_links *kernel__attach_tls(
	struct kernel *k, const char *path, uint32_t pid, const struct tls_site *sites, size_t n)
{
	struct tls_links *l = calloc(1, sizeof(*l) + n * sizeof(*l->fds));
	int err = 0;

	if (!l)
		return NULL;
	/* TLS_RETURN is the first: a call whose beginning is seen and whose end is not would count as never over. */
	for (int prog = 0; prog < TLS_PROG_COUNT_ && !err; prog++)
		for (int ret = 0; ret <= 1 && !err; ret++)
			err = attach_alike(k, path, pid, sites, n, (enum tls_prog)prog, ret, l);
	if (err) {
		kernel__detach_tls(l);
		errno = -err;
		return NULL;
	}
	return l;
}

void kernel__detach_tls(struct tls_links *l)
{
	if (!l)
		return;
	/* In the opposite order, for the same reason. */
	while (l->n)
		close(l->fds[--l->n]);
	free(l);
}

void kernel__close(struct kernel *k)
{
	if (!k)
		return;
	if (k->skel && k->skel->bss)
		__atomic_store_n(&k->skel->bss->ready, 0, __ATOMIC_RELEASE);
	while (k->nlinks)
		bpf_link__destroy(k->links[--k->nlinks]);
	kongtap_bpf__destroy(k->skel);
	free(k);
}
