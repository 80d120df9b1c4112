/* source_bpf: the live source: kernel programs, discovery of workers, and the reading of both rings, in one object that
 * the agent polls.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "capture/discover.h"
#include "capture/ends.h"
#include "capture/intake.h"
#include "capture/ring.h"
#include "capture/source_ops.h"
#include "capture/tls_attach.h"
#include "capture/tls_report.h"
#include "capture/toll.h"

#define MS 1000000ull
/* Looks at /proc: while no gateway is known, with some known, shortly after an nginx was started, and for as long as it
 * takes to start. */
#define SCAN_SEARCHING (1000 * MS)
#define SCAN_SETTLED (5000 * MS)
#define SCAN_SOON (100 * MS)
#define SCAN_STARTING (500 * MS)
/* How long one is looked for every SCAN_SOON: Kong's start takes its time between exec and the first worker. */
#define SOON_LASTS (3000 * MS)
#define COUNTERS_EVERY (250 * MS)
#define BYTES_PER_NS 8 /* copied by the programs: an estimate for a limit, not for a bill */
/* So long after the last gateway is gone system calls are looked at still: it may just be restarting. */
#define TAP_LASTS (10000 * MS)
/* That records were lost is looked for each time so much of the ring was read. */
#define LOSS_PART 8

struct source_bpf {
	struct source base;
	struct capture_options options; /* borrowed */
	struct features features;
	struct kernel *kernel;
	struct ring *data, *control;
	struct intake *intake;
	struct discover *discover;
	struct tls_attach *tls;
	struct tls_report report;
	struct ends ends;
	struct hook_costs costs;
	struct toll_sum tls_toll;
	uint64_t lost_said;  /* records, when it was said last that some were lost */
	uint64_t lost, read; /* records that were known to be lost, bytes of the ring since that was looked at */
	uint64_t ring_peak;  /* most bytes seen waiting in the data ring */
	struct record_sink sink;
	int epoll, timer;
	bool active, searching_said, paused;
	uint64_t next_scan, soon_until, next_counters;
	uint64_t tap_until; /* 0: system calls are not looked at */
	uint64_t told;	    /* records of our own making: WORKER, EXIT */
};

static const struct source_ops source_bpf_ops;

static void give(struct source_bpf *s, const struct record *rec)
{
	s->told++;
	s->sink.fn(s->sink.ctx, rec);
}

/* Discovery's findings. */

/* Somebody is there to be watched. */
static void tap(struct source_bpf *s)
{
	uint64_t now = clock_mono_ns();

	if (s->paused || s->tap_until || kernel__tap(s->kernel, true) == 0)
		s->tap_until = now + TAP_LASTS;
}

static void keep_tap(struct source_bpf *s, uint64_t now)
{
	if (!s->tap_until)
		return;
	if (discover__nodes(s->discover) || discover__workers(s->discover)) {
		s->tap_until = now + TAP_LASTS;
	} else if (now >= s->tap_until) {
		kernel__tap(s->kernel, false);
		s->tap_until = 0;
	}
}

static void on_node(void *ctx, uint32_t pid, const char *prefix)
{
	struct source_bpf *s = ctx;
	struct tls_plan plan;
	int err;

	tap(s);
	err = kernel__watch(s->kernel, pid, false, true);
	if (err)
		log_err("capture", "gateway %u cannot be followed: %s", pid, strerror(-err));
	/* The workers will map what their master has mapped. */
	tls_attach__process(s->tls, pid, true, &plan);
	log_info("capture", "gateway found: master %u, prefix %s", pid, prefix[0] ? prefix : "not named");
}

static void on_node_gone(void *ctx, uint32_t pid)
{
	struct source_bpf *s = ctx;

	kernel__unwatch(s->kernel, pid);
	tls_attach__forget(s->tls, pid);
	log_info("capture", "gateway gone: master %u", pid);
}

static void on_worker(void *ctx, const struct rec_worker *w, bool fresh)
{
	struct source_bpf *s = ctx;
	struct record rec = {.kind = REC_WORKER, .t_ns = clock_mono_ns(), .worker = *w};
	struct tls_plan plan;
	int err;

	/* First what it is, then what it does. */
	give(s, &rec);
	if (!fresh)
		return;
	tap(s);
	err = kernel__watch(s->kernel, w->pid, true, false);
	if (err)
		log_err("capture", "worker %u cannot be watched: %s", w->pid, strerror(-err));
	err = tls_attach__process(s->tls, w->pid, false, &plan);
	if (err == -ESRCH) /* its end is told as that of any other */
		return;
	if (err) {
		plan.n = 0;
		snprintf(plan.text, sizeof(plan.text), "%s: cannot be probed: %s", plan.lib.path, strerror(-err));
	}
	tls_report__set(&s->report, w->pid, &plan);
	if (plan.n)
		log_info("capture", "worker %u of %u, %u ports, TLS by %s", w->pid, w->node_pid, w->nports, plan.text);
	else
		log_warn("capture", "worker %u of %u, %u ports, clear traffic only: %s", w->pid, w->node_pid, w->nports,
			plan.text);
}

static void on_worker_gone(void *ctx, uint32_t pid)
{
	struct source_bpf *s = ctx;
	struct record rec = {.kind = REC_EXIT, .t_ns = clock_mono_ns(), .exit.pid = pid};

	kernel__unwatch(s->kernel, pid);
	tls_attach__forget(s->tls, pid);
	tls_report__drop(&s->report, pid);
	kernel__sweep(s->kernel, pid);
	log_info("capture", "worker %u gone", pid);
	give(s, &rec);
}

static bool is_captured(void *ctx, uint32_t pid)
{
	return kernel__captures(((struct source_bpf *)ctx)->kernel, pid);
}

/* The kernel's reports of processes. */
static void on_proc(void *ctx, const struct proc_event *e)
{
	struct source_bpf *s = ctx;

	switch (e->what) {
	case PROC_FORK:
		if (discover__forked(s->discover, e->other, e->pid))
			s->next_scan = 0;
		else
			kernel__unwatch(s->kernel, e->pid);
		break;
	case PROC_EXEC:
		discover__ended(s->discover, e->pid);
		s->soon_until = clock_mono_ns() + SOON_LASTS;
		s->next_scan = 0;
		break;
	case PROC_EXIT:
		if (discover__exited(s->discover, e->pid))
			s->next_scan = 0;
		break;
	}
}

/* The rings. */

static void on_control(void *ctx, const void *raw, size_t len)
{
	intake__control(((struct source_bpf *)ctx)->intake, raw, len);
}

/* Before what came after a loss is read, it is known that there was one: the ring was full then, so what came after
 * lies a whole ring behind what was being read. */
static void look_for_loss(struct source_bpf *s)
{
	uint64_t lost = kernel__lost(s->kernel);

	s->read = 0;
	if (lost == s->lost)
		return;
	s->lost = lost;
	intake__lost(s->intake);
}

static void on_data(void *ctx, const void *raw, size_t len)
{
	struct source_bpf *s = ctx;

	s->read += len;
	if (s->read >= kernel__data_size(s->kernel) / LOSS_PART)
		look_for_loss(s);
	intake__data(s->intake, raw, len);
}

static void drain_control(void *ctx)
{
	struct source_bpf *s = ctx;

	ring__read(s->control, on_control, s);
}

static void read_rings(struct source_bpf *s)
{
	uint64_t mark, waiting = ring__pending(s->data);

	if (waiting > s->ring_peak)
		s->ring_peak = waiting;
	look_for_loss(s);
	drain_control(s);
	mark = intake__mark(s->intake);
	if (ring__read(s->data, on_data, s) != RING_DONE)
		return;
	intake__settle(s->intake, mark);
	s->told += ends__round(&s->ends, s->kernel, s->sink);
}

/* Looking for gateways. */

static void say_searching(struct source_bpf *s)
{
	if (discover__workers(s->discover)) {
		s->searching_said = false;
		return;
	}
	if (s->searching_said)
		return;
	s->searching_said = true;
	if (s->options.npids)
		log_info("capture", "none of the processes named by --pid runs: waiting for them");
	else if (s->options.nprefixes)
		log_info("capture", "no nginx with a prefix (-p) like %s%s runs: waiting for one",
			s->options.prefixes[0], s->options.nprefixes > 1 ? " or the others" : "");
	else
		log_info("capture", "no Kong found: waiting for an nginx master with -p PREFIX and "
				    "PREFIX/nginx-kong.conf (another nginx: name it by --prefix or --pid)");
}

static void scan(struct source_bpf *s, uint64_t now)
{
	int err = discover__scan(s->discover);

	if (err)
		log_err("capture", "cannot look for gateways in /proc: %s", strerror(-err));
	if (now < s->soon_until || discover__unsettled(s->discover))
		s->next_scan = now + SCAN_SOON;
	else if (discover__starting(s->discover))
		s->next_scan = now + SCAN_STARTING;
	else
		s->next_scan = now + (discover__workers(s->discover) ? SCAN_SETTLED : SCAN_SEARCHING);
	say_searching(s);
}

static void is_dear(void *ctx, const struct source_tls *t)
{
	*(bool *)ctx |= t->probed && !t->placed;
}

/* Nobody need look at the metrics to hear of it; said again when they are twice as many. */
static void say_lost(struct source_bpf *s)
{
	uint64_t lost = stats_get(STAT_capture_lost_data) + stats_get(STAT_capture_lost_control);

	if (!lost || lost < 2 * s->lost_said)
		return;
	s->lost_said = lost;
	log_warn("capture",
		"the ring was full: %" PRIu64 " records lost so far, and calls with them. Raise ring_bytes, or give "
		"the agent more CPU",
		lost);
}

/* While one worker's library is probed at entry and return, calls of all are reckoned at that price. */
static void count(struct source_bpf *s)
{
	bool dear = false;

	kernel__counters(s->kernel);
	tls_report__each(&s->report, is_dear, &dear);
	say_lost(s);
	toll_sum__add(&s->tls_toll, stats_get(STAT_capture_tls_calls), dear ? s->costs.tls_entry : s->costs.tls_inside);
}

static void housekeeping(struct source_bpf *s)
{
	uint64_t now = clock_mono_ns();

	if (now >= s->next_scan)
		scan(s, now);
	if (now >= s->next_counters) {
		count(s);
		keep_tap(s, now);
		s->next_counters = now + COUNTERS_EVERY;
	}
}

/* The interface. */

static struct source_bpf *self(const struct source *s)
{
	return (struct source_bpf *)s;
}

static int bpf_fd(const struct source *base)
{
	return self(base)->epoll;
}

static int bpf_activate(struct source *base)
{
	struct source_bpf *s = self(base);

	kernel__go(s->kernel);
	s->active = true;
	s->next_scan = 0;
	return 0;
}

static int bpf_poll(struct source *base, int timeout_ms)
{
	struct source_bpf *s = self(base);
	struct epoll_event events[4];
	uint64_t before = intake__count(s->intake) + s->told, ticks;
	int n = epoll_wait(s->epoll, events, 4, timeout_ms);

	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n; i++)
		if (events[i].data.fd == s->timer && read(s->timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
			return -errno;
	if (!s->active)
		return 0;
	read_rings(s);
	housekeeping(s);
	before = intake__count(s->intake) + s->told - before;
	return before > INT32_MAX ? INT32_MAX : (int)before;
}

static void bpf_skip(struct source *base, const struct conn_key *key, const struct byte_range useless[2])
{
	int err = kernel__skip(self(base)->kernel, key, useless);

	if (!err)
		ends__said(&self(base)->ends, key, useless);
	else
		log_debug("capture", "bytes of a connection cannot be marked as useless: %s", strerror(-err));
}

static void bpf_ignore(struct source *base, const struct conn_key *key)
{
	static const struct byte_range all[2] = {{0, UINT64_MAX}, {0, UINT64_MAX}};

	bpf_skip(base, key, all);
}

static void bpf_bodies(struct source *base, uint32_t request, uint32_t response)
{
	kernel__bodies(self(base)->kernel, request, response);
}

static void bpf_exclude(struct source *base, char *const *types, size_t n)
{
	kernel__exclude(self(base)->kernel, types, n);
}

static void bpf_over(struct source *base, const struct conn_key *key)
{
	kernel__over(self(base)->kernel, key);
	ends__over(&self(base)->ends, key);
}

static void bpf_count(struct source *base)
{
	count(self(base));
}

static size_t bpf_workers(const struct source *base)
{
	return discover__workers(self(base)->discover);
}

static int64_t bpf_wall_offset(const struct source *base)
{
	(void)base;
	return clock_offset_ns();
}

static void bpf_each_tls(const struct source *base, void (*fn)(void *ctx, const struct source_tls *t), void *ctx)
{
	tls_report__each(&self(base)->report, fn, ctx);
}

static void on_tls_lost(void *ctx, uint32_t pid, const struct tls_plan *why)
{
	tls_report__set(&((struct source_bpf *)ctx)->report, pid, why);
}

static void bpf_ring(struct source *base, uint64_t *ret_size, uint64_t *ret_peak)
{
	struct source_bpf *s = self(base);

	*ret_size = kernel__data_size(s->kernel);
	*ret_peak = s->ring_peak;
	s->ring_peak = 0;
}

static int bpf_govern(struct source *base, const struct rec_govern *g)
{
	struct source_bpf *s = self(base);
	int err;

	kernel__sample(s->kernel, (1u << g->shift) - 1);
	if (g->detached == s->paused)
		return 0;
	if (g->detached) {
		tls_attach__pause(s->tls);
		kernel__pause(s->kernel);
		/* What was captured until now. */
		read_rings(s);
	} else {
		err = kernel__resume(s->kernel);
		if (err)
			return err;
		s->tap_until = clock_mono_ns() + TAP_LASTS;
		tls_attach__resume(s->tls, on_tls_lost, s);
	}
	s->paused = g->detached;
	return 0;
}

static uint64_t bpf_probe_ns(const struct source *base)
{
	const struct source_bpf *s = self(base);

	return stats_get(STAT_capture_calls) * s->costs.call + s->tls_toll.ns +
	       stats_get(STAT_capture_bytes) / BYTES_PER_NS;
}

static void bpf_costs(const struct source *base, struct hook_costs *ret)
{
	*ret = self(base)->costs;
}

static void bpf_close(struct source *base)
{
	struct source_bpf *s = self(base);

	tls_report__free(&s->report);
	tls_attach__free(s->tls);
	discover__free(s->discover);
	intake__free(s->intake);
	ring__close(s->data);
	ring__close(s->control);
	kernel__close(s->kernel);
	if (s->timer >= 0)
		close(s->timer);
	if (s->epoll >= 0)
		close(s->epoll);
	free(s);
}

static const struct source_ops source_bpf_ops = {
	.fd = bpf_fd,
	.activate = bpf_activate,
	.poll = bpf_poll,
	.ignore = bpf_ignore,
	.skip = bpf_skip,
	.over = bpf_over,
	.bodies = bpf_bodies,
	.exclude = bpf_exclude,
	.workers = bpf_workers,
	.wall_offset = bpf_wall_offset,
	.each_tls = bpf_each_tls,
	.ring = bpf_ring,
	.count = bpf_count,
	.govern = bpf_govern,
	.probe_ns = bpf_probe_ns,
	.costs = bpf_costs,
	.close = bpf_close,
};

/* Opening. */

/* Edge-triggered: a ring that fills again while it is being read must not make the loop spin; its wake-up or the timer
 * brings us back. */
static int watch_fd(struct source_bpf *s, int fd)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = fd};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

static int open_loop(struct source_bpf *s)
{
	uint32_t ms = s->options.poll_ms ? s->options.poll_ms : 10;
	struct timespec every = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	struct itimerspec spec = {.it_interval = every, .it_value = every};
	int err;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (s->epoll < 0 || s->timer < 0 || timerfd_settime(s->timer, 0, &spec, NULL))
		return -errno;
	err = watch_fd(s, s->timer);
	if (!err)
		err = watch_fd(s, kernel__data_fd(s->kernel));
	return err ? err : watch_fd(s, kernel__control_fd(s->kernel));
}

static int open_stages(struct source_bpf *s)
{
	struct intake_sink in = {.record = s->sink, .proc = on_proc, .drain = drain_control, .ctx = s};
	struct discover_sink found = {
		.node = on_node,
		.node_gone = on_node_gone,
		.worker = on_worker,
		.worker_gone = on_worker_gone,
		.captured = is_captured,
		.ctx = s,
	};

	s->data = ring__open(kernel__data_fd(s->kernel), kernel__data_size(s->kernel));
	s->control = ring__open(kernel__control_fd(s->kernel), kernel__control_size(s->kernel));
	s->intake = intake__new(&in);
	s->discover = discover__new(&s->options, &found);
	s->tls = tls_attach__new(s->kernel, &s->features);
	return s->data && s->control && s->intake && s->discover && s->tls ? 0 : -errno;
}

/* What the hooks are reckoned to take. */
static void know_costs(struct source_bpf *s)
{
	uint32_t told = s->options.probe_ns;
	bool measured = false;

	s->costs = toll_usual;
	if (told)
		s->costs = (struct hook_costs){told, told, told};
	else if (s->options.measure)
		measured = toll_measure(s->kernel, &s->features, &s->costs);
	if (told || s->options.measure)
		log_info("overhead",
			"what probes take, %s: of a call into a TLS library %u ns, %u ns where its entry and return "
			"are probed, of a system call %u ns",
			measured ? "measured"
			: told	 ? "as told"
				 : "as usual, since it cannot be measured here",
			s->costs.tls_inside, s->costs.tls_entry, s->costs.call);
}

/* What is missing, in words that say what to do. */
static int explain(const struct features *f, const char *btf)
{
	if (!features_host_pids()) {
		log_err("capture",
			"this is not the host's PID namespace: in a container, run with hostPID (--pid=host)");
		return -ENOTSUP;
	}
	if (!f->has[FEATURE_BTF]) {
		if (btf)
			log_err("capture",
				"%s holds no types of a kernel (btf): a BTF file or a vmlinux with BTF is wanted", btf);
		else
			log_err("capture",
				"the kernel has no type information (/sys/kernel/btf/vmlinux): one built with "
				"CONFIG_DEBUG_INFO_BTF is needed, or a file with its types (--btf FILE)");
		return -ENOENT;
	}
	if (!f->has[FEATURE_BPF]) {
		int why = f->why[FEATURE_BPF];

		log_err("capture",
			"BPF programs cannot be loaded (%s): run as root, or with CAP_BPF, CAP_PERFMON, "
			"CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE",
			strerror(why));
		return why == EPERM || why == EACCES ? -EPERM : -ENOTSUP;
	}
	if (!f->has[FEATURE_RINGBUF]) {
		log_err("capture", "the kernel has no BPF ring buffer: 5.8 or newer is needed");
		return -ENOTSUP;
	}
	if (!f->has[FEATURE_TRACEFS])
		log_warn("capture",
			"no tracefs (%s): all system calls of the host pass one hook, which costs more; "
			"mount -t tracefs tracefs /sys/kernel/tracing",
			strerror(f->why[FEATURE_TRACEFS]));
	return 0;
}

struct source *source_bpf__open(const struct capture_options *o, struct record_sink sink)
{
	struct kernel_options kopts = {.ring_bytes = o->ring_bytes, .call_bytes = o->call_bytes, .btf = o->btf};
	struct source_bpf *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		log_err("capture", "no memory");
		return NULL;
	}
	s->base.ops = &source_bpf_ops;
	s->options = *o;
	s->sink = sink;
	s->epoll = s->timer = -1;
	tls_report__init(&s->report);
	err = features_probe(o->force, o->btf, &s->features);
	if (!err)
		err = explain(&s->features, o->btf);
	if (err)
		goto fail;
	s->kernel = kernel__open(&s->features, &kopts);
	if (!s->kernel) {
		err = -errno;
		goto fail;
	}
	know_costs(s);
	err = open_loop(s);
	if (!err)
		err = open_stages(s);
	if (err) {
		log_err("capture", "cannot start capturing: %s", strerror(-err));
		goto fail;
	}
	return &s->base;
fail:
	bpf_close(&s->base);
	errno = -err;
	return NULL;
}
